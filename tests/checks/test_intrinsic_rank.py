"""Assignment 4: right answers written differently, and wrong ones as students give them, each told why."""

import bisect
import math
import random
from functools import partial

import numpy as np
import torch
from answers import Answered, checks_of
from torch.nn import functional as F

from lorakit.checks import intrinsic_rank as checks

CHECKS = checks_of(checks)
sv = torch.linalg.svdvals


# ── Right ───────────────────────────────────────────────────────────────────────────────────────────────


def stable_by_svd(delta):
    sigma = sv(delta)
    return float((sigma**2).sum() / sigma[0] ** 2) if sigma[0] > 0 else 0.0


def stable_by_norms(delta):
    top = torch.linalg.matrix_norm(delta.double(), 2)
    return (torch.linalg.matrix_norm(delta.double()) / top) ** 2 if top else 0


def stable_by_gram(delta):
    power = np.linalg.eigvalsh((delta.T @ delta).double().numpy())
    return np.trace((delta.T @ delta).numpy()) / power[-1] if power[-1] > 0 else np.float64(0)


def effective_by_svd(delta):
    sigma = sv(delta)
    p = sigma[sigma > 0] / sigma.sum()
    return torch.exp(-(p * p.log()).sum()) if len(p) else 0.0


def effective_by_loop(delta):
    sigma = sv(delta.double()).tolist()
    total, entropy = sum(sigma), 0.0
    for s in sigma:
        if s > 1e-12:
            entropy -= s / total * math.log2(s / total)
    return 2**entropy if total else 0


def effective_by_entr(delta):
    sigma = sv(delta)
    return float(torch.special.entr(sigma / sigma.sum()).sum().exp()) if sigma.any() else 0


def energy_by_cumsum(delta, share):
    power = sv(delta) ** 2
    return int((power.cumsum(0) / power.sum() < share).sum()) + 1


def energy_by_loop(delta, share):
    total, held = float((delta**2).sum()), 0.0
    for k, s in enumerate(sv(delta), 1):
        held += float(s) ** 2
        if held >= share * total:
            return k


def energy_by_search(delta, share):
    power = np.linalg.svd(delta.numpy(), compute_uv=False) ** 2
    return np.searchsorted(np.cumsum(power), share * power.sum()) + 1


def chance_by_loop(measure, out, inputs, rank, draws, seed):
    g = torch.Generator().manual_seed(seed)
    values = [
        measure(torch.randn(out, rank, generator=g) @ torch.randn(rank, inputs, generator=g)) for _ in range(draws)
    ]
    return torch.tensor(values).double().mean(), torch.tensor(values).double().std()


def chance_by_numpy(measure, out, inputs, rank, draws, seed):
    rng = np.random.default_rng(seed)
    deltas = rng.standard_normal((draws, out, rank)) @ rng.standard_normal((draws, rank, inputs))
    values = [measure(delta) for delta in deltas]
    return np.mean(values), np.std(values)


def chance_in_a_fork(measure, out, inputs, rank, draws, seed):
    with torch.random.fork_rng(devices=[]):
        return chance_by_global_seed(measure, out, inputs, rank, draws, seed)


def chance_by_global_seed(measure, out, inputs, rank, draws, seed):
    torch.manual_seed(seed)
    B, A = torch.randn(draws, out, rank).double(), torch.randn(draws, rank, inputs).double()
    values = np.array([float(measure(b @ a)) for b, a in zip(B, A)])
    return [values.mean(), values.std(ddof=1)]


def subspace_by_split(start, P, z):
    return [t + m.view(t.shape) for t, m in zip(start, (P @ z).split([t.numel() for t in start]))]


def subspace_by_offset(start, P, z):
    moved, at = [], 0
    for t in start:
        moved.append(t + (P[at : at + t.numel()] * z).sum(1).reshape(t.shape))
        at += t.numel()
    return moved


