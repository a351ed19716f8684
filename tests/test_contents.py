"""What is in a file, tensor by tensor, and a plain answer where it is no good: files as real users bring them."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorakit import LoRA, adapt
from lorakit.checkpoints import contents, from_full, read, save
from lorakit.checkpoints.files import CONFIG, WEIGHTS
from lorakit.delta import dense
from lorakit.layers import deltas
from lorakit.methods import DoRA

PREFIX = "base_model.model."
QUERY = "bert.encoder.layer.0.attention.self.query"


@pytest.fixture
def model(tiny):
    model = tiny.bert()
    adapt(model, LoRA, ["*.query", "*.value"], rank=2, alpha=8)
    tiny.stir(model)
    return model


@pytest.fixture
def folder(model, tmp_path):
    save(model, tmp_path / "adapter")
    return tmp_path / "adapter"


def changed(folder, config=None, tensors=None):
    """The same folder with some of its configuration and of its tensors replaced; None takes one out."""
    if config:
        says = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({k: v for k, v in {**says, **config}.items() if v is not None}))
    if tensors:
        kept = {k: v for k, v in {**load_file(folder / WEIGHTS), **tensors}.items() if v is not None}
        save_file(kept, folder / WEIGHTS)
    return folder


def roles(found):
    return {entry.name.removeprefix(PREFIX): entry.role for entry in found.entries}


# ── The ledger ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_tensor_has_a_role(folder):
    found = contents(folder)
    assert sorted(entry.name for entry in found.entries) == sorted(load_file(folder / WEIGHTS))
    assert len(found.of("A (r, in)")) == len(found.of("B (out, r)")) == 4
    assert {entry.layer for entry in found.of("A (r, in)")} == set(read(folder))
    assert [e.shape for e in found.of("B (out, r)")] == [(16, 2)] * 4
    assert found.refusal == ""
    assert (found.says["r"], found.says["lora_alpha"]) == (2, 8)


def test_the_table_counts_numbers_and_names_places(folder):
    lines = str(contents(folder)).splitlines()
    assert lines[0].startswith("PEFT adapter")
    (a,) = (line for line in lines if " A (r, in) " in line)
    assert a.split()[:2] == ["4", "128"]  # 4 · 2 · 16
    assert a.endswith("  bert.encoder.layer.*.attention.self.{query, value}")
    (left,) = (line for line in lines if "left over" in line)
    assert left.split()[:2] == ["0", "0"]
    assert lines[-1] == "✓ ΔW can be read"


def test_what_is_no_delta_is_said_apart(folder):
    beside = {
        f"{PREFIX}classifier.weight": torch.ones(2, 16),
        f"{PREFIX}{QUERY}.base_layer.weight": torch.ones(16, 16),
        f"{PREFIX}bert.pooler.dense.bias": torch.ones(16),
        f"{PREFIX}bert.pooler.lora_C": torch.ones(3),
    }
    found = contents(changed(folder, {"modules_to_save": ["classifier"]}, beside))
    said = roles(found)
    assert said["classifier.weight"] == "saved whole"
    assert said[f"{QUERY}.base_layer.weight"] == "a frozen copy"
    assert said["bert.pooler.dense.bias"] == "bias"
    assert said["bert.pooler.lora_C"] == "left over"
    assert "bert.pooler.lora_C: nothing is known" in found.refusal
    assert str(found).endswith(f"✗ {found.refusal}")


def test_an_embedding_written_whole_does_not_keep_from_reading(folder, model):
    """PEFT writes them where a vocabulary has grown, and lists them nowhere."""
    whole = {f"{PREFIX}{name}.weight": torch.ones(4, 16) for name in ("model.embed_tokens", "lm_head")}
    found = contents(changed(folder, tensors=whole))
    assert len(found.of("saved whole")) == 2 + len([n for n in roles(found) if n.startswith("classifier")])
    for name, delta in deltas(model).items():
        torch.testing.assert_close(dense(read(folder)[name]), dense(delta))


def test_dora_is_told_before_it_is_read(tiny, tmp_path):
    model = tiny.bert()
    adapt(model, DoRA, "*.query", rank=2, alpha=8)
    save(model, tmp_path / "dora")
    found = contents(tmp_path / "dora")
    assert len(found.of("DoRA's m (out,)")) == 2
    assert "DoRA's ΔW needs W₀" in found.refusal
    assert contents(tmp_path / "dora", base=tiny.bert()).refusal == ""


def test_a_loralib_file_and_what_lies_beside(tmp_path):
    A, B = torch.ones(2, 6), torch.ones(4, 2)
    torch.save({"h.0.q.lora_A": A, "h.0.q.lora_B": B, "h.0.q.bias": torch.ones(4)}, tmp_path / "x.pt")
    found = contents(tmp_path / "x.pt")
    assert roles(found) == {"h.0.q.lora_A": "A (r, in)", "h.0.q.lora_B": "B (out, r)", "h.0.q.bias": "left over"}
    assert "does not hold α" in found.refusal
    assert contents(tmp_path / "x.pt", alpha=4).refusal == ""


def test_a_whole_model_is_matrices_and_vectors(tiny, tmp_path):
    tiny.bert().save_pretrained(tmp_path / "model")
    found = contents(tmp_path / "model")
    state = load_file(tmp_path / "model" / "model.safetensors")
    assert found.kind == "a whole model"
    assert len(found.of("matrix of a model")) == sum(t.ndim > 1 for t in state.values())
    assert len(found.of("bias or norm")) == sum(t.ndim == 1 for t in state.values())
    assert "before=" in found.refusal
    assert contents(tmp_path / "model", before=tmp_path / "model").refusal == ""


# ── Answers ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_weights_file_stands_for_its_folder(folder, model):
    assert list(read(folder / WEIGHTS)) == list(deltas(model))
    assert read(folder / WEIGHTS).kind.startswith("PEFT adapter")


def test_a_home_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert len(read("~/adapter")) == 4


def test_an_adapter_without_its_configuration(folder):
    (folder / CONFIG).unlink()
    with pytest.raises(ValueError, match=rf"PEFT's names and no {CONFIG} beside it, without which α is unknown"):
        read(folder)
    assert len(contents(folder).of("A (r, in)")) == 4


def test_two_adapters_in_one_folder(folder, tmp_path):
    """PEFT puts the one called default on top and the others into folders."""
    shutil.copytree(folder, folder / "other")
    assert read(folder).kind.endswith("not those in ['other']")
    for name in (CONFIG, WEIGHTS):
        (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"there are adapters in \['other'\]: give one of these folders"):
        read(folder)
    assert len(read(folder / "other")) == 4


def test_what_is_not_here():
    with pytest.raises(FileNotFoundError, match=r"no file or folder here; .*snapshot_download\('someone/adapter'\)"):
        read("someone/adapter")
    with pytest.raises(FileNotFoundError, match=r"'/no/where/at-all' is no file or folder here$"):
        read("/no/where/at-all")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
            "a git-lfs pointer, .* `git lfs pull`",
        ),
        (b"\n<!doctype html><html>not found</html>", "a web page, so the download failed"),
        (b"\x00" * 40, "cut short or no safetensors file"),
    ],
    ids=("pointer", "web page", "garbage"),
)
def test_what_stands_in_the_weights_place(folder, content, said):
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ValueError, match=f"{WEIGHTS} cannot be opened: it is {said}"):
        read(folder)


def test_the_configuration_stands_for_its_folder(folder):
    assert list(read(folder / CONFIG)) == list(read(folder))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"GGUF" + bytes(60), "a GGUF file, which is not read"),
        (b"hello, I am a note", r"cut short or no torch file \(\w+\)$"),
        (b"PK\3\4" + bytes(60), r"cut short or no torch file \(\w+\)$"),
        (b"", r"cut short or no torch file \(EOFError\)$"),
    ],
    ids=("gguf", "text", "half an archive", "empty"),
)
def test_what_is_no_torch_file(tmp_path, content, said):
    (tmp_path / "adapter.bin").write_bytes(content)
    with pytest.raises(ValueError, match=f"adapter.bin cannot be opened: it is {said}") as told:
        read(tmp_path / "adapter.bin")
    assert "weights_only" not in str(told.value), "nobody is told to trust it"


def test_an_archive_of_a_folder(folder):
    packed = shutil.make_archive(str(folder.parent / "packed"), "zip", folder)
    with pytest.raises(ValueError, match="it is an archive: unpack it and give the folder"):
        read(packed)


def test_a_pickle_is_told_by_what_it_asks_for(tmp_path):
    torch.save({"lora_A": os.system}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"more than tensors and was not run: it asks for (posix|nt).system$"):
        read(tmp_path / "run.pt")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lora_unet_mid.lora_down.weight", "kohya's"),
        ("model.layers.0.self_attn.q_proj.lora_a", "MLX's"),
        ("base_model.model.q.lora_A.mine.weight", r"state of a whole PEFT model, with adapters \['mine'\]"),
        ("model.q.weight", r"a full model needs before="),
    ],
)
def test_names_of_other_people(tmp_path, name, said):
    save_file({name: torch.ones(2, 2)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=rf"no adapter in a format known here \(.*{said}"):
        read(tmp_path / "x.safetensors")


def test_an_mlx_folder(folder):
    (folder / WEIGHTS).rename(folder / "adapters.safetensors")
    with pytest.raises(FileNotFoundError, match=rf"no {WEIGHTS} in .* \(it is MLX's"):
        read(folder)


def test_a_shard_that_is_not_there(tiny, tmp_path):
    tiny.llama().save_pretrained(tmp_path / "before", max_shard_size="10KB")
    after = tiny.llama()
    tiny.stir(after)
    after.save_pretrained(tmp_path / "after", max_shard_size="10KB")
    found = read(tmp_path / "after", before=tmp_path / "before")
    assert list(found) == list(from_full(tiny.llama(), after))
    lost = sorted((tmp_path / "after").glob("*.safetensors"))[0]
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=rf"not whole: its index names \['{lost.name}'\]"):
        read(tmp_path / "after", before=tmp_path / "before")


def test_an_index_of_files_that_were_left_out(tiny, tmp_path):
    """A hub's folder often has the index of its pickles, and not the pickles."""
    tiny.llama().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "pytorch_model-1.bin"}}')
    assert read(tmp_path / "model", before=tmp_path / "model") == {}
    (tmp_path / "model" / "model.safetensors.index.json").write_text('["a"]')
    with pytest.raises(ValueError, match=r"model.safetensors.index.json is no index of shards"):
        read(tmp_path / "model", before=tmp_path / "model")


