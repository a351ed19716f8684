"""Two adapters, {layer: ΔW}: how much of their first direction they share, query and value apart."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean, median
from typing import Any

from lorakit.analysis import similarity
from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.drawing import Draw
from lorakit.checks.failing import fail
from lorakit.delta import LowRank

Adapter = dict[str, LowRank]


def check_medians(medians: Callable, *, seed: int = 0) -> None:
    """medians(a, b) = {"query": …, "value": …}: the median over layers of φ(1, 1) of ΔW, right side, by name."""
    draw, cases = Draw(seed), []
    for _ in range(3):
        layers, d, r = draw.integer(3, 6), draw.integer(8, 14), draw.integer(2, 4)
        a = _adapter(draw, layers, d, r)
        b = _like(draw, a, layers + 1, d)
        says = f"{layers} layers of width {d}, r = {r}; b has one layer more, in another order"
        cases.append(Case(says, (a, b), _medians(a, b), tolerance=1e-3))
    mistakes = [
        Mistake("these are means: the median is asked for", lambda a, b: _medians(a, b, centre=mean)),
        Mistake("the largest of each kind: the median is asked for", lambda a, b: _medians(a, b, centre=max)),
        Mistake("the left side, of the outputs: the right one is asked for", lambda a, b: _medians(a, b, side="left")),
        Mistake(
            "φ on the factor A: it moves with the way the product is written; compare ΔW",
            lambda a, b: _medians(a, b, of="A"),
        ),
        Mistake("this is φ of all directions: the top one of each, phi[0, 0]", lambda a, b: _medians(a, b, at=-1)),
        Mistake("this is φ(2, 2): phi[0, 0] is that of one direction", lambda a, b: _medians(a, b, at=1)),
        Mistake("φ is 1 everywhere: a was compared with itself", lambda a, b: _medians(a, a)),
        Mistake("layers were paired by their place: pair them by name", _by_place),
        Mistake(
            "all layers together: query and value apart",
            lambda a, b: dict.fromkeys(("query", "value"), median(_values(a, b, ""))),
        ),
        Mistake("query and value are swapped", lambda a, b: dict(zip(("value", "query"), _medians(a, b).values()))),
        Mistake(
            "only the first layer is looked at",
            lambda a, b: {kind: _values(a, b, kind)[0] for kind in ("query", "value")},
        ),
    ]
    settle(
        "medians",
        _by_names_of_a(medians),
        cases,
        mistakes,
        otherwise="is it φ(1, 1) of the same layer in both, query and value apart, and their median?",
    )


def _by_names_of_a(medians: Callable) -> Callable:
    """A layer that only `b` has is asked of `a` by many."""
    if not callable(medians):
        return medians

    def outcome(a: Adapter, b: Adapter) -> Any:
        try:
            return medians(a, b)
        except KeyError as error:
            if not error.args or error.args[0] not in b:
                raise
            fail("medians", f"b has {error.args[0]}, and a has not", diagnosis="go through the layers of a")

    return outcome


def _adapter(draw: Draw, layers: int, d: int, r: int) -> Adapter:
    names = [f"encoder.layer.{i}.attention.self.{kind}" for i in range(layers) for kind in ("query", "value")]
    return {name: LowRank(draw.normal(d, r), draw.normal(r, d)) for name in names}


def _like(draw: Draw, a: Adapter, layers: int, d: int) -> Adapter:
    """Another one that shares something with `a`, differently in each layer; it is in the opposite order."""
    other = _adapter(draw, layers, d, 3)
    for name, pair in a.items():
        share = draw.integer(1, 9) / 3
        left, right = other[name].left, other[name].right
        other[name] = LowRank(left + share * pair.left[:, :1], right + share * pair.right[:1])
    return dict(reversed(other.items()))


def _values(a: Adapter, b: Adapter, kind: str, at: int = 0, **options) -> list[float]:
    return [float(similarity(a[n], b[n], **options).phi[at, at]) for n in a if n.endswith(kind)]


def _medians(a: Adapter, b: Adapter, centre: Callable = median, **options) -> dict[str, float]:
    return {kind: centre(_values(a, b, kind, **options)) for kind in ("query", "value")}


def _by_place(a: Adapter, b: Adapter) -> dict[str, float]:
    return _medians(a, dict(zip(a, b.values())))
