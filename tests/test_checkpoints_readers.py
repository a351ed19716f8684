"""Other people's files: loralib's own modules and dense algebra are the oracles, files by hand the subjects."""

import json
import os

import loralib
import pytest
import torch
from safetensors.torch import save_file

from lorakit import LoRA, adapt, deltas
from lorakit.checkpoints import from_full, read, read_litgpt, read_loralib, read_peft, read_torchtune, save
from lorakit.delta import LowRank, dense, svd
from lorakit.methods import DoRA

EXACT = {"rtol": 0, "atol": 1e-6}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def close(actual, expected):
    torch.testing.assert_close(dense(actual), expected, **EXACT)


class Model(torch.nn.Module):
    """One of each kind that loralib has."""

    def __init__(self, enabled=(True, False, True)):
        super().__init__()
        self.c_attn = loralib.MergedLinear(6, 12, r=2, lora_alpha=3, enable_lora=list(enabled), fan_in_fan_out=True)
        self.out = loralib.Linear(6, 5, r=2, lora_alpha=3)
        self.words = loralib.Embedding(9, 6, r=2, lora_alpha=3)
        for index, parameter in enumerate(self.parameters()):
            parameter.data = drawn(*parameter.shape, seed=index)

    def expected(self):
        """ΔW as loralib adds it: what eval() merges into the weights."""
        kinds = {"c_attn": self.c_attn, "out": self.out, "words": self.words}
        before = {name: module.weight.detach().clone() for name, module in kinds.items()}
        self.eval()
        added = {name: module.weight.detach() - before[name] for name, module in kinds.items()}
        self.train()
        return {name: delta if name == "out" else delta.T for name, delta in added.items()}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "as before torch 1.6"])
@pytest.mark.parametrize("wrapper", [None, "model_state_dict"])
def test_loralib(wrapper, zipped, tmp_path):
    model = Model().train()
    state = {wrapper: loralib.lora_state_dict(model), "epoch": 3} if wrapper else loralib.lora_state_dict(model)
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = read_loralib(tmp_path / "a.pt", alpha=3, parts=(True, False, True))
    expected = model.expected()
    assert found.keys() == expected.keys()
    assert all(isinstance(delta, LowRank) for delta in found.values())
    for name, delta in found.items():
        close(delta, expected[name])
    assert torch.count_nonzero(dense(found["c_attn"])[4:8]) == 0


@pytest.mark.parametrize("enabled", [(True, False, False), (False, False, True), (True, True, True), (False, True)])
def test_loralib_with_any_parts(enabled, tmp_path):
    model = Model(enabled).train()
    torch.save(loralib.lora_state_dict(model), tmp_path / "a.pt")
    found = read_loralib(tmp_path / "a.pt", alpha=3, parts={"*attn": enabled})
    for name, delta in model.expected().items():
        close(found[name], delta)


def test_loralib_says_what_it_needs(tmp_path):
    torch.save(loralib.lora_state_dict(Model()), tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"c_attn: 2 of its parts are adapted; say which: parts=\(True, False, True\)"):
        read_loralib(tmp_path / "a.pt", alpha=3)
    with pytest.raises(ValueError, match=r"c_attn: A \(4, 6\) and B \(8, 2\) are not those of 3 parts"):
        read_loralib(tmp_path / "a.pt", alpha=3, parts=(True, True, True))
    torch.save({"out.lora_A": drawn(2, 6), "odd.lora_B": drawn(5, 2)}, tmp_path / "b.pt")
    with pytest.raises(ValueError, match=r"odd: there is \['B'\] and no A\n.*out: there is \['A'\] and no B"):
        read_loralib(tmp_path / "b.pt", alpha=3)
    torch.save({"out.weight": drawn(2, 6)}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="has no lora_A or lora_B: it is no loralib file"):
        read_loralib(tmp_path / "c.pt", alpha=3)
    torch.save({"out.lora_A": drawn(2, 6) * float("inf"), "out.lora_B": drawn(5, 2)}, tmp_path / "d.pt")
    with pytest.raises(ValueError, match="out: A holds NaN or infinity"):
        read_loralib(tmp_path / "d.pt", alpha=3)


