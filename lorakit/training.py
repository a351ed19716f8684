"""The loop: forward, backward, clip, step. A page of it, on Hugging Face Accelerate.

    history = train(model, batches, steps=200, lr=3e-3)

trains whatever in `model` requires a gradient: adapters, a head, or everything (full fine-tuning). Accelerate
carries the device, the precision and the number of processes, so that the cell that runs on a laptop runs
unchanged on one GPU and under `accelerate launch` on several.

A step is the mean over the tokens (or rows) of its whole global batch, however that is cut into processes and
accumulated pieces: each piece's mean is weighted by its count before it is summed.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lorakit.modes import evaluating, modes_kept, settle

WATCHED = 3  # steps after which a parameter that never had a gradient is reported


class Step(NamedTuple):
    """One step: its number from 1, mean loss, learning rate, gradient norm before clipping, and seconds."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    seconds: float


@dataclass(frozen=True, eq=False)
class History:
    """A training run, one entry a step; `ended` is "finished", "interrupted" or "stopped" (by on_step)."""

    loss: np.ndarray
    lr: np.ndarray
    grad_norm: np.ndarray
    seconds: np.ndarray
    ended: str = "finished"

    @classmethod
    def of(cls, steps: list[Step], ended: str) -> History:
        columns = np.array(steps, dtype=float).reshape(-1, len(Step._fields)).T
        return cls(*columns[1:], ended=ended)

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        last = f", loss {self.loss[0]:.3f} → {self.loss[-10:].mean():.3f}" if len(self) else ""
        return f"History({len(self)} steps {self.ended} in {self.seconds.sum():.1f} s{last})"


class Diverged(FloatingPointError):
    """The loss is no longer a number. `history` holds the steps before; the weights are as before this step."""

    history: History


def cosine(progress: float) -> float:
    """Half a cosine from 1 to 0 as progress goes from 0 to 1."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def linear(progress: float) -> float:
    """A line from 1 to 0."""
    return 1 - progress


def constant(progress: float) -> float:
    """1 throughout."""
    return 1.0


def train(
    model: nn.Module,
    batches: Iterable,
    *,
    steps: int | None = None,
    epochs: float | None = None,
    lr: float = 1e-3,
    schedule: Callable[[float], float] = cosine,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    clip: float | None = 1.0,
    accumulate: int = 1,
    loss: Callable[[nn.Module, Any], Tensor] | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
    on_step: Callable[[Step], Any] | None = None,
    frozen_dropout: bool = False,
    precision: str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> History:
    """Train what requires a gradient in `model` and return how that went.

    batches         global batches, gone through again as often as needed; a dict is passed as keywords
    steps, epochs   one of the two; a step is one update, of `accumulate` batches
    schedule        progress in [0, 1] → factor of `lr`, after a linear warm-up over the share `warmup`
    clip            largest gradient norm, None for no clipping
    loss            (model, batch) → mean loss over the batch's rows; by default `model(**batch).loss`, a mean
                    over the labels that are not -100
    on_step         called with each `Step`; returning False ends the run
    frozen_dropout  also drop out in frozen modules (off: see `lorakit.modes`)
    precision       "no", "bf16" or "fp16"; None takes bf16 on a GPU that has it
    seed            of dropout; on a CPU the same call gives the same bits
    An interrupt ends the run and keeps what was learned. Modes and the global random state are left as found.
    Raises ValueError where nothing is trainable, there are no batches, or steps and epochs do not make one;
    `Diverged` where the loss is not finite, with the step and the likely cause.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise ValueError("nothing to train: every parameter is frozen. adapt(model, …) or unfreeze something first")
    total = _total_steps(batches, steps, epochs, accumulate)
    runner = _Runner(model, trained, loss, lr, weight_decay, clip, optimizer, precision)
    taken: list[Step] = []
    bar = _bar(total, progress and runner.accelerator.is_main_process)
    with modes_kept(model), torch.random.fork_rng(), bar:
        torch.manual_seed(seed + runner.accelerator.process_index)
        model.train() if frozen_dropout else settle(model)
        groups = islice(_grouped(batches, accumulate), total)
        try:
            for number, group in enumerate(groups, 1):
                rate = lr * _factor(number, total, warmup, schedule)
                taken.append(runner.step(number, group, rate, taken))
                bar.set_postfix(loss=f"{taken[-1].loss:.3f}", refresh=False)
                bar.update()
                if on_step is not None and on_step(taken[-1]) is False:
                    return History.of(taken, "stopped")
        except KeyboardInterrupt:
            return History.of(taken, "interrupted")
    return History.of(taken, "finished")


