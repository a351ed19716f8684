"""A run that may be killed at any point: all that its next step depends on, in one file.

    whatever trains · the optimiser's state · the steps taken

Dropout at step n draws from (seed, n) and batches come in the order of their seed, so that neither random state
nor data position needs a place of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from lorakit.history import Step
from lorakit.stepping import Runner


def recall(path: Path, runner: Runner) -> list[Step]:
    """Put back what `path` holds and return the steps it has taken; none where there is no such file.

    Raises ValueError where the file is of a run that trained something else, with nothing changed.
    """
    if not path.exists():
        return []
    bundle = torch.load(path, map_location="cpu", weights_only=True)
    then = {name: tensor.shape for name, tensor in bundle["trained"].items()}
    now = {name: parameter.shape for name, parameter in runner.trained.items()}
    if then != now:
        differ = sorted({*then.items()} ^ {*now.items()})[:4]
        raise ValueError(f"{path} is of a run that trained something else: {differ}. Move it away, or adapt as then")
    with torch.no_grad():
        for name, parameter in runner.trained.items():
            parameter.copy_(bundle["trained"][name])
    runner.optimizer.load_state_dict(bundle["optimizer"])
    return [Step(int(number), *rest) for number, *rest in bundle["steps"]]


def record(path: Path, runner: Runner, taken: list[Step]) -> None:
    """Write the bundle beside `path` and rename it: a reader finds the old one or the new one, whole."""
    if not runner.accelerator.is_main_process:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    trained = {name: parameter.detach() for name, parameter in runner.trained.items()}
    steps = [list(step) for step in taken]
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    torch.save({"trained": trained, "optimizer": runner.optimizer.state_dict(), "steps": steps}, part)
    part.replace(path)
