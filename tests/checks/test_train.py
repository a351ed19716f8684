"""Assignment 2: what is right however it is written, and what typical wrong answers hear."""

import copy
import math
from fnmatch import filter as fnfilter
from fnmatch import fnmatch

import numpy as np
import torch
import torch.nn.functional as F
from answers import Answered, checks_of
from torch import nn

from lorakit.checks import train
from lorakit.checks.drawing import Draw
from lorakit.checks.small import batches, small
from lorakit.layers import LoRA, named_layers
from lorakit.layers import adapt as lorakit_adapt

CHECKS = checks_of(train)


def linear(model):
    return [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]


def select(model, patterns):
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in linear(model)):
            raise ValueError(f"nothing matches {pattern}")
    return [name for name in linear(model) if any(fnmatch(name, pattern) for pattern in patterns)]


def select_by_sets(model, patterns):
    found = {pattern: set(fnfilter(linear(model), pattern)) for pattern in patterns}
    lost = [pattern for pattern, names in found.items() if not names]
    if lost:
        raise ValueError(lost)
    return sorted(set().union(*found.values()), key=linear(model).index)


def select_in_a_loop(model, patterns):
    used, names = set(), ()
    for name, layer in named_layers(model):
        if type(layer) is nn.Linear:
            hits = {p for p in patterns if fnmatch(name, p)}
            used |= hits
            names += (name,) if hits else ()
    for p in patterns:
        if p not in used:
            raise ValueError("no layer for the pattern " + repr(p))
    return names


def quiet(model, patterns):
    return [name for name in linear(model) if any(fnmatch(name, pattern) for pattern in patterns)]


def nameless(model, patterns):
    if any(not fnfilter(linear(model), p) for p in patterns):
        raise ValueError("a pattern matches nothing")
    return quiet(model, patterns)


def strict(model, patterns):
    if len(patterns) > 1:
        raise ValueError(f"too many: {patterns}")
    return select(model, patterns)


def partial(model, patterns):
    select(model, [p for p in patterns if p != "query"])
    return [n for n in linear(model) if any(p.replace("*", "") in n for p in patterns)]


def any_module(model, patterns):
    names = [name for name, _ in model.named_modules()]
    for p in patterns:
        if not fnfilter(names, p):
            raise ValueError(p)
    return [n for n in names if any(fnmatch(n, p) for p in patterns)]


def twice(model, patterns):
    select(model, patterns)
    return [n for p in patterns for n in fnfilter(linear(model), p)]


def by_pattern(model, patterns):
    return list(dict.fromkeys(twice(model, patterns)))


def first_only(model, patterns):
    return select(model, patterns[:1])


def put(model, name, layer):
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)


def adapt(model, names, rank, alpha):
    for p in model.parameters():
        p.requires_grad = False
    for name in names:
        put(model, name, LoRA(model.get_submodule(name), rank=rank, alpha=alpha))


def adapt_in_place(model, names, rank, alpha):
    model.requires_grad_(False)
    for path, module in list(model.named_modules()):
        for child, layer in list(module.named_children()):
            if f"{path}.{child}".lstrip(".") in names:
                module._modules[child] = LoRA(layer, alpha=alpha, rank=rank)
    return names


def adapt_by_lorakit(model, names, rank, alpha):
    return lorakit_adapt(model, LoRA, names, rank=rank, alpha=alpha, seed=3)


def adapt_and_freeze_after(model, names, rank, alpha):
    adapt(model, names, rank, alpha)
    model.requires_grad_(False)


def adapt_without_freezing(model, names, rank, alpha):
    for name in names:
        put(model, name, LoRA(model.get_submodule(name), rank=rank, alpha=alpha))


def adapt_around_a_new_layer(model, names, rank, alpha):
    model.requires_grad_(False)
    for name in names:
        old = model.get_submodule(name)
        new = nn.Linear(old.in_features, old.out_features, bias=old.bias is not None)
        put(model, name, LoRA(new, rank=rank, alpha=alpha))


def adapt_with_dots(model, names, rank, alpha):
    model.requires_grad_(False)
    for name in names:
        setattr(model, name, LoRA(model.get_submodule(name), rank=rank, alpha=alpha))


def adapt_and_forget(model, names, rank, alpha):
    model.requires_grad_(False)
    return [LoRA(model.get_submodule(name), rank=rank, alpha=alpha) for name in names]


