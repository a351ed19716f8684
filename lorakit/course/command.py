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
    grade.add_argument("--seconds", type=float, default=120.0, help="of a cell")
    grade.add_argument("--memory", type=float, default=6.0, help="of a submission, in GB")
    grade.add_argument("--again", action="store_true", help="grade what was graded before, too")
    grade.set_defaults(run=_grade)
    for command in (assignments, grade):
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
        (pages / f"{record.student}.html").write_text(feedback.page(record, graded.source), encoding="utf-8")
    with open(graded.folder / "grades.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(records.rows(graded))
    (graded.folder / "class.html").write_text(picture.page(graded), encoding="utf-8")
    print(f"{graded}\n{graded.folder}: grades.csv, class.html, feedback/")
    return 0
