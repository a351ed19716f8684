"""What a path that cannot be read is likely to be, and what would do: the words behind a refusal.

A file is judged by its first bytes and by its names, never by running anything in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile, is_zipfile

from lorakit.layers import few

POINTER, MARKUP, INDEX = b"version https://git-lfs", (b"<", b"\xef\xbb\xbf<"), "*.safetensors.index.json"
PEFT_NAME = re.compile(r"\.lora_(?:A|B|embedding_A|embedding_B)(?:\.(?P<adapter>[^.]+))?(?:\.weight)?$")
MODEL = "a full model needs before="
MLX = "MLX's, which is not read: fuse it there, and compare the two models with before="
ELSEWHERE = (  # the end of a name, whose it is, and what its owner can do
    (("lora_down.weight", "lora_up.weight"), "kohya's (Stable Diffusion), which is not read: convert it to PEFT's"),
    ((".lora_a", ".lora_b"), MLX),
)


def absent(path: Path) -> str:
    """Why there is nothing at `path`."""
    known = f"{str(path)!r} is no file or folder here"
    hub = re.fullmatch(r"[\w.-]+/[\w.-]+", str(path))
    return (
        f"{known}; if it is a hub's, fetch it first: huggingface_hub.snapshot_download({str(path)!r})" if hub else known
    )


def disguised(path: Path) -> str:
    """What stands in a weights file's place, as its first bytes tell; empty when they do not."""
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"GGUF"):
        return "it is a GGUF file, which is not read: bring the model or adapter that it was made of"
    if is_zipfile(path) and not _of_torch(path):
        return "it is an archive: unpack it and give the folder"
    if start.startswith(POINTER):
        return "it is a git-lfs pointer, the weights are not here yet: run `git lfs pull` where it was cloned"
    return "it is a web page, so the download failed" if start.lstrip().startswith(MARKUP) else ""


def _of_torch(archive: Path) -> bool:
    try:
        with ZipFile(archive) as file:
            return any(name.endswith("/data.pkl") for name in file.namelist())
    except BadZipFile:
        return True  # or was: what is left of it is for torch to say


def foreign(refusal: Exception) -> str:
    """Why torch did not open a file. Its own advice, to trust the file and run what is in it, is never passed on."""
    wanted = re.search(r"GLOBAL (\S+)", str(refusal))
    if wanted:
        return f"it holds more than tensors and was not run: it asks for {wanted[1]}"
    return f"it is cut short or no torch file ({type(refusal).__name__})"


def below(folder: Path, config: str) -> str:
    """The adapters that lie in folders of `folder`; empty when there is none."""
    found = others(folder, config)
    return f"there are adapters in {few(found, 6)}: give one of these folders" if found else ""


def others(folder: Path, config: str) -> list[str]:
    """The folders within `folder` that hold an adapter of their own, as PEFT saves all but the one called default."""
    return sorted(place.parent.name for place in folder.glob(f"*/{config}"))


def pickled(folder: Path) -> str:
    """The torch files of a folder that has no safetensors; empty when there is none."""
    found = sorted(place.name for place in folder.glob("*.[bp][it]*") if place.suffix in (".bin", ".pt", ".pth"))
    return f"give the file itself, {few(found, 4)}: of that, tensors and nothing else is taken" if found else ""


def lost_shards(folder: Path) -> list[str]:
    """Files that an index in `folder` names and that are not there; ValueError where it is no index."""
    named: set[str] = set()
    for index in folder.glob(INDEX):
        try:
            named |= set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(
                f"{index} is no index of shards: a weight_map from names to files is what it needs"
            ) from None
    return sorted(name for name in named if not (folder / name).is_file())


def unknown(names: Sequence[str], config: str) -> str:
    """What a file with these names is likely to be, and what would do."""
    whose = next((said for ends, said in ELSEWHERE if any(name.endswith(ends) for name in names)), "")
    if whose:
        return f"its names are {whose}"
    adapters = sorted({found["adapter"] or "" for found in map(PEFT_NAME.search, names) if found} - {"weight"})
    if any(adapters):
        return f"it is the state of a whole PEFT model, with adapters {adapters}: save it with save_pretrained"
    if any(map(PEFT_NAME.search, names)):
        return f"it has PEFT's names and no {config} beside it, without which α is unknown: put that into its folder"
    return MODEL
