"""The command line of a course: write the assignments, grade a class, pack what Gradescope reads."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from lorakit.course import writing


def main(arguments: list[str] | None = None) -> int:
    """0 where it was done, 1 where it was not, with the reason on stderr."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lorakit.course", description="Assignments, and their grading.")
    commands = parser.add_subparsers(required=True)
    assignments = commands.add_parser("assignments", help="write the notebooks of every assignment from its source")
    assignments.add_argument("--handed-out", type=Path, default=writing.HANDED_OUT, help="the students' notebooks")
    assignments.set_defaults(run=_assignments)
    grade = commands.add_parser("grade", help="grade a folder of submissions: one folder, or one file, a student")
    grade.add_argument("submissions", type=Path)
    grade.add_argument("--assignment", default="", help="which; without it, the one that most submissions are of")
    grade.add_argument("--grades", type=Path, default=Path("grades"), help="where marks and feedback go")
    grade.add_argument("--seconds", type=float, default=120.0, help="that a cell, or a check, may take (120)")
    grade.add_argument("--memory", type=float, default=6.0, help="GB that a submission may take (6)")
    grade.add_argument("--again", action="store_true", help="grade what was graded before, too")
    grade.set_defaults(run=_grade)
    gradescope = commands.add_parser("gradescope", help="the zips that Gradescope reads, each tried")
    gradescope.add_argument("assignments", nargs="*", help="which; without one, all")
    gradescope.set_defaults(run=_gradescope)
    for command in (assignments, grade, gradescope):
        command.add_argument("--instructor", type=Path, default=writing.INSTRUCTOR, help="the sources, NAME.py")
        command.add_argument("--build", type=Path, default=writing.BUILD, help="solutions, and what the graders read")
    return parser


def _assignments(options: argparse.Namespace) -> int:
    for source in writing.sources(options.instructor):
        paths = writing.write(source, options.handed_out, options.build, options.instructor / "images")
        print(f"{source}: {', '.join(map(str, paths))}")
    return 0


def _grade(options: argparse.Namespace) -> int:
    from lorakit.course import feedback, grading, picture, records
    from lorakit.course.running import Limits

    limits = Limits(options.seconds, int(options.memory * 2**30))
    secret, pictures = (options.instructor, options.build), options.instructor / "images"
    settings = grading.Settings(limits, secret, pictures, options.again)
    known = writing.sources(options.instructor)
    graded = grading.grade(options.submissions, known, options.grades, settings, options.assignment)
    pages = graded.folder / "feedback"
    pages.mkdir(exist_ok=True)
    for record in graded.records:
        _write(pages / f"{record.student}.html", feedback.page(record, graded.source))
    with open(graded.folder / "grades.csv", "w", newline="", encoding="utf-8-sig", errors="replace") as file:
        csv.writer(file).writerows(records.rows(graded))
    _write(graded.folder / "class.html", picture.page(graded))
    print(f"{graded}\n{graded.folder}: grades.csv, class.html, feedback/NAME.html")
    return 0


def _gradescope(options: argparse.Namespace) -> int:
    from lorakit.course import gradescope

    known = {source.name: source for source in writing.sources(options.instructor)}
    if unknown := set(options.assignments) - known.keys():
        raise ValueError(f"no assignment {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    wheel = gradescope.wheel(options.build / "wheel")
    for name in options.assignments or known:
        print(gradescope.pack(known[name], options.build, options.instructor / "images", wheel), flush=True)
    return 0


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="replace")
