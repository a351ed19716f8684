"""What a random ΔW = B·A gives, and a ΔW on which two counts of directions disagree.

    by_chance(measure, out, inputs, rank, draws, seed) → (mean, spread)        disagreeing(out, inputs) → ΔW

The matrices that the student's function draws are looked at themselves, through the measure it is handed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lorakit.analysis.chance import product_spectra
from lorakit.checks.checking import Case, call
from lorakit.checks.comparing import plain, same, usual
from lorakit.checks.drawing import Draw
from lorakit.checks.failing import fail, passed

PAIR = "a pair: the mean over all draws, and their standard deviation"
ROOM = 1e-5  # who stays on the line in float32 is on it


def check_chance(function: Callable, *, seed: int = 0) -> None:
    """`by_chance(measure, out, inputs, rank, draws, seed)` → (mean, spread) of random B·A; raises `CheckFailed`."""
    draw = Draw(seed)
    for out, inputs, rank, _ in draw.sizes(3, low=12, high=20):
        _check_draws(function, (out, inputs, rank + 1), draws=draw.integer(60, 90), start=draw.integer(0, 99))
    passed("chance", "3 shapes, each with two seeds")


def check_disagree(function: Callable, *, seed: int = 0) -> None:
    """`disagreeing(out, inputs)` → ΔW of stable rank ≤ 1.2 and effective rank ≥ 8; raises `CheckFailed`."""
    draw = Draw(seed)
    sizes = [draw.distinct(2, 64, 96) for _ in range(3)]
    for out, inputs in sizes:
        says = f"out = {out}, in = {inputs}"
        sigma = _spectrum(says, plain(call("disagree", function, Case(says, (out, inputs), None))), (out, inputs))
        if stable(sigma) > 1.2 + ROOM or effective(sigma) < 8 - ROOM:
            measured = f"stable rank {stable(sigma):.2f}, effective rank {effective(sigma):.2f}"
            fail("disagree", says, "stable rank ≤ 1.2, effective rank ≥ 8", measured, _why(sigma))
    passed("disagree", f"{len(sizes)} shapes")


def stable(sigma: np.ndarray) -> float:
    """Σσ²/σ₁², 0 for no direction."""
    return float((sigma**2).sum() / sigma.max() ** 2) if sigma.any() else 0.0


def effective(sigma: np.ndarray) -> float:
    """exp(−Σ p·ln p), p = σ/Σσ, 0 for no direction."""
    p = sigma[sigma > 0] / sigma.sum() if sigma.any() else np.ones(0)
    return float(np.exp(-(p * np.log(p)).sum())) if p.size else 0.0


# ── The null ────────────────────────────────────────────────────────────────────────────────────────────


def _check_draws(function: Callable, shape: tuple[int, int, int], draws: int, start: int) -> None:
    says = f"B ({shape[0]}, {shape[2]}), A ({shape[2]}, {shape[1]}), {draws} draws"
    moved: set[str] = set()
    watched = _watched(function, moved)
    runs = [_drawn(watched, says, shape, draws, number) for number in (start, start, start + 1)]
    returned, seen = runs[0]
    diagnosis = _unlike_chance(seen, shape, draws) or _unrepeatable([np.array(seen) for _, seen in runs])
    diagnosis = diagnosis or _overlapping(seen, runs[2][1]) or _reseeded(moved)
    if diagnosis:
        fail("chance", says, diagnosis=diagnosis)
    values = np.array([stable(np.linalg.svd(delta, compute_uv=False)) for delta in seen])
    expected = [values.mean(), values.std(ddof=1)]
    if not any(same([values.mean(), values.std(ddof=ddof)], returned, 1e-6) for ddof in (0, 1)):
        fail("chance", says, expected, returned, _misread(values, returned) or usual(expected, returned, 1e-6) or PAIR)
    likely = np.array([stable(sigma) for sigma in product_spectra(*shape, 2000, 7)])
    if abs(expected[0] - likely.mean()) > 6 * likely.std() / draws**0.5:
        fail("chance", says, likely.mean(), expected[0], "B and A are not Gaussian: draw every entry from N(0, 1)")
    size = float(np.mean(np.square(seen))) / shape[2]
    if abs(size - 1) > 0.2:
        why = "entries of B and A have variance 1, so those of B·A have r: another law, or a scale in front?"
        fail("chance", says, f"the mean of ΔW² is about {shape[2]}", f"{size * shape[2]:.3g}", why)


def _watched(function: Callable, moved: set[str]) -> Callable:
    """The function, and in `moved` the generators of everybody that it left in another state."""
    if not callable(function):
        return function

    def answer(*args: object, **kwargs: object) -> object:
        before = _generators()
        try:
            return function(*args, **kwargs)
        finally:
            moved.update(name for name, state in _generators().items() if state != before[name])

    return answer


def _generators() -> dict[str, object]:
    """The state of each generator that a whole program shares, by what seeds it."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (the one that students seed)
    numpy = (name, np.asarray(keys).tobytes(), *rest)
    return {
        "torch.manual_seed": torch.get_rng_state().numpy().tobytes(),
        "np.random.seed": numpy,
        "random.seed": random.getstate(),
    }


