"""python -m lorakit inspect: any format, one table, one page; a file that is no good, one line and exit code 2."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lorakit import LoRA, adapt
from lorakit.__main__ import main
from lorakit.analysis import spectrum
from lorakit.checkpoints import save
from lorakit.delta import LowRank, norm
from lorakit.inspecting import as_text, deltas_of, figures, measured, page, weights_of
from lorakit.inspecting.table import cells
from lorakit.layers import deltas
from lorakit.methods import DoRA

RANK, ALPHA = 2, 8.0


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path / "home"))


@pytest.fixture
def model(tiny):
    model = tiny.bert()
    adapt(model, LoRA, ["*.query", "*.value"], rank=RANK, alpha=ALPHA)
    tiny.stir(model)
    return model


def factors(seed, out=16, inputs=16, rank=RANK):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(rank, inputs, generator=g), torch.randn(out, rank, generator=g)


def peft(folder):
    folder.mkdir()
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "use_rslora": False, "target_modules": ["q"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    A, B = factors(0)
    names = {"base_model.model.layers.0.q.lora_A.weight": A, "base_model.model.layers.0.q.lora_B.weight": B}
    save_file(names, folder / "adapter_model.safetensors")
    return folder, ()


def loralib(folder):
    A, B = factors(0)
    torch.save({"model_state_dict": {"layers.0.q.lora_A": A, "layers.0.q.lora_B": B}}, folder.with_suffix(".pt"))
    return folder.with_suffix(".pt"), ("--alpha", "8")


def torchtune(folder):
    A, B = factors(0)
    torch.save({"layers.0.q.lora_a.weight": A, "layers.0.q.lora_b.weight": B}, folder.with_suffix(".pt"))
    return folder.with_suffix(".pt"), ("--alpha", "8")


def litgpt(folder):
    A, B = factors(0)
    names = {"layers.0.attn.qkv.lora_A": A, "layers.0.attn.qkv.lora_B": B}
    torch.save(names, folder.with_suffix(".pth"))
    return folder.with_suffix(".pth"), ("--alpha", "8", "--parts", "1,0,0", "--heads", "2", "--groups", "2")


def full(folder):
    A, B = factors(0)
    W = torch.randn(16, 16, generator=torch.Generator().manual_seed(5))
    before, after = folder.with_name("before.safetensors"), folder.with_name("after.safetensors")
    save_file({"layers.0.q.weight": W}, before)
    save_file({"layers.0.q.weight": W + ALPHA / RANK * B @ A}, after)
    return after, ("--base", str(before))


FORMATS = (peft, loralib, torchtune, litgpt, full)


def row(text, name):
    """The cells of one line of the table."""
    return next(re.split(r"\s{2,}", line) for line in text.splitlines() if line.startswith(name))


@pytest.mark.parametrize("written", FORMATS, ids=lambda f: f.__name__)
def test_every_format_gives_the_same_numbers(written, tmp_path, capsys):
    path, options = written(tmp_path / "adapter")
    assert main(["inspect", str(path), *options]) == 0
    said = capsys.readouterr()
    found = row(said.out, "layers.0")
    A, B = factors(0)
    values = torch.linalg.svdvals((ALPHA / RANK * B @ A).double()).numpy()[:RANK]
    assert found[2] == str(RANK)
    assert float(found[3]) == pytest.approx(np.linalg.norm(values), rel=5e-3)
    assert float(found[4].split()[0]) == pytest.approx((values**2).sum() / values[0] ** 2, abs=5e-3)
    chance = spectrum(LowRank(ALPHA / RANK * B, A))
    assert found[4].endswith(f"({chance.null_stable_rank.mean:.2f})")
    assert found[5] == f"{chance.effective_rank:.2f} ({chance.null_effective_rank.mean:.2f})"
    assert said.err == ""


def test_says_what_it_took_the_file_for(tmp_path, capsys):
    path, _ = peft(tmp_path / "adapter")
    main(["inspect", str(path)])
    assert "PEFT adapter" in capsys.readouterr().out


def test_the_page_stands_alone(tmp_path, capsys):
    (path, _), report = peft(tmp_path / "adapter"), tmp_path / "report.html"
    assert main(["inspect", str(path), "--against", str(path), "--html", str(report)]) == 0
    head, body = report.read_text(encoding="utf-8").split("</head>")
    assert head.count("plotly.js v") == 1, "the library stands in it once"
    assert "plotly.js v" not in body
    tags = re.findall(r"<(?:script|link|img)[^>]*>", head.split("<script>")[0] + body)
    assert [tag for tag in tags if "src=" in tag or "href=" in tag] == [], "nothing is fetched"
    assert "color-scheme: light dark" in head
    assert body.count('<figure role="img" aria-label=') == body.count("Plotly.newPlot(") > 4
    assert "layers.0.q" in body
    assert str(report) in capsys.readouterr().out


def test_names_from_a_file_are_text_on_the_page(tmp_path):
    W = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    rows = list(measured({"layers.0.<script>alert(1)</script>": W}))
    body = page(rows, "<b>file</b>", "a & b").split("</head>")[1]
    assert "<b>file</b>" not in body
    assert "<script>alert" not in body
    assert "a &amp; b" in body


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p / "nowhere", "nowhere"),
        (lambda p: written(p / "x.safetensors", b"not a table"), "cut short or no safetensors"),
        (lambda p: written(p / "x.pt", b"not a pickle"), "cut short or no torch file"),
        (lambda p: (p / "empty").mkdir() or p / "empty", "no .safetensors"),
        (lambda p: saved(p / "m.safetensors", {"layers.0.q.weight": torch.zeros(4, 4)}), "no adapter in a format"),
        (lambda p: loralib(p / "no_alpha")[0], "alpha"),
        (lambda p: alone(p / "alone.pt"), "layers.0.q: there is ['A'] and no B"),
    ],
    ids=("nowhere", "garbage", "no pickle", "empty folder", "a whole model", "no alpha", "a factor alone"),
)
def test_a_bad_file_gets_one_line_and_code_2(make, said, tmp_path, capsys):
    assert main(["inspect", str(make(tmp_path))]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("lorakit: ")
    assert said in err


def written(path, content):
    path.write_bytes(content)
    return path


def alone(path):
    torch.save({"layers.0.q.lora_a.weight": factors(0)[0]}, path)
    (path.parent / "adapter_config.json").write_text('{"lora_alpha": 8}')
    return path


def saved(path, tensors):
    save_file(tensors, path)
    return path


def test_a_page_that_cannot_be_written_gets_one_line_too(tmp_path, capsys):
    path, _ = peft(tmp_path / "adapter")
    assert main(["inspect", str(path), "--html", str(tmp_path / "no" / "folder.html")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_layers_without_anything_in_common(tmp_path, capsys):
    (path, _), other = peft(tmp_path / "adapter"), tmp_path / "other.pt"
    A, B = factors(1)
    torch.save({"elsewhere.lora_a.weight": A, "elsewhere.lora_b.weight": B}, other)
    assert main(["inspect", str(path), "--against", str(other), "--alpha", "8"]) == 2
    assert "no layer in common" in capsys.readouterr().err


def test_a_missing_path_stays_the_complaint_also_with_a_base(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "typo"), "--base", "minilm"]) == 2
    assert "typo" in capsys.readouterr().err


def test_dora_takes_its_weights_from_the_base(tiny, tmp_path):
    model = tiny.bert()
    model.save_pretrained(tmp_path / "base")
    adapt(model, DoRA, "*.query", rank=RANK, alpha=ALPHA)
    tiny.stir(model)
    save(model, tmp_path / "dora")
    found = deltas_of(str(tmp_path / "dora"), str(tmp_path / "base"))
    for name, delta in deltas(model).items():
        torch.testing.assert_close(found[name], delta, atol=1e-5, rtol=1e-4)


def test_only_some_layers(model, tmp_path):
    save(model, tmp_path / "adapter")
    found = deltas_of(str(tmp_path / "adapter"), only="*.query")
    assert list(found) == [name for name in deltas(model) if name.endswith("query")]
    with pytest.raises(ValueError, match=r"no layer .* matches '\*.nothing'; there are"):
        deltas_of(str(tmp_path / "adapter"), only="*.nothing")


def test_weights_come_the_way_the_model_means_them(tiny, tmp_path):
    """GPT-2 stores Wᵀ, and its c_proj is square: only the model knows."""
    model = tiny.gpt2()
    model.save_pretrained(tmp_path / "gpt2")
    weight = weights_of(str(tmp_path / "gpt2"))
    stored = dict(model.named_parameters())
    for name in ("transformer.h.0.attn.c_proj", "transformer.h.1.attn.c_attn"):
        expected = stored[f"{name}.weight"].mT
        assert torch.equal(weight(name, tuple(expected.shape)), expected)
        assert torch.equal(weight(name.removeprefix("transformer."), tuple(expected.shape)), expected)
    with pytest.raises(ValueError, match="no layer elsewhere"):
        weight("elsewhere", (16, 16))


def test_a_bare_file_is_turned_where_only_that_fits(tmp_path):
    W = torch.randn(6, 4)
    weight = weights_of(str(saved(tmp_path / "w.safetensors", {"a.weight": W, "b.weight": W.mT.contiguous()})))
    assert torch.equal(weight("a", (6, 4)), W)
    assert torch.equal(weight("b", (6, 4)), W)
    with pytest.raises(ValueError, match=r"a.weight is \(6, 4\) and ΔW \(5, 4\)"):
        weight("a", (5, 4))


def test_with_a_base_and_another_every_column_is_filled(model, tiny, tmp_path, capsys):
    save(model, tmp_path / "one")
    tiny.bert().save_pretrained(tmp_path / "base")
    base = ["--base", str(tmp_path / "base"), "--against", str(tmp_path / "one")]
    assert main(["inspect", str(tmp_path / "one"), *base]) == 0
    out = capsys.readouterr().out
    first = row(out, "bert.encoder.layer.0.attention.self.query")
    head = row(out, "layer")
    found = dict(zip(head, first))
    assert found["φ(1, 1)"].startswith("1.000 (0.06")
    assert found["enrichment"].endswith("(1)")
    W = tiny.bert().bert.encoder.layer[0].attention.self.query.weight.detach()
    delta = deltas(model)["bert.encoder.layer.0.attention.self.query"]
    assert float(found["‖ΔW‖/‖W‖"].rstrip("%")) == pytest.approx(100 * float(norm(delta) / W.norm()), abs=0.01)
    assert re.fullmatch(r"\d+\+\d+ \(\d+\+\d+\)", found["intruders"])


def test_a_zero_delta_has_its_row_and_no_figure():
    zero = torch.zeros(8, 6)
    rows = list(measured({"layers.0.q": zero}, lambda name, shape: torch.ones(8, 6), {"layers.0.q": zero}))
    line = cells(rows)[1]
    assert line[:4] == ["layers.0.q", "8 × 6", "0", "0"]
    assert line.count("–") == 4  # stable and effective rank, both φ
    assert list(figures(rows, "")) == []
    assert "layers.0.q" in page(rows, "zero", "")


def test_layers_that_the_other_does_not_have_are_not_compared():
    g = torch.Generator().manual_seed(0)
    one = {f"layers.{n}.q": torch.randn(8, 6, generator=g) for n in range(2)}
    rows = list(measured(one, against={"layers.1.q": one["layers.1.q"]}))
    assert (rows[0].similarity, rows[1].similarity is None) == (None, False)
    assert cells(rows)[1][-2:] == ["–", "–"]
    assert "in brackets: by chance" in as_text(rows)


def test_another_with_a_word_before_its_names_is_compared():
    g = torch.Generator().manual_seed(0)
    one = {f"layers.{n}.q": torch.randn(8, 6, generator=g) for n in range(2)}
    for other in ({f"model.{name}": delta for name, delta in one.items()}, {"1.q": one["layers.1.q"]}):
        rows = list(measured(one, against=other))
        assert rows[1].similarity.phi[-1, -1] > 0.999
        assert (rows[0].similarity is None) == (len(other) == 1)


def test_a_tuned_folder_beside_a_model_with_a_head(tiny, tmp_path):
    """The folder holds the encoder alone, without the word that a classifier puts before its names, and no head."""
    tiny.bert().save_pretrained(tmp_path / "base")
    tuned = tiny.bert()
    tiny.stir(tuned)
    tuned.bert.save_pretrained(tmp_path / "tuned")
    found = deltas_of(tmp_path / "tuned", str(tmp_path / "base"))
    assert found.kind.endswith("without ['classifier'], which one of them has not")
    name = "encoder.layer.1.attention.self.value"
    expected = tuned.bert.get_submodule(name).weight - tiny.bert().bert.get_submodule(name).weight
    torch.testing.assert_close(found[name], expected.detach())
    assert list(deltas_of(tmp_path / "tuned", str(tmp_path / "base"), name)) == [name]


def test_a_base_does_not_hide_what_an_adapter_lacks(tmp_path):
    """It may be needed for DoRA or a whole model; a loralib file without its α is neither."""
    path, _ = loralib(tmp_path / "adapter")
    with pytest.raises(ValueError, match="does not hold α"):
        deltas_of(path, base="minilm")


def test_a_file_older_than_an_option(tmp_path, capsys):
    """PEFT before 0.7 knew no use_rslora: the complaint names what the command line has for it."""
    path, _ = peft(tmp_path / "old")
    config = json.loads((path / "adapter_config.json").read_text())
    del config["use_rslora"]
    (path / "adapter_config.json").write_text(json.dumps(config))
    assert main(["inspect", str(path)]) == 2
    err = capsys.readouterr().err
    assert "use_rslora is not there" in err
    assert "a file older than that option means False" in err
    assert err.endswith("(here: --alpha, which also says that the scale is α/r)\n")
    assert main(["inspect", str(path), "--alpha", "8"]) == 0


def test_a_base_that_is_another_model(model, tiny, tmp_path):
    save(model, tmp_path / "adapter")
    tiny.bert(hidden_size=32).save_pretrained(tmp_path / "wide")
    said = r"0.attention.self.query is \(32, 32\) in the base, and ΔW \(16, 16\): another base model"
    with pytest.raises(ValueError, match=said):
        list(measured(deltas_of(tmp_path / "adapter"), weights_of(str(tmp_path / "wide"))))


def test_a_base_that_is_nowhere(monkeypatch):
    monkeypatch.setattr("lorakit.models._hub_answers", lambda: False)
    with pytest.raises(OSError, match=r"base 'minlm' is no file or folder here, is not built in \(minilm, .*smollm2\)"):
        weights_of("minlm")


def test_without_arguments_it_says_what_there_is(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("inspect", "fetch"))


def test_fetch_is_handed_on(monkeypatch):
    monkeypatch.setattr("lorakit.assets.command.main", lambda given: given)
    assert main(["fetch", "minilm", "--all"]) == ["minilm", "--all"]


def test_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "lorakit", "inspect", "nowhere"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("lorakit: ")
