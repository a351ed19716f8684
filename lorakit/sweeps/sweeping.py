"""settings ── those that the folder does not hold ── joblib ──> the folder ──> rows."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import joblib

from lorakit.sweeps.runs import attempt, recall
from lorakit.sweeps.settings import Settings, named


def sweep(
    run: Callable[..., dict[str, Any]],
    settings: Iterable[Settings],
    folder: str | Path,
    *,
    jobs: int | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """`run(**settings)` for each of `settings` that `folder` does not hold yet; the rows of all of them.

    run       returns a dict of plain values. Where it takes a `folder`, it gets an empty one of its own, and what
              it leaves there is kept with the result. It must pickle, and must raise where it was cut short: what
              it returns counts as done
    settings  dicts of plain values, tuples, classes or functions (these by their names); see `grid`
    jobs      processes, as joblib's n_jobs; None is one, or what `joblib.parallel_config` says
    A row is {**settings, **what run returned}, as read back from its file. Runs that raise do not keep the others
    from running; then an ExceptionGroup holds what they raised, and the same call tries them again. Raises
    ValueError for settings given twice, TypeError for some that no file can hold.
    """
    from tqdm.auto import tqdm  # in a notebook it loads ipywidgets

    folder, plan = Path(folder), named(settings)
    errors: dict[str, Exception] = {}
    with tqdm(total=len(plan), disable=not progress, unit="run") as bar:
        for wait in (False, True):  # first what nobody is at; then wait for what another sweep does, or do it
            left = {name: s for name, s in plan.items() if name not in errors and recall(folder / name, s) is None}
            bar.update(len(plan) - len(left) - bar.n)
            for name, ended in _each(run, left, folder, wait, jobs):
                bar.update(ended is not False)
                if isinstance(ended, Exception):
                    errors[name] = ended
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(plan)} runs failed; the others are kept", list(errors.values()))
    return done(plan.values(), folder)


def done(settings: Iterable[Settings], folder: str | Path) -> list[dict[str, Any]]:
    """The rows of those runs that `folder` holds, in the order of `settings`; nothing is run."""
    rows = (recall(Path(folder) / name, one) for name, one in named(settings).items())
    return [row for row in rows if row is not None]


def write_csv(rows: Iterable[Mapping[str, Any]], path: str | Path) -> Path:
    """The single values of the rows, a column a name; curves and other lists stay in the runs' own files."""
    flat = [{key: value for key, value in row.items() if not isinstance(value, list | dict)} for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
    return Path(path)


def _each(
    run: Callable, left: Mapping[str, Settings], folder: Path, wait: bool, jobs: int | None
) -> Iterator[tuple[str, bool | Exception]]:
    """(name, how it ended), as they end; where the backend gives nothing before all have ended (Ray's), then."""
    backend, _ = joblib.parallel.get_active_backend()
    order = "generator_unordered" if jobs == 1 or backend.supports_return_generator else "list"
    tasks = (joblib.delayed(_named_attempt)(name, run, one, folder, wait) for name, one in left.items())
    yield from joblib.Parallel(n_jobs=jobs, return_as=order)(tasks)


def _named_attempt(name: str, run: Callable, settings: Settings, folder: Path, wait: bool):
    return name, attempt(run, settings, folder / name, wait)
