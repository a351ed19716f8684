"""What a student gets back: their marks, which check failed, and why. The page has no script and fetches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from lorakit.course.marking import Mark
from lorakit.course.records import Record
from lorakit.course.source import Source

YOURS, OTHERS = "the check in your notebook", "the same check on other cases"
STYLE = """
:root { color-scheme: light dark; --line: rgba(128, 128, 128, .3); --right: #3b82c4; --wrong: #dd7d1a; }
body { max-width: 860px; margin: 2rem auto; padding: 0 1rem; font: 15px/1.55 system-ui, sans-serif; }
body { background: light-dark(#ffffff, #16181c); color: light-dark(#222222, #dcdcdc); }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 0; }
.total { font-size: 1.3rem; margin: 0 0 1rem; } .quiet { color: light-dark(#5c5c5c, #a3a3a3); }
section { border-top: 1px solid var(--line); padding: 1rem 0; }
.head { display: flex; justify-content: space-between; gap: 1rem; align-items: baseline; }
.bar { height: 6px; border-radius: 3px; background: var(--line); margin: .4rem 0 .8rem; overflow: hidden; }
.bar span { display: block; height: 100%; background: var(--right); }
pre { font: 13px/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; margin: .4rem 0; }
pre { padding: .6rem .8rem; border-left: 4px solid var(--line); background: rgba(128, 128, 128, .08); }
pre.right { border-color: var(--right); } pre.wrong { border-color: var(--wrong); }
summary { cursor: pointer; } ul { padding-left: 1.2rem; }
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{style}</style></head>
<body><h1>{title}</h1>{body}</body></html>
"""


def page(record: Record, source: Source) -> str:
    """The feedback on one submission, as HTML."""
    title = escape(f"{source.title}: {record.student}")
    body = f'<p class="quiet">{escape(record.file)}</p>' + "".join(_parts(record, source))
    return PAGE.format(title=title, style=STYLE, body=body)


def _parts(record: Record, source: Source) -> Iterator[str]:
    if record.problem:
        yield f'<p class="total">Not graded</p><pre class="wrong">{escape(record.problem)}</pre>'
        yield "<p>Hand in the notebook again, as it was handed out, with your answers in it.</p>"
        return
    waiting = sum(source.points(name, "manual") for name, score in record.manual.items() if score is None)
    total = sum(map(source.points, source.exercises))
    later = f" · {waiting:g} of them are given by a person, and are not in yet" if waiting else ""
    points = f"<strong>{record.earned():g}</strong> of {total:g} points"
    yield f'<p class="total">{points}<span class="quiet">{later}</span></p>'
    if record.remarks:
        yield f"<ul>{''.join(f'<li>{escape(remark)}</li>' for remark in record.remarks)}</ul>"
    for exercise in source.exercises:
        yield _section(exercise, record, source)


def _section(exercise: str, record: Record, source: Source) -> str:
    earned, points = record.earned(exercise), source.points(exercise)
    head = f"<h2>{escape(source.heading(exercise))}</h2><span><strong>{earned:g}</strong> of {points:g}</span>"
    share = f'<div class="bar"><span style="width: {100 * earned / points:.0f}%"></span></div>'
    checks = "".join(_checks([mark for mark in record.marks if mark.exercise == exercise]))
    if record.manual.get(exercise, 0.0) is None:
        checks += '<p class="quiet">This answer is read by a person.</p>'
    shown = record.printed.get(exercise, "").strip()
    printed = f"<details><summary>What your cell showed</summary><pre>{escape(shown)}</pre></details>" if shown else ""
    answer = f"<details><summary>Your answer</summary><pre>{escape(record.answers.get(exercise, ''))}</pre></details>"
    return f'<section><div class="head">{head}</div>{share}{checks}{printed}{answer}</section>'


def _checks(marks: list[Mark]) -> Iterator[str]:
    """What each check said; what all of them said stands once."""
    together = len({(mark.said, bool(mark.earned)) for mark in marks}) == 1
    for some in [marks] if together else [[mark] for mark in marks]:
        which = " and ".join(dict.fromkeys(OTHERS if mark.hidden else YOURS for mark in some))
        earned, points = sum(mark.earned for mark in some), sum(mark.points for mark in some)
        kind = "right" if earned else "wrong"
        yield f'<p class="quiet">{which[0].upper()}{which[1:]}: {earned:g} of {points:g}</p>'
        yield f'<pre class="{kind}">{escape(some[0].said)}</pre>'
