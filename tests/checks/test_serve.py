"""Assignment 5: right answers written differently, and wrong ones as students give them, each told why."""

import math
import statistics
import time

import numpy as np
import pytest
import torch
from answers import Answered, checks_of
from torch.nn import functional as F

from lorakit.checks import serve
from lorakit.checks.serve.latency import Machine

CHECKS = checks_of(serve)


# ── Right ───────────────────────────────────────────────────────────────────────────────────────────────


def storage(parameters, tasks, matrices, d, rank, size):
    return parameters * tasks * size, (parameters + tasks * 2 * matrices * d * rank) * size


def storage_summed(parameters, tasks, matrices, d, rank, size):
    copies = sum(parameters * size for _ in range(tasks))
    adapters = sum(size * (d * rank + rank * d) for _ in range(tasks) for _ in range(matrices))
    return [copies, parameters * size + adapters]


def storage_numpy(parameters, tasks, matrices, d, rank, size):
    return np.array([parameters * tasks, parameters + tasks * matrices * (d + d) * rank]) * float(size)


def mixed_bmm(x, W, A, B, task):
    h = torch.bmm(torch.bmm(x, A[task].mT), B[task].mT)
    return x @ W.T + h * (task >= 0).view(-1, 1, 1)


def mixed_loop(x, W, A, B, task):
    y = F.linear(x, W)
    for i, t in enumerate(task):
        if t != -1:
            y[i] += x[i] @ A[t].T @ B[t].T
    return y


def mixed_padded(x, W, A, B, task):
    A = torch.cat([A, torch.zeros_like(A[:1])])
    B = torch.cat([B, torch.zeros_like(B[:1])])
    return torch.einsum("nti,oi->nto", x, W) + torch.einsum("nti,nri,nor->nto", x, A[task], B[task])


def mixed_grouped(x, W, A, B, task):
    y = (x.double() @ W.double().T).clone()
    for t in task.unique():
        rows = task == t
        if t >= 0:
            y[rows] = x[rows].double() @ (W.double() + B[t].double() @ A[t].double()).T
    return y


def switch_sum(W, old, new):
    return W - old[0] @ old[1] + new[0] @ new[1]


def switch_stacked(W, old, new):
    return W + torch.cat([new[0], -old[0]], 1) @ torch.cat([new[1], old[1]], 0)


def switch_in_double(W, old, new):
    (B, A), (B2, A2) = ((B.double(), A.double()) for B, A in (old, new))
    fresh = W.double().clone()
    fresh -= torch.einsum("or,ri->oi", B, A)
    fresh += torch.einsum("or,ri->oi", B2, A2)
    return fresh


def drift_plain(W, deltas, rounds):
    start, found = W.clone(), []
    for _ in range(rounds):
        for delta in deltas:
            W = W + delta
            W = W - delta
        found.append((W.float() - start.float()).norm() / start.float().norm())
    return found


def drift_in_place(W, deltas, rounds):
    now, found = W.clone(), torch.zeros(rounds)
    for k in range(rounds):
        for delta in deltas:
            now += delta
            now -= delta
        found[k] = float(torch.dist(now.double(), W.double()) / torch.linalg.matrix_norm(W.double()))
    return found


def drift_by_casts(W, deltas, rounds):
    start, kind, found = W.float(), W.dtype, []
    for _ in range(rounds):
        for delta in deltas:
            W = (W.float() + delta.float()).to(kind)
            W = (W.float() - delta.float()).to(kind)
        found.append(np.linalg.norm(W.float().numpy() - start.numpy()) / np.linalg.norm(start.numpy()))
    return np.array(found)


def survived_masked(W, delta):
    wanted = delta != 0
    moved = (W.float() + delta).to(W.dtype) != W
    return moved[wanted].float().mean().item() if wanted.any() else 1.0


