"""A test row that stands among the training rows too, in other clothes: it tests memory.

leaked(train, test)   the places in `test` of rows whose text is in `train`, letters and digits alone compared
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.comparing import listing
from lorakit.checks.drawing import Draw

Rows = Sequence[tuple[str, int]]
WORDS = ("a film", "the plot", "Two hours", "acting", "never dull", "too long", "in 3 acts", "its heart", "café noir")


def check_leak(function: Callable, *, seed: int = 0) -> None:
    """`leaked(train, test)` → the places of test rows whose normalised text is in train; raises `CheckFailed`."""
    draw = Draw(seed)
    cases = [_leaky(draw, *kinds) for kinds in KINDS]
    settle("leak", _sorted(function), cases, MISTAKES, otherwise=_otherwise)


# What the leaks of a case look like: as they are in train, or dressed up. In the first, no two wrong formulas agree.
KINDS = (
    ("as it is", "capitals", "punctuation", "spaces", "around", "another label", "twice", "tabs"),
    ("as it is",),
    ("punctuation", "capitals"),
    (),
)


def _leaky(draw: Draw, *kinds: str) -> Case:
    texts = [_text(draw, n) for n in range(15)]
    train = [(text, draw.integer(0, 1)) for text in texts[:9]]
    apart = "".join(texts[7].split(" ")[:2]) + " " + " ".join(texts[7].split(" ")[2:])  # its first two words in one
    texts[6], turned = _with_accent(texts[6]), " and ".join(reversed(texts[5].split(" and ")))
    train[6] = (texts[6], train[6][1])
    near = [texts[0].split(" and ")[0], f"{texts[0]} and more", apart, texts[6].replace("é", " "), turned]
    test = [(text, draw.integer(0, 1)) for text in [*texts[9:], *near]]
    leaks = [row for n, kind in enumerate(kinds) for row in _dressed(train[n + 1], kind)]
    rows = [(row, False) for row in test] + [(row, True) for row in leaks]
    rows = [rows[place] for place in draw.distinct(len(rows), 0, len(rows) - 1)]
    says = f"{len(train)} training rows, {len(rows)} test rows, leaks: {', '.join(kinds) or 'none'}"
    return Case(says, (train, [row for row, _ in rows]), [n for n, (_, leak) in enumerate(rows) if leak])


def _with_accent(text: str) -> str:
    return "café " + text.partition(" ")[2].replace("café", "cafe")


def _text(draw: Draw, n: int) -> str:
    first, second = (WORDS[place] for place in draw.distinct(2, 0, len(WORDS) - 1))
    return f"{first} of year {n} and {second}"


def _dressed(row: tuple[str, int], kind: str) -> list[tuple[str, int]]:
    text, label = row
    if kind == "capitals":
        return [(text.upper(), label)]
    if kind == "punctuation":
        return [(f"“{text.replace(' and ', ', and ')}…!”", label)]
    if kind == "spaces":
        return [(text.replace(" ", "  "), label)]
    if kind == "tabs":
        return [(text.replace(" ", "\t"), label)]
    if kind == "around":
        return [(f" {text}\n", label)]
    return [row, row] if kind == "twice" else [(text, 1 - label)] if kind == "another label" else [row]


def _sorted(function: Callable) -> Callable:
    """In any order, as a set or a vector."""
    if not callable(function):
        return function

    def answer(train: Rows, test: Rows) -> object:
        found = listing(function)(train, test)
        return sorted(found) if isinstance(found, list | tuple | set | frozenset) else found

    return answer


def _normal(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _found(train: Rows, test: Rows, key: Callable[[tuple[str, int]], object]) -> list[int]:
    known = {key(row) for row in train}
    return [n for n, row in enumerate(test) if key(row) in known]


def _first_only(train: Rows, test: Rows) -> list[int]:
    places = _found(train, test, lambda row: _normal(row[0]))
    seen = [_normal(test[n][0]) for n in places]
    return [n for at, n in enumerate(places) if seen[at] not in seen[:at]]


def _within(train: Rows, test: Rows) -> list[int]:
    known = [_normal(text) for text, _ in train]
    return [n for n, (text, _) in enumerate(test) if any(_normal(text) in other for other in known)]


def _around(train: Rows, test: Rows) -> list[int]:
    known = [_normal(text) for text, _ in train]
    return [n for n, (text, _) in enumerate(test) if any(other in _normal(text) for other in known)]


def _every_row(train: Rows, test: Rows) -> list[bool]:
    places = _found(train, test, lambda row: _normal(row[0]))
    return sorted(n in places for n in range(len(test)))


def _by(key: Callable[[tuple[str, int]], object]) -> Callable[[Rows, Rows], list[int]]:
    return lambda train, test: _found(train, test, key)


def _text_only(key: Callable[[str], object]) -> Callable[[Rows, Rows], list[int]]:
    return _by(lambda row: key(row[0]))


MISTAKES = (
    Mistake(
        "letters beyond a to z are dropped, and texts that differ in one become the same: é is a letter, as \\w knows",
        _text_only(lambda text: " ".join(re.findall("[a-z0-9]+", text.lower()))),
    ),
    Mistake(
        "the order of the words is lost: the same words in another order are another text",
        _text_only(lambda text: frozenset(_normal(text).split())),
    ),
    Mistake(
        "spaces at the ends hide a copy: none is to stay there",
        _text_only(lambda text: re.sub(r"\W+", " ", text.lower())),
    ),
    Mistake(
        "several spaces stay where there were several marks: each run of them becomes one space",
        _text_only(lambda text: re.sub(r"\W", " ", text.lower()).strip()),
    ),
    Mistake(
        "the label is compared as well: a row that changed its label has leaked too",
        _by(lambda row: (_normal(row[0]), row[1])),
    ),
    Mistake("whole rows are compared, as they are: take the text, and normalise it", _by(lambda row: row)),
    Mistake("texts are compared as they are: capitals, marks and spaces hide a copy", _text_only(str)),
    Mistake(
        "capitals are gone, and punctuation still hides copies: keep letters and digits only", _text_only(str.lower)
    ),
    Mistake(
        "capitals and outer spaces are gone, and punctuation still hides copies",
        _text_only(lambda text: text.lower().strip()),
    ),
    Mistake(
        "spaces are in order, and punctuation still hides copies",
        _text_only(lambda text: " ".join(text.lower().split())),
    ),
    Mistake(
        "punctuation and spaces are gone, and capitals still hide copies",
        _text_only(lambda text: " ".join(re.findall(r"\w+", text))),
    ),
    Mistake(
        "without any space between words, different texts become one: one space is to stay",
        _text_only(lambda text: _normal(text).replace(" ", "")),
    ),
    Mistake("a text that is a part of another one is not that text: compare whole texts", _within),
    Mistake("a text that holds another one is not that text: compare whole texts", _around),
    Mistake(
        "places count from 0: the first is test[0]",
        lambda train, test: [n + 1 for n in _text_only(_normal)(train, test)],
    ),
    Mistake("True or False for every row: give the places of those that leaked", _every_row),
    Mistake(
        "these are the rows: give their places",
        lambda train, test: sorted(test[n] for n in _text_only(_normal)(train, test)),
    ),
    Mistake(
        "this is their share: give their places", lambda train, test: len(_text_only(_normal)(train, test)) / len(test)
    ),
    Mistake(
        "digits are dropped, and year 1 and year 2 become the same",
        _text_only(lambda text: " ".join(re.findall(r"[^\W\d]+", text.lower()))),
    ),
    Mistake("a leak that stands twice in the test rows was counted once: give both places", _first_only),
    Mistake(
        "these are places in train; asked are those in test",
        lambda train, test: _text_only(_normal)(test, train),
    ),
    Mistake("this is how many there are: give their places", lambda train, test: len(_text_only(_normal)(train, test))),
)


def _otherwise(case: Case, returned: object) -> str:
    return "give a list of places in test, counted from 0"
