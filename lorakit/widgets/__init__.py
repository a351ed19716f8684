"""Figures with controls, for notebooks: one view that draws any plotly figure, one explorer a question."""

from lorakit.widgets.adapter import AdapterExplorer
from lorakit.widgets.alpha import AlphaExplorer
from lorakit.widgets.bank import BankExplorer
from lorakit.widgets.budget import BudgetExplorer
from lorakit.widgets.explorer import Explorer
from lorakit.widgets.frozen import freeze
from lorakit.widgets.intruders import IntruderExplorer
from lorakit.widgets.latency import LatencyExplorer
from lorakit.widgets.layers import LayerExplorer
from lorakit.widgets.live import LiveCurve
from lorakit.widgets.memory import MemoryExplorer
from lorakit.widgets.phi import PhiExplorer
from lorakit.widgets.picture import PictureExplorer
from lorakit.widgets.rank import RankExplorer
from lorakit.widgets.surface import SurfaceExplorer
from lorakit.widgets.text import TextExplorer
from lorakit.widgets.view import PlotlyView

__all__ = [
    "AdapterExplorer",
    "AlphaExplorer",
    "BankExplorer",
    "BudgetExplorer",
    "Explorer",
    "IntruderExplorer",
    "LatencyExplorer",
    "LayerExplorer",
    "LiveCurve",
    "MemoryExplorer",
    "PhiExplorer",
    "PictureExplorer",
    "PlotlyView",
    "RankExplorer",
    "SurfaceExplorer",
    "TextExplorer",
    "freeze",
]