def subspace_flat(start, P, z):
    theta = torch.cat([t.reshape(-1) for t in start]) + torch.einsum("ij,j->i", P, z)
    ends = np.cumsum([t.numel() for t in start])
    return tuple(theta[end - t.numel() : end].reshape_as(t) for t, end in zip(start, ends))


def descend_by_autograd(W0, P, x, y, steps, lr):
    z = torch.zeros(P.shape[1], dtype=P.dtype, requires_grad=True)
    for _ in range(steps):
        loss = F.mse_loss(x @ (W0 + (P @ z).view_as(W0)).T, y)
        (gradient,) = torch.autograd.grad(loss, z)
        z = (z - lr * gradient).detach().requires_grad_()
    return (W0 + (P @ z).view_as(W0)).detach()


def descend_by_optimiser(W0, P, x, y, steps, lr):
    z = torch.nn.Parameter(P.new_zeros(P.shape[1]))
    optimiser = torch.optim.SGD([z], lr=lr)
    for _ in range(steps):
        optimiser.zero_grad()
        ((x @ (W0 + (P @ z).reshape(W0.shape)).mT - y) ** 2).mean().backward()
        optimiser.step()
    return W0 + (P @ z).view(W0.shape)


def descend_by_hand(W0, P, x, y, steps, lr):
    W = W0.clone()
    for _ in range(steps):
        G = (2 / y.numel()) * (x @ W.T - y).T @ x
        W -= lr * (P @ (P.T @ G.flatten())).view_as(W)
    return W


def d90_by_bisect(score, ladder, full):
    null = score(0)
    place = bisect.bisect_left(ladder, null + 0.9 * (full - null), key=score)
    return ladder[place] if place < len(ladder) else math.inf


def d90_by_halving(score, ladder, full):
    untrained = score(0)
    low, high = -1, len(ladder)
    while high - low > 1:
        middle = (low + high) // 2
        if score(ladder[middle]) - untrained >= 0.9 * (full - untrained):
            high = middle
        else:
            low = middle
    return float("inf") if high == len(ladder) else ladder[high]


def d90_by_recursion(score, ladder, full):
    null = score(0)
    target = 0.1 * null + 0.9 * full

    def least(rungs):
        if not rungs:
            return None
        middle = len(rungs) // 2
        if score(rungs[middle]) < target:
            return least(rungs[middle + 1 :])
        below = least(rungs[:middle])
        return rungs[middle] if below is None else below

    found = least(list(ladder))
    return torch.inf if found is None else found


def disagree_diagonal(out, inputs):
    delta = torch.zeros(out, inputs)
    delta.fill_diagonal_(0.04)
    delta[0, 0] = 1
    return delta


def disagree_on_the_line(out, inputs):
    """A stable rank of 1.2, or what float32 makes of it."""
    sigma = torch.full((64,), (0.2 / 63) ** 0.5)
    sigma[0] = 1
    delta = torch.zeros(out, inputs)
    delta[range(64), range(64)] = sigma
    return delta


def disagree_noisy(out, inputs):
    g = torch.Generator().manual_seed(1)
    u, v = torch.randn(out, 1, generator=g), torch.randn(1, inputs, generator=g)
    return u @ v + 0.2 * torch.randn(out, inputs, generator=g)


def disagree_numpy(out, inputs):
    sigma = np.full(min(out, inputs), 0.04)
    sigma[0] = 1
    rng = np.random.default_rng()
    U, V = (np.linalg.qr(rng.standard_normal((d, len(sigma))))[0] for d in (out, inputs))
    return U @ np.diag(sigma) @ V.T


RIGHT = {
    "stable": [stable_by_svd, stable_by_norms, stable_by_gram],
    "effective": [effective_by_svd, effective_by_loop, effective_by_entr],
    "energy": [energy_by_cumsum, energy_by_loop, energy_by_search],
    "chance": [chance_by_loop, chance_by_numpy, chance_in_a_fork],
    "subspace": [subspace_by_split, subspace_by_offset, subspace_flat],
    "descend": [descend_by_autograd, descend_by_optimiser, descend_by_hand],
    "d90": [d90_by_bisect, d90_by_halving, d90_by_recursion],
    "disagree": [disagree_diagonal, disagree_noisy, disagree_numpy, disagree_on_the_line],
}


