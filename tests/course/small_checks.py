"""Checks of the small assignment in instructor/."""

from __future__ import annotations

import torch

from lorakit.checks import Case, Mistake, settle


def check_scale(scale, *, seed=0):
    """Any α and r."""
    draw = torch.Generator().manual_seed(seed)
    pairs = [tuple(torch.randint(1, 65, (2,), generator=draw).tolist()) for _ in range(6)]
    cases = [Case(f"α = {alpha}, r = {rank}", (alpha, rank), alpha / rank) for alpha, rank in pairs if alpha != rank]
    settle("scale", scale, cases, [Mistake("did you use α instead of α/r?", lambda alpha, rank: alpha)])


def check_delta(delta, *, seed=0):
    """Any shapes, in both precisions."""
    draw = torch.Generator().manual_seed(seed)
    cases = []
    for dtype in (torch.float32, torch.float64):
        rank, out, into = torch.randint(2, 9, (3,), generator=draw).tolist()
        A, B = (torch.randn(*shape, generator=draw, dtype=dtype) for shape in ((rank, into), (out, rank)))
        cases.append(Case(f"B {out} × {rank}, A {rank} × {into}", (A, B, 3.0), 3.0 / rank * B @ A))
    settle("delta", delta, cases, [Mistake("is the scale α/r missing?", lambda A, B, alpha: B @ A)])
