"""What of a model is an adapter's, and what was trained beside the adapters."""

from __future__ import annotations

from torch import Tensor, nn

from lorakit.adapter import Adapter, foreign_parameters
from lorakit.layers import innermost, named_layers


def own_state(adapter: Adapter) -> dict[str, Tensor]:
    """The method's own parameters and buffers, by their names in the adapter; those of `base` are not among them."""
    below = {id(tensor) for tensor in adapter.base.state_dict(keep_vars=True).values()}
    return {name: t for name, t in adapter.state_dict(keep_vars=True).items() if id(t) not in below}


def pretrained_state(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer of the pretrained model, by its name there, adapters or not."""
    return {key: tensor for name, module in modules(model).items() for key, tensor in held(name, module).items()}


def modules(model: nn.Module) -> dict[str, nn.Module]:
    """The pretrained modules by name, the model itself as ""."""
    return {"": innermost(model)} | {name: innermost(layer) for name, layer in named_layers(innermost(model))}


def held(name: str, module: nn.Module) -> dict[str, Tensor]:
    """What the module itself holds and keeps in checkpoints, its children aside, by full name."""
    own = {**module._parameters, **module._buffers}
    kept = {key: t for key, t in own.items() if t is not None and key not in module._non_persistent_buffers_set}
    return {f"{name}.{key}" if name else key: tensor for key, tensor in kept.items()}


def trained_modules(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """{module: {full name: tensor}} for modules that hold something trainable themselves, children aside.

    With the buffers of these modules (a running mean moves with its weights), without their frozen parameters.
    """
    found = {}
    for name, module in modules(model).items():
        if any(p.requires_grad for p in module.parameters(recurse=False)):
            tensors = held(name, module).items()
            frozen = {id(p) for p in module.parameters(recurse=False) if not p.requires_grad}
            found[name] = {key: tensor for key, tensor in tensors if id(tensor) not in frozen}
    return found


def sample(module: nn.Module, most: int = 32) -> list[float]:
    """Numbers from all over the module's first matrix: enough to tell another model, the same after a cast."""
    own = (p for p in foreign_parameters(module) if p.ndim > 1 and p.is_floating_point())
    matrix = next(own, None)
    if matrix is None or matrix.is_meta:
        return []
    return matrix.detach().flatten()[:: max(1, matrix.numel() // most)][:most].float().tolist()