class _Runner:
    """What one step needs, and what it watches over."""

    def __init__(self, model, trained, loss, lr, weight_decay, clip, optimizer, precision) -> None:
        from accelerate import Accelerator

        gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        self.accelerator = Accelerator(mixed_precision=precision or ("bf16" if gpu else "no"))
        plain = optimizer(list(trained.values()), lr=lr, weight_decay=weight_decay)
        self.model, self.optimizer = self.accelerator.prepare(model, plain)
        self.trained, self.clip = trained, clip
        self.loss, self.counted = loss or _model_loss, _rows if loss else _labels
        self.still = set(trained)

    def step(self, number: int, group: list, rate: float, before: list[Step]) -> Step:
        start = time.perf_counter()
        value = self._backward(group)
        if not math.isfinite(value):
            self.optimizer.zero_grad()
            raise self._diverged(number, rate, group, before)
        for settings in self.optimizer.param_groups:
            settings["lr"] = rate * settings.get("lr_factor", 1.0)
        norm = self.accelerator.clip_grad_norm_(self.trained.values(), self.clip or math.inf)
        self._watch(number)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return Step(number, value, rate, float(norm), time.perf_counter() - start)

    def _backward(self, group: list) -> float:
        """Accumulate the gradient of the group's mean loss; returns that mean over all processes."""
        processes, total = self.accelerator.num_processes, sum(self.counted(batch) for batch in group)
        summed = torch.zeros((), device=self.accelerator.device)
        for i, batch in enumerate(group):
            piece, count = self._share(batch)
            last = i == len(group) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                part = self.loss(self.model, piece) * (count / max(total, 1))
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

    def _diverged(self, number: int, rate: float, group: list, before: list[Step]) -> Diverged:
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
        error = Diverged(f"the loss is not a number at step {number}: {cause}")
        error.history = History.of(before, "diverged")
        return error


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Mean loss and share of labels predicted right, over `count` labels that are not -100."""

    loss: float
    accuracy: float
    count: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy (Wilson 1927): what so few rows can tell."""
        z, n, p = 1.96, self.count, self.accuracy
        centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)

    def __repr__(self) -> str:
        low, high = self.interval
        return f"Evaluation(accuracy {self.accuracy:.3f} [{low:.3f}, {high:.3f}], loss {self.loss:.3f}, n={self.count})"


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[dict[str, Tensor]], *, progress: bool = False) -> Evaluation:
    """Loss and accuracy of `model` on labelled batches, in eval mode; for a causal LM, of each next token."""
    loss, right, count = 0.0, 0, 0
    device = next(model.parameters()).device
    with evaluating(model), _bar(len(batches) if isinstance(batches, Sized) else None, progress) as bar:
        for batch in batches:
            batch = {key: tensor.to(device) for key, tensor in batch.items()}
            out, labels = model(**batch), batch["labels"]
            shifted = labels.ndim == 2
            guess = out.logits.argmax(-1)
            guess, labels = (guess[:, :-1], labels[:, 1:]) if shifted else (guess, labels)
            counted = int((labels != -100).sum())
            loss, right, count = (
                loss + float(out.loss) * counted,
                right + int((guess == labels).sum()),
                count + counted,
            )
            bar.update()
    if not count:
        raise ValueError("nothing to evaluate: the batches hold no label that is not -100")
    return Evaluation(loss / count, right / count, count)


def _total_steps(batches: Iterable, steps: int | None, epochs: float | None, accumulate: int) -> int:
    if (steps is None) == (epochs is None):
        raise ValueError(f"give steps or epochs, one of the two; given steps={steps}, epochs={epochs}")
    if steps is None and not isinstance(batches, Sized):
        raise ValueError("epochs need batches with a length; give steps instead")
    total = steps if steps is not None else round(epochs * len(batches) / accumulate)  # type: ignore[operator,arg-type]
    if total < 1 or accumulate < 1:
        raise ValueError(f"at least one step of at least one batch; given {total} steps of {accumulate}")
    return total


def _grouped(batches: Iterable, size: int) -> Iterator[list]:
    """Endless lists of `size` batches, going through `batches` again and again."""
    endless = _again(batches)
    while True:
        yield list(islice(endless, size))


def _again(batches: Iterable) -> Iterator:
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            raise ValueError("there are no (more) batches: give a list, or something that can be gone through again")


def _factor(number: int, total: int, warmup: float, schedule: Callable[[float], float]) -> float:
    """Rises from 0 over the first share of steps, then follows the schedule."""
    rising = max(round(warmup * total), 1)
    return number / rising if number <= rising else schedule((number - rising) / max(total - rising, 1))


def _model_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return model(**batch).loss


def _labels(batch: dict[str, Tensor]) -> int:
    """How many labels a mean loss is over; a causal LM predicts each but the first."""
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


def _bar(total: int | None, shown: bool):
    from tqdm.auto import tqdm

    return tqdm(total=total, disable=not shown, leave=False, unit="step")
