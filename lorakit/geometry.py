"""One orientation: whatever a layer stores, its W is (out, in).

A is (rank, in), B is (out, rank) and ΔW is (out, in) everywhere in lorakit. Only this file knows that
GPT-2's Conv1D and embeddings store the transpose, and that a convolution's matrix has a shape of its own.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorakit.delta import Delta, dense


def is_conv1d(layer: nn.Module) -> bool:
    """Whether this is transformers' Conv1D (GPT-2's dense layer), told without importing transformers."""
    home = sys.modules.get("transformers.pytorch_utils")
    return home is not None and isinstance(layer, home.Conv1D)


def is_linear_map(layer: nn.Module) -> bool:
    """Whether the layer computes W·x (+ b) with one matrix W, in any of the geometries below.

    A grouped convolution has several; an embedding that scales what it looks up (Gemma's) or renormalises its
    table (`max_norm`) computes something else, and so do subclasses with a `forward` of their own.
    """
    if isinstance(layer, nn.Embedding):
        return layer.max_norm is None and type(layer).forward is nn.Embedding.forward
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and type(layer).forward is nn.Conv2d.forward
    return isinstance(layer, nn.Linear) or is_conv1d(layer)


def weight_of(layer: nn.Module) -> Tensor:
    """The layer's W as a view, (out, in): the one function that knows how each kind stores it.

    Conv1D and Embedding store Wᵀ; Conv2d stores (out, in/groups, kh, kw), read here as (out, in·kh·kw).
    Raises TypeError for a layer that has no weight matrix, or one that stores codes of it (8 or 4 bits).
    """
    if not isinstance(layer, nn.Linear | nn.Embedding | nn.Conv2d) and not is_conv1d(layer):
        raise TypeError(f"no weight matrix is known for {type(layer).__name__}")
    weight: Tensor = layer.weight  # type: ignore[assignment]
    if not weight.is_floating_point():
        raise TypeError(f"{type(layer).__name__} holds {weight.dtype} codes, not a weight: dequantize it first")
    return weight.mT if _transposed(layer) else weight.flatten(1)


def stored_as(layer: nn.Module, delta: Delta) -> Tensor:
    """ΔW (out, in) as a matrix in the layout that the layer stores: a pair is multiplied out in that layout."""
    shape = cast(Tensor, layer.weight).shape
    return dense(delta.T if _transposed(layer) else delta).reshape(shape)


def _transposed(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Embedding) or is_conv1d(layer)


def project(base: nn.Module, x: Tensor, right: Tensor) -> Tensor:
    """right·x in the geometry of `base`: a matrix product, a table look-up or a convolution to r channels."""
    if isinstance(base, nn.Embedding):
        return F.embedding(x, right.mT, base.padding_idx)  # no gradient at the padding, as in base
    if isinstance(base, nn.Conv2d):
        kernel = right.view(-1, base.in_channels, *base.kernel_size)
        return base._conv_forward(x.to(right.dtype), kernel, None)
    return F.linear(x.to(right.dtype), right)


def expand(base: nn.Module, h: Tensor, left: Tensor) -> Tensor:
    """left·h in the geometry of `base`: a matrix product, over channels where `base` is a convolution."""
    return F.conv2d(h, left[:, :, None, None]) if isinstance(base, nn.Conv2d) else F.linear(h, left)


def project_each(base: nn.Module, x: Tensor, right: Tensor) -> Tensor:
    """rightᵢ·xᵢ for each row i of a batch: x (rows, …) and right (rows, r, in) give (rows, r, tokens).

    The tokens of an image are the patches that a convolution's kernel sees.
    """
    if isinstance(base, nn.Embedding):
        ids = x.reshape(len(x), 1, -1)
        return right.gather(2, ids.expand(-1, right.shape[1], -1))
    x = x.to(right.dtype)
    return torch.bmm(right, _patches(base, x) if isinstance(base, nn.Conv2d) else x.reshape(len(x), -1, x.shape[-1]).mT)


def expand_each(base: nn.Module, out: Tensor, h: Tensor, left: Tensor) -> Tensor:
    """out + leftᵢᵀ·hᵢ for each row, with h (rows, r, tokens) and left (rows, r, out); it may write into `out`."""
    if isinstance(base, nn.Conv2d):
        return out.flatten(2).baddbmm_(left.mT, h).view(out.shape)
    return out.reshape(len(out), -1, out.shape[-1]).baddbmm_(h.mT, left).view(out.shape)


def _patches(base: nn.Conv2d, x: Tensor) -> Tensor:
    """(rows, channels, height, width) → (rows, in, tokens): the columns that the kernel is multiplied with."""
    mode = "constant" if base.padding_mode == "zeros" else base.padding_mode
    padded = F.pad(x, cast(Any, base)._reversed_padding_repeated_twice, mode=mode)
    return F.unfold(padded, base.kernel_size, dilation=base.dilation, stride=base.stride)
