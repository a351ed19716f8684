"""A Transformer small enough to check an answer on in milliseconds, with names like a real one's.

embed → blocks.0.attention.{query, key, value, output} → blocks.0.mlp.{up, down} → … → head
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorakit.checks.drawing import Draw


class Attention(nn.Module):
    """One head: softmax(q·kᵀ/√d)·v, and a dense layer behind it."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        attended = F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))
        return self.output(attended)


class MLP(nn.Module):
    """Up to twice the width and back."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    """x + attention, then x + MLP, each behind a LayerNorm."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.attention, self.mlp = Attention(d), MLP(d)
        self.attention_norm, self.mlp_norm = nn.LayerNorm(d), nn.LayerNorm(d)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class Small(nn.Module):
    """Token ids (B, T) to logits (B, labels), by the mean over the tokens."""

    def __init__(self, d: int, blocks: int, words: int = 20, labels: int = 3) -> None:
        super().__init__()
        self.embed, self.blocks = nn.Embedding(words, d), nn.ModuleList(Block(d) for _ in range(blocks))
        self.head = nn.Linear(d, labels)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


def small(draw: Draw, blocks: int | None = None, dtype: torch.dtype = torch.float32) -> Small:
    """One with weights from `draw`, of a width and depth from it too; no bias is zero."""
    with draw.apart():
        model = Small(2 * draw.integer(3, 6), draw.integer(2, 3) if blocks is None else blocks).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * draw.normal(*parameter.shape, dtype=dtype))
    return model


def batches(draw: Draw, count: int, rows: int = 6) -> list[tuple[Tensor, Tensor]]:
    """Token ids (rows, T) and labels (rows,) for it."""
    some = []
    for _ in range(count):
        tokens = torch.randint(0, 20, (rows, draw.integer(3, 7)), generator=draw.generator)
        some.append((tokens, torch.randint(0, 3, (rows,), generator=draw.generator)))
    return some
