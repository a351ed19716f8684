"""Which versions are at work here: the first thing to say when a number differs."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("lorakit", "torch", "transformers", "accelerate", "numpy", "plotly", "ipywidgets", "anywidget")


def versions() -> dict[str, str]:
    """The versions of Python and of what lorakit stands on; "missing" where a package is not installed."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