def adapt_everything(model, names, rank, alpha):
    adapt(model, linear(model), rank, alpha)


def adapt_by_default(model, names, rank, alpha):
    adapt(model, names, 1, 16)


def adapt_and_train_the_base(model, names, rank, alpha):
    adapt(model, names, rank, alpha)
    for name in names:
        model.get_submodule(name).base.requires_grad_(True)


def step(model, batch, optimizer, clip):
    tokens, labels = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(tokens), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss.item()


def step_and_zero_after(model, batch, optimizer, clip):
    loss = -F.log_softmax(model(batch[0]), -1)[range(len(batch[1])), batch[1]].mean()
    loss.backward()
    trained = [p for p in model.parameters() if p.grad is not None]
    norm = math.sqrt(sum(float(p.grad.double().square().sum()) for p in trained))
    for p in trained:
        p.grad *= min(1.0, clip / norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    return float(loss.detach())


def step_by_closure(model, batch, optimizer, clip):
    def closure():
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(model(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], clip)
        return loss

    return optimizer.step(closure).item()


def step_of_softmax(model, batch, optimizer, clip):
    optimizer.zero_grad()
    loss = F.cross_entropy(F.softmax(model(batch[0]), -1), batch[1])
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss.item()


def step_with_its_graph(model, batch, optimizer, clip):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss


def step_with(zero="first", clip_by=nn.utils.clip_grad_norm_, backward=True, go=True, reduction="mean", after=False):
    def wrong(model, batch, optimizer, clip):
        if zero == "first":
            optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1], reduction=reduction)
        if backward:
            loss.backward()
        if zero == "late":
            optimizer.zero_grad()
        if clip_by:
            clip_by([p for p in model.parameters() if p.grad is not None], clip)
        if go:
            optimizer.step()
        return (F.cross_entropy(model(batch[0]), batch[1]) if after else loss).item()

    return wrong


def each(parameters, clip):
    for p in parameters:
        nn.utils.clip_grad_norm_([p], clip)


def stored(optimizer):
    total = 0
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, torch.Tensor):
                total += value.numel() * value.element_size()
    return total


def tensors(optimizer):
    return [t for state in optimizer.state.values() for t in state.values() if torch.is_tensor(t)]


