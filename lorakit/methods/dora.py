"""W = m · (W₀ + ΔW)/‖W₀ + ΔW‖ row by row, ΔW = s·B·A   (Liu et al. 2024, section 4)

A magnitude m (out,) and a direction learn apart. m starts at ‖W₀‖, so that W starts at W₀. The norm counts as a
constant in the backward pass (section 4.3), which saves the memory of a gradient through it. With ρ = m/‖W₀ + ΔW‖,

    W·x + b = (W₀·x + b) + (ρ − 1)·W₀·x + ρ·ΔW·x

needs no W: each term is a layer's output, scaled by row. What the paper calls columns are rows here: one norm an
output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lorakit.delta import dense
from lorakit.geometry import expand, project, weight_of
from lorakit.lora import Init, LoRA, kaiming


class DoRA(LoRA):
    """LoRA's direction with a magnitude of its own for each output, on dense layers and convolutions.

    Options are LoRA's, but for `parts`. Dropout acts on the input of A alone. Shapes: A (rank, in), B (out, rank),
    magnitude (out,). ΔW = W − W₀ is dense: no low rank describes a change of norms.
    """

    def __init__(
        self,
        base: nn.Module,
        *,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        rslora: bool = False,
        init: Init = kaiming,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            base, rank=rank, alpha=alpha, dropout=dropout, rslora=rslora, init=init, dtype=dtype, generator=generator
        )
        self.magnitude = nn.Parameter(self.norm().to(self.A.dtype))

    @classmethod
    def adapts(cls, module: nn.Module) -> bool:
        return super().adapts(module) and not isinstance(module, nn.Embedding)

    def direction(self) -> Tensor:
        """W₀ + s·B·A, (out, in), in at least float32."""
        weight = weight_of(self.base)
        precise = torch.promote_types(weight.dtype, torch.float32)
        return weight.to(precise) + dense(super().delta().to(precise))

    @torch.no_grad()
    def norm(self) -> Tensor:
        """‖W₀ + s·B·A‖ of each row, (out,): a constant to autograd, and never zero."""
        length = torch.linalg.vector_norm(self.direction(), dim=1)
        return length.clamp_min(torch.finfo(self.A.dtype).tiny)

    @property
    def ratio(self) -> Tensor:
        """ρ = m/‖W₀ + s·B·A‖, (out,)."""
        return self.magnitude / self.norm().to(self.magnitude.dtype)

    def adapted(self, x: Tensor) -> Tensor:
        out, ratio = self.base(x), self._by_output(self.ratio)
        straight = out if self.base.bias is None else out - self._by_output(self.base.get_parameter("bias"))
        change = self.scale * expand(self.base, project(self.base, self.dropout(x), self.A), self.B)
        return out + ((ratio - 1) * straight + ratio * change).to(out.dtype)

    def delta(self) -> Tensor:  # type: ignore[override]
        """ΔW = W − W₀, (out, in), dense and in at least float32."""
        return self.ratio[:, None] * self.direction() - weight_of(self.base)

    def _by_output(self, vector: Tensor) -> Tensor:
        """Laid along the outputs of `base`: the last dimension, or the channels of a convolution."""
        return vector[:, None, None] if isinstance(self.base, nn.Conv2d) else vector