class Runs:
    """What a pickle can do when it is opened."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_a_torch_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"out.lora_A": Runs()}, "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt cannot be opened: it holds more than tensors and was not run"):
        read_loralib("a.pt", alpha=1)
    assert not os.path.exists("ran")
    torch.save({"out.lora_A": drawn(2, 6)}, "b.pt")
    whole = (tmp_path / "b.pt").read_bytes()
    (tmp_path / "b.pt").write_bytes(whole[:-40])
    with pytest.raises(ValueError, match=r"b\.pt cannot be opened: it is cut short or no torch file"):
        read_loralib("b.pt", alpha=1)
    torch.save([1, 2], "c.pt")
    with pytest.raises(ValueError, match="holds no table of tensors: a list"):
        read_loralib("c.pt", alpha=1)


def torchtune_file(path, dora=False):
    A, B, m = drawn(2, 6), drawn(5, 2), drawn(5).abs()
    state = {"layers.0.attn.q_proj.lora_a.weight": A, "layers.0.attn.q_proj.lora_b.weight": B}
    torch.save(state | ({"layers.0.attn.q_proj.magnitude": m} if dora else {}), path)
    return A, B, m


def test_torchtune(tmp_path):
    A, B, _ = torchtune_file(tmp_path / "adapter_0.pt")
    found = read_torchtune(tmp_path / "adapter_0.pt", alpha=3)
    close(found["layers.0.attn.q_proj"], 1.5 * B @ A)
    with pytest.raises(ValueError, match=r"does not hold α, and no adapter_config\.json beside it does: pass alpha="):
        read_torchtune(tmp_path / "adapter_0.pt")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8}))
    close(read_torchtune(tmp_path / "adapter_0.pt")["layers.0.attn.q_proj"], 4 * B @ A)
    torch.save({"a.lora_a.weight": A}, tmp_path / "half.pt")
    with pytest.raises(ValueError, match=r"a: there is \['A'\] and no B"):
        read_torchtune(tmp_path / "half.pt", alpha=1)


def test_torchtune_dora(tmp_path):
    A, B, m = torchtune_file(tmp_path / "adapter_0.pt", dora=True)
    weight = drawn(5, 6, seed=3)
    with pytest.raises(ValueError, match="DoRA's ΔW needs W₀: pass base="):
        read_torchtune(tmp_path / "adapter_0.pt", alpha=3)
    found = read_torchtune(tmp_path / "adapter_0.pt", alpha=3, base={"layers.0.attn.q_proj": weight})
    moved = weight + 1.5 * B @ A
    close(found["layers.0.attn.q_proj"], m[:, None] * moved / moved.pow(2).sum(1).sqrt()[:, None] - weight)


def litgpt_file(path, name, parts, heads, groups, size=2, rank=2):
    """The file, and by part (in the order q, k, v) the product that belongs to its rows."""
    heights = [count * size for count, on in zip((heads, groups, groups), parts) if on]
    A, B = drawn(rank * len(heights), 6), drawn(sum(heights), rank)
    torch.save({"model": {f"h.0.{name}.lora_A": A, f"h.0.{name}.lora_B": B}}, path)
    return [b @ a for a, b in zip(A.split(rank), B.split(heights))]


def test_litgpt_in_turn(tmp_path):
    q, v = litgpt_file(tmp_path / "lit_model.pth.lora", "attn.qkv", (True, False, True), heads=4, groups=2)
    found = read_litgpt(tmp_path, alpha=6, parts=(True, False, True), heads=4, groups=2)
    close(found["h.0.attn.qkv"], 3 * torch.cat([q, torch.zeros(4, 6), v]))


def test_litgpt_alternating(tmp_path):
    """Two groups of two queries, a key and a value: q q k v q q k v, two rows each."""
    q, v = litgpt_file(tmp_path / "lit_model.pth.lora", "attn.attn", (True, False, True), heads=4, groups=2)
    found = read_litgpt(tmp_path / "lit_model.pth.lora", alpha=6, parts=(True, False, True), heads=4, groups=2)
    none = torch.zeros(2, 6)
    close(found["h.0.attn.attn"], 3 * torch.cat([q[:4], none, v[:2], q[4:], none, v[2:]]))
    q, k, v = litgpt_file(tmp_path / "all", "attn.attn", (True, True, True), heads=4, groups=2)
    found = read_litgpt(tmp_path / "all", alpha=6, parts=(True, True, True), heads=4, groups=2)
    close(found["h.0.attn.attn"], 3 * torch.cat([q, k, v]))


def test_litgpt_looks_beside_the_file(tmp_path):
    (q,) = litgpt_file(tmp_path / "lit_model.pth.lora", "attn.qkv", (True, False, False), heads=4, groups=2)
    with pytest.raises(ValueError, match=r"alpha is neither given nor in a \.yaml beside the file: pass alpha="):
        read_litgpt(tmp_path)
    told = "lora_alpha: 6\nlora_query: true\nlora_key: false\nlora_value: false\n"
    (tmp_path / "hyperparameters.yaml").write_text(told)
    with pytest.raises(ValueError, match="heads is neither given nor"):
        read_litgpt(tmp_path)
    (tmp_path / "model_config.yaml").write_text("n_head: 4\nn_query_groups: 2\n")
    close(read_litgpt(tmp_path)["h.0.attn.qkv"], 3 * torch.cat([q, torch.zeros(8, 6)]))
    with pytest.raises(ValueError, match=r"A \(2, 6\) and B \(8, 2\) are not those of 3 parts"):
        read_litgpt(tmp_path, parts=(True, True, True))


def test_peft_s_dora_needs_the_weights(tiny, tmp_path):
    model = tiny.gpt2()
    adapt(model, DoRA, "*.c_attn", rank=2)
    tiny.stir(model)
    save(model, tmp_path)
    with pytest.raises(ValueError, match=r"h\.0\.attn\.c_attn: DoRA's ΔW needs W₀: pass base="):
        read_peft(tmp_path)
    weights = {name: tiny.gpt2().get_submodule(name).weight.T for name in deltas(model)}
    for name, delta in deltas(model).items():
        torch.testing.assert_close(read_peft(tmp_path, base=weights)[name], delta, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="base has no such layer"):
        read_peft(tmp_path, base={"other": drawn(2, 2)})
    with pytest.raises(ValueError, match=r"W₀ \(out, in\) and m \(out,\) do not fit: W₀ \(16, 48\)"):
        read_peft(tmp_path, base={name: weight.T for name, weight in weights.items()})


def test_read_peft_has_a_ledger_of_its_own(tiny, tmp_path):
    model = tiny.bert()
    adapt(model, LoRA, "*.query", rank=2, keep="classifier")
    save(model, tmp_path)
    read_peft(tmp_path)
    config, prefix = json.loads((tmp_path / "adapter_config.json").read_text()), "base_model.model."
    save_file({f"{prefix}a.lora_A.weight": drawn(2, 6), f"{prefix}b": drawn(2)}, tmp_path / "adapter_model.safetensors")
    match = r"cannot be read:\n  b: nothing is known by this name\n  a: there is \['A'\] and no B"
    with pytest.raises(ValueError, match=match):
        read_peft(tmp_path)
    pair = {f"{prefix}a.lora_A.weight": drawn(2, 6), f"{prefix}a.lora_B.weight": drawn(5, 2)}
    save_file(pair | {f"{prefix}classifier.bias": drawn(2)}, tmp_path / "adapter_model.safetensors")
    assert list(read_peft(tmp_path)) == ["a"]
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"r": 4}))
    with pytest.raises(ValueError, match="a: its rank is 2, and the configuration says 4: the scale would be wrong"):
        read_peft(tmp_path)


def test_layers_come_in_their_order(tmp_path):
    prefix, A, B = "base_model.model.h.", drawn(2, 3), drawn(3, 2)
    tensors = {f"{prefix}{i}.lora_{w}.weight": t.clone() for i in range(12) for w, t in (("A", A), ("B", B))}
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 8, "use_rslora": False}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert list(read_peft(tmp_path)) == [f"h.{i}" for i in range(12)]


def fine_tuned(model):
    after = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for index, (key, tensor) in enumerate(after.items()):
        if key.endswith(("c_attn.weight", "wte.weight", "query.weight")):
            tensor.add_(drawn(*tensor.shape, seed=index))
    return after


def test_a_full_fine_tune(tiny, tmp_path):
    model = tiny.bert()
    after = fine_tuned(model)
    found = from_full(model, after)
    assert list(found) == [f"bert.encoder.layer.{i}.attention.self.query" for i in (0, 1)]
    for name, delta in found.items():
        close(delta, after[f"{name}.weight"] - model.get_submodule(name).weight.detach())
    cut = from_full(model, after, rank=3)
    name, delta = next(iter(cut.items()))
    exact = svd(found[name]).S
    assert delta.rank == 3
    assert delta.error == pytest.approx(float(exact[3:].norm() / exact.norm()), rel=1e-4)


def test_which_way_round_a_full_model_is_stored(tiny, tmp_path):
    """Square matrices too: a shape alone would not tell."""
    model = tiny.gpt2(tie_word_embeddings=False)
    model.save_pretrained(tmp_path / "before")
    after = fine_tuned(model)
    model.load_state_dict(after)
    model.save_pretrained(tmp_path / "after")
    before = tiny.gpt2(tie_word_embeddings=False)
    found = from_full(tmp_path / "before", tmp_path / "after")
    expected = {n: (after[f"{n}.weight"] - before.get_submodule(n).weight.detach()).T for n in found}
    assert list(found) == ["transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_attn", "transformer.wte"]
    for name, delta in found.items():
        assert delta.shape in ((48, 16), (16, 30))
        close(delta, expected[name])
    states = before.state_dict(), after
    with pytest.raises(
        ValueError, match=r"nothing says which weights are stored transposed, as GPT-2's are: pass model="
    ):
        from_full(*states)
    for name, delta in from_full(*states, transposed=["*.c_attn", "*.wte"]).items():
        close(delta, expected[name])
    for name, delta in from_full(*states, model=before).items():
        close(delta, expected[name])
    bare = {key.removeprefix("transformer."): tensor for key, tensor in after.items()}
    other = {key.removeprefix("transformer."): tensor for key, tensor in before.state_dict().items()}
    for name, delta in from_full(other, bare, model=before).items():
        close(delta, expected[f"transformer.{name}"])


def test_a_full_fine_tune_in_another_precision():
    before = {"x.weight": drawn(3, 4).bfloat16().float(), "y.weight": drawn(2, 2).bfloat16().float()}
    after = {"x.weight": (before["x.weight"] * 2).bfloat16(), "y.weight": before["y.weight"].bfloat16()}
    found = from_full(before, after, transposed=())
    assert list(found) == ["x"]
    close(found["x"], before["x.weight"])


def test_full_models_that_do_not_belong_together():
    a, b = {"x.weight": drawn(3, 4), "y.weight": drawn(2, 2)}, {"x.weight": drawn(4, 4), "z.weight": drawn(2, 2)}
    match = r"y: in one of them only\n  z: in one of them only\n  x: W is \(3, 4\) before and \(4, 4\) after"
    with pytest.raises(ValueError, match=match):
        from_full(a, b, transposed=())
    with pytest.raises(ValueError, match="x: ΔW holds NaN"):
        from_full(a, {"x.weight": drawn(3, 4) / 0 * 0}, transposed=(), only="x")
    assert from_full(a, a, transposed=()) == {}
    image = {"conv.weight": drawn(4, 3, 2, 2)}
    assert from_full(image, {"conv.weight": drawn(4, 3, 2, 2, seed=5)}, transposed=())["conv"].shape == (4, 12)


def test_read_says_what_it_took_a_file_for(tiny, tmp_path):
    model = tiny.bert()
    adapt(model, LoRA, "*.query", rank=2)
    tiny.stir(model)
    save(model, tmp_path / "peft")
    found = read(tmp_path / "peft")
    assert found.kind == "PEFT adapter: a folder with adapter_config.json"
    assert repr(found) == f"Deltas(2 layers, {found.kind})"
    for name, delta in deltas(model).items():
        close(found[name], dense(delta))
    torch.save(loralib.lora_state_dict(Model()), tmp_path / "loralib.pt")
    assert read(tmp_path / "loralib.pt", alpha=3, parts=(True, False, True)).kind.startswith("loralib file")
    torchtune_file(tmp_path / "tune.pt")
    assert read(tmp_path / "tune.pt", alpha=3).kind.startswith("torchtune adapter")
    litgpt_file(tmp_path / "lit_model.pth.lora", "attn.qkv", (True, True, True), heads=2, groups=2)
    known = {"alpha": 2, "parts": (True, True, True), "heads": 2, "groups": 2}
    assert read(tmp_path / "lit_model.pth.lora", **known).kind.startswith("litgpt adapter: its names")
    assert read(tmp_path, **known).kind == "litgpt adapter: a folder with lit_model.pth.lora"
    save_file(fine_tuned(model), tmp_path / "full.safetensors")
    full = read(tmp_path / "full.safetensors", before=tiny.bert(), only="*.key")
    assert full.kind.startswith("full fine-tune")
    with pytest.raises(ValueError, match=r"is no adapter in a format known here \(a full model needs before=\)"):
        read(tmp_path / "full.safetensors")
