"""The class at a glance: marks by exercise, and the commonest misconceptions."""

from __future__ import annotations

from collections import Counter
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from lorakit import plots
from lorakit.course.feedback import STYLE
from lorakit.course.records import Class, Record
from lorakit.plots.style import BLUE, GREY, LEGEND_TOP, ORANGE, drawn, translucent

LEVELS = ("all points", "some points", "tried, no point", "not written")
COLOURS = (BLUE, translucent(BLUE, 0.5), ORANGE, GREY)
UNWRITTEN = "not written yet"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{style}</style><script>{library}</script></head>
<body><h1>{title}</h1><p class="total">{total}</p>{figures}{ungraded}</body></html>
"""


def by_exercise(graded: Class) -> go.Figure:
    """How many students have all, some or no points of each exercise that is checked."""
    checked = [name for name in graded.source.exercises if graded.source.points(name, "check", "hidden")]
    records = [record for record in graded.records if not record.problem]
    levels = {name: Counter(_level(record, name) for record in records) for name in checked}
    names = [graded.source.heading(name) for name in checked]
    bar = {"type": "bar", "orientation": "h", "y": names, "hovertemplate": "%{y}: %{x} of " + str(len(records))}
    bars = [
        {**bar, "x": [levels[name][level] for name in checked], "name": level, "marker": {"color": colour}}
        for level, colour in zip(LEVELS, COLOURS)
    ]
    hardest = min(checked, key=lambda name: levels[name][LEVELS[0]])
    alt = (
        f"{len(records)} students, {len(checked)} exercises; fewest have all points of {graded.source.heading(hardest)}"
    )
    return _lying(
        bars, len(names), "Marks by exercise", f"{graded.source.name} · {len(records)} graded", alt, "students"
    )


def misconceptions(graded: Class, most: int = 10) -> go.Figure:
    """What most students got wrong, in the checks' own words, each once a student."""
    headings = {name: graded.source.heading(name) for name in graded.source.exercises}
    counts = Counter(one for record in graded.records for one in diagnoses(record))
    common = counts.most_common(most)
    labels = [_folded(f"{headings[exercise]}: {said}") for (exercise, said), _ in common]
    values = [count for _, count in common]
    bar = {"type": "bar", "orientation": "h", "y": labels, "x": values, "text": values, "marker": {"color": ORANGE}}
    first = f", most often {common[0][0][1]} ({common[0][1]})" if common else ""
    alt = f"{len(counts)} different diagnoses{first}"
    about = f"{graded.source.name} · {len(graded.records)} submissions"
    return _lying([bar], len(labels), "The commonest misconceptions", about, alt, "students", 44)


def diagnoses(record: Record) -> set[tuple[str, str]]:
    """The misconceptions of a student, with their exercises; what is not written yet is none."""
    first: dict[str, str] = {}  # the hidden check says the same with other numbers
    for mark in record.marks:
        if not mark.earned:
            first.setdefault(mark.exercise, mark.diagnosis)
    return {(exercise, why) for exercise, why in first.items() if why and not why.startswith(UNWRITTEN)}


def page(graded: Class) -> str:
    """The class as one HTML file that works offline: both figures, and who could not be graded, by name."""
    records, source = graded.records, graded.source
    done = [record for record in records if not record.problem]
    mean = sum(record.earned() for record in done) / max(1, len(done))
    most = sum(map(source.points, source.exercises))
    waiting = sum(1 for record in done for score in record.manual.values() if score is None)
    total = f"{len(done)} of {len(records)} graded, {mean:.1f} of {most:g} points on average"
    total += f"; {waiting} answers wait for a person" if waiting else ""
    figures = "".join(_shown(figure) for figure in (by_exercise(graded), misconceptions(graded)))
    words = {"title": escape(f"{source.title}: the class"), "total": total, "ungraded": _noticed(records)}
    return PAGE.format(style=STYLE, library=get_plotlyjs(), figures=figures, **words)


def _noticed(records: tuple[Record, ...]) -> str:
    told = [record for record in records if record.said]
    lines = "".join(f"<li><strong>{escape(one.student)}</strong>: {escape(one.said)}</li>" for one in told)
    return f"<section><h2>Noticed</h2><ul>{lines}</ul></section>" if lines else ""


def _level(record: Record, exercise: str) -> str:
    marks = [mark for mark in record.marks if mark.exercise == exercise]
    earned = sum(mark.earned for mark in marks)
    if earned:
        return LEVELS[0] if earned == sum(mark.points for mark in marks) else LEVELS[1]
    return LEVELS[3] if any(mark.diagnosis.startswith(UNWRITTEN) for mark in marks) else LEVELS[2]


def _lying(bars: list[dict], count: int, title: str, about: str, alt: str, axis: str, row: int = 30) -> go.Figure:
    most = max([1, *(sum(bar["x"][row] for bar in bars) for row in range(count))])
    x = {"title": {"text": axis}, "showgrid": True, "rangemode": "tozero", "tick0": 0, "dtick": -(-most // 8)}
    y = {"autorange": "reversed", "showgrid": False}
    size = {"height": LEGEND_TOP + 60 + row * max(1, count), "margin": {"t": LEGEND_TOP}}
    layout = {"barmode": "stack", "legend_traceorder": "normal", **size}
    return drawn(bars, title, about, alt, xaxis=x, yaxis=y, **layout)


def _folded(text: str, width: int = 52) -> str:
    """A label in at most two lines."""
    words = text.split()
    first = ""
    while words and len(first) + len(words[0]) < width:
        first += words.pop(0) + " "
    rest = " ".join(words)
    second = rest if len(rest) <= width else rest[: width - 1] + "…"
    return escape(first.strip()) + (f"<br>{escape(second)}" if second else "")


def _shown(figure: go.Figure) -> str:
    config = {"displayModeBar": False, "responsive": True}
    drawing = figure.to_html(full_html=False, include_plotlyjs=False, config=config)
    return f'<figure role="img" aria-label="{escape(plots.alt_text(figure))}">{drawing}</figure>'
