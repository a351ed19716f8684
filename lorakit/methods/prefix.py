"""head = softmax(q·[Pₖ; K]ᵀ/√d)·[Pᵥ; V]   (Li & Liang 2021; "prefix-layer tuning" in Hu et al. 2021, section 5.1)

`length` keys Pₖ and values Pᵥ, learned in every layer, stand before those of the sequence; every query sees them,
no position is theirs. |Θ| = L·2·d·length over L layers (with grouped queries, d is key/value heads × head size).
The paper counts L·d·(lₚ + lᵢ): one vector a layer and position, of which keys and values are projected. A key and
a value learned apart are two, so this is the paper's count at lₚ + lᵢ = 2·length.

An attention module of transformers hands its keys and values to a cache and goes on with what that gives back.
That is the seam used here: a cache that puts the prefix in front of what the real one holds, and never into it.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorakit.adapter import Adapter, foreign_parameters, fresh
from lorakit.lora import Init, draw

TAKES = {"hidden_states", "attention_mask", "past_key_values"}


def small(parameter: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Normal with σ = 0.02, as transformers starts embeddings."""
    return parameter.normal_(0.0, 0.02, generator=generator)


class Prefix(Adapter):
    """Stands in for a self-attention module of transformers and lets it see a learned prefix.

    length  the number of prefix positions, at least 1
    init    what keys and values start from
    Not neutral: softmax gives every prefix position a share of the attention whatever its key is, so that no start
    leaves the output as it was. Shapes: keys and values (key/value heads, length, head size). Attention weights
    that the module returns have `length` more columns, in front. Works with "eager" and "sdpa" attention;
    ValueError with another, or without a position.
    """

    neutral = False

    def __init__(
        self,
        base: nn.Module,
        *,
        length: int = 8,
        init: Init = small,
        generator: torch.Generator | None = None,
    ) -> None:
        if not isinstance(length, int) or length < 1:
            raise ValueError(f"a prefix has at least one position; given length={length!r}")
        super().__init__(base)
        shape, like = (_heads(base), length, _head_size(base)), next(foreign_parameters(base))
        self.keys, self.values = fresh(shape, like), fresh(shape, like)
        draw(self.keys, init, generator)
        draw(self.values, init, generator)

    @classmethod
    def adapts(cls, module: nn.Module) -> bool:
        """Whether it takes a mask and a cache, knows its heads, and attends to its own sequence."""
        takes = inspect.signature(module.forward).parameters.keys()
        crosses = "encoder_hidden_states" in takes and getattr(module, "is_cross_attention", True)
        return takes >= TAKES and hasattr(module, "layer_idx") and _head_size(module) > 0 and not crosses

    def adapted(
        self,
        hidden_states: Tensor,
        *,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **rest,
    ):
        cache = getattr(past_key_values, "self_attention_cache", past_key_values)
        mask = self._widened(attention_mask, hidden_states, cache, rest.get("is_causal"))
        prefixed = _Prefixed(cache, self.keys, self.values)
        return self.base(hidden_states, attention_mask=mask, past_key_values=prefixed, **rest)

    def _widened(self, mask: Tensor | None, x: Tensor, cache: Any, causal: bool | None) -> Tensor | None:
        """The mask with `length` columns in front that hide nothing."""
        config: Any = self.base.config
        kind = config._attn_implementation
        if kind not in ("eager", "sdpa"):
            raise ValueError(f"a prefix needs eager or sdpa attention; this model uses {kind!r}: load it with another")
        if mask is not None:
            return F.pad(mask, (self.keys.shape[1], 0), value=0.0 if mask.is_floating_point() else True)
        implied = kind == "sdpa" and x.shape[1] > 1 and (self.base.is_causal if causal is None else causal)
        return self._causal(x, cache) if implied else None

    def _causal(self, x: Tensor, cache: Any) -> Tensor:
        """(1, 1, T, length + T, or as wide as the cache): what sdpa leaves to its own causal flag, which would count
        a prefix as the first tokens and hide the last ones. It does so for a sequence without a past alone."""
        ahead, steps = self.keys.shape[1], x.shape[1]
        wide = steps if cache is None else cache.get_mask_sizes(steps, self.base.layer_idx)[0]
        return torch.ones(1, 1, steps, ahead + wide, dtype=torch.bool, device=x.device).tril(ahead)


class _Prefixed:
    """What attention takes for its cache: it shows a prefix before all that `cache` holds, and stores none of it."""

    def __init__(self, cache: Any, keys: Tensor, values: Tensor) -> None:
        self.cache, self.prefix = cache, (keys, values)

    def update(self, keys: Tensor, values: Tensor, *args, **kwargs) -> tuple[Tensor, ...]:
        held = (keys, values) if self.cache is None else self.cache.update(keys, values, *args, **kwargs)
        return tuple(torch.cat([p.to(t).expand(len(t), -1, -1, -1), t], 2) for p, t in zip(self.prefix, held))


def _heads(attention: nn.Module) -> int:
    config: Any = attention.config
    return getattr(config, "num_key_value_heads", None) or config.num_attention_heads


def _head_size(attention: nn.Module) -> int:
    size: Any = getattr(attention, "head_dim", None) or getattr(attention, "attention_head_size", 0)
    return size
