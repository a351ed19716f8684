"""Cases from a seed: sizes that are odd, no two alike, and matrices in float32 and float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float64)


class Sizes(NamedTuple):
    """The shape of one case: B is (out, rank), A is (rank, inputs), everything in `dtype`."""

    out: int
    inputs: int
    rank: int
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"W {self.out}×{self.inputs}, r = {self.rank}, {str(self.dtype).removeprefix('torch.')}"


class Draw:
    """What a check draws: repeatable, another for another seed, and nothing of torch's own random state is used."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def integer(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def distinct(self, count: int, low: int, high: int) -> list[int]:
        """So many different whole numbers, both ends included."""
        return (low + torch.randperm(high - low + 1, generator=self.generator)[:count]).tolist()

    def choice(self, *options):
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Independent N(0, 1) entries."""
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64).to(dtype)

    def orthonormal(self, d: int, k: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """k orthonormal columns, uniform among all in ℝᵈ: (d, k)."""
        return torch.linalg.qr(self.normal(d, k, dtype=torch.float64)).Q.to(dtype)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Within it, torch's own generator starts from this seed: for modules that draw from it; it is put back."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.generator.initial_seed())
            yield

    def sizes(self, count: int, low: int = 5, high: int = 17) -> list[Sizes]:
        """Shapes with out ≠ in and 1 < rank < min(out, in), the third of rank 1; float32 and float64 take turns."""
        found = []
        for i in range(count):
            rank = 1 if i == 2 else self.integer(2, low - 2)
            out, inputs = self.distinct(2, low, high)
            found.append(Sizes(out, inputs, rank, DTYPES[i % 2]))
        return found
