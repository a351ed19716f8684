"""Assignment 1: what is right however it is written, and what typical wrong answers hear."""

import itertools
import math

import numpy as np
import torch
from answers import Answered, checks_of
from torch import nn

from lorakit.checks import derive

CHECKS = checks_of(derive)


def loops(B, A, alpha):
    out = torch.zeros(B.shape[0], A.shape[1], dtype=B.dtype)
    for k in range(B.shape[1]):
        out += torch.outer(B[:, k], A[k])
    return out * alpha / B.shape[1]


def counted_in_a_loop(model):
    seen, n = set(), 0
    for module in model.modules():
        for p in module.parameters(recurse=False):
            if p.requires_grad and p not in seen:
                seen.add(p)
                n += math.prod(p.shape)
    return n


def forward_row_by_row(x, W, b, A, B, alpha):
    rows = x.reshape(-1, x.shape[-1])
    out = torch.stack([W @ row + b + alpha / A.shape[0] * (B @ (A @ row)) for row in rows])
    return out.reshape(*x.shape[:-1], W.shape[0])


def forward_in_place(x, W, b, A, B, alpha):
    y = nn.functional.linear(x, W, b)
    y += (alpha / B.shape[1]) * nn.functional.linear(nn.functional.linear(x, A), B)
    return y


def uniform(out, inputs, rank, generator, bound=None, B=None, shape=None):
    bound = inputs**-0.5 if bound is None else bound
    A = torch.empty(shape or (rank, inputs)).uniform_(-bound, bound, generator=generator)
    return A, torch.zeros(out, rank) if B is None else B


def kaiming(out, inputs, rank, generator):
    A = nn.init.kaiming_uniform_(torch.empty(rank, inputs), a=math.sqrt(5), generator=generator)
    return nn.Parameter(A), nn.Parameter(torch.zeros(out, rank))


def rand(out, inputs, rank, generator):
    A = (2 * torch.rand(rank, inputs, generator=generator, dtype=torch.float64) - 1) / math.sqrt(inputs)
    return [A, torch.zeros(out, rank, dtype=torch.float64)]


def grads(x, g, A, B, alpha):
    s = alpha / A.shape[0]
    return s * B.T @ g.T @ x, s * g.T @ x @ A.T


def grads_einsum(x, g, A, B, alpha):
    s = alpha / A.shape[0]
    dA = torch.einsum("no,or,ni->ri", g, B, x)
    return s * dA, s * torch.einsum("no,ri,ni->or", g, A, x)


def grads_in_a_loop(x, g, A, B, alpha):
    dA, dB = torch.zeros_like(A), torch.zeros_like(B)
    for row, up in zip(x, g):
        dA += torch.outer(B.T @ up, row)
        dB += torch.outer(up, A @ row)
    return dA * (alpha / len(A)), dB * (alpha / len(A))


def grads_by_autograd(x, g, A, B, alpha):
    A, B = A.clone().requires_grad_(), B.clone().requires_grad_()
    return torch.autograd.grad((alpha / len(A) * x @ A.T @ B.T * g).sum(), (A, B))


def grads_with(s):
    return lambda x, g, A, B, alpha: grads(x, g, A, B, s(alpha, len(A)) * len(A))


def merged(W, A, B, alpha):
    wide = torch.promote_types(W.dtype, torch.float32)
    return (W.to(wide) + alpha / len(A) * (B @ A)).to(W.dtype)


def merged_in_double(W, A, B, alpha):
    return (W.double() + alpha / len(A) * B.double() @ A.double()).to(W.dtype)


def merged_in_place(W, A, B, alpha):
    new = W.to(torch.promote_types(A.dtype, W.dtype), copy=True)
    new.addmm_(B, A, alpha=alpha / A.shape[0])
    return new.type_as(W)


def install(layer, change):
    kept = layer.weight.detach().clone()
    layer.weight.data = (layer.weight.data.float() + change).to(kept.dtype)
    return kept


def take_out(layer, kept):
    layer.weight.data = kept


def install_wide(layer, change):
    kept = layer.weight.detach().clone()
    layer.weight.data = kept + change
    return kept


def install_parameter(layer, change):
    kept = layer.weight
    layer.weight = nn.Parameter((kept.double() + change).type_as(kept), requires_grad=False)
    return {"weight": kept}