# ── Wrong ───────────────────────────────────────────────────────────────────────────────────────────────


def entropy(p):
    p = p[p > 0]
    return -(p * p.log()).sum()


def zero_or(formula):
    return lambda delta: formula(sv(delta)) if delta.any() else 0.0


def chance(factors, *, draws=lambda n: n, read=lambda v: (v.mean(), v.std()), start=lambda seed: seed):
    def by_chance(measure, out, inputs, rank, draws_, seed):
        g = torch.Generator().manual_seed(start(seed))
        values = [measure(factors(out, inputs, rank, g)) for _ in range(draws(draws_))]
        return read(torch.tensor(values, dtype=torch.float64))

    return lambda measure, out, inputs, rank, draws, seed: by_chance(measure, out, inputs, rank, draws, seed)


def gaussian(out, inputs, rank, g):
    return torch.randn(out, rank, generator=g) @ torch.randn(rank, inputs, generator=g)


def one_draw(measure, out, inputs, rank, draws, seed):
    values = [measure(gaussian(out, inputs, rank, torch.Generator().manual_seed(seed))) for _ in range(draws)]
    return np.mean(values), np.std(values)


def unseeded(measure, out, inputs, rank, draws, seed):
    g = torch.Generator()
    g.seed()
    values = [measure(gaussian(out, inputs, rank, g)) for _ in range(draws)]
    return np.mean(values), np.std(values)


def chance_by_numpys_global_seed(measure, out, inputs, rank, draws, seed):
    random = np.random  # the old interface, which is what is wrong here
    random.seed(seed)
    values = [measure(random.randn(out, rank) @ random.randn(rank, inputs)) for _ in range(draws)]
    return np.mean(values), np.std(values)


def chance_by_the_standard_library(measure, out, inputs, rank, draws, seed):
    random.seed(seed)

    def normal(*shape):
        return torch.tensor([random.gauss(0, 1) for _ in range(math.prod(shape))]).view(shape)

    values = torch.tensor([measure(normal(out, rank) @ normal(rank, inputs)) for _ in range(draws)]).double()
    return values.mean(), values.std()


def in_place(start, P, z):
    with torch.no_grad():
        for t, m in zip(start, (P @ z).split([t.numel() for t in start])):
            t += m.view_as(t)
    return start


def training(W0, P, x, y, steps, lr, *, loss=F.mse_loss, zero=True, sign=1, only_z=False, free=False):
    z = torch.zeros(W0.numel() if free else P.shape[1], dtype=P.dtype, requires_grad=True)

    def placed():
        return (z if free else P @ z).view_as(W0)

    for _ in range(steps):
        loss(x @ (W0 + placed()).T, y).backward()
        with torch.no_grad():
            z -= sign * lr * z.grad
        if zero:
            z.grad = None
    return (placed() if only_z else W0 + placed()).detach()


def scan(score, ladder, full):
    null = score(0)
    return next((d for d in ladder if score(d) >= null + 0.9 * (full - null)), math.inf)


def between(score, ladder, full):
    low, high = 0, ladder[-1]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if score(middle) >= 0.9 * full else (middle, high)
    return high


def with_target(target, found=lambda ladder, place: ladder[place] if place < len(ladder) else math.inf):
    def d90(score, ladder, full):
        wanted = target(score(0), full)
        return found(ladder, bisect.bisect_left(ladder, wanted, key=score))

    return d90


def gain(null, full):
    return null + 0.9 * (full - null)


def rung(step):
    return lambda ladder, place: ladder[min(max(place + step, 0), len(ladder) - 1)]


