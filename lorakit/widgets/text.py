"""What does α do to a text?  h = W₀·x + (α/r)·B·A·x, and every next token follows from the last.

A text takes seconds to write, too long for a slider. So all are written beforehand, in one batch with an α of its own
for each row, and the slider answers from memory; "Write" does it again for another prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets as W
import numpy as np
import plotly.graph_objects as go
from torch import nn
from tqdm.auto import tqdm

from lorakit.generation import Continuation, by_row, greedy
from lorakit.plots import continuation, loss_by_alpha
from lorakit.widgets.alpha import alphas, scaled
from lorakit.widgets.explorer import WHOLE, WRAP, Explorer
from lorakit.widgets.view import PlotlyView

FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # of the trained α


class TextExplorer(Explorer):
    """A prompt and a slider for α: what the model writes at each, how sure it was, and the loss on held-out text.

    model, tokenizer  a causal LM with adapters, and its tokenizer
    prompt            what to go on from; the box takes another, and "Write" writes on from that
    factors           the α to write at, in trained α; 0, the frozen model, is always among them
    tokens            the most tokens a text gets
    evaluate          model → loss on held-out text, a number or a result with `.loss`; measured once for each α
    The model is left as it was found. Adapters of several α are scaled alike, and the slider shows the first one's.
    Raises ValueError where nothing has an α, and what `greedy` raises.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        prompt: str,
        factors: Sequence[float] = FACTORS,
        tokens: int = 24,
        evaluate: Callable[[nn.Module], Any] | None = None,
        about: str = "",
    ) -> None:
        trained = alphas(model)
        if not trained:
            raise ValueError("no adapter of this model has an alpha to slide: adapt(model, LoRA, …) first")
        self._model, self._tokenizer, self._tokens, self._about = model, tokenizer, tokens, about
        self.trained, self.factors = next(iter(trained.values())), sorted({0.0, *factors})
        self.loss = None if evaluate is None else self._losses(evaluate)
        self.texts = self._written(prompt)
        options = [(f"{factor * self.trained:g}", factor) for factor in self.factors]
        start, name = min(self.factors, key=lambda f: abs(f - 1)), f"α (trained with {self.trained:g})"
        self.alpha = W.SelectionSlider(options=options, value=start, description=name, style=WHOLE)
        self.alpha.layout = W.Layout(width="360px", max_width="100%")
        super().__init__([self.alpha], [PlotlyView(figure) for figure in self.figures()])
        self._add_prompt(prompt)

    def _add_prompt(self, prompt: str) -> None:
        """The box for a prompt and its button above the slider, and the text below it."""
        self.prompt = W.Textarea(prompt, description="Prompt", style=WHOLE, rows=2)
        self.prompt.layout = W.Layout(flex="1 1 340px", max_width="100%")
        self.button = W.Button(description="Write", tooltip="Write on from this prompt, at every α")
        self.button.on_click(lambda _button: self.write())
        self.said = W.HTML(self._html())
        slider, pictures = self.children  # type: ignore[has-type]
        self.children = (W.Box([self.prompt, self.button], layout=W.Layout(**WRAP)), slider, self.said, pictures)

    @property
    def text(self) -> Continuation:
        """What the model wrote at the α chosen."""
        return self.texts[self.factors.index(self.alpha.value)]

    def figures(self) -> list[go.Figure]:
        """The chosen text token by token, grey as far as the frozen model agrees; and the loss by α."""
        about = f"α = {self.alpha.label} · grey: as at α = 0" if hasattr(self, "alpha") else ""
        rows = max(len(text.tokens) for text in self.texts)
        frozen = self.texts[self.factors.index(0.0)].tokens
        figures = [continuation(self.text.tokens, self.text.probability, base=frozen, rows=rows, about=about)]
        if self.loss is not None:
            at, trained = self.alpha.value * self.trained, self.trained
            ladder = np.array(self.factors) * self.trained
            figures.append(loss_by_alpha(ladder, self.loss, at=at, trained=trained, about=self._about))
        return figures

    def redraw(self) -> None:
        self.said.value = self._html()
        super().redraw()

    def write(self) -> None:
        """Write on from the prompt in the box, at every α: seconds. What cannot be done is said in the text's place."""
        self.button.disabled, self.button.description = True, "writing …"
        try:
            self.texts = self._written(self.prompt.value)
            self.redraw()
        except ValueError as error:
            self.said.value = f"<p role='alert'>{escape(str(error))}</p>"
        finally:
            self.button.disabled, self.button.description = False, "Write"

    def _written(self, prompt: str) -> list[Continuation]:
        with by_row(self._model, self.factors):
            return greedy(self._model, self._tokenizer, [prompt] * len(self.factors), tokens=self._tokens)

    def _losses(self, evaluate: Callable[[nn.Module], Any]) -> np.ndarray:
        found = []
        for factor in tqdm(self.factors, desc="α", leave=False):
            with scaled(self._model, factor):
                result = evaluate(self._model)
            found.append(float(getattr(result, "loss", result)))
        return np.array(found)

    def _html(self) -> str:
        text = self.text
        rest = "" if text.ended else " <i>… cut here</i>"
        style = "white-space: pre-wrap; font-family: var(--jp-code-font-family, monospace); margin: 0.4em 0"
        return f"<div aria-live='polite' style='{style}'>{escape(text.prompt)}<b>{escape(text.text)}</b>{rest}</div>"
