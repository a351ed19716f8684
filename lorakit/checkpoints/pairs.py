"""A and B, by whatever names a file calls them → ΔW = s·B·A, with the scale in `left`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from lorakit.delta import Delta, LowRank

SAID = 3  # layers at most that are named one by one, where they fail for the same reason

Words = dict[str, Tensor]  # "A", "B", perhaps "magnitude"


def grouped(tensors: Mapping[str, Tensor], endings: Mapping[str, str]) -> tuple[dict[str, Words], dict[str, Tensor]]:
    """({layer: {word: tensor}}, the rest) for keys `<layer>.<ending>`, with `endings` from ending to word."""
    layers: dict[str, Words] = {}
    rest = {}
    for key, tensor in tensors.items():
        ending = next((e for e in endings if key.endswith("." + e)), None)
        layer = key[: -len(ending) - 1] if ending else ""
        if ending and endings[ending] not in layers.get(layer, {}):
            layers.setdefault(layer, {})[endings[ending]] = tensor
        else:
            rest[key] = tensor
    return layers, rest


def pair(words: Mapping[str, Tensor], scale: float) -> LowRank:
    """LowRank(s·B, A) in at least float32, from A (r, in) and B (out, r); ValueError where they are no such pair."""
    A, B = (_finite(word, words) for word in "AB")
    if A.ndim != 2 or B.ndim != 2 or len(A) != B.shape[1]:
        raise ValueError(f"A (r, in) and B (out, r) do not fit: {tuple(A.shape)} and {tuple(B.shape)}")
    precise = torch.promote_types(A.dtype, torch.float32)
    return LowRank(scale * B.to(precise), A.to(precise))


def blocks(words: Mapping[str, Tensor], scale: float, rows: Sequence[Tensor], out: int) -> LowRank:
    """The same for n parts of a fused layer: A (n·r, in) and B (the parts' rows below each other, r).

    `rows` says where in the `out` rows of the whole layer those of each part belong.
    """
    A, B = (_finite(word, words) for word in "AB")
    heights, rank = [len(part) for part in rows], B.shape[1]
    if len(A) != len(rows) * rank or len(B) != sum(heights):
        expected = f"{len(rows)} parts of {heights} rows"
        raise ValueError(f"A {tuple(A.shape)} and B {tuple(B.shape)} are not those of {expected}")
    left = B.new_zeros(out, len(A))
    for i, (part, block) in enumerate(zip(rows, B.split(heights), strict=True)):
        left[part, i * rank : (i + 1) * rank] = block
    return pair({"A": A, "B": left}, scale)


def renormalised(weight: Tensor, change: LowRank, magnitude: Tensor) -> Tensor:
    """DoRA: ΔW = m·(W₀ + s·B·A)/‖W₀ + s·B·A‖ − W₀ with norms over the rows of (out, in) (Liu et al. 2024, eq. 5)."""
    if weight.shape != change.shape or magnitude.numel() != len(weight):
        given = f"W₀ {tuple(weight.shape)}, ΔW {tuple(change.shape)}, m {tuple(magnitude.shape)}"
        raise ValueError(f"W₀ (out, in) and m (out,) do not fit: {given}")
    weight = weight.detach().to(change.dtype)
    direction = weight + change.left @ change.right
    length = direction.norm(dim=1, keepdim=True).clamp_min(torch.finfo(direction.dtype).tiny)
    return magnitude.flatten()[:, None] * direction / length - weight


def each(
    path: object, layers: Mapping[str, Words], make: Callable[[str, Words], Delta], complaints: Iterable[str] = ()
) -> dict[str, Delta]:
    """{layer: make(layer, its tensors)}, or one ValueError with every reason why that fails, and where."""
    made: dict[str, Delta] = {}
    wrong, reasons = list(complaints), dict[str, list[str]]()
    for name in sorted(layers, key=_naturally):
        try:
            made[name] = make(name, layers[name])
        except (ValueError, TypeError) as error:
            reasons.setdefault(str(error), []).append(name)
    wrong += [line for reason, names in reasons.items() for line in _lines(reason, names)]
    if wrong:
        raise ValueError(f"{path} cannot be read:\n  " + "\n  ".join(wrong))
    return made


def _lines(reason: str, names: list[str]) -> list[str]:
    """A line for each layer, or one for all of them."""
    if len(names) > SAID:
        return [f"{names[0]} and {len(names) - 1} more: {reason}"]
    return [f"{name}: {reason}" for name in names]


def _naturally(name: str) -> list[tuple[int, str]]:
    """Layer 2 comes before layer 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


def _finite(word: str, words: Mapping[str, Tensor]) -> Tensor:
    if word not in words:
        raise ValueError(f"there is {sorted(words)} and no {word}")
    if not words[word].isfinite().all():
        raise ValueError(f"{word} holds NaN or infinity")
    return words[word]
