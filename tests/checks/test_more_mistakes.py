"""Wrong answers of a second class: each was once accepted, or told nothing, or told something else."""

import math
import re

import numpy as np
import pytest
import scipy.stats
import test_derive as d
import test_inside_delta_w as i
import test_intrinsic_rank as r
import test_project as p
import test_serve as s
import test_train as t
import torch
from answers import SEEDS
from torch import nn
from torch.nn import functional as F

from lorakit.analysis import similarity
from lorakit.checks import CheckFailed

sv = torch.linalg.svdvals


def zero_or(formula):
    return lambda delta: formula(sv(delta)) if delta.any() else 0.0


def entropy(shares):
    return -(shares * shares.log())[shares > 0].sum()


def kept(model):
    """BitFit that sets what it trains to zero."""
    names = t.only(t.bias)(model)
    for name in names:
        nn.init.zeros_(model.get_parameter(name))
    return names


def step_in_no_grad(model, batch, optimizer, clip):
    with torch.no_grad():
        loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()


def step_with_accuracy(model, batch, optimizer, clip):
    right = (model(batch[0]).argmax(-1) == batch[1]).float().mean().item()
    t.step(model, batch, optimizer, clip)
    return right


def first_and_second(a, b):
    ends = {kind: [name for name in a if name.endswith(kind)] for kind in ("query", "value")}
    return {kind: np.median([similarity(a[n], b[n]).phi[0, 1] for n in names]) for kind, names in ends.items()}


def one_A(measure, out, inputs, rank, draws, seed):
    g = torch.Generator().manual_seed(seed)
    A = torch.randn(rank, inputs, generator=g)
    values = [measure(torch.randn(out, rank, generator=g) @ A) for _ in range(draws)]
    return np.mean(values), np.std(values)


def seed_after_seed(measure, out, inputs, rank, draws, seed):
    values = [measure(r.gaussian(out, inputs, rank, torch.Generator().manual_seed(seed + n))) for n in range(draws)]
    return np.mean(values), np.std(values)


def small_factors(out, inputs, rank, g):
    return r.gaussian(out, inputs, rank, g) / rank**0.5


def centred(out, inputs, rank, g):
    return (torch.rand(out, rank, generator=g) - 0.5) @ (torch.rand(rank, inputs, generator=g) - 0.5)


def none_for_none(value):
    def d90(score, ladder, full):
        found = r.d90_by_bisect(score, ladder, full)
        return value if found == math.inf else found

    return d90


def instead(value):
    def scale(config):
        try:
            return s.scale_checked(config)
        except ValueError:
            return value

    return scale


def refusing_with(kind):
    def scale(config):
        try:
            return s.scale_checked(config)
        except ValueError as error:
            raise kind(str(error)) from None

    return scale


def naming_all(config):
    if None in (config.get(key) for key in ("r", "lora_alpha", "use_rslora")):
        raise ValueError("r, lora_alpha and use_rslora are needed")
    return s.scale_checked(config)


def by_lookup(tensors, layers, rank):
    return [("shape", key) for key, shape in s.wanted_shapes(layers, rank).items() if tensors[key].shape != shape]


def of_class(read):
    return s.latency_with(read=read)


def drifting(change):
    return lambda W, deltas, rounds: change(W, deltas, rounds)


def paired(centre=np.mean, spread=lambda d: d.std(ddof=1), quantile=0.975, ends=None):
    def answer(ours, theirs):
        difference = np.subtract(ours, theirs)
        half = scipy.stats.t.ppf(quantile, len(difference) - 1) * spread(difference) / len(difference) ** 0.5
        return centre(difference), difference.mean() - half, difference.mean() + half

    return answer


def sorted_pairs(ours, theirs):
    return p.paired_by_numpy(sorted(ours), sorted(theirs))


def absolute(ours, theirs):
    return p.paired_by_numpy(np.abs(np.subtract(ours, theirs)), np.zeros(len(ours)))


def leak_around(train, test):
    known = [p.normal(text) for text, _ in train]
    return [n for n, (text, _) in enumerate(test) if any(other in p.normal(text) for other in known)]


