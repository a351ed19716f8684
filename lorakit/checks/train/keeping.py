"""What the optimiser keeps beside the parameters, and how far its first step moves the output."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.drawing import Draw
from lorakit.checks.small import small
from lorakit.checks.train.stepping import trained_by
from lorakit.layers import LoRA, adapt


def check_stored(stored: Callable, *, seed: int = 0) -> None:
    """stored(optimizer): the bytes of every tensor in the optimiser's state."""
    draw, cases = Draw(seed), []
    adam, momentum = torch.optim.AdamW, lambda p: torch.optim.SGD(p, momentum=0.9)
    kinds: dict[str, Callable] = {"SGD": torch.optim.SGD, "SGD with momentum": momentum, "AdamW": adam}
    kinds |= {"AdamW, amsgrad": lambda p: torch.optim.AdamW(p, amsgrad=True), "AdamW in bfloat16": adam}
    for name, kind in kinds.items():
        model = small(draw, blocks=2, dtype=torch.bfloat16 if "bfloat" in name else torch.float32)
        adapt(model, LoRA, ["*.query"], rank=draw.integer(2, 4), keep="head")
        optimizer = kind([p for p in model.parameters() if p.requires_grad])
        for parameter in trained_by(optimizer):
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        if name == "SGD with momentum":
            optimizer.state[trained_by(optimizer)[-1]]["note"] = 3.0  # a plain number, which is no tensor
        cases.append(Case(f"{name} after a step", (optimizer,), _bytes(_kept(optimizer)), changes=True, shared=True))
    settle("stored", stored, cases, STORED_MISTAKES, otherwise="optimizer.state is {parameter: {name: tensor, …}}")


def _kept(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]


def _bytes(tensors: list[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def check_first_change(first_change: Callable, *, seed: int = 0) -> None:
    """first_change(x, g, A, scale, lr): how h on x moves when B takes its first step of SGD from zero, (N, out)."""
    draw, cases = Draw(seed), []
    for z in draw.sizes(6):
        rows = draw.integer(2, 5)
        shapes = (rows, z.inputs), (rows, z.out), (z.rank, z.inputs)
        x, g, A = (draw.normal(*shape, dtype=z.dtype) for shape in shapes)
        scale, lr = draw.integer(2, 9) / 4 + 0.1, draw.integer(1, 5) / 7
        says = f"x ({rows}, {z.inputs}), {z}, s = {scale:g}, lr = {lr:.2g}"
        cases.append(Case(says, (x, g, A, scale, lr), _change(x, g, A, scale, lr)))
    mistakes = [
        Mistake(
            "s stands here once: it is in h, and once more in the gradient of B",
            lambda x, g, A, s, lr: _change(x, g, A, s, lr) / s,
        ),
        Mistake("s is missing: it is in h and in the gradient of B", lambda x, g, A, s, lr: _change(x, g, A, 1, lr)),
        Mistake(
            "this goes uphill: a step is minus lr times the gradient", lambda x, g, A, s, lr: -_change(x, g, A, s, lr)
        ),
        Mistake("the learning rate is missing", lambda x, g, A, s, lr: _change(x, g, A, s, 1)),
        Mistake(
            "this is B after its step: what comes out of s·B·A·x is asked for",
            lambda x, g, A, s, lr: -lr * s * g.mT @ (x @ A.mT),
        ),
        Mistake(
            "this is ΔW after the step: its product with each x is asked for",
            lambda x, g, A, s, lr: -lr * s * s * g.mT @ (x @ A.mT) @ A,
        ),
        Mistake("this is the gradient of B", lambda x, g, A, s, lr: s * g.mT @ (x @ A.mT)),
        Mistake("each row is moved by its own step only: B's gradient sums over all rows", _own_rows),
        Mistake(
            "the gradient is a mean over rows here: g holds any 1/N already",
            lambda x, g, A, s, lr: _change(x, g, A, s, lr / len(x)),
        ),
    ]
    last = "work out B after its step first, then s·B·A·x with it"
    settle("first_change", first_change, cases, mistakes, otherwise=last)


def _change(x: Tensor, g: Tensor, A: Tensor, s: float, lr: float) -> Tensor:
    h = x @ A.mT
    return -lr * s * s * h @ (h.mT @ g)


def _own_rows(x: Tensor, g: Tensor, A: Tensor, s: float, lr: float) -> Tensor:
    return -lr * s * s * (x @ A.mT).square().sum(-1, keepdim=True) * g


STORED_MISTAKES = [
    Mistake(
        "the count of steps is left out: it is a tensor of 4 bytes, small, and there",
        lambda o: _bytes([t for t in _kept(o) if t.ndim]),
    ),
    Mistake("these are entries: a float32 takes 4 bytes, t.element_size()", lambda o: sum(t.numel() for t in _kept(o))),
    Mistake(
        "4 bytes an entry are assumed: ask the tensor, t.element_size()",
        lambda o: 4 * sum(t.numel() for t in _kept(o)),
    ),
    Mistake(
        "these are the parameters themselves: the optimiser's own tensors are in optimizer.state",
        lambda o: _bytes(trained_by(o)),
    ),
    Mistake(
        "two moments a parameter are assumed: other optimisers keep one, three or none",
        lambda o: 2 * _bytes(trained_by(o)),
    ),
    Mistake(
        "two moments of 4 bytes are assumed: look at what is there",
        lambda o: 8 * sum(t.numel() for t in trained_by(o)),
    ),
    Mistake(
        "only the first moment, exp_avg, is counted",
        lambda o: _bytes([s["exp_avg"] for s in o.state.values() if "exp_avg" in s]),
    ),
    Mistake(
        "only the state of the first parameter is counted",
        lambda o: _bytes([*next(iter(o.state.values())).values()]),
    ),
    Mistake("these are megabytes: give bytes", lambda o: _bytes(_kept(o)) / 1e6),
    Mistake("these are kilobytes: give bytes", lambda o: _bytes(_kept(o)) / 1024),
    Mistake("these are bits: give bytes", lambda o: _bytes(_kept(o)) * 8),
    Mistake("these are tensors, not their bytes", lambda o: len(_kept(o))),
]
