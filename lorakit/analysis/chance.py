"""What chance gives: the nulls that stand beside every measure.

For an i-dimensional and a j-dimensional subspace of ℝᵈ, U fixed and V uniform (Haar),

    E ‖UᵀV‖_F² = i·j/d,     Var ‖UᵀV‖_F² = 2·i·j·(d−i)·(d−j) / (d²·(d−1)·(d+2))

by the second moments of a random projection, E PᵢⱼPₖₗ = a·δᵢⱼδₖₗ + b·(δᵢₖδⱼₗ + δᵢₗδⱼₖ) (Collins & Śniady 2006).
The singular values of Gaussian matrices are sampled exactly from cores of χ variables whose size is the rank,
whatever out and in are: no random matrix of the model's size is ever drawn.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.linalg import eigvalsh_tridiagonal
from torch import Tensor


class Null(NamedTuple):
    """What a measure gives by chance: its mean and its standard deviation."""

    mean: Any
    spread: Any

    @classmethod
    def of(cls, samples: np.ndarray) -> Null:
        """From samples (draws, …)."""
        return cls(np.mean(samples, 0), np.std(samples, 0, ddof=1))


def overlap(i: ArrayLike, j: ArrayLike, d: int) -> Null:
    """‖UᵀV‖_F² of an i- and a j-dimensional subspace of ℝᵈ, one of them uniform: exact."""
    i, j = np.asarray(i, dtype=float), np.asarray(j, dtype=float)
    variance = 2 * i * j * (d - i) * (d - j) / (d**2 * max(d - 1, 1) * (d + 2))
    return Null(i * j / d, np.sqrt(variance))


def projection(norm: float, rank: int, shape: tuple[int, int], quartic: float) -> Null:
    """‖UᵀWV‖_F² for U and V uniform, `rank` directions each: exact, from two numbers of W.

    mean   ‖W‖_F²·rank²/(out·in), which is the Random column of Hu et al. 2021, table 7
    spread needs `quartic` = Σσᵢ(W)⁴ = ‖WᵀW‖_F² as well
    """
    (a, b), (c, e) = (_projector_moments(rank, d) for d in shape)
    square = norm**4
    trace_squared = c * square + 2 * e * quartic  # E (tr WQWᵀ)², Q uniform over the inputs
    trace_of_square = c * quartic + e * (quartic + square)  # E tr((WQWᵀ)²)
    mean = norm**2 * rank**2 / (shape[0] * shape[1])
    return Null(mean, np.sqrt(max(a * trace_squared + 2 * b * trace_of_square - mean**2, 0.0)))


def _projector_moments(rank: int, d: int) -> tuple[float, float]:
    """a and b of E PᵢⱼPₖₗ = a·δᵢⱼδₖₗ + b·(δᵢₖδⱼₗ + δᵢₗδⱼₖ), from tr P = rank and P² = P."""
    b = rank * (d - rank) / (d * max(d - 1, 1) * (d + 2))
    return (rank**2 - 2 * b * d) / d**2, b


@lru_cache(maxsize=256)
def product_spectra(out: int, inputs: int, rank: int, draws: int, seed: int) -> np.ndarray:
    """Singular values of B·A, Gaussian B (out, rank) and A (rank, in), scaled to ‖BA‖_F = 1: (draws, rank).

    B = Q·R with R upper triangular, independent entries: χ with out−k degrees on the diagonal, N(0, 1) above
    it (Bartlett 1933). So σ(BA) = σ(R_B·R_Aᵀ), rank × rank, exactly.
    """
    rng = np.random.default_rng(seed)
    cores = _bartlett(rng, out, rank, draws) @ _bartlett(rng, inputs, rank, draws).transpose(0, 2, 1)
    return _unit(np.linalg.svd(cores, compute_uv=False))


@lru_cache(maxsize=256)
def gaussian_spectra(out: int, inputs: int, draws: int, seed: int) -> np.ndarray:
    """Singular values of a Gaussian matrix (out, in), scaled to ‖·‖_F = 1: (draws, min(out, in)).

    Marchenko–Pastur with its fluctuations at this size: the singular values of a bidiagonal matrix of χ
    variables have the same law (Dumitriu & Edelman 2002), and cost O(min(out, in)²).
    """
    rng, few = np.random.default_rng(seed), min(out, inputs)
    power = np.stack([eigvalsh_tridiagonal(*_gram(rng, few, max(out, inputs))) for _ in range(draws)])
    return _unit(np.sqrt(power.clip(min=0))[:, ::-1])


@lru_cache(maxsize=256)
def gaussian_ceiling(out: int, inputs: int, count: int, draws: int, seed: int) -> np.ndarray:
    """The largest σ₁/‖·‖_F in `draws` Gaussian matrices of shape (out−k, in−k), for k = 0..count−1: (count,).

    What is left of a matrix without its top k directions is of that shape.
    """
    rng, few, more = np.random.default_rng(seed), min(out, inputs), abs(out - inputs)
    grams = [[_gram(rng, few - k, few - k + more) for _ in range(draws)] for k in range(count)]
    return np.array([max(_top_share(*gram) for gram in at) for at in grams])


def _bartlett(rng: np.random.Generator, d: int, rank: int, draws: int) -> np.ndarray:
    core = np.triu(rng.standard_normal((draws, rank, rank)), 1)
    core[:, range(rank), range(rank)] = np.sqrt(rng.chisquare(d - np.arange(rank), (draws, rank)))
    return core


def _gram(rng: np.random.Generator, few: int, many: int) -> tuple[np.ndarray, np.ndarray]:
    """BᵀB of the bidiagonal B, (few, few): its diagonal and what stands beside that."""
    diagonal = rng.chisquare(many - np.arange(few))
    above = rng.chisquare(np.arange(few - 1, 0, -1)) if few > 1 else np.empty(0)
    return diagonal + np.concatenate([[0.0], above]), np.sqrt(diagonal[:-1] * above)


def _top_share(diagonal: np.ndarray, beside: np.ndarray) -> float:
    last = len(diagonal) - 1
    power = eigvalsh_tridiagonal(diagonal, beside, select="i", select_range=(last, last))[0]
    return float(np.sqrt(power / diagonal.sum()))


def _unit(values: np.ndarray) -> np.ndarray:
    values = values / np.linalg.norm(values, axis=-1, keepdims=True)
    values.flags.writeable = False  # every caller of the cache shares it
    return values


def haar(d: int, k: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """k orthonormal directions of ℝᵈ, uniform: (d, k)."""
    Q, R = torch.linalg.qr(torch.randn(d, k, generator=generator, dtype=dtype))
    return Q * R.diagonal().sign()  # without the signs QR's own convention would show
