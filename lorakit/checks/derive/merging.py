"""W = W₀ + (α/r)·B·A, formed in float32 and cast once; and back to the very same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lorakit.checks.checking import Case, Mistake, call, settle
from lorakit.checks.drawing import Draw
from lorakit.checks.failing import fail, passed

HALF = "ΔW is added in {}: form the sum in float32, and cast once, at the end"


def check_merge(merge: Callable, *, seed: int = 0) -> None:
    """merge(W, A, B, alpha) = W + (α/r)·B·A in the dtype of W, the sum formed in at least float32."""
    draw, cases = Draw(seed), []
    for dtype, z in zip([torch.float32, torch.bfloat16, torch.float64, torch.float16, torch.bfloat16], draw.sizes(5)):
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        shapes = (z.out * 4, z.inputs * 4), (z.rank, z.inputs * 4), (z.out * 4, z.rank)
        W, A, B = (draw.normal(*shape, dtype=wide) for shape in shapes)
        args = W.to(dtype), A, 0.02 * B, draw.choice(5, 7, 11) + 0.5
        says = f"W {args[0].shape[0]}×{args[0].shape[1]} in {str(dtype)[6:]}, r = {z.rank}, α = {args[3]:g}"
        cases.append(Case(says, args, _merged(*args), tolerance=1e-9 if dtype == torch.float64 else 1e-6))
    mistakes = [
        Mistake(
            lambda W, A, B, a: f"off by r = {len(A)} in ΔW: α where it says α/r?",
            lambda W, A, B, a: _merged(W, A, B, a * len(A)),
        ),
        Mistake("the scale α/r is missing", lambda W, A, B, a: _merged(W, A, B, len(A))),
        Mistake("this is W₀ − ΔW: the way back", lambda W, A, B, a: _merged(W, A, B, -a)),
        Mistake("α/√r is rsLoRA's scale: the paper's is α/r", lambda W, A, B, a: _merged(W, A, B, a * len(A) ** 0.5)),
        Mistake("W is multiplied: ΔW is added", lambda W, A, B, a: W * (a / len(A) * B @ A)),
        Mistake("this is ΔW alone: it is added to W", lambda W, A, B, a: a / len(A) * B @ A),
        Mistake("W came back as it was", lambda W, A, B, a: W),
        Mistake(_in_half, lambda W, A, B, a: W + (a / len(A) * B @ A).to(W.dtype)),
        Mistake(_in_half, lambda W, A, B, a: W + a / len(A) * B.to(W.dtype) @ A.to(W.dtype)),
        Mistake(_in_half, lambda W, A, B, a: W + a / len(A) * (B.to(W.dtype) @ A.to(W.dtype))),
        Mistake(_uncast, _single),
    ]
    settle("merge", merge, cases, mistakes, right=_as_stored, otherwise=_dtype)


def _merged(W: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    wide = torch.promote_types(W.dtype, torch.float32)
    return (W.to(wide) + alpha / len(A) * B.to(wide) @ A.to(wide)).to(W.dtype)


def _as_stored(case: Case, returned: Any) -> bool:
    """In W's dtype and shape, and the same bits but for a rounding here and there, where the sum lay on an edge."""
    if (
        not isinstance(returned, Tensor)
        or returned.dtype != case.expected.dtype
        or returned.shape != case.expected.shape
    ):
        return False
    if returned.dtype.itemsize > 2:
        return torch.allclose(returned, case.expected, rtol=0, atol=1e-5 if returned.dtype.itemsize == 4 else 1e-12)
    return float((returned != case.expected).float().mean()) < 0.01


def _in_half(W: Tensor, *_) -> str:
    return HALF.format(str(W.dtype)[6:])


def _single(W: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    return W.float() + alpha / len(A) * B.float() @ A.float()


def _uncast(W: Tensor, *_) -> str:
    if W.dtype == torch.float64:
        return "the sum is made in float32 here, and the layer stores float64: form it in double precision"
    return f"the sum is right and came back in float32: the layer stores {str(W.dtype)[6:]}, cast it at the end"


def _dtype(case: Case, returned: Any) -> str | None:
    W = case.args[0]
    if isinstance(returned, Tensor) and returned.dtype != W.dtype:
        return f"the layer stores {str(W.dtype)[6:]}, and {str(returned.dtype)[6:]} came back"
    return _in_half(W) if W.dtype.itemsize < 4 else "is it W + (α/r)·B·A?"


def check_unmerge(install: Callable, take_out: Callable, *, seed: int = 0) -> None:
    """install(layer, change) puts W₀ + change into layer.weight; take_out(layer, what it returned) undoes that."""
    draw = Draw(seed)
    for number, dtype in enumerate((torch.bfloat16, torch.float32, torch.float16), 1):
        z = draw.sizes(1)[0]
        with draw.apart():
            layer = nn.Linear(z.inputs, z.out, dtype=dtype)
        layer.weight.data.copy_(draw.normal(z.out, z.inputs))
        changes = [draw.normal(z.out, z.rank) @ draw.normal(z.rank, z.inputs) for _ in range(3)]
        _cycles(
            install, take_out, layer, changes, f"case {number} of 3: a layer {z.out}×{z.inputs} in {str(dtype)[6:]}"
        )
    passed("unmerge", "3 layers, three adapters one after another, the same bits each time")


def _cycles(install: Callable, take_out: Callable, layer: nn.Linear, changes: list[Tensor], says: str) -> None:
    before = layer.weight.detach().clone()
    for cycle, change in enumerate(changes, 1):
        sum_, given = (before.float() + change).to(before.dtype), change.clone()
        kept = call(
            "unmerge", install, Case(f"{says}, install {cycle}", (layer, given), None, changes=True, shared=True)
        )
        merged = layer.weight.detach().clone()
        if torch.equal(merged, before):
            fail("unmerge", says, diagnosis="after install the layer still holds W₀: put the sum into layer.weight")
        if merged.dtype != sum_.dtype:
            fail(
                "unmerge",
                says,
                str(sum_.dtype),
                str(merged.dtype),
                "the installed weight is wider than the layer was: cast the sum",
            )
        if not torch.equal(merged, sum_):
            fail("unmerge", says, sum_, merged, "installed is not W₀ + ΔW, formed in float32 and cast once")
        call("unmerge", take_out, Case(f"{says}, take_out {cycle}", (layer, kept), None, changes=True, shared=True))
        after = layer.weight.detach()
        if after.dtype != before.dtype:
            fail("unmerge", says, str(before.dtype), str(after.dtype), "the weight came back in another dtype")
        if not torch.equal(after, before):
            _fail_bits(says, before, merged, after)
        if not isinstance(layer.weight, nn.Parameter):
            fail("unmerge", says, "a Parameter", type(layer.weight).__name__, "layer.weight must stay a Parameter")


def _fail_bits(says: str, before: Tensor, merged: Tensor, after: Tensor) -> None:
    share = float((after != before).float().mean())
    error = float((after.float() - before.float()).norm() / before.float().norm())
    expected, returned = "the bits of before", f"{share:.0%} of the entries differ, ‖W − W₀‖/‖W₀‖ = {error:.1e}"
    if torch.equal(after, merged):
        why = "the layer still holds the merged weight: was what you kept the weight itself, and not a copy (clone)?"
    elif error < 0.1:
        why = "close, and not the same bits: subtracting ΔW again rounds a second time; keep the old weight instead"
    elif not after.any():
        why = "the weight came back as zeros"
    else:
        why = "what came back is neither W₀ nor the merged weight: does it undo the adapter before this one?"
    fail("unmerge", says, expected, returned, why)
