"""The loop: forward, backward, clip, step. A page of it, on Hugging Face Accelerate.

    history = train(model, batches, steps=200, lr=3e-3)

trains whatever in `model` requires a gradient: adapters, a head, or everything (full fine-tuning). Accelerate
carries the device, the precision and the number of processes, so that the cell that runs on a laptop runs
unchanged on one GPU and under `accelerate launch` on several.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lorakit.evaluation import Evaluation, evaluate
from lorakit.history import Diverged, History, Step
from lorakit.modes import modes_kept, settle
from lorakit.resume import recall, record
from lorakit.stepping import Runner

__all__ = ["Diverged", "Evaluation", "History", "Step", "constant", "cosine", "evaluate", "linear", "train"]

KEPT = 50  # steps between two writes of a bundle


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
    resume: str | os.PathLike | None = None,
    seed: int = 0,
    progress: bool = True,
) -> History:
    """Train what requires a gradient in `model` and return how that went.

    batches         global batches, gone through again as often as needed; a dict is passed as keywords
    steps, epochs   one of the two; a step is one update, of `accumulate` batches
    schedule        progress in [0, 1] → factor of `lr`, after a linear warm-up over the share `warmup`
    clip            largest gradient norm, None for no clipping
    optimizer       (parameters, lr=…, weight_decay=…) → optimizer; groups keep the ratios of their learning rates
    loss            (model, batch) → mean loss over the batch's rows; by default `model(**batch).loss`, a mean
                    over the labels that are not -100
    on_step         called with each `Step`; returning False ends the run
    frozen_dropout  also drop out in frozen modules (off: see `lorakit.modes`)
    precision       "no", "bf16" or "fp16"; None takes bf16 on a GPU that has it
    resume          a file that a killed run goes on from, as if it had not been killed (give it batches that start
                    where they started then); written every 50 steps and at the end
    seed            of dropout; on a CPU the same call gives the same bits
    An interrupt ends the run and keeps what was learned. Modes and the global random state are left as found.
    Raises ValueError where nothing is trainable, there are no batches, or steps and epochs do not make one;
    `Diverged` where the loss is not finite, with the step and the likely cause.
    """
    from tqdm.auto import tqdm  # in a notebook it loads ipywidgets, which importing lorakit must not

    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise ValueError("nothing to train: every parameter is frozen. adapt(model, …) or unfreeze something first")
    total = _total_steps(batches, steps, epochs, accumulate)
    ended, bundle = "finished", Path(resume) if resume else None
    with modes_kept(model), Runner(model, trained, loss, lr, weight_decay, clip, optimizer, precision, seed) as runner:
        model.train() if frozen_dropout else settle(model)
        taken = recall(bundle, runner) if bundle else []
        shown = progress and runner.accelerator.is_main_process
        with tqdm(total=total, initial=len(taken), disable=not shown, leave=False, unit="step") as bar:
            try:
                groups = enumerate(islice(_grouped(batches, accumulate), total), 1)
                for number, group in islice(groups, len(taken), None):
                    rate = lr * _factor(number, total, warmup, schedule)
                    taken.append(runner.step(number, group, rate, taken))
                    bar.set_postfix(loss=f"{taken[-1].loss:.3f}", refresh=False)
                    bar.update()
                    if bundle and number % KEPT == 0:
                        record(bundle, runner, taken)
                    if on_step is not None and on_step(taken[-1]) is False:
                        ended = "stopped"
                        break
            except KeyboardInterrupt:
                ended = "interrupted"
        if bundle:
            record(bundle, runner, taken)
    return History.of(taken, ended)


def _total_steps(batches: Iterable, steps: int | None, epochs: float | None, accumulate: int) -> int:
    if (steps is None) == (epochs is None):
        raise ValueError(f"give steps or epochs, one of the two; given steps={steps}, epochs={epochs}")
    if steps is None and not isinstance(batches, Sized):
        raise ValueError("epochs need batches with a length; give steps instead")
    epoch = len(batches) / max(accumulate, 1) if isinstance(batches, Sized) else 0
    total = steps if steps is not None else round((epochs or 0) * epoch)
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
