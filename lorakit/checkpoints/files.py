"""What lies on disk: named tensors, mapped rather than read, and never anything that could run code.

A safetensors file is a table of shapes and then bytes: opening one costs nothing, and a tensor is paged in when it
is first looked at, so hundreds of layers stream. A torch file is a pickle; it is opened with `weights_only`, which
builds tensors and refuses everything else.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lorakit.checkpoints import advice

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"


def tensors_in(path: str | Path) -> dict[str, Tensor]:
    """The tensors of one file, or of all safetensors shards in a folder, by name.

    Raises FileNotFoundError where there is none, ValueError where a file is no such file, is cut short, or holds
    more than tensors.
    """
    path = here(path)
    if path.is_dir():
        shards = sorted(path.glob("*.safetensors"))
        if not shards:
            hint = advice.below(path, CONFIG) or advice.pickled(path) or f"there are {sorted(os.listdir(path))}"
            raise FileNotFoundError(f"no .safetensors file in {path}; {hint}")
        if lost := advice.lost_shards(path):
            raise FileNotFoundError(f"{path} is not whole: its index names {lost}, and they are not there")
        return {name: tensor for shard in shards for name, tensor in _safetensors(shard).items()}
    return _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)


def here(path: str | Path) -> Path:
    """The path, with ~ as the user's home, and the folder of a .json; FileNotFoundError where there is nothing."""
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(advice.absent(path))
    return path.parent if path.suffix == ".json" else path


def adapter_in(folder: str | Path, assume: Mapping | None = None) -> tuple[dict, dict[str, Tensor], dict[str, str]]:
    """(configuration, tensors, words in the header) of an adapter's folder; `assume` fills what the former lacks."""
    folder = Path(folder).expanduser()
    config = config_in(folder)
    config |= {key: value for key, value in (assume or {}).items() if config.get(key) is None}
    path = folder / WEIGHTS
    if not path.is_file() and (folder / PICKLE).is_file():
        rather = "load it where you trust it, and save it again with safetensors"
        raise ValueError(f"{folder / PICKLE} is a pickle, which can run any code when it is opened: {rather}")
    if not path.is_file():
        hint = f" (it is {advice.MLX})" if (folder / "adapters.safetensors").is_file() else ""
        raise FileNotFoundError(f"no {WEIGHTS} in {folder}{hint}: {sorted(os.listdir(folder))}")
    with _opened(path) as file:
        return config, _safetensors(path), file.metadata() or {}


def config_in(folder: Path, name: str = CONFIG) -> dict:
    """A folder's JSON configuration; raises FileNotFoundError or ValueError."""
    path = folder / name
    if not path.is_file():
        found = sorted(os.listdir(folder)) if folder.is_dir() else "no such folder"
        raise FileNotFoundError(f"no {name} in {folder}: {found}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds a {type(config).__name__}, not an object")
    return config


@contextmanager
def replacing(folder: str | Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `folder` when it is complete, and vanishes if it fails.

    Whatever else lies in `folder` (a tokenizer, notes, other adapters) stays there.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; give a folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    new, old = (folder.parent / f".{folder.name}.{word}-{uuid4().hex[:8]}" for word in ("new", "old"))
    new.mkdir()
    try:
        yield new
    except BaseException:
        shutil.rmtree(new)
        raise
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    _carry_over(old, folder)


def _carry_over(old: Path, folder: Path) -> None:
    if not old.exists():
        return
    for entry in old.iterdir():
        if not (folder / entry.name).exists():
            os.replace(entry, folder / entry.name)
    shutil.rmtree(old)


@contextmanager
def _opened(path: Path) -> Iterator:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        found = advice.disguised(path) or f"it is cut short or no safetensors file: {error}"
        raise ValueError(f"{path} cannot be opened: {found}") from None


def _safetensors(path: Path) -> dict[str, Tensor]:
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)


def _torch_file(path: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except OSError:
        raise
    except Exception as error:  # bytes that are no torch file may fail anywhere in it
        found = advice.disguised(path) or advice.foreign(error)
        raise ValueError(f"{path} cannot be opened: {found}") from None
    return _unwrapped(path, loaded)


def _unwrapped(path: Path, loaded: object) -> dict[str, Tensor]:
    """The tensors in {name: tensor}, or in the one value of a wrapper such as {"model_state_dict": {…}, "epoch": 3}."""
    if isinstance(loaded, Mapping):
        tensors = {str(name): tensor for name, tensor in loaded.items() if isinstance(tensor, Tensor)}
        inner = [value for value in loaded.values() if isinstance(value, Mapping) and not tensors]
        held = [found for value in inner if (found := {k: v for k, v in value.items() if isinstance(v, Tensor)})]
        if tensors or len(held) == 1:
            return tensors or held[0]
    raise ValueError(f"{path} holds no table of tensors: a {type(loaded).__name__}")
