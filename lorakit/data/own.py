"""Your own rows, from a CSV or JSONL file or a list of pairs, as a Task like any other.

Each row falls on its side by its text, as everywhere (`splits`). What is wrong with a row is said with its place,
and nothing is skipped in silence.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import starmap
from pathlib import Path

from lorakit.data.splits import divide, normalised, side
from lorakit.data.task import Task


def from_pairs(pairs: Iterable[tuple], *, name: str = "pairs", kind: type[Task] = Task, **about: str) -> Task:
    """A task from (text, label) pairs, or with `kind=Completion` from (prompt, answer) pairs.

    A label is anything printable; the labels are sorted. `about` may give licence, citation, provenance.
    Raises ValueError for an empty text, a missing label, fewer than two labels.
    """
    return _task(starmap(_pair, enumerate(pairs, 1)), name, kind, about)


def from_csv(path, *, text="text", label="label", kind=Task, encoding="utf-8-sig", delimiter=",", **about) -> Task:
    """A task from two columns of a CSV file whose first line names its columns; raises as `from_pairs` does.

    ValueError also for a column that is not there, a row of another width, and bytes that are not `encoding`.
    """
    path = Path(path)
    reader = csv.reader(_decoded(path, encoding).splitlines(keepends=True), delimiter=delimiter)
    columns = next(reader, [])
    chosen = [_index(path, columns, wanted) for wanted in (text, label)]
    return _task(_csv_rows(path, reader, columns, chosen), path.stem, kind, about)


def from_jsonl(path, *, text="text", label="label", kind=Task, encoding="utf-8-sig", **about) -> Task:
    """A task from a file with one JSON object a line; raises as `from_csv` does, and for a line that is not one."""
    path = Path(path)
    lines = _decoded(path, encoding).split("\n")
    placed = (
        (f"{path.name}, line {number}", line) for number, line in enumerate(lines, 1) if number < len(lines) or line
    )
    records = ((place, _object(place, line)) for place, line in placed)
    rows = ((place, *(_value(place, record, wanted) for wanted in (text, label))) for place, record in records)
    return _task(rows, path.stem, kind, about)


def _task(rows: Iterator[tuple], name, kind, about):
    """`rows` are (place, text, label); the place is for the message."""
    pairs = list(starmap(_checked, rows))
    coded, labels = kind.coded(pairs, name)
    placed = ((row, side(normalised(row[0]))) for row in coded)
    return kind(name, *divide(placed), labels=labels, **about)


def _checked(place, text, label):
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{place}: the text is empty or no text ({text!r})")
    if label is None or not str(label).strip():
        raise ValueError(f"{place}: the label is missing (text {text[:40]!r})")
    return text, label


def _pair(number, pair):
    if isinstance(pair, str) or len(pair) != 2:
        raise ValueError(f"pair {number} should be (text, label); it is {pair!r}")
    return f"pair {number}", *pair


def _csv_rows(path, reader, columns, chosen):
    for row in reader:
        place = f"{path.name}, line {reader.line_num}"
        if len(row) != len(columns):
            raise ValueError(f"{place}: {len(row)} fields where the first line names {len(columns)} columns")
        yield place, *(row[index] for index in chosen)


def _index(path, columns, wanted):
    if wanted not in columns:
        raise ValueError(f"{path.name} has no column {wanted!r}; it has {columns}. Name yours with text=… and label=…")
    return columns.index(wanted)


def _object(place, line):
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{place} is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise ValueError(f"{place} is not a JSON object: {line[:40]!r}")
    return record


def _value(place, record, wanted):
    if wanted not in record:
        raise ValueError(f"{place} has no {wanted!r}; it has {list(record)}. Name yours with text=… and label=…")
    return record[wanted]


def _decoded(path, encoding):
    content = path.read_bytes()
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        byte, line = content[error.start], content.count(b"\n", 0, error.start) + 1
        likely = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp1252"
        said = f"{path.name}, line {line}: byte 0x{byte:02x} at position {error.start} is not {error.encoding}"
        raise ValueError(f"{said}; was it saved otherwise? encoding={likely!r} is likely") from None