def take_out_parameter(layer, kept):
    layer.weight = kept["weight"]


def install_in_place(layer, change):
    kept = {name: t.clone() for name, t in layer.state_dict().items()}
    with torch.no_grad():
        layer.weight.copy_(layer.weight.float() + change)
    return kept


def take_out_in_place(layer, kept):
    layer.load_state_dict(kept)


def subtract(layer, change):
    layer.weight.data = (layer.weight.data.float() - change).to(layer.weight.dtype)


def install_and_keep_the_change(layer, change):
    install(layer, change)
    return change


def install_without_copy(layer, change):
    kept = layer.weight.data
    layer.weight.data.copy_(kept.float() + change)
    return kept


FIRST = {}
NEXT = itertools.count().__next__


def keep_something_else(layer, change):
    FIRST.setdefault(layer, 3 * layer.weight.detach().clone())
    install(layer, change)
    return FIRST[layer]


def transposed(f):
    return lambda *args: tuple(t.T for t in f(*args))


RIGHT = {
    "scale": [lambda alpha, rank: alpha / rank, lambda a, r: torch.tensor(a / r), lambda a, r: a * r**-1, np.divide],
    "delta": [
        lambda B, A, alpha: alpha / A.shape[0] * B @ A,
        lambda B, A, alpha: torch.einsum("or,ri->oi", alpha / B.shape[1] * B, A),
        lambda B, A, alpha: B.double() @ A.double() * (alpha / len(A)),
        loops,
    ],
    "shapes": [
        lambda out, inputs, rank: ((rank, inputs), (out, rank)),
        lambda out, inputs, rank: [torch.Size([rank, inputs]), torch.Size([out, rank])],
        lambda out, inputs, rank: (torch.empty(rank, inputs).shape, nn.Linear(rank, out).weight.shape),
    ],
    "formula": [
        lambda weights, rank: sum(rank * (out + inputs) for out, inputs in weights),
        lambda weights, rank: rank * int(np.array(weights).sum()),
        lambda weights, rank: sum(torch.empty(rank, i, device="meta").numel() + rank * o for o, i in weights),
    ],
    "counted": [
        lambda model: sum(p.numel() for p in model.parameters() if p.requires_grad),
        lambda model: torch.tensor([p.numel() * p.requires_grad for p in model.parameters()]).sum(),
        counted_in_a_loop,
    ],
    "forward": [
        lambda x, W, b, A, B, alpha: x @ W.T + b + alpha / len(A) * (x @ A.T) @ B.T,
        forward_row_by_row,
        forward_in_place,
        lambda x, W, b, A, B, a: (
            torch.einsum("...i,oi->...o", x.double(), W.double()) + b + a / len(A) * (x @ A.T @ B.T)
        ),
    ],
    "initial": [uniform, kaiming, rand],
    "gradients": [grads, grads_einsum, grads_in_a_loop],
    "merge": [merged, merged_in_double, merged_in_place],
    "unmerge": [(install, take_out), (install_parameter, take_out_parameter), (install_in_place, take_out_in_place)],
}