WRONG = {
    d.CHECKS["scale"]: [(lambda a, r: round(a / r, 1), "rounded"), (lambda a, r: a - r, "one fraction of the two")],
    d.CHECKS["delta"]: [
        (lambda B, A, a: a // len(A) * B @ A, "// rounds"),
        (lambda B, A, a: B @ A / a, "α stands below"),
    ],
    d.CHECKS["formula"]: [
        (lambda w, r: sum(r * (o + i) for o, i in w) / 2, "half of it"),
        (lambda w, r: len(w) * r * sum(w[0]), "not those of the first"),
        (lambda w, r: sum(r * (o + i) + o for o, i in w), "biases are counted"),
    ],
    d.CHECKS["counted"]: [(lambda m: sum(q.nbytes for q in m.parameters() if q.requires_grad), "bytes")],
    d.CHECKS["forward"]: [
        (lambda x, W, b, A, B, a: x @ W.T + b + a / len(W) * (x @ A.T @ B.T), "divided by a side"),
        (lambda x, W, b, A, B, a: x @ W.T + b + a / W.shape[1] * (x @ A.T @ B.T), "divided by a side"),
        (lambda x, W, b, A, B, a: x @ W.T + b - a / len(A) * (x @ A.T @ B.T), "taken off"),
    ],
    d.CHECKS["gradients"]: [(lambda *a: (d.grads(*a)[0].T, d.grads(*a)[1]), "the first: the shape is .* a transpose")],
    d.CHECKS["merge"]: [
        (lambda W, A, B, a: d.merged(W, A, B, a).float(), "the layer stores bfloat16, and float32 came back"),
        (lambda W, A, B, a: d.merged(W, A, B, a).double(), "the layer stores float32, and float64 came back"),
    ],
    t.CHECKS["select"]: [(lambda m, q: sorted(t.select(m, q)), "in another order or twice")],
    t.CHECKS["step"]: [
        (step_in_no_grad, "finds no way to a parameter"),
        (lambda *a: t.step(*a) and None, "losses: .*returned None"),
        (step_with_accuracy, "not the loss of each"),
        (lambda *a: (t.step(*a), t.step(*a))[0], "two steps"),
        (lambda m, b, o, c: t.step(m, b, o, 1.0), "clip is taken to be 1"),
    ],
    t.CHECKS["stored"]: [(lambda o: t.stored(o) / 1e6, "megabytes"), (lambda o: t.stored(o) * 8, "bits")],
    t.CHECKS["bitfit"]: [(kept, "has other values now")],
    t.CHECKS["bottleneck"]: [
        (lambda h, D, c, U, e: h + F.silu(h @ D.T + c) @ U.T + e, "SiLU"),
        (lambda h, D, c, U, e: h * t.bottleneck(h, D, c, U, e), "h is multiplied"),
    ],
    t.CHECKS["sizes"]: [
        (lambda *a: tuple(n + 1 for n in t.sizes(*a)), "one too large"),
        (lambda *a: tuple(n - 1 for n in t.sizes(*a)), "one too small"),
        (lambda *a: (t.sizes(*a)[0] // 2, t.sizes(*a)[1]), "two matrices and two biases"),
    ],
    i.CHECKS["phi"]: [
        (lambda U, V: 1 - i.phi(U, V), "not shared"),
        (lambda U, V: i.phi(U.flip(1), V.flip(1)), "from the last"),
    ],
    i.CHECKS["factor"]: [
        (lambda D, W, r: i.factor(W, D, r), "swapped"),
        (lambda D, W, r: i.factor(D, W, 1), "only the first direction"),
        (lambda D, W, r: torch.linalg.norm(D) / torch.linalg.norm(W), "or W as it is"),
    ],
    i.CHECKS["factor_null"]: [
        (lambda d, w, r, o, i: d / w * r * math.sqrt(o * i), "r stands above"),
        (lambda d, w, r, o, i: d / w / r, r"√\(out·in\) is missing"),
        (lambda d, w, r, o, i: d + w, "for GPT-3 that is 0.02"),
    ],
    i.CHECKS["truncated"]: [(lambda B, A, k: (B[:, -k:], A[-k:]), "the last k columns")],
    i.CHECKS["medians"]: [
        (first_and_second, r"this is φ\(1, 2\)"),
        (i.medians_with(lambda v: sorted(v)[len(v) // 2]), "the mean of two"),
        (lambda a, b: {n: similarity(a[n], b[n]).phi[0, 0] for n in a}, "the names differ"),
    ],
    r.CHECKS["stable"]: [
        (zero_or(lambda q: (q**2).sum() / q[min(1, len(q) - 1)] ** 2), "the second σ"),
        (zero_or(lambda q: (q**2).sum()), "alone: divide"),
        (zero_or(lambda q: (q**2).sum() / q[0] ** 2 + 0.5), "all of the squares"),
    ],
    r.CHECKS["effective"]: [
        (zero_or(lambda q: entropy(q[q > 0.01 * q[0]] / q[q > 0.01 * q[0]].sum()).exp()), "small σ are left out"),
        (zero_or(lambda q: entropy(q / q[0]).exp()), "divided by σ₁"),
        (zero_or(lambda q: entropy(q / q.sum()).exp().round()), "rounded"),
    ],
    r.CHECKS["energy"]: [
        (lambda delta, share: r.energy_by_cumsum(delta, 0.9), "the share is an argument"),
        (lambda delta, share: r.energy_by_cumsum(delta, share) + 1, "one direction too many"),
        (lambda delta, share: 0.5, "running sums of σ²"),
    ],
    r.CHECKS["chance"]: [
        (one_A, "the same in every draw"),
        (seed_after_seed, r"not a new one from seed \+ n"),
        (r.chance(small_factors), "have variance 1"),
        (r.chance(centred), "have variance 1"),
        (r.chance(r.gaussian, read=lambda v: (v.median(), v.std())), "the median"),
        (r.chance(r.gaussian, read=lambda v: (v.mean() + 1, v.std())), "a pair: the mean"),
    ],
    r.CHECKS["subspace"]: [
        (lambda start, P, z: r.subspace_by_split(start, P, z)[::-1], "came back from the last"),
        (lambda start, P, z: r.subspace_by_split(start, P, 2 * z), "twice as long"),
        (lambda start, P, z: r.subspace_by_split(start, P, z.abs()), "cut P·z into pieces"),
    ],
    r.CHECKS["descend"]: [
        (lambda W0, P, x, y, steps, lr: r.training(W0, P, x, y, 1, lr), "this is one step"),
        (lambda W0, P, x, y, steps, lr: r.training(W0, P, x, y, 1, steps * lr), "work it out anew"),
        (lambda W0, P, x, y, steps, lr: r.training(W0, P, x, y, steps, 0.7 * lr), "lr stays what it is"),
    ],
    r.CHECKS["d90"]: [
        (none_for_none(None), "that is ∞"),
        (none_for_none(-1), "that is ∞"),
        (lambda score, ladder, full: 0.5, "one of the ladder, or ∞"),
    ],
    s.CHECKS["storage"]: [
        (lambda *a: [n / 1e9 for n in s.storage(*a)], "off by a factor of 1e-09"),
        (lambda P, n, m, d, r, size: s.storage(P, n, 1, d, r, size), "only one matrix"),
        (lambda P, n, m, d, r, size: (P * n * size, P * size + n * 2 * m * d * r), "take `size` bytes as well"),
    ],
    s.CHECKS["mixed"]: [
        (lambda x, W, A, B, task: s.mixed_bmm(x, W, A, B, (task - 1).clamp(min=-1)), "one too low"),
        (lambda x, W, A, B, task: 2 * s.mixed_bmm(x, W, A, B, task) - x @ W.T, "added twice"),
        (lambda x, W, A, B, task: 3 * s.mixed_bmm(x, W, A, B, task) - x @ W.T, "row i goes through W"),
    ],
    s.CHECKS["switch"]: [
        (lambda W, old, new: W, "as it was"),
        (lambda W, old, new: (s.switch_sum(W, old, new)).bfloat16(), "half precision"),
        (lambda W, old, new: s.switch_sum(W, old, new) + 1, "three terms"),
    ],
    s.CHECKS["drift"]: [
        (lambda *a: [100 * far for far in s.drift_plain(*a)], "percent"),
        (lambda *a: s.drift_plain(*a)[::-1], "comes first here"),
        (lambda W, deltas, rounds: s.drift_plain(W, deltas[:1], rounds), "only the first adapter"),
    ],
    s.CHECKS["survived"]: [
        (lambda W, delta: s.survived_masked(W, delta) if delta.any() else 0.0, "all of nothing survived"),
        (lambda W, delta: 0.123, "of the entries where ΔW is not 0"),
    ],
    s.CHECKS["scale"]: [
        (instead(None), "^None came back"),
        (instead(math.nan), "^nan came back"),
        (refusing_with(RuntimeError), "refuses with RuntimeError"),
        (refusing_with(AssertionError), "refuses with AssertionError"),
        (naming_all, "names keys that are there"),
        (instead(ValueError("r")), "raise it"),
    ],
    s.CHECKS["ledger"]: [
        (by_lookup, "looked up before anybody asked"),
        (lambda *a: [(key, what) for what, key in s.ledger_by_sets(*a)], r"these are \(key, what\)"),
        (lambda *a: [(what, key.removesuffix(".weight")) for what, key in s.ledger_by_sets(*a)], "end in .weight"),
    ],
    s.CHECKS["latency"]: [
        (of_class(lambda took: (took.min(), took.std())), "the fastest call"),
        (of_class(lambda took: (took.mean(), np.ptp(took))), "this is the range"),
        (of_class(lambda took: (took.mean(), took.var())), "the variance"),
        (of_class(lambda took: (1e3 * took.mean(), 1e3 * took.std())), "microseconds"),
        (of_class(lambda took: (took[1:].mean(), took[1:].std())), "the first round"),
    ],
    p.CHECKS["leak"]: [
        (leak_around, "holds another one"),
        (lambda train, test: [n + 1 for n in p.leak_by_set(train, test)], "count from 0"),
        (
            lambda train, test: [n in p.leak_by_set(train, test) for n in range(len(test))],
            "True or False for every row|came back",
        ),
    ],
    p.CHECKS["interval"]: [
        (p.wilson(2.0), "rule of thumb"),
        (lambda k, n: scipy.stats.binomtest(k, n).proportion_ci(0.95, method="exact"), "Clopper"),
        (lambda k, n: p.interval_by_formula(n - k, n), "wrong answers"),
        (lambda k, n: [round(end, 2) for end in p.interval_by_formula(k, n)], "rounded"),
    ],
    p.CHECKS["beyond"]: [
        (lambda value, chance: round(p.beyond_by_sum(value, chance), 2), "rounded"),
        (lambda value, chance: 1 / p.beyond_by_sum(value, chance), "upside down"),
        (lambda value, chance: sum(draw < value for draw in chance) / len(chance), "share of draws below"),
        (lambda value, chance: 0.5, "count the draws that reach"),
    ],
    p.CHECKS["paired"]: [
        (sorted_pairs, "were sorted"),
        (absolute, "signs are lost"),
        (paired(centre=np.median), "the median stands"),
        (paired(quantile=0.995), "is for 99 %"),
        (paired(spread=lambda diff: 3 * diff.std(ddof=1)), "seed by seed; their mean"),
    ],
    p.CHECKS["claims"]: [
        (p.with_one(claim="TODO: write this claim here"), "still to be written"),
        (p.with_one(claim="Do two runs share a direction?"), "no question"),
    ],
}


@pytest.mark.parametrize(("check", "answer", "words"), [(c, *row) for c, rows in WRONG.items() for row in rows])
def test_it_is_told_why(check, answer, words):
    for seed in SEEDS:
        with pytest.raises(CheckFailed) as failure:
            check(answer, seed=seed)
        assert re.search(words, failure.value.diagnosis or "nothing"), str(failure.value)