def survived_counted(W, delta):
    merged = (W.to(torch.float32) + delta).type(W.dtype)
    meant = int(torch.count_nonzero(delta))
    return int(((merged != W) & (delta != 0)).sum()) / meant if meant else 1


def survived_numpy(W, delta):
    merged = (delta + W).to(W.dtype).float().numpy()
    at = np.nonzero(delta.numpy())
    return np.mean(merged[at] != W.float().numpy()[at]) if len(at[0]) else np.float64(1)


def scale_checked(config):
    for key in ("r", "lora_alpha", "use_rslora"):
        if config.get(key) is None:
            raise ValueError(f"{key} is not in the configuration: ask whoever trained it")
    r = config["r"]
    return config["lora_alpha"] / (r**0.5 if config["use_rslora"] else r)


def scale_matched(config):
    match config:
        case {"r": int(r), "lora_alpha": float(alpha) | int(alpha), "use_rslora": bool(root)}:
            return alpha * r**-0.5 if root else alpha / r
    missing = [key for key in ("use_rslora", "lora_alpha", "r") if config.get(key) is None]
    raise ValueError("not there: " + ", ".join(missing))


def scale_unpacked(config):
    values = [config.get(key) for key in ("lora_alpha", "r", "use_rslora")]
    if None in values:
        raise ValueError(f"no {('lora_alpha', 'r', 'use_rslora')[values.index(None)]!r}")
    alpha, r, root = values
    return torch.tensor(alpha / (math.sqrt(r) if root else r))


def wanted_shapes(layers, rank):
    wanted = {}
    for name, (out, inputs) in layers.items():
        wanted[f"base_model.model.{name}.lora_A.weight"] = (rank, inputs)
        wanted[f"base_model.model.{name}.lora_B.weight"] = (out, rank)
    return wanted


def ledger_by_sets(tensors, layers, rank):
    wanted = wanted_shapes(layers, rank)
    found = [("missing", key) for key in wanted.keys() - tensors.keys()]
    found += [("unknown", key) for key in tensors.keys() - wanted.keys()]
    both = wanted.keys() & tensors.keys()
    found += [("shape", key) for key in both if tuple(tensors[key].shape) != wanted[key]]
    fit = [key for key in both if tuple(tensors[key].shape) == wanted[key]]
    return found + [("not finite", key) for key in fit if not tensors[key].isfinite().all()]


def ledger_by_loop(tensors, layers, rank):
    problems, rest = [], dict(tensors)
    for layer, (out, inputs) in layers.items():
        for side, shape in (("A", [rank, inputs]), ("B", [out, rank])):
            key = "base_model.model." + layer + ".lora_" + side + ".weight"
            tensor = rest.pop(key, None)
            if tensor is None:
                problems.append(["missing", key])
            elif list(tensor.shape) != shape:
                problems.append(["shape", key])
            elif (tensor.isnan() | tensor.isinf()).any():
                problems.append(["not finite", key])
    return problems + [["unknown", key] for key in rest]


def ledger_by_key(tensors, layers, rank):
    def problem(key):
        layer, side, _ = key.removeprefix("base_model.model.").rsplit(".", 2)
        if layer not in layers:
            return "unknown"
        out, inputs = layers[layer]
        if tensors[key].shape != ((rank, inputs) if side == "lora_A" else (out, rank)):
            return "shape"
        return None if np.isfinite(tensors[key].numpy()).all() else "not finite"

    missing = {("missing", key) for key in wanted_shapes(layers, rank) if key not in tensors}
    return missing | {(what, key) for key in tensors if (what := problem(key))}


def latency_numpy(variants, rounds, warmup, clock):
    for _ in range(warmup):
        for run in variants.values():
            run()
    took = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            start = clock()
            run()
            took[name].append(1000 * (clock() - start))
    return {name: (np.mean(some), np.std(some)) for name, some in took.items()}