WRONG = {
    "scale": [
        (lambda a, r: a, r"off by a factor of r = \d+: did you use α where it says α/r"),
        (lambda a, r: r / a, "upside down"),
        (lambda a, r: a * r, "the rank divides"),
        (lambda a, r: a / math.sqrt(r), "rsLoRA"),
        (lambda a, r: a // r, "rounds α/r down"),
        (lambda a, r: 1 / r, "α is missing"),
        (lambda a, r: print(end=""), "returned None"),
    ],
    "delta": [
        (lambda B, A, a: a * B @ A, r"did you use α"),
        (lambda B, A, a: B @ A, "the scale is missing"),
        (lambda B, A, a: a / math.sqrt(len(A)) * B @ A, "rsLoRA"),
        (lambda B, A, a: a / B.shape[0] * B @ A, "divided by out"),
        (lambda B, A, a: a / A.shape[1] * B @ A, "divided by in"),
        (lambda B, A, a: (a / len(A)) * B @ (a / len(A) * A), "twice"),
        (lambda B, A, a: a / len(A) * A.T @ B.T, "transposed"),
        (lambda B, A, a: a / len(A) * A @ B, "shapes that do not fit"),
    ],
    "shapes": [
        (lambda o, i, r: ((o, r), (r, i)), "A comes first"),
        (lambda o, i, r: ((i, r), (r, o)), "both are transposed"),
        (lambda o, i, r: ((i, r), (o, r)), "^A is transposed"),
        (lambda o, i, r: ((r, i), (r, o)), "^B is transposed"),
        (lambda o, i, r: ((r, o), (i, r)), "swapped"),
        (lambda o, i, r: ((o, i), (o, i)), "thin"),
        (lambda o, i, r: ((r, i), (o, i)), "with r inside"),
    ],
    "formula": [
        (lambda w, r: sum(r * i for _, i in w), "only A"),
        (lambda w, r: sum(r * o for o, _ in w), "only B"),
        (lambda w, r: sum(2 * r * o for o, _ in w), "square weights"),
        (lambda w, r: sum(o * i for o, i in w), "full fine-tuning"),
        (lambda w, r: sum(r * o * i for o, i in w), "are multiplied"),
        (lambda w, r: sum(2 * r * (o + i) for o, i in w), "twice too many"),
        (lambda w, r: sum(o * r * r * i for o, i in w), "add them up"),
        (lambda w, r: sum(o + i for o, i in w), "rank is missing"),
        (lambda w, r: r * (w[0][0] + w[0][1]), "first weight"),
        (lambda w, r: r * (w[-1][0] + w[-1][1]), "last weight"),
    ],
    "counted": [
        (lambda m: sum(p.numel() for p in m.parameters()), "frozen ones too"),
        (lambda m: sum(p.numel() for p in m.parameters() if not p.requires_grad), "counts what is frozen"),
        (lambda m: len([p for p in m.parameters() if p.requires_grad]), "how many tensors"),
        (lambda m: sum(p.numel() for p in m.parameters() if p.requires_grad and p.dim() == 2), "only matrices"),
        (lambda m: sum(p.numel() for p in m.state_dict().values() if p.requires_grad), "require no gradient"),
        (lambda m: sum(p.numel() for k in m.modules() for p in k.parameters() if p.requires_grad), "counted again"),
        (lambda m: sum(len(p) for p in m.parameters() if p.requires_grad), "counts rows"),
        (lambda m: sum(p.numel() for n, p in m.named_parameters() if n[-2:] in (".A", ".B")), "only A and B"),
        (
            lambda m: sum(p.numel() for _, p in m.named_parameters(remove_duplicate=False) if p.requires_grad),
            "two layers share",
        ),
    ],
    "forward": [
        (lambda x, W, b, A, B, a: x @ W.T + b + a * (x @ A.T @ B.T), r"off by a factor of r = \d"),
        (lambda x, W, b, A, B, a: x @ W.T + b + x @ A.T @ B.T, "α/r is missing"),
        (lambda x, W, b, A, B, a: a / len(A) * (x @ A.T @ B.T), "frozen part"),
        (lambda x, W, b, A, B, a: x @ W.T + a / len(A) * (x @ A.T @ B.T), "bias b is missing"),
        (lambda x, W, b, A, B, a: x @ W.T + a / len(A) * (x @ A.T @ B.T + b), "b is scaled"),
        (lambda x, W, b, A, B, a: a / len(A) * (x @ W.T + x @ A.T @ B.T) + b, "^W·x is scaled"),
        (lambda x, W, b, A, B, a: x @ W + b + a / len(A) * (x @ A.T @ B.T), "taken transposed"),
        (lambda x, W, b, A, B, a: x @ (W + a / len(A) * B @ A).T + b, "ΔW is formed"),
        (lambda x, W, b, A, B, a: x @ W.T + b, "frozen layer alone"),
        (lambda x, W, b, A, B, a: x @ W.T + b + a / len(A) * (x @ B @ A), "wrong order"),
        (lambda x, W, b, A, B, a: W @ x + b + a / len(A) * B @ (A @ x), r"W·x is x @ W\.T"),
    ],
    "initial": [
        (lambda o, i, r, g: (torch.zeros(r, i), uniform(r, o, o, g)[0].T[:, :r].reshape(o, r)), "swapped"),
        (lambda o, i, r, g: (torch.zeros(r, i), torch.zeros(o, r)), "nothing ever trains"),
        (lambda o, i, r, g: uniform(o, i, r, g, B=torch.ones(o, r)), "B is not zero"),
        (lambda o, i, r, g: uniform(o, i, r, torch.Generator().manual_seed(NEXT())), "same generator gave another A"),
        (lambda o, i, r, g: uniform(o, i, r, torch.Generator().manual_seed(0)), "another generator gave the same A"),
        (lambda o, i, r, g: uniform(o, i, r, g, bound=r**-0.5), "1/√r"),
        (lambda o, i, r, g: uniform(o, i, r, g, bound=o**-0.5), "1/√out"),
        (lambda o, i, r, g: uniform(o, i, r, g, bound=1 / i), "square root"),
        (lambda o, i, r, g: (nn.init.kaiming_uniform_(torch.empty(r, i), generator=g), torch.zeros(o, r)), "a=√5"),
        (lambda o, i, r, g: (torch.randn(r, i, generator=g) / i**0.5, torch.zeros(o, r)), "looks normal"),
        (lambda o, i, r, g: (torch.rand(r, i, generator=g) / i**0.5, torch.zeros(o, r)), "centred"),
        (lambda o, i, r, g: uniform(o, i, r, g)[::-1], "A comes first"),
        (lambda o, i, r, g: uniform(o, i, r, g, shape=(i, r)), r"A is \(r, in\)"),
        (lambda o, i, r, g: uniform(o, i, r, g)[0], "two tensors"),
    ],
    "gradients": [
        (grads_with(lambda a, r: a), "did you use α"),
        (grads_with(lambda a, r: 1.0), "stands before B·A·x"),
        (grads_with(lambda a, r: (a / r) ** 2), "twice"),
        (lambda *args: grads(*args)[::-1], "comes first"),
        (transposed(grads), "both are transposed"),
        (lambda x, *args: tuple(d / len(x) for d in grads(x, *args)), "mean over rows"),
        (lambda *args: tuple(-d for d in grads(*args)), "downhill"),
        (lambda x, g, A, B, a: (B.T @ g.T @ x, grads(x, g, A, B, a)[1]), "missing in ∂L/∂A"),
        (lambda x, g, A, B, a: (grads(x, g, A, B, a)[0], g.T @ x @ A.T), "missing in ∂L/∂B"),
        (grads_by_autograd, "autograd is switched off"),
        (lambda *args: grads(*args)[0], "asked for is 2 things; what came back is an array"),
    ],
    "merge": [
        (lambda W, A, B, a: merged(W, A, B, a * len(A)), r"off by r = \d"),
        (lambda W, A, B, a: merged(W, A, B, len(A)), "α/r is missing"),
        (lambda W, A, B, a: merged(W, A, B, -a), "the way back"),
        (lambda W, A, B, a: (a / len(A) * B @ A).to(W.dtype), "ΔW alone"),
        (lambda W, A, B, a: W, "came back as it was"),
        (lambda W, A, B, a: W + (a / len(A) * B @ A).to(W.dtype), "added in bfloat16"),
        (lambda W, A, B, a: W + a / len(A) * B @ A, "the layer stores bfloat16"),
        (lambda W, A, B, a: merged(W, A, B, a).T, "transpose"),
        (lambda W, A, B, a: (W.float() + a / len(A) * (B @ A).float()).to(W.dtype), "in double precision"),
    ],
    "unmerge": [
        ((install_and_keep_the_change, subtract), "rounds a second time"),
        ((install_without_copy, take_out), "not a copy"),
        ((lambda layer, change: layer.weight.data.clone(), take_out), "still holds W₀"),
        ((lambda layer, change: install(layer, 2 * change), take_out), r"installed is not W₀ \+ ΔW"),
        ((install, lambda layer, kept: setattr(layer.weight, "data", kept.double())), "another dtype"),
        ((install, lambda layer, kept: layer.weight.data.zero_()), "zeros"),
        ((install_wide, take_out), "cast the sum"),
        ((lambda layer, change: setattr(layer, "weight", layer.weight + change), take_out), r"set its \.data"),
        ((keep_something_else, take_out), "neither W₀ nor"),
        ((lambda layer: None, take_out), "does not take the arguments"),
    ],
}


class TestDerive(Answered):
    CHECKS, RIGHT, WRONG = CHECKS, RIGHT, WRONG
