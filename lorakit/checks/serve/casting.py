"""Cast: a weight in bfloat16 keeps three digits of W + ΔW.

survived   the share of the entries meant to change that a cast let change
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.drawing import Draw


def check_survived(function: Callable, *, seed: int = 0) -> None:
    """`survived(W, delta)` → share of the entries meant to change that a cast let change; raises `CheckFailed`."""
    draw, cases = Draw(seed), []
    for dtype, size in ((torch.bfloat16, 2e-4), (torch.float16, 2e-5), (torch.bfloat16, 1e-3), (torch.float32, 1e-3)):
        out, inputs = draw.distinct(2, 20, 40)
        W, delta = draw.normal(out, inputs).mul(0.2).to(dtype), size * draw.normal(out, inputs)
        delta[:: draw.integer(2, 4)] = 0  # rows that are not to change: a fused projection of which a part is adapted
        cases.append(
            Case(
                f"W {out}×{inputs} in {str(dtype).removeprefix('torch.')}, ΔW about {size:g}",
                (W, delta),
                _survived(W, delta),
            )
        )
    nothing = (torch.ones(4, 3, dtype=torch.bfloat16), torch.zeros(4, 3))
    settle("survived", function, [*cases, Case("ΔW = 0", nothing, 1.0)], SURVIVED, otherwise=SHARE)


SHARE = "of the entries where ΔW is not 0: how many are another number after W + ΔW is cast to the dtype of W"


def _survived(W: Tensor, delta: Tensor) -> float:
    wanted = delta != 0
    return float(_moved(W, delta)[wanted].double().mean()) if wanted.any() else 1.0


def _moved(W: Tensor, delta: Tensor) -> Tensor:
    return (W.float() + delta).to(W.dtype) != W


def _none_of_nothing(W: Tensor, delta: Tensor) -> float:
    if delta.any():
        raise ValueError("something is to change")
    return 0.0


SURVIVED = (
    Mistake("0/0 where nothing is to change: all of nothing survived, 1", lambda W, delta: float("nan")),
    Mistake("nothing is to change here, and so nothing is lost: all of nothing survived, 1", _none_of_nothing),
    Mistake(
        "ΔW is cast before it is added: the sum is formed in float32, and cast once",
        lambda W, delta: ((W + delta.to(W.dtype)) != W)[delta != 0].double().mean(),
    ),
    Mistake("this is the share that was lost", lambda W, delta: 1 - _survived(W, delta)),
    Mistake(
        "the share is of the entries that ΔW is to change: those where ΔW is 0 are none of them",
        lambda W, delta: _moved(W, delta).float().mean(),
    ),
    Mistake("this is a percentage: give a share between 0 and 1", lambda W, delta: 100 * _survived(W, delta)),
    Mistake("this is how many entries changed, not which share of them", lambda W, delta: int(_moved(W, delta).sum())),
    Mistake(
        "everything survives here: was the sum cast back to the dtype of W before you compared?",
        lambda W, delta: 1.0,
    ),
    Mistake(
        "the entries that came out exactly W + ΔW are counted: rounding moves most of those that did change",
        lambda W, delta: ((W.float() + delta).to(W.dtype).float() == W.float() + delta)[delta != 0].float().mean(),
    ),
)
