"""The same layers of the same model, adapted by lorakit, PEFT and loralib at rank 8 and α = 16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import loralib
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import BertConfig

from benchmarks.common import twin
from lorakit import LoRA, adapt
from lorakit.geometry import is_conv1d
from lorakit.methods import FusedLoRA
from lorakit.modes import settle

RANK, ALPHA = 8, 16


@dataclass(frozen=True)
class Place:
    """A model, the layers to adapt (for lorakit and as a regular expression for PEFT), and its own head."""

    model: nn.Module
    where: list[str]
    pattern: str
    head: str  # module that trains beside the adapters, or alone
    head_is_new: bool

    def copy(self) -> nn.Module:
        return twin(self.model, [self.model.get_submodule(self.head)])


def contestants(place: Place) -> dict[str, Callable[[], nn.Module]]:
    """Builders of models that are ready for a training step."""
    return {
        "PEFT": lambda: _peft(place).train(),
        "PEFT again": lambda: _peft(place).train(),  # its ratio to itself is what noise does
        "loralib": lambda: _loralib(place).train(),
        "lorakit LoRA": lambda: _lorakit(place, LoRA).train(),
        "lorakit FusedLoRA": lambda: _lorakit(place, FusedLoRA).train(),
        "… as the lessons train": lambda: _settled(_lorakit(place, FusedLoRA)),
        "head alone": lambda: _head(place.copy(), place.head).train(),
        "full fine-tuning": lambda: twin(place.model, [place.model]).requires_grad_(True).train(),
    }


def _lorakit(place: Place, method: type) -> nn.Module:
    model = place.copy()
    keep = [place.head] if place.head_is_new else []
    adapt(model, method, place.where, keep=keep, rank=RANK, alpha=ALPHA)
    return model


def _settled(model: nn.Module) -> nn.Module:
    settle(model)
    return model


def _peft(place: Place) -> nn.Module:
    saved = [place.head] if place.head_is_new else None
    conv1d = any(is_conv1d(layer) for layer in place.model.modules())
    options = {"target_modules": place.pattern, "modules_to_save": saved, "fan_in_fan_out": conv1d}
    return get_peft_model(place.copy(), LoraConfig(r=RANK, lora_alpha=ALPHA, **options))


def _loralib(place: Place) -> nn.Module:
    from lorakit.layers import named_layers, replace

    model, adapted = place.copy(), _lorakit(place, LoRA)
    chosen = {name for name, layer in named_layers(adapted) if isinstance(layer, LoRA)}
    layers = {layer: _loralib_layer(layer) for name, layer in named_layers(model) if name in chosen}
    replace(model, layers)
    loralib.mark_only_lora_as_trainable(model)
    model.get_submodule(place.head).requires_grad_(place.head_is_new)
    return model


def _loralib_layer(layer: nn.Module) -> nn.Module:
    """loralib has no Conv1D: its `fan_in_fan_out` says that a weight is stored (in, out)."""
    transposed = is_conv1d(layer)
    into, out = layer.weight.shape if transposed else layer.weight.shape[::-1]
    options = {"r": RANK, "lora_alpha": ALPHA, "fan_in_fan_out": transposed}
    made = loralib.Linear(into, out, bias=layer.bias is not None, device="cpu", **options)
    made.weight, made.bias = layer.weight, layer.bias
    return made


def _head(model: nn.Module, name: str) -> nn.Module:
    model.requires_grad_(False).get_submodule(name).requires_grad_(True)
    return model


def minilm() -> nn.Module:
    """The default model; where it cannot be had, its architecture with random weights."""
    from lorakit.models import MeanPooledClassifier, load_classifier

    try:
        return load_classifier("minilm", labels=2)[0]
    except OSError as why:
        print(f"random weights for MiniLM: {why}")
        sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
        return MeanPooledClassifier(BertConfig(**sizes))
