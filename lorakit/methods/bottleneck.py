"""f(h) = h + U·σ(D·h + c) + e on the output h of a frozen layer   (Houlsby et al. 2019; Lin et al. 2020)

A bottleneck of r = `size` units is inserted in series, where LoRA works in parallel: it cannot be merged, and
costs latency at inference (Hu et al. 2021, table 1). U starts at zero, so that f starts as the identity.

    Houlsby   two a block, on the outputs of attention and of the MLP:  |Θ| = 2·d·r + r + d each
    Lin       one a block, on the output of the MLP, behind a LayerNorm of its own:  + 2·d

(Hu et al. 2021, section 5.1). Where it goes is said by the names given to `adapt`: "*.output.dense" of a BERT and
["*.attn.c_proj", "*.mlp.c_proj"] of a GPT-2 are Houlsby's two places.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from lorakit.adapter import Adapter
from lorakit.geometry import is_conv1d, weight_of
from lorakit.lora import draw, kaiming

Activation = Callable[[Tensor], Tensor]


class Houlsby(Adapter):
    """f(h) = h + up(σ(down(h))) behind a dense layer.

    size        r, the width of the bottleneck, in 1..d
    dropout     probability of dropping a unit of the bottleneck while training
    activation  σ, any function of a tensor; GELU leaves no unit dead from the start, as ReLU may
    Raises ValueError for a size outside 1..d.
    Shapes: down.weight (r, d), down.bias (r,), up.weight (d, r), up.bias (d,).
    """

    through: Callable[..., nn.Module] = nn.Identity  # the bottleneck sees h through it

    def __init__(
        self,
        base: nn.Module,
        *,
        size: int = 64,
        dropout: float = 0.0,
        activation: Activation = F.gelu,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(base)
        weight = weight_of(base)
        d, like = weight.shape[0], {"device": weight.device, "dtype": weight.dtype}
        if not isinstance(size, int) or not 1 <= size <= d:
            raise ValueError(f"a bottleneck is 1..{d} wide behind a layer of {d} outputs; given size={size!r}")
        self.norm = self.through(d, **like)
        self.down, self.up = skip_init(nn.Linear, d, size, **like), skip_init(nn.Linear, size, d, **like)
        draw(self.down.weight, kaiming, generator)
        for start in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(start)
        self.dropout, self.activation = nn.Dropout(dropout), activation
        self.train(base.training)

    @classmethod
    def adapts(cls, module: nn.Module) -> bool:
        return isinstance(module, nn.Linear) or is_conv1d(module)

    def adapted(self, x: Tensor) -> Tensor:
        h = self.base(x)
        return h + self.up(self.dropout(self.activation(self.down(self.norm(h)))))


class Lin(Houlsby):
    """f(h) = h + up(σ(down(LayerNorm(h)))) behind a dense layer; options as Houlsby's.

    Shapes: as Houlsby's, and norm.weight (d,), norm.bias (d,).
    """

    through = nn.LayerNorm
