"""Two adapters, {layer: ΔW}: how much of their first direction they share, query and value apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import mean, median, median_high, median_low, pstdev
from typing import Any

from lorakit.analysis import similarity
from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.comparing import same
from lorakit.checks.drawing import Draw
from lorakit.checks.failing import fail
from lorakit.delta import LowRank

Adapter = dict[str, LowRank]
KINDS = ("query", "value")
MIXED = ("encoder.query_pooler.value", "encoder.value_pooler.query", "encoder.query_gate.value")
ELSEWHERE = "the word may stand elsewhere in a name, as in query_pooler.value: the last part says what a layer is"


def check_medians(medians: Callable, *, seed: int = 0) -> None:
    """medians(a, b) = {"query": …, "value": …}: the median over layers of φ(1, 1) of ΔW, right side, by name."""
    draw = Draw(seed)
    cases = [_case(draw), _case(draw), _case(draw, MIXED)]
    while not _tells_apart(cases[-1]):
        cases[-1] = _case(draw, MIXED)
    mistakes = [
        *(Mistake(ELSEWHERE, wrong) for wrong in ANYWHERE),
        Mistake("these are means: the median is asked for", lambda a, b: _medians(a, b, centre=mean)),
        Mistake("the largest of each kind: the median is asked for", lambda a, b: _medians(a, b, centre=max)),
        Mistake("the left side, of the outputs: the right one is asked for", lambda a, b: _medians(a, b, side="left")),
        Mistake(
            "φ on the factor A: it moves with the way the product is written; compare ΔW",
            lambda a, b: _medians(a, b, of="A"),
        ),
        Mistake("this is φ of all directions: the top one of each, phi[0, 0]", lambda a, b: _medians(a, b, at=-1)),
        Mistake("this is φ(2, 2): phi[0, 0] is that of one direction", lambda a, b: _medians(a, b, at=1)),
        Mistake("this is φ(1, 2): phi[0, 0] is φ(1, 1)", lambda a, b: _medians(a, b, at=(0, 1))),
        Mistake("the smallest of each kind: the median is asked for", lambda a, b: _medians(a, b, centre=min)),
        Mistake("the spread of each kind: the median is asked for", lambda a, b: _medians(a, b, centre=pstdev)),
        Mistake("the middle of an even number is the mean of two", lambda a, b: _medians(a, b, centre=median_low)),
        Mistake("the middle of an even number is the mean of two", lambda a, b: _medians(a, b, centre=median_high)),
        Mistake("a root too many: φ(1, 1) is the squared cosine", lambda a, b: _medians(a, b, centre=_median_of_roots)),
        Mistake("φ is 1 everywhere: a was compared with itself", lambda a, b: _medians(a, a)),
        Mistake("layers were paired by their place: pair them by name", _by_place),
        Mistake(
            "all layers together: query and value apart",
            lambda a, b: dict.fromkeys(KINDS, median(_values(a, b, ""))),
        ),
        Mistake("query and value are swapped", lambda a, b: dict(zip(("value", "query"), _medians(a, b).values()))),
        Mistake(
            "only the first layer is looked at",
            lambda a, b: {kind: _values(a, b, kind)[0] for kind in KINDS},
        ),
    ]
    settle(
        "medians",
        _by_names_of_a(medians),
        cases,
        mistakes,
        otherwise="is it φ(1, 1) of the same layer in both, query and value apart, and their median?",
    )


def _case(draw: Draw, more: tuple[str, ...] = ()) -> Case:
    """Two adapters of a few layers, and of those named in `more`."""
    layers, d, r = draw.integer(3, 6), draw.integer(8, 14), draw.integer(2, 4)
    a = _adapter(draw, layers, d, r) | _drawn(draw, more, d, r)
    b = _like(draw, a, layers + 1, d)
    says = f"{layers} layers of width {d}, r = {r}; b has one layer more, in another order"
    return Case(says + (f", both have {more[0]}" if more else ""), (a, b), _medians(a, b), tolerance=1e-3)


def _tells_apart(case: Case) -> bool:
    """Whether a word found anywhere in a name makes a difference that is seen, and no other mistake's."""
    a, b = case.args
    others = [case.expected, dict.fromkeys(KINDS, median(_values(a, b, "")))]
    return not any(same(other, wrong(a, b), 0.02) for other in others for wrong in ANYWHERE)


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
    names = [f"encoder.layer.{i}.attention.self.{kind}" for i in range(layers) for kind in KINDS]
    return _drawn(draw, names, d, r)


def _drawn(draw: Draw, names: Iterable[str], d: int, r: int) -> Adapter:
    return {name: LowRank(draw.normal(d, r), draw.normal(r, d)) for name in names}


def _like(draw: Draw, a: Adapter, layers: int, d: int) -> Adapter:
    """Another one that shares something with `a`, differently in each layer; it is in the opposite order."""
    other = _adapter(draw, layers, d, 3)
    other |= _drawn(draw, [name for name in a if name not in other], d, 3)
    for name, pair in a.items():
        share = draw.integer(1, 9) / 3
        left, right = other[name].left, other[name].right
        other[name] = LowRank(left + share * pair.left[:, :1], right + share * pair.right[:1])
    return dict(reversed(other.items()))


def _values(
    a: Adapter, b: Adapter, kind: str, at: int | tuple[int, int] = 0, anywhere: bool = False, **options
) -> list[float]:
    names = [n for n in a if (kind in n if anywhere else n.endswith(kind))]
    return [float(similarity(a[n], b[n], **options).phi[at if isinstance(at, tuple) else (at, at)]) for n in names]


def _medians(a: Adapter, b: Adapter, centre: Callable = median, **options) -> dict[str, float]:
    return {kind: centre(_values(a, b, kind, **options)) for kind in KINDS}


def _median_of_roots(values: list[float]) -> float:
    return median(value**0.5 for value in values)


def _or_else(a: Adapter, b: Adapter, first: str) -> dict[str, float]:
    """Whatever has the word of `first` in its name is one, and all the rest is of the other kind."""
    other = KINDS[first == "query"]
    rest = {name: pair for name, pair in a.items() if first not in name}
    return {first: median(_values(a, b, first, anywhere=True)), other: median(_values(rest, b, ""))}


ANYWHERE: list[Callable[[Adapter, Adapter], dict[str, float]]] = [
    lambda a, b: {kind: median(_values(a, b, kind, anywhere=True)) for kind in KINDS},
    lambda a, b: _or_else(a, b, "query"),
    lambda a, b: _or_else(a, b, "value"),
]


def _by_place(a: Adapter, b: Adapter) -> dict[str, float]:
    return _medians(a, dict(zip(a, b.values())))
