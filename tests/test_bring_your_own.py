"""Lesson 09 promises that one line is the reader's: its cells about `mine` run on whatever stands there."""

from pathlib import Path

import nbformat
import pytest
import torch

from lorakit import LoRA, adapt
from lorakit.checkpoints import save
from lorakit.layers import deltas
from lorakit.methods import DoRA

LESSON = Path(__file__).parents[1] / "notebooks" / "09_bring_your_own.ipynb"
CELLS = {cell.id: cell.source for cell in nbformat.read(LESSON, as_version=4).cells}
ABOUT_MINE = ("contents", "read", "contents-check", "sweep", "explore", "sweep-check", "page")
OWN = 'mine, base, other, told = shipped, "minilm", adapter(rank=8, init=1, order=1), {}  # ← yours'
BEFORE = "from pathlib import Path\nfrom lorakit.inspecting import measured\n"


def adapted(tiny, folder, make, where, method=LoRA):
    """A base in `base`, an adapter of it in `mine`, another in `other`."""
    for seed, name in enumerate(("mine", "other")):
        model = make()
        model.save_pretrained(folder / "base")
        adapt(model, method, where, rank=2, alpha=4)
        tiny.stir(model, seed)
        save(model, folder / name)
    return model


def run(line, folder, monkeypatch):
    """What those cells leave behind, with `line` in place of the lesson's own."""
    monkeypatch.chdir(folder)
    Path("figures").mkdir()
    assert CELLS["mine"].count(OWN) == 1
    here: dict = {}
    code = CELLS["mine"].replace(OWN, f"mine, base, other, told = {line}")
    exec("\n".join([BEFORE, code, *(CELLS[name] for name in ABOUT_MINE)]), here)
    return here


LINES = {
    "an adapter, its base and another": ("bert", ["*.query", "*.value"], LoRA, '"mine", "base", "other", {}'),
    "without a base": ("bert", ["*.query"], LoRA, '"mine", None, None, {}'),
    "dora": ("bert", ["*.query"], DoRA, '"mine", "base", "other", {}'),
    "gpt2": ("gpt2", ["*.c_attn", "*.c_proj"], LoRA, '"mine", "base", None, {}'),
    "only some": ("llama", ["*.q_proj", "*.up_proj"], LoRA, '"mine", "base", "other", {"only": "*.q_proj"}'),
    "the weights file": ("bert", ["*.query"], LoRA, '"mine/adapter_model.safetensors", None, "other", {}'),
}


@pytest.mark.parametrize(("make", "where", "method", "line"), LINES.values(), ids=list(LINES))
def test_an_adapter_of_the_reader_s(make, where, method, line, tiny, tmp_path, monkeypatch):
    model = adapted(tiny, tmp_path, getattr(tiny, make), where, method)
    here = run(line, tmp_path, monkeypatch)
    wanted = [name for name in deltas(model) if "only" not in line or name.endswith("q_proj")]
    assert sorted(row.name for row in here["rows"]) == sorted(wanted)
    assert all((row.amplification is not None) == ("base" in line) for row in here["rows"])
    assert all((row.similarity is not None) == ("other" in line) for row in here["rows"])
    assert wanted[0] in Path("figures/report.html").read_text(encoding="utf-8")


def test_a_whole_model_of_the_reader_s(tiny, tmp_path, monkeypatch, capsys):
    tiny.llama().save_pretrained(tmp_path / "base", max_shard_size="10KB")
    tuned = tiny.llama()
    tiny.stir(tuned)
    tuned.save_pretrained(tmp_path / "mine", max_shard_size="10KB")
    here = run('"mine", "base", None, {}', tmp_path, monkeypatch)
    assert len(here["rows"]) == sum(p.ndim > 1 for p in tuned.parameters())
    assert "a whole model" in capsys.readouterr().out


def test_a_loralib_file_of_the_reader_s(tmp_path, monkeypatch):
    torch.save({"h.0.q.lora_A": torch.randn(2, 6), "h.0.q.lora_B": torch.randn(4, 2)}, tmp_path / "mine.pt")
    assert len(run('"mine.pt", None, None, {"alpha": 4}', tmp_path, monkeypatch)["rows"]) == 1
