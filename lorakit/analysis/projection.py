"""A random d-dimensional subspace of ℝᴰ without its D × d matrix (Le et al. 2013, Fastfood; Yu et al. 2016).

    P = c·[block 1; block 2; …],   block b = H·Rᵦ·H·Sᵦ·H·T   restricted to its first d columns

H is the orthonormal Hadamard matrix of the next power of two p ≥ d; R, S, T are diagonals of random signs, T one for
all blocks. A product with P or Pᵀ costs O(D·log p), and P itself two signs a parameter: 2·D bytes. Fastfood has a
permutation and a Gaussian diagonal where R and S are here. Signs keep every block exactly orthogonal, so the columns
of P are orthogonal (exactly, where p divides D) as well as of length one; a dense Gaussian P has that only on average.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK = 1 << 18  # entries worked on at once: a megabyte stays in the cache


class Projection(nn.Module):
    """P (D, d) with ‖P·z‖ ≈ ‖z‖, as the two products `expand` P·z and `contract` Pᵀ·g.

    Calling it is P·z with a gradient. Raises ValueError unless 1 ≤ d ≤ D.
    """

    T: Tensor
    S: Tensor
    R: Tensor

    def __init__(self, D: int, d: int, *, seed: int = 0) -> None:
        super().__init__()
        if not 1 <= d <= D:
            raise ValueError(f"a subspace of ℝ^{D} has 1..{D} dimensions; given {d}")
        self.D, self.d, self.p = D, d, 1 << (d - 1).bit_length()
        generator, blocks = torch.Generator().manual_seed(seed), -(-D // self.p)
        for name, shape in {"T": (self.p,), "S": (blocks, self.p), "R": (blocks, self.p)}.items():
            self.register_buffer(name, _signs(shape, generator), persistent=False)
        self.scale = math.sqrt(self.p / D)

    def forward(self, z: Tensor) -> Tensor:
        return _Project.apply(z, self)

    def expand(self, z: Tensor) -> Tensor:
        """P·z: (d,) → (D,), float32."""
        turned = hadamard(self.T * F.pad(z.float(), (0, self.p - self.d))) * self.scale
        result = z.new_empty(self.S.shape, dtype=torch.float32)
        for rows in self._chunks():
            result[rows] = hadamard(self.R[rows] * hadamard(self.S[rows] * turned))
        return result.view(-1)[: self.D]

    def contract(self, g: Tensor) -> Tensor:
        """Pᵀ·g: (D,) → (d,), float32, the blocks summed in float64."""
        total = g.new_zeros(self.p, dtype=torch.float64)
        for rows in self._chunks():
            block = g[rows.start * self.p : rows.stop * self.p].float()
            block = F.pad(block, (0, -len(block) % self.p)).view(-1, self.p)
            total += (self.S[rows] * hadamard(self.R[rows] * hadamard(block))).sum(0, dtype=torch.float64)
        return (self.T * hadamard(total.float()) * self.scale)[: self.d]

    def _chunks(self):
        blocks, size = len(self.S), max(1, CHUNK // self.p)
        return [slice(start, min(start + size, blocks)) for start in range(0, blocks, size)]


class _Project(torch.autograd.Function):
    """P·z, whose gradient is Pᵀ·g: nothing of size D is kept for it."""

    @staticmethod
    def forward(ctx, z: Tensor, projection: Projection) -> Tensor:
        ctx.projection, ctx.dtype = projection, z.dtype
        return projection.expand(z)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g: Tensor):
        return ctx.projection.contract(g).to(ctx.dtype), None


def hadamard(x: Tensor) -> Tensor:
    """H·x along the last dimension, a power of two p; H orthonormal and symmetric, in Sylvester's order.

    H_p = H_q ⊗ H_q′ ⊗ …: a few small matrix products run at the machine's rate where log₂p butterflies wait for memory.
    Raises ValueError where p is no power of two.
    """
    p = x.shape[-1]
    if p & (p - 1) or not p:
        raise ValueError(f"a Hadamard transform takes a power of two; given {p}")
    y, inner = x, 1
    while inner < p:
        q = min(32, p // inner)
        H = _sylvester(q, x)
        y = y.reshape(-1, q) @ H if inner == 1 else H @ y.reshape(-1, q, inner)
        inner *= q
    return y.reshape(x.shape)


def _sylvester(q: int, like: Tensor) -> Tensor:
    H = like.new_ones(1, 1)
    while len(H) < q:
        H = torch.cat([torch.cat([H, H], 1), torch.cat([H, -H], 1)]) * math.sqrt(0.5)
    return H


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, shape, generator=generator, dtype=torch.int8) * 2 - 1