def latency_statistics(variants, rounds, warmup, clock):
    names = list(variants)
    [variants[name]() for name in names for _ in range(warmup)]
    took = []
    for n in range(rounds):
        row = []
        for name in names if n % 2 else names[::-1]:
            before = clock()
            variants[name]()
            row.append((name, clock() - before))
        took.append(dict(row))
    columns = {name: [row[name] * 1e3 for row in took] for name in names}
    return {name: [statistics.mean(column), statistics.stdev(column)] for name, column in columns.items()}


def latency_shuffled(variants, rounds, warmup, clock):
    took = torch.zeros(rounds, len(variants), dtype=torch.float64)
    for n in range(-warmup, rounds):
        for place in torch.randperm(len(variants)).tolist():
            start = clock()
            [*variants.values()][place]()
            if n >= 0:
                took[n, place] = clock() - start
    mean, spread = took.mean(0) * 1e3, took.std(0) * 1e3
    return {name: (m, s) for name, m, s in zip(variants, mean, spread)}


RIGHT = {
    "storage": [storage, storage_summed, storage_numpy],
    "mixed": [mixed_bmm, mixed_loop, mixed_padded, mixed_grouped],
    "switch": [switch_sum, switch_stacked, switch_in_double],
    "drift": [drift_plain, drift_in_place, drift_by_casts],
    "survived": [survived_masked, survived_counted, survived_numpy],
    "scale": [scale_checked, scale_matched, scale_unpacked],
    "ledger": [ledger_by_sets, ledger_by_loop, ledger_by_key],
    "latency": [latency_numpy, latency_statistics, latency_shuffled],
}
# ── Wrong ───────────────────────────────────────────────────────────────────────────────────────────────


def mixed_gathered(x, W, A, B, task):
    return x @ W.T + torch.bmm(torch.bmm(x, A[task].mT), B[task].mT)


def mixed_sorted(x, W, A, B, task):
    return mixed_bmm(x, W, A, B, task)[task.argsort(stable=True)]


def mixed_first(x, W, A, B, task):
    return x @ (W + B[task[0]] @ A[task[0]]).T


def switch_into(W, old, new):
    W -= old[0] @ old[1]
    W += new[0] @ new[1]
    return W


def drift_afresh(W, deltas, rounds):
    return drift_plain(W, deltas, 1) * rounds


def drift_per_adapter(W, deltas, rounds):
    start, found = W, []
    for _ in range(rounds):
        for delta in deltas:
            W = (W + delta) - delta
            found.append((W.float() - start.float()).norm() / start.float().norm())
    return found


def drift_stays(W, deltas, rounds):
    start, found = W, []
    for _ in range(rounds):
        for delta in deltas:
            W = W + delta
        found.append((W.float() - start.float()).norm() / start.float().norm())
    return found


def drift_together(W, deltas, rounds):
    start, found = W, []
    for _ in range(rounds):
        for delta in deltas:
            W = W + delta
        for delta in deltas:
            W = W - delta
        found.append((W.float() - start.float()).norm() / start.float().norm())
    return found


def drift_measured_in_half(W, deltas, rounds):
    start, found = W, []
    for _ in range(rounds):
        for delta in deltas:
            W = W + delta - delta
        found.append((W - start).norm() / start.norm())
    return found


def drift_absolute(W, deltas, rounds):
    return [far * W.float().norm() for far in drift_plain(W, deltas, rounds)]


def scale_with(**defaults):
    def scale(config):
        known = defaults | {key: value for key, value in config.items() if value is not None}
        return scale_checked(known)

    return scale


def scale_vague(config):
    if any(config.get(key) is None for key in ("r", "lora_alpha", "use_rslora")):
        raise ValueError("this configuration is not complete")
    return scale_checked(config)


def scale_or_refuse_the_absent(config):
    for key in ("r", "lora_alpha", "use_rslora"):
        if key not in config:
            raise ValueError(f"{key} is missing")
    return config["lora_alpha"] / (config["r"] ** 0.5 if config["use_rslora"] else config["r"])


