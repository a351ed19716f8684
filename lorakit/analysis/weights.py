"""W = U·diag(S)·Vᵀ of a pretrained weight: the expensive part of looking at W, done once and kept on disk.

The file is named by a hash of the weight's own bytes, so that a fine-tuned W is never taken for the pretrained
one and a file can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lorakit import assets
from lorakit.delta import SVD, svd


def decomposed(weight: Tensor, cache: str | Path | None = None) -> SVD:
    """The thin SVD of W (out, in), in at least float32: read from `cache` if it is there, else made and kept.

    cache   a folder; by default svd/ in lorakit's own ($LORAKIT_HOME, else ~/.cache/lorakit)
    A file that cannot be read is made anew, and where none can be written (a cache shared by a class), none is.
    Raises ValueError for anything but one finite matrix.
    """
    if weight.ndim != 2 or not weight.isfinite().all():
        raise ValueError(f"W is one finite matrix (out, in); given {tuple(weight.shape)}")
    weight = weight.detach().cpu().to(torch.promote_types(weight.dtype, torch.float32)).contiguous()
    folder = Path(cache) if cache is not None else assets.cache() / "svd"
    file = folder / f"{_fingerprint(weight)}.npz"
    return _read(file) or _kept(svd(weight), file)


def _fingerprint(weight: Tensor) -> str:
    values = weight.numpy()
    head = f"{values.dtype} {values.shape} ".encode()
    return hashlib.sha256(head + values.tobytes()).hexdigest()[:32]


def _read(file: Path) -> SVD | None:
    try:
        with np.load(file, allow_pickle=False) as parts:
            return SVD(*(torch.from_numpy(parts[name]) for name in SVD._fields))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _kept(found: SVD, file: Path) -> SVD:
    """Written beside and renamed, so that a reader sees a whole file or none."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=file.parent) as room:
            part = Path(room) / file.name
            np.savez(part, **{name: value.numpy() for name, value in found._asdict().items()})
            os.replace(part, file)
    return found
