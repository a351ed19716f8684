"""Which task?  One frozen model, a sentence being typed, and the adapters changing under it.

The answer on the left is the model's with the task in use, exchanged between two keystrokes; on the right all tasks
answer at once, in one batch: the sentence in as many rows as there are tasks, each row with its own adapter and head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import ipywidgets as W
import plotly.graph_objects as go
import torch
from torch import nn

from lorakit.modes import evaluating
from lorakit.plots import answers, prediction
from lorakit.widgets.explorer import WHOLE, Explorer
from lorakit.widgets.view import PlotlyView


class Tasks(Protocol):
    """A bank, as far as this needs it."""

    model: Any
    active: str | None

    def __iter__(self) -> Iterator[str]: ...
    def use(self, name: str | None) -> None: ...
    def route(self, names: Sequence[str | None]) -> AbstractContextManager[nn.Module]: ...


class BankExplorer(Explorer):
    """A text field, a button a task; the answer of the task in use, and that of all tasks from one batch.

    bank        tasks with heads over a sequence classifier; afterwards the chosen one is in use
    labels      {task: the names of its classes}, for every task to be shown
    text        the sentence to start from
    Raises ValueError for a task that the bank has not.
    """

    def __init__(
        self, bank: Tasks, tokenizer: Any, *, labels: Mapping[str, Sequence[str]], text: str, about: str = ""
    ) -> None:
        unknown = [name for name in labels if name not in set(bank)]
        if unknown or not labels:
            raise ValueError(f"labels for tasks of the bank, please: {list(bank)}; unknown are {unknown}")
        self._bank, self._tokenizer, self._about = bank, tokenizer, about
        self._labels = {name: list(classes) for name, classes in labels.items()}
        self.text = W.Text(text, description="Sentence", style=WHOLE, layout=W.Layout(width="100%"))
        self.task = W.ToggleButtons(options=list(labels), description="in use", style={"button_width": "auto"})
        super().__init__([self.text, self.task], [PlotlyView(figure) for figure in self.figures()])

    def figures(self) -> tuple[go.Figure, go.Figure]:
        """What the task in use says, and what all of them say."""
        name, every = self.task.value, list(self._labels)
        self._bank.use(name)
        alone = self._probabilities([self.text.value])[0]
        with self._bank.route(every):
            rows = self._probabilities([self.text.value] * len(every))
        said = {task: dict(zip(self._labels[task], row)) for task, row in zip(every, rows)}
        one = prediction(self._labels[name], alone, title=f"In use: {name}", about=self._about)
        title = f"One batch, {len(every)} tasks"
        return one, answers(said, chosen=name, title=title, about=self._about)

    @torch.no_grad()
    def _probabilities(self, texts: list[str]) -> list[list[float]]:
        model = self._bank.model
        inputs = self._tokenizer(texts, return_tensors="pt", truncation=True).to(next(model.parameters()).device)
        with evaluating(model):
            return model(**inputs).logits.float().softmax(-1).tolist()
