"""One layer, every measure: of ΔW alone, beside the W it changes, beside another ΔW."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from lorakit.analysis import (
    Amplification,
    Intruders,
    Similarity,
    Spectrum,
    amplification,
    directions,
    intruders,
    similarity,
    spectrum,
)
from lorakit.delta import Delta

TOP = 64  # directions at most that two ΔW are compared by
STRONGEST = 8  # directions at most whose projection on W is measured
Weights = Callable[[str, tuple[int, ...]], Tensor]  # (layer, shape of its ΔW) → W (out, in)


@dataclass(frozen=True, eq=False)
class Row:
    """What was measured on one layer; None where there was nothing to measure it with, or ΔW is zero."""

    name: str
    spectrum: Spectrum
    amplification: Amplification | None = None
    intruders: Intruders | None = None
    similarity: Similarity | None = None


def measured(
    deltas: Mapping[str, Delta], weights: Weights | None = None, against: Mapping[str, Delta] | None = None
) -> Iterator[Row]:
    """A row for every layer, one at a time, so that neither adapter has to be in memory as a whole.

    weights   for amplification on the top 8 directions, and for intruders
    against   another adapter; layers that it does not have are not compared
    Names that differ by words before all of one's ("bert.", "model.") are taken for the same. Raises ValueError where
    the two have no layer in common, or W does not have the shape of ΔW.
    """
    against = against and _renamed(against, deltas)
    if against is not None and not deltas.keys() & against.keys():
        raise ValueError(f"no layer in common: {list(deltas)[:3]} … and {list(against)[:3]} …")
    for name, delta in deltas.items():
        found = directions(delta)
        compared = similarity(found, against[name], top=TOP) if against and name in against else None
        row = Row(name, spectrum(found), similarity=compared)
        yield row if weights is None or not found.rank else _beside(row, found, weights(name, found.shape))


def _renamed(against: Mapping[str, Delta], names: Iterable[str]) -> Mapping[str, Delta]:
    """By the names of the other, where none is the same and each is the end of just one."""
    names = list(names)
    if any(name in against for name in names):
        return against
    alike = {one: [n for n in names if n.endswith(f".{one}") or one.endswith(f".{n}")] for one in against}
    return {found[0]: against[one] for one, found in alike.items() if len(found) == 1} or against


def _beside(row: Row, found, weight: Tensor) -> Row:
    amplified = amplification(found, weight, min(found.rank, STRONGEST))
    intruding = intruders(found, weight, top=min(10, *weight.shape))
    return Row(row.name, row.spectrum, amplified, intruding, row.similarity)
