"""One function a result: numbers in, a plotly Figure out. No model, no file, no `.show()`.

Every figure says in a subtitle what it was computed for (`about="MiniLM · movies · rank 8 · α 16 · seed 0"`)
and carries a sentence for those who cannot see it (`alt_text`).
"""

from lorakit.plots.deltas import heatmap, spectrum, truncation
from lorakit.plots.learning import parameters, prediction, running_mean, training_curve
from lorakit.plots.parts import parts
from lorakit.plots.style import alt_text

__all__ = [
    "alt_text",
    "heatmap",
    "parameters",
    "parts",
    "prediction",
    "running_mean",
    "spectrum",
    "training_curve",
    "truncation",
]
