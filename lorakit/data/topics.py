"""Which topic a text is about: Reuters-21578 in eight classes, and twenty newsgroups, with their published test sets.

A file is TSV with csv quoting and three header lines, in columns category and text; lower case, letters only.
"""

import csv
from functools import cache

from lorakit import assets
from lorakit.data.splits import divide, fraction, normalised
from lorakit.data.task import Task

FILES = {"r8": "reuters-r8", "newsgroups": "20newsgroups"}


def topic(name: str) -> Task:
    """ "r8" or "newsgroups": their own test part, and a tenth of their training part, by hash, to validate on."""
    rows = [(row, _side(row[0], part)) for part in ("train", "test") for row in _read(FILES[name], part)]
    labels = tuple(sorted({category for (_, category), _ in rows}))
    placed = (((text, labels.index(category)), side) for (text, category), side in rows)
    asset = assets.named("topics")
    return Task(name, *divide(placed), labels, asset.licence, asset.citation, asset.provenance)


def _side(text, part):
    return "validation" if part == "train" and fraction(normalised(text)) < 0.1 else part


@cache
def _read(file, part):
    with open(assets.fetch("topics") / f"{file}-{part}.tab", encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t"))[3:]
    return [(row[1], row[0]) for row in rows if row]
