"""Where a bank's tasks meet the frozen model: a stand-in before each module that some task changes.

    one task for all rows    h = W₀·x + B·A·x                     x (rows, tokens, in)
    a task for each row      hᵢ = W₀·xᵢ + Bᵢ·Aᵢ·xᵢ                A (rows, r, in), B (rows, out, r)

The second line is the first with one more dimension: two batched products, however many tasks are in them, and the
second adds into W₀·x in place. Hu et al. 2021 (section 4.2) name it as what merging cannot do. A row without a task,
and what is left of the widest rank in a row of a lower one, is zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_leaves, tree_map

from lorakit.adapter import Adapter
from lorakit.delta import LowRank
from lorakit.geometry import expand, expand_each, project, project_each


class Factors(NamedTuple):
    """A ΔW for each row of a batch: left (rows, r, out), transposed, and right (rows, r, in)."""

    left: Tensor
    right: Tensor

    def to(self, device: torch.device) -> Factors:
        """The same on another device."""
        return Factors(self.left.to(device), self.right.to(device))


class Values(NamedTuple):
    """A module's tensors for each row of a batch, (rows, …) by name, and how many outputs of each row are its own."""

    tensors: dict[str, Tensor]
    widths: Tensor | None


def stacked(own: Sequence[Mapping[str, Tensor]]) -> Values:
    """A module's tensors for every row; rows with fewer outputs than the widest are filled up with zeros."""
    if all(tensors is own[0] for tensors in own):
        return Values({name: t.expand(len(own), *t.shape) for name, t in own[0].items()}, None)
    widths = [min(len(tensor) for tensor in tensors.values() if tensor.ndim) for tensors in own]
    widest = max(widths)
    filled = {name: torch.stack([_filled(tensors[name], widest) for tensors in own]) for name in own[0]}
    return Values(filled, torch.tensor(widths) if min(widths) < widest else None)


def _filled(tensor: Tensor, width: int) -> Tensor:
    missing = width - len(tensor) if tensor.ndim else 0
    return torch.cat([tensor, tensor.new_zeros(missing, *tensor.shape[1:])]) if missing else tensor


