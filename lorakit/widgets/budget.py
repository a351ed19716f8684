"""What would it take to fine-tune this model?  Memory and checkpoint, for any rank, target, optimiser and precision.

The bars are full fine-tuning and the plan of the menus, both counted: `lorakit.accounting.budget`.
"""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as W
import plotly.graph_objects as go

from lorakit.accounting.budget import OPTIMIZERS, PRECISIONS, Budget, budget
from lorakit.accounting.placing import EVERYTHING, TARGETS
from lorakit.plots import bytes_said, memory_ledger
from lorakit.widgets.explorer import WHOLE, Explorer
from lorakit.widgets.view import PlotlyView

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
TOKENS = (64, 128, 256, 384, 512)
CARD = 80e9  # bytes on one large accelerator


class BudgetExplorer(Explorer):
    """Menus for model, targets, optimiser and precision; sliders for the rank, the rows and tokens of a step.

    models  names of architectures to choose from; the first is shown. A model is counted when it is first chosen,
            which takes about a second; after that every move is arithmetic
    start   what a control stands at first, by its name: rank=64, precision="16 bits"
    """

    def __init__(self, models: Sequence[str] = ("gpt3-175b", "gpt2-medium", "roberta-base"), **start) -> None:
        self.model = _menu(models, "model", start)
        self.targets = _menu(TARGETS, "targets", start)
        self.optimizer = _menu(OPTIMIZERS, "optimizer", start, "AdamW")
        self.precision = _menu(PRECISIONS, "precision", start)
        self.rank = _slider(RANKS, "rank r", start.get("rank", 4))
        self.rows = _slider(ROWS, "rows", start.get("rows", 1))
        self.tokens = _slider(TOKENS, "tokens", start.get("tokens", 128))
        self.view = PlotlyView(self.figure())
        menus = [self.model, self.targets, self.optimizer, self.precision]
        super().__init__([*menus, self.rank, self.rows, self.tokens], [self.view])

    def budgets(self) -> tuple[Budget, Budget]:
        """Full fine-tuning, and the plan, for what the controls say."""
        step = {"optimizer": self.optimizer.value, "precision": self.precision.value}
        step |= {"rows": self.rows.value, "tokens": self.tokens.value}
        plan = budget(self.model.value, self.targets.value, rank=self.rank.value, **step)
        return budget(self.model.value, EVERYTHING, **step), plan

    def figure(self) -> go.Figure:
        """Both as stacked bars; what the plan takes and leaves behind in the title."""
        full, plan = self.budgets()
        cards = -(-plan.memory.total // int(CARD))
        room = f"{cards} cards of 80 GB" if cards > 1 else "one card of 80 GB"
        said = f"{bytes_said(plan.memory.total)} to train ({room}), {bytes_said(plan.checkpoint)} to keep"
        place = f"{self.model.value} · LoRA r = {self.rank.value} on {self.targets.value} · {self.optimizer.value}"
        about = f"{place} · {self.precision.value} · {self.rows.value} × {self.tokens.value} tokens"
        rows = {"full fine-tuning": full.memory, f"LoRA, r = {self.rank.value}": plan.memory}
        return memory_ledger(rows, title=said, about=about)


def _menu(options, description: str, start: dict, default: str | None = None) -> W.Dropdown:
    options = list(options)
    value = start.get(description, default or options[0])
    menu = W.Dropdown(options=options, value=value, description=description, style=WHOLE)
    menu.layout = W.Layout(width="auto", max_width="100%")
    return menu


def _slider(options: Sequence[int], description: str, value: int) -> W.SelectionSlider:
    return W.SelectionSlider(options=options, value=value, description=description, style=WHOLE)
