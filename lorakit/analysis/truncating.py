"""How many directions of ΔW does the task need? Quality with ΔW cut to rank k, for every k.

    head   ΔW_k = Σ_{i≤k} σᵢ·uᵢ·vᵢᵀ        what the top k do alone
    tail   ΔW − ΔW_k                       what is left without them
    null   Q·Qᵀ·ΔW, Q k (for the tail r − k) random directions of ΔW's own span

A norm says what is large and not what is needed; this asks the task. The model is the caller's: `evaluate` takes the
changes of every layer and returns a number, and nothing here knows where they came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from lorakit.analysis.chance import haar
from lorakit.analysis.directions import Directions, directions
from lorakit.delta import Delta, LowRank

Evaluate = Callable[[dict[str, LowRank]], float]


@dataclass(frozen=True, eq=False, repr=False)
class Truncation:
    """Quality by rank, beside that of as many random directions.

    tail      whether the top k were dropped rather than kept
    ranks     (n,) k
    quality   (n,) what `evaluate` gave; its unit
    null      (seeds, n) the same with random directions of ΔW's span in place of the top ones
    energy    (n,) share of Σ‖ΔW‖_F² over all layers that was kept
    base      quality without any ΔW
    full      quality with all of it
    """

    tail: bool
    ranks: np.ndarray
    quality: np.ndarray
    null: np.ndarray
    energy: np.ndarray
    base: float
    full: float

    sources: ClassVar[str] = "Hu et al. 2021, section 7.2 (which asks it of retrained ranks); Eckart & Young 1936"

    def rank_at(self, share: float = 0.9) -> int:
        """The smallest k of `ranks` that keeps this share of the gain full − base (for a tail: that loses it).

        Raises ValueError where ΔW brings no gain, or no k tried is enough.
        """
        if self.full == self.base:
            raise ValueError(f"ΔW changes nothing that is measured: {self.full} with and without it")
        gained = (self.quality - self.base) / (self.full - self.base)
        enough = np.flatnonzero(gained <= 1 - share + 1e-12 if self.tail else gained >= share - 1e-12)
        if not len(enough):
            raise ValueError(f"no rank of {self.ranks.tolist()} reaches a share of {share}; try higher ones")
        return int(self.ranks[enough[0]])

    def __repr__(self) -> str:
        points = ", ".join(f"{k}: {q:.3g}" for k, q in zip(self.ranks[:6], self.quality[:6]))
        more = ", …" if len(self.ranks) > 6 else ""
        return f"Truncation({'without the top' if self.tail else 'rank'} {points}{more}; full {self.full:.3g})"


def truncation(
    evaluate: Evaluate,
    deltas: Mapping[str, Delta | Directions],
    ranks: Iterable[int] | None = None,
    *,
    tail: bool = False,
    seeds: Sequence[int] = (0, 1, 2),
) -> Truncation:
    """Quality with every ΔW cut to each of `ranks` (by default 0..r), or without its top k where `tail`.

    evaluate   {name: LowRank (out, in)} → a number; the caller puts them into the model and takes them out
    seeds      of the null: one more evaluation a seed and rank, except where nothing or everything is kept
    A layer with fewer than k directions keeps (or loses) all of its own. Raises ValueError for a k out of range.
    """
    found = {name: directions(delta) for name, delta in deltas.items()}
    most = max((layer.rank for layer in found.values()), default=0)
    ks = list(range(most + 1) if ranks is None else ranks)
    if not ks or not all(0 <= k <= most for k in ks):
        raise ValueError(f"ranks must be in 0..{most}, what the largest of these ΔW has; given {ks}")
    base, full = (evaluate({name: layer.part(*ends) for name, layer in found.items()}) for ends in ((0, 0), (0,)))

    def at(k: int, seed: int | None = None) -> float:
        if k in (0, most):
            return full if (k == 0) == tail else base
        return evaluate(_cut(found, k, tail) if seed is None else _random(found, k, tail, seed))

    return Truncation(
        tail=tail,
        ranks=np.array(ks),
        quality=np.array([at(k) for k in ks]),
        null=np.array([[at(k, seed) for k in ks] for seed in seeds]).reshape(len(seeds), len(ks)),
        energy=np.array([_energy(found, k, tail) for k in ks]),
        base=base,
        full=full,
    )


def _cut(found: dict[str, Directions], k: int, tail: bool) -> dict[str, LowRank]:
    return {name: layer.part(k) if tail else layer.part(0, k) for name, layer in found.items()}


def _random(found: dict[str, Directions], k: int, tail: bool, seed: int) -> dict[str, LowRank]:
    generator, cut = torch.Generator().manual_seed(seed), {}
    for name, layer in found.items():
        kept = max(layer.rank - k, 0) if tail else min(layer.rank, k)
        Q = haar(layer.rank, kept, generator, layer.S.dtype).to(layer.S.device)  # in the coordinates of U
        cut[name] = LowRank(layer.U @ Q, (Q.mT * layer.S) @ layer.Vh)
    return cut


def _energy(found: dict[str, Directions], k: int, tail: bool) -> float:
    powers = [layer.S.double() ** 2 for layer in found.values()]
    total = float(sum(power.sum() for power in powers))
    head = float(sum(power[:k].sum() for power in powers)) / total if total else 0.0
    return 1 - head if tail else head
