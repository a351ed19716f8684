"""Was a product formed that the task does without? Such an answer is right, and costs a thousand times too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor
from torch.overrides import TorchFunctionMode

from lorakit.checks.failing import fail


class Products(TorchFunctionMode):
    """Within it, `largest` is the size of the largest tensor that was made of two or more, in entries."""

    watching: ClassVar[list[Products]] = []  # those that are entered: a function called elsewhere is watched there

    def __enter__(self):
        Products.watching.append(self)
        return super().__enter__()

    def __exit__(self, *error):
        Products.watching.remove(self)
        return super().__exit__(*error)

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if len(_tensors([*args, *(kwargs or {}).values()])) > 1:
            self.largest = max([self.largest, *(tensor.numel() for tensor in _tensors([out]))])
        return out


def thin(exercise: str, function: Callable, args: tuple[Any, ...], limit: int, diagnosis: str) -> None:
    """Fail where `function` makes a tensor of `limit` entries or more out of others on its way to a right answer."""
    with Products() as products:
        function(*args)
    if products.largest >= limit:
        few = f"no product of {limit:,} entries or more"
        fail(exercise, "right, but costly", few, f"one of {products.largest:,} entries", diagnosis)


def _tensors(values: Any) -> list[Tensor]:
    flat = [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]
    return [item for item in flat if isinstance(item, Tensor)]
