"""One function a result: numbers in, a plotly Figure out. No model, no file, no `.show()`.

Every figure says in a subtitle what it was computed for (`about="MiniLM · movies · rank 8 · α 16 · seed 0"`)
and carries a sentence for those who cannot see it (`alt_text`).
"""

from lorakit.plots.budgets import agreement, budgets
from lorakit.plots.comparing import differences, learned_and_forgotten
from lorakit.plots.costs import bytes_said, comparison, memory_ledger
from lorakit.plots.deltas import heatmap, spectrum, truncation
from lorakit.plots.layers import labels, layer_map, placed, places
from lorakit.plots.learning import parameters, prediction, running_mean, training_curve
from lorakit.plots.parts import parts
from lorakit.plots.pictures import cut, pictures
from lorakit.plots.probes import gradients, intrinsic_dimension, rank_report, truncation_curve
from lorakit.plots.serving import answers, drifts, latency_bars, latency_curves, survival
from lorakit.plots.similarity import phi_map, phi_maps
from lorakit.plots.spectra import spectra
from lorakit.plots.style import alt_text
from lorakit.plots.surfaces import loss_surface, rate_windows, surface_run
from lorakit.plots.weights import amplification, intruders
from lorakit.plots.writing import continuation, loss_by_alpha

__all__ = [
    "agreement",
    "alt_text",
    "amplification",
    "answers",
    "budgets",
    "bytes_said",
    "comparison",
    "continuation",
    "cut",
    "differences",
    "drifts",
    "gradients",
    "heatmap",
    "intrinsic_dimension",
    "intruders",
    "labels",
    "latency_bars",
    "latency_curves",
    "layer_map",
    "learned_and_forgotten",
    "loss_by_alpha",
    "loss_surface",
    "memory_ledger",
    "parameters",
    "parts",
    "phi_map",
    "phi_maps",
    "pictures",
    "placed",
    "places",
    "prediction",
    "rank_report",
    "rate_windows",
    "running_mean",
    "spectra",
    "spectrum",
    "surface_run",
    "survival",
    "training_curve",
    "truncation",
    "truncation_curve",
]