def test_a_folder_of_pickles_names_them(tiny, tmp_path):
    torch.save(tiny.bert().state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"give the file itself, \['pytorch_model.bin'\]"):
        read(tmp_path)


def test_a_wrapper_s_word_before_every_name(tiny):
    before = {"a.q.weight": torch.ones(2, 2), "a.k.weight": torch.ones(2, 2)}
    after = {f"module.{name}": 2 * tensor for name, tensor in before.items()}
    for one, two, sign in ((before, after, 1), (after, before, -1)):
        found = from_full(one, two, transposed=(), only="a.*")
        assert {name: float(delta.sum()) for name, delta in found.items()} == {"a.q": 4 * sign, "a.k": 4 * sign}
    with pytest.raises(ValueError, match=r"no matrix in common: before has \['a.k', 'a.q'\], after \['b.q'\]"):
        from_full(before, {"b.q.weight": torch.ones(2, 2)}, transposed=())


def test_one_reason_is_said_once(folder):
    with pytest.raises(ValueError) as told:
        read(changed(folder, {"r": 1}))
    assert str(told.value).count("its rank is 2, and the configuration says 1") == 1
    assert f"{QUERY} and 3 more: its rank" in str(told.value)


def test_an_init_that_moved_the_base_says_what_would_do(folder):
    with pytest.raises(ValueError, match=r"'pissa' changed the base .* path_initial_model_for_weight_conversion="):
        read(changed(folder, {"init_lora_weights": "pissa"}))
