"""h = W₀·x + (b₀ + shift)   (Ben Zaken et al. 2021): only biases learn, |Θ| is their number.

The shift is learned apart from b₀, which stays frozen like every other pretrained weight, so that a shift can be
disabled, saved and merged as any adapter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lorakit.adapter import Adapter, fresh
from lorakit.geometry import is_conv1d


class BitFit(Adapter):
    """Adds `shift`, of the shape of the bias, to what a dense layer, a LayerNorm or a convolution gives out.

    Only layers that have a bias are adapted. Nothing is drawn: shift starts at zero.
    """

    def __init__(self, base: nn.Module, *, generator: torch.Generator | None = None) -> None:
        super().__init__(base)
        bias = base.get_parameter("bias")
        self.shift = fresh(bias.shape, bias)

    @classmethod
    def adapts(cls, module: nn.Module) -> bool:
        additive = isinstance(module, nn.Linear | nn.LayerNorm | nn.Conv2d) or is_conv1d(module)
        return additive and module.bias is not None

    def adapted(self, x: Tensor) -> Tensor:
        out = self.base(x)
        shift = self.shift[:, None, None] if isinstance(self.base, nn.Conv2d) else self.shift
        return out + shift.to(out.dtype)

    def merged(self) -> dict[str, Tensor]:
        bias = self.base.get_parameter("bias").detach()
        precise = torch.promote_types(bias.dtype, torch.float32)
        return {"bias": bias.to(precise) + self.shift.detach().to(precise)}
