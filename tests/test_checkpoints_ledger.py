"""What a load must refuse: everything is named in one error, and the model has not changed by a bit."""

import json
import pickle
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorakit import LoRA, adapt, adapters, merge
from lorakit.checkpoints import load, read_peft, save
from lorakit.methods import BitFit, DoRA

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
QUERY = "bert.encoder.layer.0.attention.self.query"
KEY = f"base_model.model.{QUERY}"


@pytest.fixture
def folder(tiny, tmp_path):
    """A LoRA of rank 4 on query, and a head."""
    model = tiny.bert()
    adapt(model, LoRA, "*.query", rank=4, keep="classifier")
    tiny.stir(model)
    save(model, tmp_path)
    return tmp_path


def rewritten(folder, change=None, **config):
    """The folder with other tensors (changed in place) and with other values in its configuration, None for none."""
    tensors = load_file(folder / WEIGHTS)
    if change is not None:
        change(tensors)
    save_file(tensors, folder / WEIGHTS)
    merged = json.loads((folder / CONFIG).read_text()) | config
    (folder / CONFIG).write_text(json.dumps({key: value for key, value in merged.items() if value is not None}))
    return folder


def snapshot(model):
    """All that a load could change: modules, values, what trains, modes, the random state."""
    tensors = {name: (id(t), t.clone()) for name, t in model.state_dict(keep_vars=True).items()}
    modules = [(name, id(module), module.training) for name, module in model.named_modules()]
    return tensors, [(name, p.requires_grad) for name, p in model.named_parameters()], modules, torch.get_rng_state()


def refuses(model, folder, match, error=ValueError, **options):
    before = snapshot(model)
    with pytest.raises(error, match=match) as caught:
        load(model, folder, **options)
    after = snapshot(model)
    assert before[0].keys() == after[0].keys()
    assert all(
        one[0] == two[0] and torch.equal(one[1], two[1]) for one, two in zip(before[0].values(), after[0].values())
    )
    assert before[1:3] == after[1:3]
    assert torch.equal(before[3], after[3])
    return str(caught.value)


def drop(*keys):
    return lambda tensors: [tensors.pop(key) for key in keys]


def put(key, value):
    return lambda tensors: tensors.update({key: value})


