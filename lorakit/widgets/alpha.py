"""What does α do?  h = W₀·x + (α/r)·B·A·x, with α under the reader's finger.

At 0 the adapter adds nothing and the model is the base model; at the α it was trained with it says what it
learned; beyond, it says it louder. Only α moves, and only while an answer is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ipywidgets as W
import numpy as np
import plotly.graph_objects as go
import torch
from torch import nn

from lorakit.layers import adapters, disabled
from lorakit.modes import evaluating
from lorakit.plots import prediction
from lorakit.widgets.explorer import WHOLE, Explorer
from lorakit.widgets.view import PlotlyView

MOST = 2.0  # how far the slider goes, in trained α


class AlphaExplorer(Explorer):
    """A sentence, a slider for α from 0 to twice the trained one, and the live model's answer.

    model, tokenizer  a sequence classifier with adapters, and its tokenizer
    labels            the name of each class
    text              the sentence to start from
    The model is left as it was found after every answer, also where computing it fails. Adapters of several α
    are scaled alike, and the slider shows the first one's. Raises ValueError where nothing has an α.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, *, labels: Sequence[str], text: str, about: str = "") -> None:
        trained = alphas(model)
        if not trained:
            raise ValueError("no adapter of this model has an alpha to slide: adapt(model, LoRA, …) first")
        self._model, self._tokenizer, self._labels, self._about = model, tokenizer, labels, about
        self._trained = next(iter(trained.values()))
        self._asked: tuple[str, int] | None = None
        most, name = MOST * self._trained, f"α (trained with {self._trained:g})"
        self.alpha = W.FloatSlider(self._trained, min=0, max=most, step=most / 64, description=name, style=WHOLE)
        self.alpha.layout = W.Layout(width="360px", max_width="100%")
        self.text = W.Text(text, description="Sentence", style=WHOLE, layout=W.Layout(width="100%"))
        self.view = PlotlyView(self.figure())
        super().__init__([self.text, self.alpha], [self.view])

    def figure(self) -> go.Figure:
        """The answer to the present sentence at the present α, and the base model's."""
        with scaled(self._model, self.alpha.value / self._trained):
            adapted = probabilities(self._model, self._tokenizer, self.text.value)
        left = alphas(self._model)
        here = f"α = {self.alpha.value:.3g}" if left else "no adapter is left in the model: unmerge(model) first"
        about = " · ".join(filter(None, [self._about, here]))
        return prediction(self._labels, adapted, base=self._base_answer(), about=about)

    def _base_answer(self) -> np.ndarray:
        """What the base model says: asked again only for another sentence, or once a weight was written to."""
        asked = self.text.value, sum(parameter._version for parameter in self._model.parameters())
        if asked != self._asked:
            with disabled(self._model):
                self._base = probabilities(self._model, self._tokenizer, self.text.value)
            self._asked = asked
        return self._base


def alphas(model: nn.Module) -> dict[str, float]:
    """The α of every adapter that has one, by the name of its layer."""
    return {name: adapter.alpha for name, adapter in adapters(model).items() if hasattr(adapter, "alpha")}


@contextmanager
def scaled(model: nn.Module, factor: float) -> Iterator[nn.Module]:
    """Within it every α of the model is `factor` times its own; after it, its own again, whatever happened."""
    trained = alphas(model)
    found: dict[str, Any] = dict(adapters(model))
    try:
        for name, alpha in trained.items():
            found[name].alpha = alpha * factor
        yield model
    finally:
        for name, alpha in trained.items():
            found[name].alpha = alpha


@torch.no_grad()
def probabilities(model: nn.Module, tokenizer: Any, text: str) -> np.ndarray:
    """softmax of the model's logits for one sentence, (classes,), with dropout off."""
    device = next(model.parameters()).device
    inputs = tokenizer(text, return_tensors="pt", truncation=True).to(device)
    with evaluating(model):
        return model(**inputs).logits[0].float().softmax(-1).cpu().numpy()