def params(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


def change(x, g, A, scale, lr):
    B = -lr * scale * g.T @ (x @ A.T)
    return scale * (x @ A.T) @ B.T


def change_by_autograd(x, g, A, scale, lr):
    B = torch.zeros(g.shape[1], len(A), dtype=x.dtype, requires_grad=True)
    ((scale * x @ A.T @ B.T) * g).sum().backward()
    with torch.no_grad():
        return scale * x @ A.T @ (B - lr * B.grad).T


def change_einsum(x, g, A, scale, lr):
    return -lr * scale**2 * torch.einsum("ni,ri,rj,mj,mo->no", x, A, A, x, g)


def only(wanted, says=None):
    def answer(model):
        for name, p in model.named_parameters():
            p.requires_grad = wanted(name)
        names = [name for name, p in model.named_parameters() if p.requires_grad]
        return says(names) if says else names

    return answer


def bias(name):
    return name.endswith(".bias")


def bitfit_by_layers(model):
    model.requires_grad_(False)
    names = set()
    for path, layer in model.named_modules():
        if isinstance(getattr(layer, "bias", None), nn.Parameter):
            layer.bias.requires_grad_(True)
            names.add(f"{path}.bias")
    return names


def bitfit_only_freezes(model):
    for name, p in model.named_parameters():
        if not bias(name):
            p.requires_grad = False
    return [name for name, p in model.named_parameters() if p.requires_grad]


def bottleneck(h, down, c, up, e):
    return h + F.gelu(h @ down.T + c) @ up.T + e


def bottleneck_in_words(h, down, c, up, e):
    z = F.linear(h, down, c)
    z = z * 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    out = h.clone()
    out += F.linear(z, up, e)
    return out


def bottleneck_einsum(h, down, c, up, e):
    inner = nn.GELU()(torch.einsum("...d,rd->...r", h.double(), down.double()) + c)
    return h.double() + torch.einsum("...r,dr->...d", inner, up.double()) + e


def counted_sizes(budget, d, matrices, places):
    rank = max(r for r in range(1, 10_000) if 2 * d * r * matrices <= budget)
    width = max(r for r in range(1, 10_000) if places * (2 * d * r + r + d) <= budget)
    return rank, width


def sizes(budget, d, matrices, places):
    return budget // (2 * d * matrices), (budget - places * d) // (places * (2 * d + 1))


RIGHT = {
    "select": [select, select_by_sets, select_in_a_loop],
    "adapt": [adapt, adapt_in_place, adapt_by_lorakit],
    "step": [step, step_and_zero_after, step_by_closure],
    "stored": [
        stored,
        lambda o: sum(t.nbytes for t in tensors(o)),
        lambda o: sum(len(bytes(t.untyped_storage())) for t in tensors(o)),
    ],
    "first_change": [change, change_by_autograd, change_einsum],
    "bitfit": [only(bias), bitfit_by_layers, lambda m: tuple(only(lambda n: n.split(".")[-1] == "bias")(m))],
    "bottleneck": [bottleneck, bottleneck_in_words, bottleneck_einsum],
    "sizes": [sizes, counted_sizes, lambda *a: list(map(int, np.floor(sizes(*a))))],
}

WRONG = {
    "select": [
        (quiet, "passed over"),
        (nameless, "does not say which"),
        (strict, "each pattern matches a layer"),
        (partial, "part of a name"),
        (any_module, "no nn.Linear"),
        (twice, "listed twice"),
        (by_pattern, "order of the model"),
        (first_only, "only the first pattern"),
        (lambda m, p: [n for n in linear(m) if all(fnmatch(n, q) for q in p)], "any of the patterns"),
        (
            lambda m, p: [n for n, _ in m.named_parameters() if any(fnmatch(n[: n.rfind(".")], q) for q in p)],
            "parameters are listed",
        ),
    ],
    "adapt": [
        (adapt_and_freeze_after, "A and B too: freeze first"),
        (adapt_without_freezing, "rest of the model still trains"),
        (adapt_around_a_new_layer, "another weight"),
        (adapt_with_dots, "name with dots"),
        (adapt_and_forget, "not put where the layer was"),
        (adapt_everything, "other layers than those named"),
        (adapt_by_default, "were not passed on"),
        (adapt_and_train_the_base, "own weights train"),
    ],
    "step": [
        (step_with(zero=None), "step before are still there"),
        (step_with(zero="late"), "nothing is left to step with"),
        (step_with(go=False), r"optimizer\.step\(\) is missing"),
        (step_with(backward=False), "backward is missing"),
        (step_with(backward=False, go=False), "backward and optimizer"),
        (step_with(clip_by=None), "not clipped"),
        (step_with(clip_by=each), "clipped apart"),
        (step_with(clip_by=nn.utils.clip_grad_value_), "entries are clipped"),
        (step_with(reduction="sum"), "sum over the rows"),
        (step_with(after=True), "after the step"),
        (step_of_softmax, "takes logits"),
        (step_with_its_graph, "with its graph"),
    ],
    "stored": [
        (lambda o: sum(t.numel() for t in tensors(o)), "these are entries"),
        (lambda o: sum(4 * t.numel() for t in tensors(o)), "4 bytes an entry"),
        (lambda o: sum(p.nbytes for p in params(o)), "the parameters themselves"),
        (lambda o: sum(2 * p.nbytes for p in params(o)), "two moments a parameter"),
        (lambda o: sum(s["exp_avg"].nbytes for s in o.state.values() if "exp_avg" in s), "first moment"),
        (lambda o: sum(t.nbytes for t in next(iter(o.state.values()), {}).values()), "first parameter"),
        (lambda o: len(tensors(o)), "not their bytes"),
        (
            lambda o: sum(t.nbytes for s in o.state.values() for t in s.values()),
            "stops .* AttributeError",
        ),
        (lambda o: sum(t.nbytes for t in tensors(o) if t.shape), "count of steps"),
    ],
    "first_change": [
        (lambda x, g, A, s, lr: change(x, g, A, s, lr) / s, "here once"),
        (lambda x, g, A, s, lr: change(x, g, A, 1.0, lr), "s is missing"),
        (lambda x, g, A, s, lr: -change(x, g, A, s, lr), "uphill"),
        (lambda x, g, A, s, lr: change(x, g, A, s, 1.0), "learning rate is missing"),
        (lambda x, g, A, s, lr: -lr * s * g.T @ x @ A.T, "B after its step"),
        (lambda x, g, A, s, lr: -lr * s**2 * g.T @ x @ A.T @ A, "ΔW after the step"),
        (lambda x, g, A, s, lr: s * g.T @ (x @ A.T), "^this is the gradient of B"),
        (
            lambda x, g, A, s, lr: torch.cat([change(x[i : i + 1], g[i : i + 1], A, s, lr) for i in range(len(x))]),
            "its own step only",
        ),
        (lambda x, g, A, s, lr: change(x, g, A, s, lr) / len(x), "mean over rows"),
    ],
    "bitfit": [
        (only(lambda n: True), "everything trains"),
        (only(lambda n: False), "nothing trains"),
        (only(lambda n: not bias(n)), "the opposite"),
        (only(lambda n: "bias" in n), "bias_gate"),
        (only(lambda n: bias(n) and "norm" not in n), "LayerNorms count"),
        (only(lambda n: bias(n) or "norm" in n), "LayerNorm's weight"),
        (only(lambda n: bias(n) or "head" in n), "head's weight"),
        (bitfit_only_freezes, "stayed frozen"),
        (only(bias, says=lambda names: None), "no list of their names"),
        (only(bias, says=lambda names: [n[:-5] for n in names]), "those of layers"),
        (lambda m: [m.get_parameter(n) for n in only(bias)(m)], "parameters themselves"),
        (only(bias, says=len), "return the list of their names"),
        (only(lambda n: n == "head.bias"), "should and does not"),
    ],
    "bottleneck": [
        (lambda h, D, c, U, e: F.gelu(h @ D.T + c) @ U.T + e, "h itself is missing"),
        (lambda h, D, c, U, e: h + (h @ D.T + c) @ U.T + e, "GELU is missing"),
        (lambda h, D, c, U, e: h + F.relu(h @ D.T + c) @ U.T + e, "ReLU"),
        (lambda h, D, c, U, e: h + F.gelu(h @ D.T + c, approximate="tanh") @ U.T + e, "tanh"),
        (lambda h, D, c, U, e: h + F.gelu(h @ D.T) @ U.T + e, "bias c"),
        (lambda h, D, c, U, e: h + F.gelu(h @ D.T + c) @ U.T, "bias e"),
        (lambda h, D, c, U, e: h + F.gelu((h @ D.T + c) @ U.T + e), "stands behind up"),
        (lambda h, D, c, U, e: h + (F.gelu(h @ D.T) + c) @ U.T + e, "belongs inside"),
        (lambda h, D, c, U, e: F.gelu(h + (h @ D.T + c) @ U.T + e), "laid around everything"),
        (lambda h, D, c, U, e: h + F.gelu(h @ D + c) @ U + e, "do not fit together"),
    ],
    "sizes": [
        (lambda b, d, m, p: (round(b / (2 * d * m)), round((b / p - d) / (2 * d + 1))), "rounded"),
        (lambda b, d, m, p: (b / (2 * d * m), (b / p - d) / (2 * d + 1)), "fractions"),
        (lambda b, d, m, p: (sizes(b, d, m, p)[0], b // p // (2 * d)), "biases are left out"),
        (lambda b, d, m, p: (b // (d * m), sizes(b, d, m, p)[1]), "two factors"),
        (lambda b, d, m, p: sizes(b, d, 1, 1), "divide it among them"),
        (lambda *a: sizes(*a)[::-1], "comes first"),
        (lambda b, d, m, p: (sizes(b, d, m, p)[0], (b // p - d) // (2 * d)), "bias of length r"),
        (lambda b, d, m, p: (sizes(b, d, m, p)[0], b // p // (2 * d + 1)), "bias of length d"),
        (lambda b, d, m, p: sizes(b, d, p, m), "swapped"),
        (lambda b, d, m, p: (b // (2 * d * m),) * 2, "as wide as each other"),
    ],
}


class TestTrain(Answered):
    CHECKS, RIGHT, WRONG = CHECKS, RIGHT, WRONG


def test_the_small_transformer_is_one():
    model = small(Draw(0))
    tokens, _ = batches(Draw(1), 1)[0]
    assert model(tokens).shape == (6, 3)
    assert all(p.requires_grad and p.any() for p in model.parameters())
    swapped = copy.deepcopy(model)
    swapped.blocks[0].attention.query.weight.data.zero_()
    assert not torch.allclose(model(tokens), swapped(tokens), atol=1e-3)