NAN, ZEROS = torch.tensor([[float("nan")] * 16] * 4), torch.zeros
TENSORS = {
    "missing B": (drop(f"{KEY}.lora_B.weight"), rf"{QUERY}: the file has no B"),
    "missing layer": (
        drop(f"{KEY}.lora_A.weight", f"{KEY}.lora_B.weight"),
        rf"{QUERY}: target_modules names it, and the file has no A and B for it",
    ),
    "missing head": (
        drop("base_model.model.classifier.bias"),
        r"classifier\.bias: modules_to_save names its module, and the file has none",
    ),
    "extra layer": (
        lambda t: t.update(
            {k.replace("query", "key"): v.clone() for k, v in t.items() if "layer.0" in k and "query" in k}
        ),
        r"layer\.0\.attention\.self\.key: the file has A and B for it, and target_modules does not name it",
    ),
    "unknown layer": (put("base_model.model.nowhere.lora_A.weight", ZEROS(4, 16)), r"nowhere: no such layer"),
    "extra key": (put(f"{KEY}.lora_C.weight", ZEROS(4)), r"query\.lora_C\.weight: no place for it"),
    "magnitude": (put(f"{KEY}.lora_magnitude_vector", ZEROS(16)), rf"{QUERY}: LoRA has no magnitude"),
    "A twice": (put(f"{KEY}.lora_embedding_A", ZEROS(4, 16)), r"query\.lora_.*: no place for it"),
    "another head": (
        put("base_model.model.bert.pooler.dense.weight", ZEROS(16, 16)),
        r"bert\.pooler\.dense\.weight: the file has another value for what is frozen here",
    ),
    "no prefix": (put("stray", ZEROS(2)), r"stray: no place for it in this model"),
    "misshapen A": (
        put(f"{KEY}.lora_A.weight", ZEROS(4, 24)),
        rf"{QUERY}\.A is \(4, 24\) in the file and \(4, 16\) here",
    ),
    "misshapen B": (
        put(f"{KEY}.lora_B.weight", ZEROS(24, 4)),
        rf"{QUERY}\.B is \(24, 4\) in the file and \(16, 4\) here",
    ),
    "other rank": (
        put(f"{KEY}.lora_B.weight", ZEROS(16, 8)),
        rf"{QUERY}\.B is \(16, 8\) in the file and \(16, 4\) here",
    ),
    "one dimension": (put(f"{KEY}.lora_A.weight", ZEROS(64)), rf"{QUERY}\.A is \(64,\) in the file"),
    "misshapen head": (
        put("base_model.model.classifier.weight", ZEROS(3, 16)),
        r"classifier\.weight is \(3, 16\) in the file and \(2, 16\) here",
    ),
    "NaN": (put(f"{KEY}.lora_A.weight", NAN), rf"{QUERY}\.A holds NaN or infinity"),
    "infinite head": (
        put("base_model.model.classifier.bias", torch.tensor([1.0, float("inf")])),
        r"classifier\.bias holds NaN or infinity",
    ),
    "whole numbers": (put(f"{KEY}.lora_A.weight", ZEROS(4, 16).int()), rf"{QUERY}\.A is torch.int32 in the file"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_every_tensor_is_accounted_for(case, tiny, folder):
    change, match = TENSORS[case]
    refuses(tiny.bert(), rewritten(folder, change), match)


CONFIGS = {
    "no alpha": (
        {"lora_alpha": None},
        r"lora_alpha is not there, and a guess could mis-scale ΔW.*assume=\{'lora_alpha'",
    ),
    "no rslora": ({"use_rslora": None}, r"use_rslora is not there, and a guess could mis-scale"),
    "no rank": ({"r": None}, "r is not there"),
    "another rank": ({"r": 8}, rf"{QUERY}\.A is \(4, 16\) in the file and \(8, 16\) here"),
    "rank too large": ({"r": 64}, rf"{QUERY}: rank must be a whole number in 1\.\.16"),
    "a word for a rank": ({"r": "4"}, "r='4' is no number that can stand there"),
    "a word for alpha": ({"alpha_pattern": {"query": "x"}}, r"alpha_pattern\['query'\]='x' is no number"),
    "another method": ({"peft_type": "IA3"}, "peft_type is 'IA3'; only LORA is read"),
    "lora_bias": ({"lora_bias": True}, "lora_bias=True is not supported: a bias beside B"),
    "biases": ({"bias": "lora_only"}, "bias='lora_only' is not supported: it holds biases of the base model"),
    "pissa": ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa' changed the base weights"),
    "tokens": ({"trainable_token_indices": [1, 2]}, r"trainable_token_indices=\[1, 2\] is not supported: single rows"),
    "experts": ({"target_parameters": ["w"]}, r"target_parameters=\['w'\] is not supported"),
    "wider targets": ({"target_modules": ["query", "key"]}, r"self\.key: target_modules names it"),
    "narrower targets": (
        {"target_modules": [QUERY]},
        r"layer\.1\.attention\.self\.query: .*target_modules does not name it",
    ),
    "no adaptable layer": ({"target_modules": r".*(query|\.0\..*LayerNorm)"}, r"LayerNorm: target_modules names it"),
    "broken pattern": ({"target_modules": "("}, "its configuration cannot be understood"),
    "broken list": ({"rank_pattern": 3}, "its configuration cannot be understood"),
    "no dora": ({"use_dora": True}, rf"{QUERY}: the file has no magnitude"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_what_peft_would_guess_or_drop_is_refused(case, tiny, folder):
    config, match = CONFIGS[case]
    refuses(tiny.bert(), rewritten(folder, **config), match)


def test_every_problem_is_named_at_once(tiny, folder):
    def change(tensors):
        put(f"{KEY}.lora_A.weight", NAN)(tensors)
        drop("base_model.model.classifier.bias")(tensors)
        put("stray", ZEROS(2))(tensors)

    said = refuses(tiny.bert(), rewritten(folder, change), "does not fit this model; nothing was changed")
    assert all(part in said for part in (f"{QUERY}.A holds NaN", "classifier.bias: modules_to_save", "stray: no place"))


def test_a_file_without_a_layer_is_no_adapter(tiny, folder):
    rewritten(folder, lambda tensors: [tensors.pop(key) for key in list(tensors) if "lora" in key], target_modules=None)
    refuses(tiny.bert(), folder, "the file adapts no layer")
    with pytest.raises(ValueError, match=r"adapts no layer; its names are \['classifier.bias', 'classifier.weight'\]"):
        read_peft(folder)


def test_what_a_file_lacks_can_be_told(tiny, folder):
    rewritten(folder, use_rslora=None, lora_alpha=None)
    with pytest.raises(ValueError, match="use_rslora is not there"):
        read_peft(folder, assume={"lora_alpha": 16})
    model = tiny.bert()
    load(model, folder, assume={"use_rslora": True, "lora_alpha": 8, "r": 99})
    assert {adapter.scale for adapter in adapters(model).values()} == {8 / 4**0.5}
    assert read_peft(folder, assume={"use_rslora": False, "lora_alpha": 8})[QUERY].rank == 4


def test_files_that_are_no_adapter(tiny, folder, tmp_path):
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-20])
    refuses(tiny.bert(), folder, "is cut short or no safetensors file")
    (folder / WEIGHTS).write_bytes(b"PK\x03\x04 not this either")
    refuses(tiny.bert(), folder, "is cut short or no safetensors file")
    (folder / WEIGHTS).unlink()
    refuses(tiny.bert(), folder, f"no {WEIGHTS} in", FileNotFoundError)
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({}))
    refuses(tiny.bert(), folder, r"adapter_model\.bin is a pickle, which can run any code when it is opened")
    for text, match in (("{", "is not JSON"), ("[]", "holds a list, not an object")):
        (folder / CONFIG).write_text(text)
        refuses(tiny.bert(), folder, match)
    refuses(tiny.bert(), folder / "nowhere", f"no {CONFIG} in .*: no such folder", FileNotFoundError)


def test_another_base_model(tiny, folder):
    refuses(tiny.bert(hidden_size=24), folder, rf"{QUERY}\.A is \(4, 16\) in the file and \(4, 24\) here")
    refuses(tiny.gpt2(), folder, rf"{QUERY}: no such layer in this model")
    other = tiny.bert()
    torch.nn.init.normal_(other.get_submodule(QUERY).weight, 0, 0.3)
    refuses(other, folder, rf"{QUERY}: the weights under the adapter are not those it was trained on")
    nearly = tiny.bert().bfloat16()
    load(nearly, folder)


def test_another_name_of_the_base_alone_is_a_warning(tiny, folder):
    rewritten(folder, base_model_name_or_path="someone/bert-large")
    model = tiny.bert()
    model.config._name_or_path = "/home/me/bert"
    match = "was made for 'someone/bert-large', and this model is '/home/me/bert': every shape"
    with pytest.warns(UserWarning, match=match):
        load(model, folder)
    moved = tiny.bert()
    moved.config._name_or_path = "/elsewhere/bert-large"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(moved, folder)
    broken = rewritten(folder, drop("base_model.model.classifier.bias"))
    other = tiny.bert()
    other.config._name_or_path = "/home/me/bert"
    refuses(other, broken, r"does not fit this model \(made for 'someone/bert-large', and this model is")


def test_a_new_head_that_the_file_does_not_bring(tiny, tmp_path):
    model = tiny.bert()
    adapt(model, LoRA, "*.query")
    save(model, tmp_path)
    fresh = tiny.bert()
    fresh.new_modules = ("classifier",)
    refuses(fresh, tmp_path, r"classifier has no pretrained weights and the file brings none \(pass without=…")
    load(fresh, tmp_path, without=["classifier"])
    assert fresh.classifier.weight.requires_grad


def test_models_that_are_adapted_otherwise(tiny, folder):
    model = tiny.bert()
    adapt(model, LoRA, ["*.query", "*.value"], rank=4)
    refuses(model, folder, r"self\.value is adapted here, and the file has nothing for it")
    model = tiny.bert()
    adapt(model, LoRA, "*.0.*.query", rank=4)
    refuses(model, folder, r"layer\.1\.attention\.self\.query: not adapted here, where other layers are")
    model = tiny.bert()
    adapt(model, LoRA, "*.query", rank=2, alpha=8)
    refuses(model, folder, rf"{QUERY}\.A is \(4, 16\) in the file and \(2, 16\) here")
    model = tiny.bert()
    adapt(model, LoRA, "*.query", rank=4, alpha=8)
    refuses(model, folder, rf"{QUERY}: its scale is 2 here and 4 in the file")
    model = tiny.bert()
    adapt(model, DoRA, "*.query", rank=4)
    refuses(model, folder, rf"{QUERY}: the file has no magnitude")
    model = tiny.bert()
    adapt(model, BitFit, "*.query")
    refuses(model, folder, rf"{QUERY}: BitFit stands here, LoRA in the file")
    model = tiny.bert()
    adapt(model, LoRA, "*.query", rank=4)
    merge(model)
    refuses(model, folder, r"this model is merged, .*unmerge\(model\) first")


def test_a_lora_on_parts_takes_no_change_of_other_parts(tiny, tmp_path):
    model = tiny.gpt2()
    adapt(model, LoRA, "*.c_attn", rank=2, parts=(True, False, True))
    tiny.stir(model)
    save(model, tmp_path)
    rewritten(tmp_path, lambda tensors: [t.add_(1) for key, t in tensors.items() if "lora_B" in key])
    match = r"h\.0\.attn\.c_attn: its B changes outputs outside of the parts that are adapted here"
    adapted = tiny.gpt2()
    adapt(adapted, LoRA, "*.c_attn", rank=2, parts=(True, False, True))
    refuses(adapted, tmp_path, match)


@pytest.fixture
def own(tiny, tmp_path):
    """A folder in lorakit's own words: a LoRA, a shift of biases, a head."""
    model = tiny.bert()
    adapt(model, LoRA, "*.query", rank=2, keep="classifier")
    adapt(model, BitFit, "*.value")
    tiny.stir(model)
    save(model, tmp_path)
    return tmp_path


VALUE = QUERY.replace("query", "value")
OWN = {
    "missing": (drop(f"{VALUE}.shift"), rf"{VALUE}: the file has no shift"),
    "missing head": (drop("classifier.bias"), r"classifier\.bias: the file has none"),
    "extra": (put(f"{VALUE}.scale", ZEROS(2)), rf"{VALUE}: BitFit has no scale"),
    "stray": (put("stray", ZEROS(2)), "stray: nothing in the configuration says what this is"),
    "misshapen": (put(f"{VALUE}.shift", ZEROS(2)), rf"{VALUE}\.shift is \(2,\) in the file and \(16,\) here"),
    "NaN": (put(f"{QUERY}.A", NAN[:2]), rf"{QUERY}\.A holds NaN"),
}


@pytest.mark.parametrize("case", OWN)
def test_our_own_words_are_accounted_for_too(case, tiny, own):
    change, match = OWN[case]
    refuses(tiny.bert(), rewritten(own, change), match)


def test_a_section_makes_nothing_be_imported(tiny, own):
    config = json.loads((own / CONFIG).read_text())
    section = config["lorakit"]
    for name in ("os.system", "torch.nn.Linear", "tests.nowhere.Method"):
        group = section["adapters"][0] | {"class": name}
        rewritten(own, lorakit=section | {"adapters": [group]})
        refuses(tiny.bert(), own, rf"no adapter class \['{name}'\]; import what defines it first")
    for option in ({"dtype": "load"}, {"function": "_stacklevel"}, {"function": "nowhere"}, {"other": 1}, {"slice": 3}):
        group = section["adapters"][0] | {"options": {"rank": option}}
        rewritten(own, lorakit=section | {"adapters": [group]})
        refuses(tiny.bert(), own, "its lorakit section is malformed")
    rewritten(own, lorakit=section | {"adapters": [section["adapters"][0] | {"options": {"nowhere": 1}}]})
    refuses(tiny.bert(), own, rf"{QUERY}: .*unexpected keyword argument 'nowhere'")
    rewritten(own, lorakit=[])
    refuses(tiny.bert(), own, "its configuration cannot be understood")


def test_our_own_words_for_a_model_adapted_otherwise(tiny, own):
    model = tiny.bert()
    adapt(model, LoRA, "*.query", rank=4)
    adapt(model, BitFit, "*.value")
    refuses(model, own, rf"{QUERY}: LoRA\(rank=4.* stands here, LoRA\(rank=2.* in the file")
    model = tiny.bert()
    adapt(model, LoRA, ["*.query", "*.value"], rank=2)
    refuses(model, own, rf"{VALUE}: LoRA\(.* stands here, BitFit\(\) in the file")