def scale_truthy(config):
    for key in ("r", "lora_alpha", "use_rslora"):
        if not config.get(key):
            raise ValueError(f"{key} is not there")
    return scale_checked(config)


def without(what):
    return lambda *args: [problem for problem in ledger_by_sets(*args) if problem[0] != what]


def ledger_counting(tensors, layers, rank):
    wanted = wanted_shapes(layers, rank)
    found = [problem for problem in ledger_by_sets(tensors, layers, rank) if problem[0] != "shape"]
    both = wanted.keys() & tensors.keys()
    return found + [("shape", key) for key in both if tensors[key].numel() != math.prod(wanted[key])]


def ledger_without_prefix(tensors, layers, rank):
    short = [key.removeprefix("base_model.model.") for key in wanted_shapes(layers, rank)]
    return [("missing", key) for key in short] + [("unknown", key) for key in tensors]


def fits(tensor, key, wanted):
    side = 1 if "lora_A.weight" in key else 0
    return tensor.shape[side] == wanted[key][side]


def ledger_nan_only(tensors, layers, rank):
    found = without("not finite")(tensors, layers, rank)
    return found + [("not finite", key) for key, tensor in tensors.items() if tensor.isnan().any()]


def ledger_not_finite_anywhere(tensors, layers, rank):
    found = without("not finite")(tensors, layers, rank)
    return found + [("not finite", key) for key, tensor in tensors.items() if not tensor.isfinite().all()]


def ledger_finite_first(tensors, layers, rank):
    spoilt = [("not finite", key) for key, tensor in tensors.items() if not tensor.isfinite().all()]
    keys = {key for _, key in spoilt}
    return spoilt + [(what, key) for what, key in ledger_by_sets(tensors, layers, rank) if key not in keys]


def ledger_raising(tensors, layers, rank):
    for what, key in ledger_by_sets(tensors, layers, rank):
        raise ValueError(f"{what}: {key}")
    return []


def ledger_own_words(tensors, layers, rank):
    return [(what.replace("missing", "not there"), key) for what, key in ledger_by_sets(tensors, layers, rank)]


def ledger_cut_anywhere(tensors, layers, rank):
    known = {key.removeprefix("base_model.model.").split("lora_A")[0].split("lora_B")[0] for key in tensors}
    missing = [name for name in layers if f"{name}." not in known]
    return [("missing", f"base_model.model.{name}.lora_A.weight") for name in missing] or ledger_by_sets(
        tensors, layers, rank
    )


def ledger_turned(tensors, layers, rank):
    return ledger_by_sets(tensors, {name: shape[::-1] for name, shape in layers.items()}, rank)


def ledger_texts(tensors, layers, rank):
    return [f"{what}: {key}" for what, key in ledger_by_sets(tensors, layers, rank)]


def latency_with(*, warm=True, count_warm=False, blocks=False, own_clock=False, more=0, read=None):
    read = read or (lambda t: (t.mean(), t.std()))

    def latency(variants, rounds, warmup, clock):
        clock = time.perf_counter if own_clock else clock
        took = {name: [] for name in variants}
        warmup = warmup if warm else 0
        turns = [(n, name) for n in range(-warmup, rounds + more) for name in variants]
        if blocks:
            turns = [(n, name) for name in variants for n in range(-warmup, rounds)]
        for n, name in turns:
            start = clock()
            variants[name]()
            if n >= 0 or count_warm:
                took[name].append(clock() - start)
        return {name: read(1e3 * np.array(some)) for name, some in took.items()}

    return latency


def latency_read_once_a_round(variants, rounds, warmup, clock):
    took = {name: [] for name in variants}
    for n in range(-warmup, rounds):
        start = clock()
        for name, run in variants.items():
            run()
            if n >= 0:
                took[name].append(1e3 * (clock() - start))
    return {name: (np.mean(some), np.std(some)) for name, some in took.items()}


