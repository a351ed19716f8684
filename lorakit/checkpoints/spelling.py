"""How PEFT's weights file calls A, B and m, for each kind of layer.

    base_model.model.<layer>.lora_A.weight   A (r, in)      lora_B.weight   B (out, r)    dense layers, Conv1D
    base_model.model.<layer>.lora_A.weight   (r, in, kh, kw)                (out, r, 1, 1)  convolutions
    base_model.model.<layer>.lora_embedding_A   A (r, vocabulary)   lora_embedding_B   B (d, r)   embeddings
    base_model.model.<layer>.lora_magnitude_vector   m (out,), or (1, out, 1, 1)    DoRA
    base_model.model.<module>.<parameter>   a module trained and saved whole

Read flat, they are all the same: A is (r, in) and B is (out, r). So reading needs no model, only writing does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from lorakit.checkpoints.pairs import Words, grouped
from lorakit.lora import LoRA

PREFIX = "base_model.model."
MAGNITUDE = "lora_magnitude_vector"
WORDS = {
    "lora_A.weight": "A",
    "lora_B.weight": "B",
    "lora_embedding_A": "A",
    "lora_embedding_B": "B",
    MAGNITUDE: "magnitude",
    f"{MAGNITUDE}.weight": "magnitude",
}


def parse(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Words], dict[str, Tensor]]:
    """({layer: {"A": (r, in), "B": (out, r), maybe "magnitude": (out,)}}, everything else by its name)."""
    ours = {key[len(PREFIX) :]: tensor for key, tensor in tensors.items() if key.startswith(PREFIX)}
    layers, rest = grouped(ours, WORDS)
    flat = {name: {word: _flat(word, t) for word, t in words.items()} for name, words in layers.items()}
    return flat, {**rest, **{key: tensor for key, tensor in tensors.items() if not key.startswith(PREFIX)}}


def _flat(word: str, tensor: Tensor) -> Tensor:
    return tensor.flatten() if word == "magnitude" else tensor.flatten(1) if tensor.ndim > 1 else tensor


def spelt(name: str, adapter: LoRA) -> dict[str, Tensor]:
    """The adapter's tensors by their keys: of one LoRA of rank n·r where it adapts n parts of a fused layer."""
    A, B, magnitude = adapter.A, adapter.left, getattr(adapter, "magnitude", None)
    shapes: tuple[Sequence[int], ...] = (A.shape, B.shape, (-1,))
    words = ("lora_A.weight", "lora_B.weight")
    if isinstance(adapter.base, nn.Embedding):
        words = ("lora_embedding_A", "lora_embedding_B")
    if isinstance(adapter.base, nn.Conv2d):
        window = (adapter.base.in_channels, *adapter.base.kernel_size)
        shapes = ((len(A), *window), (*B.shape, 1, 1), (1, -1, 1, 1))
    named = zip((*words, MAGNITUDE), (A, B, magnitude), shapes)
    return {f"{PREFIX}{name}.{word}": t.detach().reshape(shape) for word, t, shape in named if t is not None}


def unblocked(B: Tensor, rows: Iterable[slice], rank: int) -> Tensor:
    """(out, n·rank), block-structured → (rows adapted, rank), as a LoRA on n parts keeps it.

    Raises ValueError where B is not zero outside of its blocks: then it is no LoRA on these parts.
    """
    blocks = [B[part, i * rank : (i + 1) * rank] for i, part in enumerate(rows)]
    if sum(int(block.count_nonzero()) for block in blocks) != int(B.count_nonzero()):
        raise ValueError("its B changes outputs outside of the parts that are adapted here")
    return torch.cat(blocks)
