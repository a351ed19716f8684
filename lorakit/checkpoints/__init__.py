"""Adapters on disk: save and load in PEFT's format, and the ΔW in other people's files.

save(model, folder)      load(model, folder)      a ledger: all of it fits, or nothing changes
contents(path): what is in it                    tensor by tensor
read(path) -> {layer: ΔW (out, in)}               PEFT, loralib, torchtune, litgpt; from_full for two models
"""

from lorakit.checkpoints.contents import Contents, contents
from lorakit.checkpoints.full import from_full
from lorakit.checkpoints.litgpt import read_litgpt
from lorakit.checkpoints.loading import load
from lorakit.checkpoints.loralib import read_loralib
from lorakit.checkpoints.peft import read_peft
from lorakit.checkpoints.reading import Deltas, read
from lorakit.checkpoints.saving import save
from lorakit.checkpoints.torchtune import read_torchtune

__all__ = [
    "Contents",
    "Deltas",
    "contents",
    "from_full",
    "load",
    "read",
    "read_litgpt",
    "read_loralib",
    "read_peft",
    "read_torchtune",
    "save",
]