def _reseeded(moved: set[str]) -> str | None:
    if not moved:
        return None
    return (
        f"{min(moved)} sets the generator that the whole program draws from, so that whoever calls this draws other "
        "numbers afterwards: make a generator of your own, torch.Generator().manual_seed(seed)"
    )


def _drawn(function: Callable, says: str, shape: tuple[int, int, int], draws: int, start: int) -> tuple:
    """What the function returned, and all that it measured."""
    seen: list[np.ndarray] = []

    def measure(delta: Tensor) -> float:
        seen.append(np.array(plain(delta)))
        fits = seen[-1].ndim == 2 and np.issubdtype(seen[-1].dtype, np.number)
        return stable(np.linalg.svd(seen[-1], compute_uv=False)) if fits else float("nan")

    return call("chance", function, Case(says, (measure, *shape), None, {"draws": draws, "seed": start})), seen


def _unlike_chance(seen: Sequence[np.ndarray], shape: tuple[int, int, int], draws: int) -> str | None:
    if len(seen) != draws:
        return f"measure was called {len(seen)} times: it is to be called once for each of the {draws} draws"
    other = next((delta.shape for delta in seen if delta.shape != shape[:2]), None)
    if other is not None:
        return f"measure was given a {other}: it takes one ΔW = B·A of shape (out, in) = {shape[:2]}"
    if all(np.allclose(delta, seen[0]) for delta in seen):
        return "every draw is the same ΔW: is the generator made again inside the loop?"
    if any(np.linalg.matrix_rank(np.concatenate(seen[:2], axis), tol=1e-4) <= shape[2] for axis in (0, 1)):
        return "A or B is the same in every draw: draw both inside the loop"
    rank = np.linalg.matrix_rank(seen[0], tol=1e-4 * np.linalg.norm(seen[0]))
    if rank != shape[2]:
        return f"your random ΔW has rank {rank}, and B·A has rank {shape[2]}: like is to be compared with like"
    if np.mean(seen) > 0.2 * np.std(seen):
        return "your ΔW is positive on average, so that one direction stands out by itself: N(0, 1), not U(0, 1)"
    return None


def _unrepeatable(runs: Sequence[np.ndarray]) -> str | None:
    if not np.allclose(runs[0], runs[1]):
        return "called twice with one seed, it drew two different sets: draw from a generator made from the seed"
    return "another seed drew the same matrices: the seed is not used" if np.allclose(runs[0], runs[2]) else None


def _overlapping(seen: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> str | None:
    if not any(np.allclose(one, two) for one in seen for two in other):
        return None
    return "the next seed drew most of the same matrices: one generator from the seed, not a new one from seed + n"


def _misread(values: np.ndarray, returned: object) -> str | None:
    mean, spread = values.mean(), values.std(ddof=1)
    slips = {
        "this is the standard error of the mean, which shrinks with the draws; the spread is that of a single ΔW": [
            mean,
            spread / len(values) ** 0.5,
        ],
        "this is the variance: its square root has the unit of the measure": [mean, spread**2],
        "the mean comes first, then the spread": [spread, mean],
        "this is the median: the mean is asked for": [float(np.median(values)), spread],
        "this is the sum over the draws: their mean is asked for": [values.sum(), spread],
        "this is the range, the largest less the smallest: the standard deviation is asked for": [mean, np.ptp(values)],
    }
    return next((says for says, pair in slips.items() if same(pair, returned, 0.01 * spread)), None)


# ── A ΔW on which two counts disagree ───────────────────────────────────────────────────────────────────


def _spectrum(says: str, returned: object, shape: tuple[int, int]) -> np.ndarray:
    """The singular values of what was returned, or `CheckFailed`."""
    if not isinstance(returned, np.ndarray) or returned.shape != shape:
        fail("disagree", says, f"ΔW of shape {shape}", diagnosis=usual(np.zeros(shape), returned, 0.0))
    if not np.isfinite(returned).all() or not returned.any():
        fail(
            "disagree", says, f"ΔW of shape {shape}", diagnosis="zeros, NaN or infinity: no direction is left to count"
        )
    return np.linalg.svd(returned, compute_uv=False)


def _why(sigma: np.ndarray) -> str:
    if stable(sigma) <= 1.2 + ROOM:
        return "one direction stands out and next to nothing is beside it: the tail may be longer, or less thin"
    if effective(sigma) < 8:
        return "no direction stands out, and there are too few of them: one large σ, and many small ones"
    return "there are many directions, and the first does not stand out: ‖ΔW‖² has to lie almost all in σ₁²"
