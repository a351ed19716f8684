"""One step in its right order: zero, loss, backward, clip, step. And what each other order does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorakit.checks.checking import Case, Mistake, copied, settle
from lorakit.checks.comparing import same
from lorakit.checks.drawing import Draw
from lorakit.checks.failing import fail
from lorakit.checks.small import batches, small
from lorakit.layers import LoRA, adapt

CLIP = 0.05


def check_step(step: Callable, *, seed: int = 0) -> None:
    """step(model, batch, optimizer, clip) → the loss: zero the gradients, forward, backward, clip, step."""
    draw, cases = Draw(seed), []
    for method, lr in ((SGD, 0.5), (AdamW, 0.02), (SGD, 0.2)):
        model = small(draw, blocks=2)
        adapt(model, LoRA, ["*.query", "*.value"], rank=2, alpha=8, keep="head", seed=draw.integer(0, 999))
        args = model, batches(draw, 3), method, lr
        cases.append(
            Case(f"three steps of {method.__name__}, lr = {lr}", args, _run(_step)(*copied(args)), changes=True)
        )
    mistakes = [
        Mistake("gradients of the step before are still there: zero them before backward", _run(_without_zero)),
        Mistake(
            "gradients are zeroed between backward and step: then nothing is left to step with", _run(_zero_too_late)
        ),
        Mistake("optimizer.step() is missing: nothing moved", _run(_without_step)),
        Mistake("backward is missing: there is no gradient to step with", _run(_without_backward)),
        Mistake("backward and optimizer.step() are missing", _run(lambda m, b, o, c: _loss(m, b))),
        Mistake("gradients are not clipped, or only when the step is taken already", _run(_without_clip)),
        Mistake("each gradient is clipped apart: it is the norm of all together that clip bounds", _run(_clip_each)),
        Mistake("entries are clipped, not the norm: clip_grad_norm_", _run(_clip_value)),
        Mistake("the loss is a sum over the rows: their mean is asked for", _run(_summed)),
        Mistake("cross_entropy takes logits: the softmax is in it already", _run(_softened)),
        Mistake("two steps are taken for one batch", _run(lambda *args: (_step(*args), _step(*args))[0])),
        Mistake("clip is taken to be 1: it is an argument", _run(_clip_at_one)),
        Mistake("this is the loss after the step: return the one that the gradient is of", _run(_loss_after)),
    ]
    graphs: list[bool] = []
    settle(
        "step",
        _run(step, graphs),
        cases,
        mistakes,
        otherwise=_unlike,
        then=lambda: _without_graph(graphs),
    )


def _unlike(case: Case, returned: dict[str, Any]) -> str:
    if same(case.expected["weights"], returned["weights"], case.room):
        return "the weights are right after three steps, and what came back is not the loss of each"
    return "the weights are others after three steps: is the order zero, loss, backward, clip, step?"


def _without_graph(graphs: list[bool]) -> None:
    if any(graphs):
        why = "the loss came back with its graph, which keeps every activation alive: loss.item() is the number"
        fail("step", "right, but not a number", diagnosis=why)


def _run(step: Callable, graphs: list[bool] | None = None) -> Callable:
    """Three steps with it: the losses, the trained parameters afterwards, and what was called on the way."""
    graphs = [] if graphs is None else graphs

    def outcome(model: nn.Module, some: list, method: Callable, lr: float) -> dict[str, Any]:
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = method(trained, lr=lr)
        losses = [step(model, batch, optimizer, CLIP) for batch in some]
        graphs.append(any(isinstance(loss, Tensor) and loss.requires_grad for loss in losses))
        called = {**optimizer.seen, "backward": optimizer.seen["backward"] or any(p.grad is not None for p in trained)}
        return {"losses": losses, "weights": torch.cat([p.detach().flatten() for p in trained]), **called}

    return outcome


class _Watched(torch.optim.Optimizer):
    """An optimiser that remembers what was called: it goes wherever the answer is run, and a hook does not."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.seen = {"backward": False, "steps": 0, "with a gradient": True}
        super().__init__(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "seen": self.seen}

    def step(self, closure=None):
        loss = super().step(closure)
        self._look()
        moved = any(p.grad is not None and bool(p.grad.any()) for p in trained_by(self))
        self.seen["steps"] += 1
        self.seen["with a gradient"] &= moved
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        self._look()
        super().zero_grad(set_to_none)

    def _look(self) -> None:
        self.seen["backward"] |= any(p.grad is not None for p in trained_by(self))


class SGD(_Watched, torch.optim.SGD):
    """torch's, watched."""


class AdamW(_Watched, torch.optim.AdamW):
    """torch's, watched."""


def _loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def trained_by(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The parameters that an optimiser steps with."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def _clip(optimizer: torch.optim.Optimizer, clip: float) -> None:
    nn.utils.clip_grad_norm_(trained_by(optimizer), clip)


def _step(model, batch, optimizer, clip, *, zero=True, late=False, bound=_clip, go=True, reduction="mean"):
    """The right one, and by its options the wrong ones."""
    if zero:
        optimizer.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1], reduction=reduction)
    loss.backward()
    if late:
        optimizer.zero_grad()
    bound(optimizer, clip)
    if go:
        optimizer.step()
    return loss.item()


def _without_zero(*args):
    return _step(*args, zero=False)


def _zero_too_late(*args):
    return _step(*args, late=True)


def _without_backward(model, batch, optimizer, clip):
    loss = _loss(model, batch)
    optimizer.step()
    return loss


def _without_step(*args):
    return _step(*args, go=False)


def _without_clip(*args):
    return _step(*args, bound=lambda optimizer, clip: None)


def _clip_each(*args):
    return _step(
        *args, bound=lambda optimizer, clip: [nn.utils.clip_grad_norm_(p, clip) for p in trained_by(optimizer)]
    )


def _clip_value(*args):
    return _step(*args, bound=lambda optimizer, clip: nn.utils.clip_grad_value_(trained_by(optimizer), clip))


def _clip_at_one(*args):
    return _step(*args, bound=lambda optimizer, clip: _clip(optimizer, 1.0))


def _summed(*args):
    return _step(*args, reduction="sum")


def _softened(model, *args):
    return _step(lambda tokens: model(tokens).softmax(-1), *args)


def _loss_after(model, batch, *args):
    _step(model, batch, *args)
    return _loss(model, batch).item()
