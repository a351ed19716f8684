"""A heatmap as the smallest picture that holds it: one pixel a cell, in a PNG, in a data URI.

An SVG with one rectangle a cell would weigh forty bytes a cell and more; this one compresses.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Sequence

import numpy as np


def painted(values: np.ndarray, low: float, high: float, scale: Sequence[tuple[float, str]]) -> np.ndarray:
    """Values (rows, columns) as pixels (rows, columns, 4): the plotly colour scale, interpolated; NaN is clear."""
    stops, colours = zip(*scale)
    share = np.clip((values - low) / ((high - low) or 1), 0, 1)
    channels = np.array([rgba(colour) for colour in colours]).T
    pixels = np.stack([np.interp(share, stops, channel) for channel in channels], axis=-1)
    return np.where(np.isnan(values)[..., None], 0, pixels).round().astype(np.uint8)


def rgba(colour: str) -> tuple[float, float, float, float]:
    """The four channels, 0–255, of "#rrggbb", "rgb(…)" or "rgba(…)"; a grey for a colour by name."""
    if colour.startswith("#"):
        return *bytes.fromhex(colour[1:]), 255
    if "(" not in colour:
        return 128, 128, 128, 255
    red, green, blue, *alpha = (float(part) for part in colour[colour.index("(") + 1 : -1].split(","))
    return red, green, blue, 255 * (alpha[0] if alpha else 1)


def data_uri(pixels: np.ndarray) -> str:
    """Pixels (rows, columns, 4) of uint8 as a PNG (RFC 2083: signature, header, rows, end) in a data URI."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)
    return "data:image/png;base64," + b64encode(png).decode()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