class StandIn(Adapter):
    """Stands before a module of a bank's model. What it shows belongs to the bank; it holds no parameters of its own.

    Tensors may be put in the place of the frozen ones, which are set aside meanwhile and come back as the very same.
    `rows` is what the bank expects of a batch, None for any; `shown` and `routed` are what a kind of stand-in shows.
    """

    rows: int | None = None
    shown: Any = None
    routed: Any = None

    def __init__(self, base: nn.Module, *, name: str) -> None:
        super().__init__(base)
        self.name = name
        self.aside: dict[str, Tensor] = {}

    def frozen(self, name: str) -> Tensor:
        """The pretrained tensor of that name, also while another is in its place."""
        found = self.aside.get(name)
        return found if found is not None else _held(self.base, name)[name]

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Let these compute instead of the frozen ones of their names, in the width and on the device of those."""
        for name, tensor in tensors.items():
            held = _held(self.base, name)
            old = self.aside.setdefault(name, held[name])
            new = tensor.to(held[name])
            held[name] = nn.Parameter(new, requires_grad=False) if isinstance(old, nn.Parameter) else new

    def back(self) -> dict[str, Tensor]:
        """The frozen ones again; returns what stood in their place, for another `put`."""
        put = {name: _held(self.base, name)[name] for name in self.aside}
        for name, tensor in self.aside.items():
            tensor.data = tensor.data.to(put[name].device)  # the model may have moved since
            _held(self.base, name)[name] = tensor
        self.aside = {}
        return put

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.enabled or not self.aside:
            return super().forward(*args, **kwargs)
        return functional_call(self.base, self.aside, args, kwargs)

    def merged(self) -> dict[str, Tensor]:
        raise TypeError("this layer is a bank's: bank.switch(name) merges, bank.close() gives the model back")

    def check(self, given: int) -> None:
        """Raise ValueError unless a batch of so many rows is what the bank was told; one row serves all."""
        if self.rows is not None and given not in (1, self.rows):
            said = f"bank.route names {self.rows} rows, and {self.name} is given {given}"
            raise ValueError(f"{said}: one name a row of the batch, beams and samples counted")


class Slot(StandIn):
    """Before a layer that is a matrix: adds nothing, one ΔW, or one for each row."""

    shown: LowRank | None = None
    routed: Factors | None = None

    def fitted(self, pair: LowRank) -> LowRank:
        """The pair on the layer's device, in a dtype that holds its weights' and the factors' own."""
        weight = self.frozen("weight")
        return pair.to(weight.device, torch.promote_types(weight.dtype, pair.dtype))

    def adapted(self, x: Tensor) -> Tensor:
        self.check(len(x))
        out = self.base(x)
        if self.routed is not None:
            return self._each(x, out, self.routed)
        if self.shown is None:
            return out
        change = expand(self.base, project(self.base, x, self.shown.right), self.shown.left)
        return out.add_(change) if self._may_write(out, change) else out + change.to(out.dtype)

    def _each(self, x: Tensor, out: Tensor, factors: Factors) -> Tensor:
        left, right = factors
        if len(x) < len(right):  # positions, say: one row that serves all
            x, out = x.expand(len(right), *x.shape[1:]), out.repeat(len(right), *[1] * (out.ndim - 1))
        h = project_each(self.base, x, right)
        if not self._may_write(out, h, left):
            blank = torch.zeros_like(out, dtype=h.dtype)
            return out + expand_each(self.base, blank, h, left.to(h.dtype)).to(out.dtype)
        return expand_each(self.base, out, h, left)

    def _may_write(self, out: Tensor, *added: Tensor) -> bool:
        """Whether W₀·x is nobody else's: no gradient needs it, no hook holds it, no cast is due."""
        watched = self.base._forward_hooks or out.requires_grad or any(t.requires_grad for t in added)
        return not watched and all(t.dtype == out.dtype for t in added)


class HeadSlot(StandIn):
    """Before a module that tasks bring whole, a classifier say: computes with the tensors of each row's task."""

    routed: Values | None = None

    def route(self, own: Sequence[Mapping[str, Tensor] | None]) -> None:
        """Show each row its own tensors, None the frozen ones."""
        if all(tensors is None for tensors in own):
            return
        frozen = {name: self.frozen(name) for one in own for name in one or ()}
        tensors, widths = stacked([frozen if one is None else one for one in own])
        self.routed = Values({name: t.to(frozen[name]) for name, t in tensors.items()}, widths)

    def adapted(self, *args: Any, **kwargs: Any) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        for tensor in tensors:
            self.check(len(tensor))
        if self.routed is None:
            return self.base(*args, **kwargs)
        rows = len(next(iter(self.routed.tensors.values())))
        args, kwargs = tree_map(lambda leaf: _for_each(leaf, rows), (args, kwargs))
        along = tree_map(lambda leaf: 0 if isinstance(leaf, Tensor) else None, (args, kwargs))
        out = vmap(self._one, in_dims=(0, *along))(self.routed.tensors, args, kwargs)
        return out if self.routed.widths is None else _only(out, self.routed.widths)

    def _one(self, tensors: dict[str, Tensor], args: tuple, kwargs: dict) -> Tensor:
        return functional_call(self.base, tensors, args, kwargs)


def _for_each(leaf: Any, rows: int) -> Any:
    return leaf.expand(rows, *leaf.shape[1:]) if isinstance(leaf, Tensor) else leaf


def _only(out: Tensor, widths: Tensor) -> Tensor:
    """−∞ behind each row's own outputs (rows, …, widest): no probability, and never the largest."""
    behind = torch.arange(out.shape[-1], device=out.device) >= widths.to(out.device).view(-1, *[1] * (out.ndim - 1))
    return out.masked_fill(behind, -torch.inf)


def _held(module: nn.Module, name: str) -> dict[str, Any]:
    """Where `module` keeps the tensor of that name."""
    return module._parameters if name in module._parameters else module._buffers
