"""torchtune's files: <path>.lora_a.weight (r, in), <path>.lora_b.weight (out, r), and <path>.magnitude for DoRA.

Paths are torchtune's own (layers.0.attn.q_proj), and so is the order of rows in q and k: it is that of the original
Llama weights, with the pairs of a rotary angle side by side. A ΔW read here belongs to torchtune's W₀.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lorakit.checkpoints.files import CONFIG, config_in, tensors_in
from lorakit.checkpoints.pairs import Words, each, grouped, pair, renormalised
from lorakit.delta import Delta

ENDINGS = {"lora_a.weight": "A", "lora_b.weight": "B", "magnitude": "magnitude"}


def read_torchtune(
    path: str | Path, *, alpha: float | None = None, base: Mapping[str, Tensor] | None = None
) -> dict[str, Delta]:
    """ΔW (out, in) of each adapted layer, by torchtune's path, with s = α/r.

    alpha   α; None takes lora_alpha of an adapter_config.json beside the file
    base    for DoRA, {layer: W₀ (out, in)}; the result is then dense
    Raises ValueError where α is not known, a factor is alone, or DoRA has no W₀.
    """
    layers, _ = grouped(tensors_in(path), ENDINGS)
    layers = {name: words for name, words in layers.items() if words.keys() & {"A", "B"}}
    if not layers:
        raise ValueError(f"{path} has no lora_a.weight or lora_b.weight: it is no torchtune adapter")
    known = _alpha(Path(path)) if alpha is None else alpha
    return each(path, layers, lambda name, words: _delta(name, words, known, base))


def _delta(name: str, words: Words, alpha: float, base: Mapping[str, Tensor] | None) -> Delta:
    change = pair(words, alpha / len(words.get("A", ".")))
    if "magnitude" not in words:
        return change
    if base is None or name not in base:
        raise ValueError("DoRA's ΔW needs W₀: pass base={layer: W₀ (out, in)}")
    return renormalised(base[name], change, words["magnitude"])


def _alpha(path: Path) -> float:
    folder = path if path.is_dir() else path.parent
    alpha = config_in(folder).get("lora_alpha") if (folder / CONFIG).is_file() else None
    if alpha is None:
        raise ValueError(f"{path} does not hold α, and no adapter_config.json beside it does: pass alpha=")
    return alpha