def d90_above(score, ladder, full):
    target, low, high = gain(score(0), full), -1, len(ladder)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if score(ladder[middle]) > target else (middle, high)
    return ladder[high] if high < len(ladder) else math.inf


def ascending(delta, share):
    power = sv(delta).flip(0) ** 2
    return int((power.cumsum(0) / power.sum() < share).sum()) + 1


def uniform(out, inputs, rank, g):
    return torch.rand(out, rank, generator=g) @ torch.rand(rank, inputs, generator=g)


def orthonormal(out, inputs, rank, g):
    U, V = (torch.linalg.qr(torch.randn(d, rank, generator=g)).Q for d in (out, inputs))
    return U @ V.T


def moves(start, P, z):
    return zip(start, (P @ z).split([t.numel() for t in start]))


def by_columns(move, t):
    return move.view(t.shape[::-1]).permute(*range(t.ndim)[::-1])


def two_directions(out, inputs):
    delta = torch.zeros(out, inputs)
    delta[0, 0] = delta[1, 1] = 1
    return delta


WRONG = {
    "stable": [
        (zero_or(lambda s: s.sum() / s[0]), "weighs directions by σ;"),
        (zero_or(lambda s: s.norm() / s[0]), "square root"),
        (zero_or(lambda s: (s**2).sum() / s[0]), "not σ₁²"),
        (zero_or(lambda s: s[0] ** 2 / (s**2).sum()), "upside down"),
        (lambda d: (d**2).sum() / d.abs().max() ** 2 if d.any() else 0, "largest entry"),
        (lambda d: int(torch.linalg.matrix_rank(d)), "not 0"),
        (zero_or(lambda s: (s**2).sum() ** 2 / (s**4).sum()), "participation ratio"),
        (lambda d: float((d**2).sum() / sv(d)[0] ** 2), "0/0"),
        (zero_or(lambda s: (s**2).sum() / s[-1] ** 2), "divides by the last"),
        (zero_or(lambda s: round(float((s**2).sum() / s[0] ** 2))), "whole number"),
    ],
    "effective": [
        (zero_or(lambda s: entropy(s**2 / (s**2).sum()).exp()), "Roy and Vetterli"),
        (zero_or(lambda s: entropy(s / s.sum())), "entropy H itself"),
        (zero_or(lambda s: (entropy(s / s.sum()) / math.log(2)).exp()), "H in bits goes with"),
        (zero_or(lambda s: 2 ** entropy(s / s.sum())), r"2\^H needs"),
        (zero_or(lambda s: (-entropy(s / s.sum())).exp()), "minus"),
        (lambda d: torch.linalg.matrix_rank(d), "counts the σ"),
        (zero_or(lambda s: (s / s[0]).square().sum()), "stable rank"),
        (zero_or(lambda s: (s**2).sum() ** 2 / (s**4).sum()), "participation"),
        (lambda d: float(torch.exp(-((p := sv(d) / sv(d).sum()) * p.log()).sum())), "0·ln 0"),
        (lambda d: float(entropy((s := sv(d))[s > 0] / s.sum()).exp()), "an empty sum"),
        (zero_or(lambda s: entropy((s + 1e-8) / (s + 1e-8).sum()).exp()), "counts as directions"),
    ],
    "energy": [
        (lambda d, q: int((sv(d).cumsum(0) / sv(d).sum() < q).sum()) + 1, "this sums σ"),
        (lambda d, q: energy_by_cumsum(d, q) - 1, "counted from 0"),
        (lambda d, q: 24 - energy_by_cumsum(d, q), "left out"),
        (lambda d, q: math.ceil(q * 24), "share of the directions"),
        (lambda d, q: int(((sv(d) ** 2).cumsum(0).sqrt() / d.norm() < q).sum()) + 1, "share of ‖ΔW‖,"),
        (ascending, "smallest"),
        (lambda d, q: int((sv(d).square().cumsum(0) / d.square().sum() <= q).sum()) + 1, "at least means ≥"),
    ],
    "chance": [
        (chance(lambda o, i, r, g: torch.randn(o, i, generator=g)), "like is to be compared"),
        (chance(uniform), r"U\(0, 1\)"),
        (chance(lambda o, i, r, g: gaussian(o, i, r, g).T), r"\(out, in\)"),
        (one_draw, "inside the loop"),
        (unseeded, "two different sets"),
        (chance(gaussian, start=lambda seed: 0), "seed is not used"),
        (chance(gaussian, read=lambda v: (v.mean(), v.std() / len(v) ** 0.5)), "standard error"),
        (chance(gaussian, read=lambda v: (v.mean(), v.var())), "variance"),
        (chance(gaussian, read=lambda v: (v.std(), v.mean())), "mean comes first"),
        (chance(gaussian, draws=lambda n: 10), "called 10 times"),
        (chance(orthonormal), "not Gaussian"),
        (chance_by_global_seed, r"^torch\.manual_seed sets the generator that the whole"),
        (chance_by_numpys_global_seed, r"^np\.random\.seed sets"),
        (chance_by_the_standard_library, r"^random\.seed sets"),
    ],
    "subspace": [
        (lambda *args: [m.view_as(t) for t, m in moves(*args)], "θ₀ is missing"),
        (lambda s, P, z: [t + (P @ z)[: t.numel()].view_as(t) for t in s], "first entries"),
        (lambda *args: [t + by_columns(m, t) for t, m in moves(*args)], "column by column"),
        (lambda *args: [t - m.view_as(t) for t, m in moves(*args)], "the other way"),
        (in_place, "in place"),
        (lambda start, P, z: torch.cat([t.flatten() for t in start]) + P @ z, "one long vector"),
        (lambda start, P, z: subspace_by_split(start, P, z.detach()), "no gradient"),
        (lambda start, P, z: [t + 0 * z.sum() for t in start], "z does not come in"),
    ],
    "descend": [
        (partial(training, free=True), "it is z that trains"),
        (partial(training, loss=partial(F.mse_loss, reduction="sum")), "summed over rows and"),
        (partial(training, loss=lambda a, b: ((a - b) ** 2).sum(1).mean()), "over the outputs:"),
        (partial(training, zero=False), "pile up"),
        (partial(training, sign=-1), "goes up"),
        (partial(training, only_z=True), "W₀ is missing"),
        (partial(training, loss=lambda a, b: F.mse_loss(a, b) / 2), "brings a 2"),
        (lambda W0, P, x, y, steps, lr: training(W0, P, x, y, steps - 1, lr), "too few"),
        (lambda W0, P, x, y, steps, lr: training(W0, P, x, y, steps + 1, lr), "too many"),
        (lambda W0, P, x, y, steps, lr: W0, "where it started"),
    ],
    "d90": [
        (scan, "training run"),
        (with_target(lambda null, full: 0.9 * full), "no merit of z"),
        (with_target(lambda null, full: full), "full score itself"),
        (with_target(lambda null, full: 0.9 * (full - null)), "has to be added"),
        (with_target(gain, lambda ladder, place: place), "place in the ladder"),
        (with_target(gain, rung(-1)), "largest d that fails"),
        (with_target(gain, rung(1)), "one rung too high"),
        (with_target(gain, rung(0)), "that is ∞"),
        (between, "stands in the ladder"),
        (d90_above, "≥, not >"),
    ],
    "disagree": [
        (lambda out, inputs: torch.eye(out, inputs), "does not stand out"),
        (lambda out, inputs: torch.ones(out, inputs), "thin"),
        (two_directions, "too few of them"),
        (lambda out, inputs: disagree_diagonal(out, inputs).T, "transpose"),
        (lambda out, inputs: torch.full((min(out, inputs),), 0.04), r",\), and"),
        (lambda out, inputs: torch.zeros(out, inputs), "no direction is left"),
    ],
}


class TestIntrinsicRank(Answered):
    CHECKS, RIGHT, WRONG = CHECKS, RIGHT, WRONG
