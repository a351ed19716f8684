"""rows ── tokens ──> batches of like length ── padded to the longest in the batch ──> tensors.

A batch costs what its longest row costs. So each epoch shuffles the rows, sorts them by length within pools of a
few dozen batches, cuts, and shuffles the batches: every row once, little padding, another order each time.
"""

import random
from collections.abc import Iterator

import torch
from torch.nn.utils.rnn import pad_sequence

POOL = 32  # batches sorted together: more is less padding, and less of a shuffle


class Batches:
    """A re-iterable of dicts of tensors; `len` is batches an epoch.

    Each `iter()` is the next epoch: the order is drawn from (seed, epoch) alone, `epoch` counts up and may be set,
    to go on where a run stopped. Without shuffling the rows come shortest first. `plan(epoch)` says which rows.
    Raises ValueError without rows, or with a batch_size below 1.
    """

    def __init__(self, rows: list[dict], batch_size: int, *, pad: int, seed: int = 0, shuffle: bool = True):
        if batch_size < 1 or not rows:
            raise ValueError(f"batches need rows and a batch_size of at least 1; given {len(rows)} rows, {batch_size}")
        self.rows, self.batch_size, self.seed, self.shuffle, self.epoch = rows, batch_size, seed, shuffle, 0
        self.padding = {"input_ids": pad, "attention_mask": 0, "labels": -100}

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        plan = self.plan(self.epoch)
        self.epoch += 1
        return (self.collate([self.rows[index] for index in batch]) for batch in plan)

    def plan(self, epoch: int) -> list[list[int]]:
        """The row numbers of each batch of an epoch."""
        order, draw = list(range(len(self.rows))), random.Random(f"{self.seed}/{epoch}")
        if not self.shuffle:
            return _cut(self._by_length(order), self.batch_size)
        draw.shuffle(order)
        pools = _cut(order, POOL * self.batch_size)
        batches = [batch for pool in pools for batch in _cut(self._by_length(pool), self.batch_size)]
        draw.shuffle(batches)
        return batches

    def collate(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        """Tensors (B, T) of sequences, padded on the right, and (B,) of single values."""
        return {name: self._stack(name, [row[name] for row in rows]) for name in rows[0]}

    def _stack(self, name, values):
        if not isinstance(values[0], list):
            return torch.tensor(values)
        return pad_sequence([torch.tensor(value) for value in values], True, self.padding[name])

    def _by_length(self, order):
        return sorted(order, key=lambda index: len(self.rows[index]["input_ids"]))


def _cut(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]
