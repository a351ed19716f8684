"""One step: the gradient of a global batch, however it is cut into processes and accumulated pieces.

    loss = Σ_pieces (mean loss of the piece) · (its count / count of the whole)

A piece's mean is weighted by how many labels (or rows) it is a mean over, so that two processes, or four
accumulated batches of uneven length, give the loss curve that one process and one batch give.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lorakit.history import Diverged, History, Step

WATCHED = 3  # steps after which a parameter that never had a gradient is reported


class Runner:
    """What one step needs, and what it watches over."""

    def __init__(self, model, trained, loss, lr, weight_decay, clip, optimizer, precision, seed) -> None:
        self.accelerator = _accelerator(precision)
        self.plain, self.forward = model, model.__dict__.get("forward")
        built = optimizer(list(trained.values()), lr=lr, weight_decay=weight_decay)
        self.model, self.optimizer = self.accelerator.prepare(model, built)
        self.shares = [settings["lr"] / lr for settings in self.optimizer.param_groups]
        self.trained, self.clip, self.seed = trained, clip, seed
        self.loss, self.counted = loss or _model_loss, _rows if loss else _labels
        self.still = set(trained)

    def __enter__(self) -> Runner:
        self.optimizer.zero_grad()  # gradients from before are no part of the first step
        return self

    def __exit__(self, *_) -> None:
        """Leave no gradient of a step cut short, nor the mixed-precision forward that Accelerate put on the model."""
        self.optimizer.zero_grad()
        self.plain.__dict__.pop("_original_forward", None)
        self.plain.__dict__.pop("forward", None)
        if self.forward is not None:
            self.plain.__dict__["forward"] = self.forward

    def step(self, number: int, group: list, rate: float, before: list[Step]) -> Step:
        start, device = time.perf_counter(), self.accelerator.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(hash((self.seed, number, self.accelerator.process_index)))
            value = self._backward(group)
        if not math.isfinite(value):
            raise self._diverged("loss", number, rate, group, before)
        for settings, share in zip(self.optimizer.param_groups, self.shares, strict=True):
            settings["lr"] = rate * share
        norm = float(self.accelerator.clip_grad_norm_(self.trained.values(), self.clip or math.inf))
        if not math.isfinite(norm) and self.accelerator.scaler is None:  # float16's scaler leaves such a step out
            raise self._diverged("gradient", number, rate, group, before)
        self._watch(number)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return Step(number, value, rate, norm, time.perf_counter() - start)

    def _backward(self, group: list) -> float:
        """Accumulate the gradient of the group's mean loss; returns that mean over all processes."""
        processes, total = self.accelerator.num_processes, sum(self.counted(batch) for batch in group)
        summed = torch.zeros((), device=self.accelerator.device)
        for i, batch in enumerate(group):
            piece, count = self._share(batch)
            last = i == len(group) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                mean = self.loss(self.model, piece)
                mean = mean if count else mean.nan_to_num()  # over nothing it is no number, and weighs nothing
                part = mean * (count / max(total, 1))
                self.accelerator.backward(part * processes)  # processes are averaged, and their parts must add up
            summed += part.detach()
        return float(self.accelerator.reduce(summed, "sum"))

    def _share(self, batch: Any) -> tuple[Any, int]:
        """This process's rows of a global batch and how much they count; a row of no weight where it has none."""
        from accelerate.utils import send_to_device

        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        if processes == 1:
            return send_to_device(batch, self.accelerator.device), self.counted(batch)
        piece = _each(batch, lambda tensor: tensor[rank::processes])
        idle = _rows(piece) == 0
        piece = _each(batch, lambda tensor: tensor[:1]) if idle else piece
        return send_to_device(piece, self.accelerator.device), 0 if idle else self.counted(piece)

    def _watch(self, number: int) -> None:
        """Warn of what had no gradient in the first steps: it looks trained, and is not."""
        if number > WATCHED or not self.still:
            return
        self.still = {n for n in self.still if self.trained[n].grad is None or not self.trained[n].grad.any()}
        if number == WATCHED and self.still:
            names = sorted(self.still)
            shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            why = "are these layers called? does gradient checkpointing cut the graph below them?"
            warnings.warn(f"no gradient reached {shown} in the first {WATCHED} steps: {why}", stacklevel=4)

    def _diverged(self, what: str, number: int, rate: float, group: list, before: list[Step]) -> Diverged:
        broken = [name for name, p in self.model.named_parameters() if not p.isfinite().all()]
        bad = [key for batch in group for key, t in _tensors(batch) if t.is_floating_point() and not t.isfinite().all()]
        if bad:
            cause = f"the batch holds NaN or infinity in {bad[0]!r}"
        elif broken and number == 1:
            cause = f"the model came with NaN or infinity in {broken[0]}"
        elif self.accelerator.mixed_precision == "fp16":
            cause = "float16 overflows easily: try precision='bf16'"
        else:
            cause = f"the learning rate is likely too high ({rate:.1e} at this step): try a third of it, or clip=1.0"
        error = Diverged(f"the {what} is not a number at step {number}: {cause}")
        error.history = History.of(before, "diverged")
        return error


def _accelerator(precision: str | None):
    """An Accelerator of this precision; by default the launcher's, or bf16 where the GPU has it."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    wanted = precision or os.environ.get("ACCELERATE_MIXED_PRECISION") or ("bf16" if gpu else "no")
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != wanted:
        AcceleratorState._reset_state()  # one process may train in bf16 now and in float32 next
    return Accelerator(mixed_precision=wanted)


def _model_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return model(**batch).loss


def _labels(batch: dict[str, Tensor]) -> int:
    """How many labels a mean loss is over; a causal LM predicts each but the first."""
    if not hasattr(batch, "keys") or "labels" not in batch:
        given = list(batch) if hasattr(batch, "keys") else type(batch).__name__
        raise ValueError(
            f"no 'labels' in a batch of {given}: add them, or say what to minimise: loss=(model, batch) → …"
        )
    labels = batch["labels"]
    return int(((labels[:, 1:] if labels.ndim == 2 else labels) != -100).sum())


def _rows(batch: Any) -> int:
    return len(_tensors(batch)[0][1])


def _tensors(batch: Any) -> list[tuple[str, Tensor]]:
    if isinstance(batch, Tensor):
        return [("batch", batch)]
    items = batch.items() if hasattr(batch, "items") else enumerate(batch)
    return [(str(key), tensor) for key, tensor in items]


def _each(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(batch, Tensor):
        return change(batch)
    if hasattr(batch, "items"):
        return {key: change(tensor) for key, tensor in batch.items()}
    return type(batch)(change(tensor) for tensor in batch)