def latency_without_parentheses(variants, rounds, warmup, clock):
    for name in list(variants) * (rounds + warmup):
        variants[name]
        clock()
    return dict.fromkeys(variants, (0.0, 0.0))


def standard_error(t):
    return t.mean(), t.std(ddof=1) / len(t) ** 0.5


WRONG = {
    "storage": [
        (lambda P, n, m, d, r, size: (P * n * size, n * 2 * m * d * r * size), "is missing beside the adapters"),
        (lambda P, n, m, d, r, size: (P * n * size, n * (P + 2 * m * d * r) * size), "it is shared"),
        (lambda P, n, m, d, r, size: (P * n * size, (P + n * m * d * r) * size), "A or B is missing"),
        (lambda P, n, m, d, r, size: (P * n * size, (P + n * m * d * d) * size), "multiplied out"),
        (lambda P, n, m, d, r, size: storage(P, n, m, d, r, 1), "these are parameters"),
        (lambda P, n, m, d, r, size: (P * n * size, (P + 2 * m * d * r) * size), "one adapter is counted"),
        (lambda *args: storage(*args)[::-1], "copies come first"),
        (lambda *args: storage(*args)[1], "came back"),
    ],
    "mixed": [
        (mixed_gathered, "from the end"),
        (lambda x, W, A, B, task: mixed_gathered(x, W, A, B, task.clamp(min=0)), "−1 got adapter 0"),
        (lambda x, W, A, B, task: x @ (W + (B @ A).sum(0)).T, "sum of all adapters"),
        (lambda x, W, A, B, task: x @ (W + (B @ A).mean(0)).T, "mean of all adapters"),
        (mixed_first, "of the first row"),
        (mixed_sorted, "in the order of their tasks"),
        (lambda x, W, A, B, task: mixed_bmm(x, 0 * W, A, B, task), "W·x is missing"),
        (lambda x, W, A, B, task: mixed_bmm(x, W, A, B, task) * (task >= 0).view(-1, 1, 1), "W·x stays"),
        (lambda x, W, A, B, task: mixed_bmm(x, W, A, B, torch.where(task > 0, task, -1)), "task 0 got no"),
        (lambda x, W, A, B, task: x @ W.T, "no row got an adapter"),
        (lambda x, W, A, B, task: x @ W.T + x @ A[task] @ B[task], "shapes that do not fit"),
    ],
    "switch": [
        (lambda W, old, new: W + new[0] @ new[1], "still in"),
        (lambda W, old, new: W - old[0] @ old[1], "new one is not on"),
        (lambda W, old, new: W + old[0] @ old[1] + new[0] @ new[1], "both are added"),
        (lambda W, old, new: switch_sum(W, new, old), "changed places"),
        (lambda W, old, new: W + (new[0] - old[0]) @ (new[1] - old[1]), "cross terms"),
        (lambda W, old, new: new[0] @ new[1] - old[0] @ old[1], "W is missing"),
        (switch_into, "in place"),
    ],
    "drift": [
        (drift_afresh, "starts from W₀ again"),
        (lambda W, deltas, rounds: drift_plain(W.float(), [d.float() for d in deltas], rounds), "made in float32"),
        (drift_per_adapter, "one number for each adapter"),
        (drift_stays, "never taken out"),
        (drift_together, "in at once"),
        (drift_absolute, "divide by ‖W₀‖"),
        (lambda *args: drift_plain(*args)[-1], "last round only"),
        (drift_measured_in_half, "measured in half precision"),
    ],
    "survived": [
        (lambda W, delta: ((W.float() + delta).to(W.dtype) != W)[delta != 0].float().mean(), "0/0"),
        (lambda W, delta: 1 - survived_masked(W, delta), "was lost"),
        (lambda W, delta: ((W.float() + delta).to(W.dtype) != W).float().mean(), "none of them"),
        (lambda W, delta: 100 * survived_masked(W, delta), "percentage"),
        (lambda W, delta: ((W.float() + delta).to(W.dtype) != W).sum(), "how many entries"),
        (lambda W, delta: float((W.float() + delta != W.float())[delta != 0].float().mean()), "cast back"),
        (
            lambda W, delta: ((W.float() + delta).to(W.dtype).float() == W.float() + delta)[delta != 0].float().mean(),
            "came out exactly",
        ),
    ],
    "scale": [
        (lambda config: config["lora_alpha"], "divide by r"),
        (lambda config: config["r"] / config["lora_alpha"], "upside down"),
        (lambda config: config["lora_alpha"] * config["r"], "α·r"),
        (lambda config: scale_checked(config | {"use_rslora": False}), "α/√r then"),
        (lambda config: scale_checked(config | {"use_rslora": True}), "otherwise it is α/r"),
        (scale_with(lora_alpha=8), "guessed to be 8: a silent"),
        (lambda config: scale_checked({"lora_alpha": config.get("r"), **drop_none(config)}), "scale of 1"),
        (scale_with(use_rslora=False), "√r apart"),
        (scale_with(r=8), "the file has to say"),
        (scale_vague, "names no key"),
        (scale_truthy, "False is an answer"),
        (lambda c: c["lora_alpha"] / (c["r"] ** 0.5 if c["use_rslora"] else c["r"]), "a bare KeyError"),
        (scale_or_refuse_the_absent, "null is missing too"),
    ],
    "ledger": [
        (without("missing"), "in disguise"),
        (without("unknown"), "dropped in silence"),
        (without("shape"), "of another rank passes"),
        (without("not finite"), "NaN passes"),
        (ledger_nan_only, "infinity passes"),
        (ledger_counting, "as many entries"),
        (ledger_raising, "does not stop at the first"),
        (ledger_own_words, "the words are"),
        (ledger_cut_anywhere, "at its end"),
        (ledger_turned, "a false alarm"),
        (ledger_texts, "pairs"),
        (ledger_without_prefix, "keys begin with"),
        (lambda *args: ledger_by_loop(*args)[:1], "stops at the first fault"),
        (lambda *args: ledger_by_loop(*args) * 2, "2 times there"),
        (ledger_not_finite_anywhere, "stands under two words"),
        (ledger_finite_first, "'not finite' alone"),
    ],
    "latency": [
        (latency_with(warm=False), "no warm-up"),
        (latency_with(count_warm=True), "is in the mean"),
        (latency_with(blocks=True), "in one go"),
        (latency_with(own_clock=True), "clock was never read"),
        (latency_with(more=1), "on the clock, not"),
        (latency_with(read=lambda t: (t.mean() / 1e3, t.std() / 1e3)), "these are seconds"),
        (latency_with(read=standard_error), "standard error"),
        (latency_with(read=lambda t: (np.median(t), t.std())), "median"),
        (latency_with(read=lambda t: (t.sum(), t.std())), "all rounds together"),
        (latency_with(read=lambda t: (t.std(), t.mean())), "mean comes first"),
        (latency_read_once_a_round, "no call's"),
        (latency_without_parentheses, "has parentheses"),
        (latency_with(read=lambda t: t.mean()), "each name has a pair"),
    ],
}


def drop_none(config):
    return {key: value for key, value in config.items() if value is not None}


class TestServe(Answered):
    CHECKS, RIGHT, WRONG = CHECKS, RIGHT, WRONG

    def seen(self, exercise, args):
        if exercise == "latency":
            args = [*args[0], *args[1:3]]
        return super().seen(exercise, args)


def test_the_made_up_machine_is_slow_at_first_and_slower_later():
    machine = Machine({"a": 0.01})
    for _ in range(5):
        machine.variants["a"]()
    took = [seconds for _, seconds in machine.log]
    assert took[0] > 3 * took[3]
    assert took[4] > took[3]
    assert machine.now == pytest.approx(1000 + sum(took))
