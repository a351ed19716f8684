"""Many tasks over one frozen model: what they take on disk, and one batch in which every row has its own.

y_i = W·x_i + B_t·A_t·x_i,  t = task_i        and W·x_i alone where task_i = −1
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.comparing import listing
from lorakit.checks.drawing import Draw


def check_storage(function: Callable, *, seed: int = 0) -> None:
    """`storage(parameters, tasks, matrices, d, rank, size)` → (bytes of copies, of adapters); raises `CheckFailed`."""
    draw, cases = Draw(seed), []
    for size in (4, 2, 4, 2):
        d, rank = draw.integer(40, 90), draw.choice(3, 5, 6, 7)
        tasks, matrices = draw.integer(3, 30), draw.integer(5, 12)
        given = (draw.integer(200_000, 900_000), tasks, matrices, d, rank, size)
        adapters = (given[0] + tasks * 2 * matrices * d * rank) * size
        says = f"{given[0]:,} parameters, {tasks} tasks, {matrices} matrices of width {d}, r = {rank}, {size} bytes"
        cases.append(Case(says, given, [given[0] * tasks * size, adapters], tolerance=1e-9))
    settle(
        "storage",
        listing(function),
        cases,
        STORAGE,
        otherwise="`tasks` copies of the model; or one model, and beside it two factors d·r for each matrix and task",
    )


def check_mixed(function: Callable, *, seed: int = 0) -> None:
    """`mixed(x, W, A, B, task)` → (n, T, out), every row by the adapter of its own task; raises `CheckFailed`."""
    draw, cases = Draw(seed), []
    for n, (out, inputs, rank, dtype) in enumerate(draw.sizes(5)):
        tasks, rows, length = draw.integer(3, 5), draw.integer(6, 9), draw.integer(2, 4)
        W, x = draw.normal(out, inputs, dtype=dtype), draw.normal(rows, length, inputs, dtype=dtype)
        A, B = draw.normal(tasks, rank, inputs, dtype=dtype), draw.normal(tasks, out, rank, dtype=dtype)
        task = torch.tensor([1, *(draw.integer(0, tasks - 1) for _ in range(rows - 2)), 0])
        if n:  # the first case is without: what is wrong there has nothing to do with −1
            task[draw.integer(1, rows - 2)] = -1
        says = f"x {rows}×{length}×{inputs}, {tasks} adapters of rank {rank}, task = {task.tolist()}"
        cases.append(Case(says, (x, W, A, B, task), _row_by_row(x, W, A, B, task)))
    settle(
        "mixed",
        function,
        cases,
        MIXED,
        otherwise="row i goes through W, and through B[t] and A[t] of its own t = task[i], both added",
    )


def _row_by_row(x: Tensor, W: Tensor, A: Tensor, B: Tensor, task: Tensor) -> Tensor:
    rows = [_one(row, W, A[t], B[t]) if t >= 0 else row.double() @ W.double().T for row, t in zip(x, task.tolist())]
    return torch.stack(rows)


def _one(row: Tensor, W: Tensor, A: Tensor, B: Tensor) -> Tensor:
    return row.double() @ (W.double() + B.double() @ A.double()).T


STORAGE = (
    Mistake(
        "the frozen model is missing beside the adapters: it is stored once",
        lambda P, n, m, d, r, size: [P * n * size, n * 2 * m * d * r * size],
    ),
    Mistake(
        "the frozen model is counted for every task: it is shared",
        lambda P, n, m, d, r, size: [P * n * size, n * (P + 2 * m * d * r) * size],
    ),
    Mistake(
        "A or B is missing: each of the matrices has two factors of d·r",
        lambda P, n, m, d, r, size: [P * n * size, (P + n * m * d * r) * size],
    ),
    Mistake(
        "ΔW is counted multiplied out, d·d; stored are A and B",
        lambda P, n, m, d, r, size: [P * n * size, (P + n * m * d * d) * size],
    ),
    Mistake(
        "these are parameters; one takes `size` bytes",
        lambda P, n, m, d, r, size: [P * n, P + n * 2 * m * d * r],
    ),
    Mistake(
        "one adapter is counted, and there is one for each task",
        lambda P, n, m, d, r, size: [P * n * size, (P + 2 * m * d * r) * size],
    ),
    Mistake(
        "the copies are one: each task has a whole model then",
        lambda P, n, m, d, r, size: [P * size, (P + 2 * m * d * r) * size],
    ),
    Mistake(
        "the frozen model is counted among the copies too: one for each task, and no more",
        lambda P, n, m, d, r, size: [P * (n + 1) * size, (P + n * 2 * m * d * r) * size],
    ),
    Mistake(
        "only one matrix is adapted here: each adapter has `matrices` of them",
        lambda P, n, m, d, r, size: [P * n * size, (P + n * 2 * d * r) * size],
    ),
    Mistake("the rank is missing", lambda P, n, m, d, r, size: [P * n * size, (P + n * 2 * m * d) * size]),
    Mistake(
        "`size` is in bytes already", lambda P, n, m, d, r, size: [P * n * size, (P + n * 2 * m * d * r) * size * 8]
    ),
    Mistake(
        "this is what adapters save: how much they take is asked for",
        lambda P, n, m, d, r, size: [P * n * size, (P * n - P - n * 2 * m * d * r) * size],
    ),
    Mistake(
        "the adapters' parameters take `size` bytes as well",
        lambda P, n, m, d, r, size: [P * n * size, P * size + n * 2 * m * d * r],
    ),
    Mistake(
        "the copies come first, then the adapters",
        lambda P, n, m, d, r, size: [(P + n * 2 * m * d * r) * size, P * n * size],
    ),
)


def _everywhere(x: Tensor, W: Tensor, change: Tensor) -> Tensor:
    return x @ (W + change).mT


def _minus_one_as_last(x: Tensor, W: Tensor, A: Tensor, B: Tensor, task: Tensor) -> Tensor:
    return _row_by_row(x, W, A, B, task % len(A))


def _times_task(x: Tensor, W: Tensor, A: Tensor, B: Tensor, task: Tensor) -> Tensor:
    alone = x @ W.mT
    return alone + task.view(-1, 1, 1) * (_row_by_row(x, W, A, B, task % len(A)) - alone)


MIXED = (
    Mistake(
        "task −1 got the last adapter: Python counts −1 from the end, and here it means the frozen model alone",
        _minus_one_as_last,
    ),
    Mistake(
        "task −1 got adapter 0: here it means the frozen model alone",
        lambda x, W, A, B, task: _row_by_row(x, W, A, B, task.clamp(min=0)),
    ),
    Mistake(
        "every row got the sum of all adapters: pick the one of its task",
        lambda x, W, A, B, task: _everywhere(x, W, (B @ A).sum(0)),
    ),
    Mistake(
        "every row got the mean of all adapters: pick the one of its task",
        lambda x, W, A, B, task: _everywhere(x, W, (B @ A).mean(0)),
    ),
    Mistake(
        "every row got the adapter of the first row: look the factors up with the whole of `task`",
        lambda x, W, A, B, task: _everywhere(x, W, B[task[0]] @ A[task[0]]),
    ),
    Mistake(
        "the rows come back in the order of their tasks: put them back where they were",
        lambda x, W, A, B, task: _row_by_row(x, W, A, B, task)[task.argsort(stable=True)],
    ),
    Mistake(
        "the adapters are there and W·x is missing",
        lambda x, W, A, B, task: _row_by_row(x, 0 * W, A, B, task),
    ),
    Mistake(
        "rows with task −1 came back as zeros: only their adapter is switched off, W·x stays",
        lambda x, W, A, B, task: _row_by_row(x, W, A, B, task) * (task >= 0).view(-1, 1, 1),
    ),
    Mistake(
        "task 0 got no adapter: 0 is the first of them, and −1 the sign for none",
        lambda x, W, A, B, task: _row_by_row(x, W, A, B, torch.where(task == 0, -1, task)),
    ),
    Mistake("B·A·x is taken off: it is added", lambda x, W, A, B, task: 2 * (x @ W.mT) - _row_by_row(x, W, A, B, task)),
    Mistake("B·A·x is added twice", lambda x, W, A, B, task: 2 * _row_by_row(x, W, A, B, task) - x @ W.mT),
    Mistake("B·A·x is multiplied by the number of its task: that only says which one", _times_task),
    Mistake(
        "rows took the adapters in turn, by their place in the batch: `task` says which",
        lambda x, W, A, B, task: _row_by_row(x, W, A, B, torch.arange(len(x)) % len(A)),
    ),
    Mistake(
        "every row got the adapter of the last row: look the factors up with the whole of `task`",
        lambda x, W, A, B, task: _everywhere(x, W, B[task[-1]] @ A[task[-1]]),
    ),
    Mistake(
        "tasks count from 0: this is one too low",
        lambda x, W, A, B, task: _row_by_row(x, W, A, B, (task - 1).clamp(min=-1)),
    ),
    Mistake(
        "task −1 got adapter 1: it means the frozen model alone",
        lambda x, W, A, B, task: _row_by_row(x, W, A, B, task.abs()),
    ),
    Mistake("no row got an adapter: this is W·x", lambda x, W, A, B, task: x @ W.mT),
)
