"""Many tasks over one model: each row as if it were alone, each switch as if it were the first, and loud where not."""

import copy
import warnings

import peft
import pytest
import torch
from conftest import bert, gpt2, llama, stir, tokens
from test_contract import _kinds
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lorakit import LoRA, adapt, adapters, deltas, disabled, merge
from lorakit.bank import Bank
from lorakit.checkpoints import load, save
from lorakit.delta import LowRank, dense
from lorakit.layers import named_layers, trainable_state
from lorakit.methods import BitFit, DoRA, FusedLoRA, Houlsby, Prefix

PLACES = {  # three tasks a model: other layers, ranks, α and scaling rules
    bert: (
        dict(where=["*.query", "*.value"], rank=2, alpha=3.0),
        dict(where="*.dense", rank=5, alpha=16.0, rslora=True),
        dict(where=["*.query", "*.intermediate.dense", "*.word_embeddings"], rank=4, alpha=1.0),
    ),
    gpt2: (
        dict(where="*.c_attn", rank=2, alpha=3.0, parts=[True, False, True]),
        dict(where=["*.c_attn", "*.c_proj", "*.c_fc"], rank=5, alpha=16.0),
        dict(where=["*.wte", "*.wpe", "*.c_fc"], rank=3, alpha=2.0),
    ),
    llama: (
        dict(where=["*.q_proj", "*.v_proj"], rank=2, alpha=3.0),
        dict(where="*_proj", rank=5, alpha=16.0, rslora=True),
        dict(where=["*.k_proj", "lm_head"], rank=8, alpha=2.0),
    ),
}
every_model = pytest.mark.parametrize("make", PLACES)


def trained(make, number=0, dtype=torch.float32, **options):
    """A model adapted as one of the three, with values as if trained."""
    options = options or PLACES[make][number]
    model = make().to(dtype)
    adapt(model, LoRA, options["where"], **{key: value for key, value in options.items() if key != "where"})
    stir(model, seed=number)
    return model


def headed(labels, seed, where="*.query"):
    """A classifier with an adapter and a head of its own."""
    model = bert(labels)
    adapt(model, LoRA, where, rank=2, keep="classifier")
    stir(model, seed)
    return model


def filled(make, dtype=torch.float32):
    """A bank of the three tasks "0", "1" and "2", and the models they come from."""
    bank, models = Bank(make().to(dtype)), [trained(make, number, dtype) for number in range(3)]
    for number, model in enumerate(models):
        bank.add(str(number), model)
    return bank, models


def bits(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def identical(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def close(a, b, tolerance=1e-5):
    return a.shape == b.shape and (a - b).abs().max() <= tolerance


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


# a row each


@every_model
def test_every_row_is_as_if_it_were_alone(make):
    bank, models = filled(make, torch.float64)
    base, ids, names = make().double(), tokens(7), ["0", None, "2", "1", "1", "2", "0"]
    with bank.route(names) as model:
        mixed = model(ids).logits
    for row, name in enumerate(names):
        alone = (base if name is None else models[int(name)])(ids[row : row + 1]).logits
        assert close(mixed[row : row + 1], alone, 1e-12), f"row {row}, task {name}"
    assert torch.equal(bank.model(ids).logits, base(ids).logits)


@every_model
@pytest.mark.parametrize("name", ["0", "2", None])
def test_one_task_for_all_rows(make, name):
    bank, models = filled(make, torch.float64)
    expected = (make().double() if name is None else models[int(name)])(tokens(4)).logits
    with bank.route([name] * 4) as model:
        assert close(model(tokens(4)).logits, expected, 1e-12)


@pytest.mark.parametrize("kind", [kind for kind, (layer, *_) in _kinds().items() if LoRA.adapts(layer)])
def test_every_kind_of_layer_in_every_row(kind):
    """Convolutions with stride, dilation and reflected padding among them, and inputs of two to four dimensions."""
    layer, (x,), _ = _kinds()[kind]
    x = x.unsqueeze(0) if kind == "conv2d-dilated" else x
    base, x = nn.Sequential(layer).double(), torch.cat([x, x.flip(0), x])
    bank, alone = Bank(base), []
    for number, rank in enumerate((3, 5)):
        model = nn.Sequential(_kinds()[kind][0]).double()
        adapt(model, LoRA, "0", rank=rank, alpha=4)
        stir(model, number)
        bank.add(str(number), model)
        alone.append(model)
    names = ["0", "1", None] * (len(x) // 3 + 1)
    with bank.route(names[: len(x)]) as model:
        mixed = model(x)
    for row, name in zip(range(len(x)), names):
        expected = (base if name is None else alone[int(name)])(x[row : row + 1])
        assert close(mixed[row : row + 1], expected, 1e-11)
    for number, model in enumerate(alone):
        bank.use(str(number))
        assert close(base(x), model(x), 1e-11)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_every_row_is_continued_by_its_task(make):
    """With a cache: the first call has six tokens a row, the others one."""
    bank, models = filled(make)
    greedy = dict(max_new_tokens=8, min_new_tokens=8, do_sample=False, use_cache=True, pad_token_id=0)
    with bank.route(["1", None, "0", "2"]) as model:
        mixed = model.generate(tokens(4), attention_mask=torch.ones(4, 6, dtype=torch.long), **greedy)
    for row, model in enumerate([models[1], make(), models[0], models[2]]):
        alone = model.generate(tokens(4)[row : row + 1], attention_mask=torch.ones(1, 6, dtype=torch.long), **greedy)
        assert torch.equal(mixed[row : row + 1], alone)


def test_a_forward_pass_asks_torch_for_as_much_whatever_the_number_of_tasks():
    """No loop over adapters: 2 tasks and 16 are the same operations."""

    class Operations(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.count += 1
            return function(*args, **(kwargs or {}))

    bank = Bank(bert())
    for seed in range(16):
        bank.add(str(seed), headed(2, seed))
    counts = []
    for several in (2, 16):
        with bank.route([str(row % several) for row in range(16)]) as model, Operations() as seen:
            model(tokens(16))
        counts.append(seen.count)
    assert counts[0] == counts[1] > 0


def test_a_hook_and_a_gradient_see_the_frozen_layers_own_output():
    bank, models = filled(bert)
    layer = bank.model.bert.encoder.layer[0].attention.self.query
    seen = []
    layer.base.register_forward_hook(lambda _m, _x, out: seen.append((out, out.clone())))
    with bank.route(["0", "1"]) as model:
        model(tokens(2))
    bank.use("0")
    bank.model(tokens(2))
    assert len(seen) == 2
    assert all(torch.equal(now, then) for now, then in seen)
    with torch.enable_grad(), bank.route(["0", "1"]) as model:
        x = model.bert.embeddings(tokens(2)).detach().requires_grad_()
        model(inputs_embeds=x).logits.sum().backward()
        with torch.no_grad():
            expected = copy.deepcopy(models[0])
    with torch.enable_grad():
        y = x.detach()[:1].requires_grad_()
        expected(inputs_embeds=y).logits.sum().backward()
    assert close(x.grad[:1], y.grad)


def test_under_autocast():
    bank, models = filled(bert)
    with torch.autocast("cpu", dtype=torch.bfloat16), bank.route(["0", None, "1"]) as model:
        mixed = model(tokens(3)).logits
        assert close(mixed[:1].float(), models[0](tokens(3)[:1]).logits.float(), 0.15)
        assert close(mixed[2:].float(), models[1](tokens(3)[2:]).logits.float(), 0.15)


# heads


def test_a_head_for_each_row():
    bank, models = Bank(bert(2)), {"two": headed(2, 1), "other": headed(2, 2, "*.value")}
    for name, model in models.items():
        bank.add(name, model)
    names, base = ["two", None, "other", "two"], bert(2)
    with bank.route(names) as model:
        mixed = model(tokens(4)).logits
    for row, name in enumerate(names):
        assert close(mixed[row : row + 1], models.get(name, base)(tokens(4)[row : row + 1]).logits)


def test_heads_of_different_widths():
    bank, models = Bank(bert(2)), {"two": headed(2, 1), "five": headed(5, 2), "one": headed(1, 3)}
    for name, model in models.items():
        bank.add(name, model)
    names = ["five", "two", None, "one"]
    with bank.route(names) as model:
        mixed = model(tokens(4)).logits
    assert mixed.shape == (4, 5)
    for row, (name, width) in enumerate(zip(names, (5, 2, 2, 1))):
        alone = models.get(name, bert(2))(tokens(4)[row : row + 1]).logits
        assert close(mixed[row : row + 1, :width], alone)
        assert (mixed[row, width:] == -torch.inf).all()
        assert torch.equal(mixed[row].softmax(0)[width:], torch.zeros(5 - width))
    for name, model in models.items():
        for way in (bank.use, bank.switch):
            way(name)
            assert close(bank.model(tokens(4)).logits, model(tokens(4)).logits)
    bank.use(None)
    assert torch.equal(bank.model(tokens(4)).logits, bert(2)(tokens(4)).logits)


def test_what_is_not_a_head_may_be_brought_whole_too():
    models = []
    for seed in range(2):
        model = bert()
        adapt(model, LoRA, "*.query", rank=2, keep=["*.LayerNorm", "classifier", "*.position_embeddings"])
        stir(model, seed)
        models.append(model)
    bank = Bank(bert())
    for seed, model in enumerate(models):
        bank.add(str(seed), model)
    with bank.route(["1", None, "0"]) as model:
        mixed = model(tokens(3)).logits
    for row, alone in enumerate((models[1], bert(), models[0])):
        assert close(mixed[row : row + 1], alone(tokens(3)[row : row + 1]).logits)


# one at a time


@every_model
def test_used_is_the_adapted_model(make):
    bank, models = filled(make, torch.float64)
    for number in (2, 0, 1, 0):
        bank.use(str(number))
        assert (bank.active, bank.merged) == (str(number), False)
        assert close(bank.model(tokens()).logits, models[number](tokens()).logits, 1e-12)
    bank.use(None)
    assert torch.equal(bank.model(tokens()).logits, make().double()(tokens()).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("make", "numbers"), [(bert, (0, 1, 2)), (gpt2, (0, 1)), (llama, (0, 1, 2))])
def test_switched_is_merged_to_the_bit(make, numbers, dtype):
    bank, models = filled(make, dtype)
    frozen, merged = bits(make().to(dtype)), {}
    for number in numbers:
        merged[number] = (merge(models[number], untie=True), bits(models[number]))
    for number in (*numbers, *numbers[::-1]):
        certificate = bank.switch(str(number))
        expected, weights = merged[number]
        assert (bank.active, bank.merged) == (str(number), True)
        assert certificate.names == expected.names
        assert (certificate.survived == expected.survived).all()
        assert (certificate.relative == expected.relative).all()
        now = {name.replace(".base.", "."): tensor for name, tensor in bank.model.state_dict().items()}
        assert identical(now, weights)
    assert bank.switch(None) is None
    assert identical({name.replace(".base.", "."): t for name, t in bits(bank.model).items()}, frozen)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_ten_thousand_switches_leave_every_bit(dtype):
    base = nn.Sequential(nn.Linear(8, 8)).to(dtype)
    bank, frozen = Bank(base), bits(base)
    weights = list(base.parameters())
    for rank in (1, 2, 3):
        model = nn.Sequential(nn.Linear(8, 8)).to(dtype)
        adapt(model, LoRA, "0", rank=rank)
        stir(model, rank)
        bank.add(str(rank), deltas(model))
    bank.switch("1")
    first = bits(base)
    for number in range(10_000):
        bank.switch(str(1 + number % 3))
    bank.switch("1")
    assert identical(bits(base), first)
    bank.switch(None)
    assert identical({name.replace(".base.", "."): t for name, t in bits(base).items()}, frozen)
    assert all(now is then for now, then in zip(base.parameters(), weights, strict=True))


def test_use_after_switch_and_switch_after_use():
    bank, models = filled(bert, torch.float64)
    bank.switch("1")
    bank.use("0")
    assert close(bank.model(tokens()).logits, models[0](tokens()).logits, 1e-12)
    bank.switch("2")
    assert close(bank.model(tokens()).logits, models[2](tokens()).logits, 1e-12)


def test_a_route_ends_as_it_began():
    bank, models = filled(bert, torch.float64)
    for way in (bank.switch, bank.use):
        way("1")
        before = bank.model(tokens(2)).logits
        with bank.route(["0", "2"]) as model:
            outer = model(tokens(2)).logits
            with bank.route([None]):
                assert torch.equal(model(tokens(1)).logits, bert().double()(tokens(1)).logits)
            assert torch.equal(model(tokens(2)).logits, outer)
            assert close(outer[:1], models[0](tokens(2)[:1]).logits, 1e-12)
        assert torch.equal(bank.model(tokens(2)).logits, before)
        with pytest.raises(ZeroDivisionError), bank.route(["0", "2"]):
            raise ZeroDivisionError
        assert torch.equal(bank.model(tokens(2)).logits, before)
        assert bank.active == "1"


def test_disabled_is_the_frozen_model_whatever_is_shown():
    bank, _ = filled(bert)
    bank.add("headed", headed(3, 4, "*.key"))
    for show in (bank.use, bank.switch):
        show("headed")
        with disabled(bank.model):
            assert torch.equal(bank.model(tokens()).logits, bert()(tokens()).logits)


# where a task comes from


def test_from_a_folder_as_a_load_would(tmp_path):
    source = trained(bert, 1)
    folder = save(source, tmp_path / "ours")
    bank = Bank(bert())
    bank.add("folder", folder)
    bank.use("folder")
    loaded = bert()
    load(loaded, folder)
    assert close(bank.model(tokens()).logits, loaded(tokens()).logits)
    assert identical({n: dense(d) for n, d in bank["folder"].items()}, {n: dense(d) for n, d in deltas(source).items()})


def test_from_a_folder_of_pefts(tmp_path):
    config = peft.LoraConfig(
        r=4, lora_alpha=7, target_modules=["query", "dense"], modules_to_save=["classifier"], rank_pattern={"dense": 2}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peft.get_peft_model(bert(), config).eval()
        stir(theirs)
        theirs.save_pretrained(tmp_path)
    bank = Bank(bert())
    bank.add("peft", tmp_path)
    with bank.route([None, "peft", None]) as model:
        assert close(model(tokens(3)).logits[1:2], theirs(tokens(3)[1:2]).logits)


def test_a_folder_in_half_precision_is_what_a_load_makes_of_it(tmp_path):
    source = trained(bert, where="*.query", rank=2, alpha=4.0)
    for parameter in trainable_state(source):
        source.get_parameter(parameter).data = source.get_parameter(parameter).data.half()
    bank = Bank(bert())
    bank.add("half", save(source, tmp_path / "half"))
    assert {pair.dtype for pair in bank["half"].values()} == {torch.float32}
    bank.use("half")
    assert close(bank.model(tokens()).logits, copy.deepcopy(source).float()(tokens()).logits)
    with bank.route(["half", None]) as model:
        assert close(model(tokens(2)).logits[:1], source.float()(tokens(2)[:1]).logits)


def test_a_head_in_half_precision_computes_in_the_models_width(tmp_path):
    """Files are kept in float16 and models run in float32: used, switched to and routed, the task is the load's."""
    source = headed(3, 0)
    for name in trainable_state(source):
        source.get_parameter(name).data = source.get_parameter(name).data.half()
    folder, loaded, bank = save(source, tmp_path / "half"), bert(3), Bank(bert(2))
    load(loaded, folder)
    expected = loaded(tokens()).logits
    bank.add("half", folder)
    bank.use("half")
    assert close(bank.model(tokens()).logits, expected)
    bank.switch("half")
    assert close(bank.model(tokens()).logits, expected)
    with bank.route(["half"] * 4) as model:
        assert close(model(tokens()).logits, expected)
    bank.use(None)
    assert {parameter.dtype for parameter in bank.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("factors", [torch.float32, torch.bfloat16])
def test_a_model_in_bfloat16(factors):
    """Factors that are wider than the weights compute in their own width, as LoRA's do."""
    models = []
    for seed in range(2):
        model = bert().bfloat16()
        adapt(model, LoRA, "*.query", rank=2, dtype=factors)
        stir(model, seed)
        models.append(model)
    bank = Bank(bert().bfloat16())
    for seed, model in enumerate(models):
        bank.add(str(seed), model)
    with bank.route(["1", "0"]) as model:
        mixed = model(tokens(2)).logits
    assert mixed.dtype == torch.bfloat16
    for row, model in enumerate(models[::-1]):
        assert close(mixed[row : row + 1], model(tokens(2)[row : row + 1]).logits, 0.05)


def test_from_factors_and_a_head():
    source = headed(3, 1)
    state = {**deltas(source), "classifier.weight": source.classifier.weight, "classifier.bias": source.classifier.bias}
    bank = Bank(bert(2))
    bank.add("state", state)
    bank.use("state")
    assert close(bank.model(tokens()).logits, source(tokens()).logits)
    with torch.no_grad():
        source.classifier.weight.zero_()
        next(iter(adapters(source).values())).A.zero_()
    assert not close(bank.model(tokens()).logits, source(tokens()).logits, 1e-3), (
        "the bank's task is the caller's tensor"
    )


def test_fused_lora_is_lora():
    source = bert()
    adapt(source, FusedLoRA, "*.query", rank=2)
    stir(source)
    bank = Bank(bert())
    bank.add("fused", source)
    bank.use("fused")
    assert close(bank.model(tokens()).logits, source(tokens()).logits)


# what it costs


def test_a_task_costs_its_factors():
    bank = Bank(bert())
    sizes = []
    for seed in range(50):
        model = headed(2, seed)
        bank.add(str(seed), model)
        sizes.append(sum(tensor.nbytes for tensor in trainable_state(model).values()))
        assert bank.nbytes == sum(sizes)
    held = {task.flat.untyped_storage().nbytes() for task in bank._tasks.values()}
    assert held == {next(iter(bank._tasks.values())).flat.nbytes}, "a flat holds more memory than its numbers"
    bank.remove("7")
    assert bank.nbytes == sum(sizes[1:])
    assert len(bank) == 49
    assert "7" not in bank
    assert next(iter(bank)) == "0"


# a model with a bank in it is a model


def test_it_stands_as_adapters_do():
    model = bert().train()
    names = [name for name, _ in named_layers(model)]
    bank = Bank(model)
    bank.add("one", headed(2, 1))
    assert [name for name, _ in named_layers(model)] == names
    assert set(adapters(model)) == {n for n in names if n.endswith(".query")} | {"classifier"}
    assert all(module.training for module in model.modules())
    assert not any(p.requires_grad for p in model.parameters())
    with pytest.raises(AttributeError, match=r"has no \.weight that computes what it does"):
        _ = model.classifier.weight
    with pytest.raises(ValueError, match="adapted already"):
        adapt(model, LoRA, "*.query")
    with pytest.raises(TypeError, match=r"bank.switch\(name\) merges"):
        merge(model)


def test_a_copy_goes_its_own_way():
    bank, models = filled(bert)
    other = copy.deepcopy(bank)
    bank.switch("0")
    other.use("1")
    assert close(bank.model(tokens()).logits, models[0](tokens()).logits)
    assert close(other.model(tokens()).logits, models[1](tokens()).logits)


def test_closing_gives_the_pretrained_model_back():
    model = gpt2()
    modules, parameters = list(model.modules()), list(model.parameters())
    bank = Bank(model)
    for number in (0, 1):
        bank.add(str(number), trained(gpt2, number))
    bank.switch("1")
    assert bank.close() is model
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert identical(bits(model), bits(gpt2()))
    assert len(bank) == 0
    bank.add("again", trained(gpt2, 0))
    bank.use("again")
    assert close(model(tokens()).logits, trained(gpt2, 0)(tokens()).logits)


def test_its_line():
    bank = Bank(bert())
    assert repr(bank) == "Bank(0 tasks, 0.00 MB, over BertForSequenceClassification, 0.0 MB)"
    bank.add("one", headed(2, 1))
    bank.switch("one")
    assert repr(bank).startswith("Bank(1 task, 0.00 MB, over Bert")
    assert repr(bank).endswith("; 'one' merged)")


# loud


def refused(bank, message, source, **options):
    before, modules, tasks = bits(bank.model), list(bank.model.named_modules()), list(bank)
    with pytest.raises(ValueError, match=message):
        bank.add("refused", source, **options)
    assert identical(bits(bank.model), before)
    assert [name for name, _ in bank.model.named_modules()] == [name for name, _ in modules]
    assert list(bank) == tasks


def test_names():
    bank, _ = filled(bert)
    for act in (bank.use, bank.switch, bank.remove, bank.__getitem__):
        with pytest.raises(ValueError, match=r"no task is called 'nought'; there are \['0', '1', '2'\]"):
            act("nought")
    with (
        pytest.raises(ValueError, match="no task is called 'nought'"),
        bank.route(["0", "nought"]),
    ):
        raise AssertionError("it was entered")
    for name in ("0", None, 3):
        with pytest.raises(ValueError, match=f"a task needs a name of its own; given {name!r}"):
            bank.add(name, trained(bert))
    with pytest.raises(ValueError, match=r"route\(\[name\] \* rows\); given '0'"), bank.route("0"):
        pass
    with pytest.raises(ValueError, match="one name a row"), bank.route([]):
        pass
    bank.use("1")
    with pytest.raises(ValueError, match=r"'1' is in use: bank.use\(None\) first"):
        bank.remove("1")


@pytest.mark.parametrize("names", [["0", "1", None], ["0"] * 3, [None] * 3])
def test_another_number_of_rows(names):
    bank, _ = filled(bert)
    with (
        bank.route(names) as model,
        pytest.raises(ValueError, match=r"names 3 rows, and .* is given 4: one name a row"),
    ):
        model(tokens(4))
    bank.add("headed", headed(2, 1, "*.key"))
    with bank.route(["headed"] * 3) as model, pytest.raises(ValueError, match="names 3 rows"):
        model(tokens(2))


def test_no_use_and_no_switch_within_a_route():
    bank, _ = filled(bert)
    with bank.route(["0"] * 2):
        for verb in ("use", "switch"):
            with pytest.raises(ValueError, match=rf"leave `with bank.route\(…\)` before bank.{verb}"):
                getattr(bank, verb)("1")


def test_a_model_with_adapters_is_no_base():
    with pytest.raises(ValueError, match=r"starts from the base model, and this one has adapters: .*query"):
        Bank(trained(bert))


@pytest.mark.parametrize(
    ("method", "where", "message"),
    [
        (DoRA, "*.query", r"query: DoRA's ΔW is not a product of two thin factors"),
        (BitFit, "*.query", r"query: BitFit is no change of weights, and a bank switches only those"),
        (Houlsby, "*.output.dense", r"dense: Houlsby is no change of weights"),
        (Prefix, "*.self", r"self: Prefix is no change of weights"),
    ],
)
def test_methods_that_are_no_low_rank_change(method, where, message, tmp_path):
    model = bert()
    adapt(model, method, where, **({"size": 4} if method is Houlsby else {}))
    stir(model)
    bank, _ = filled(bert)
    refused(bank, message, model)
    refused(bank, message, save(model, tmp_path / "other"))


def test_what_does_not_fit(tmp_path):
    bank, _ = filled(bert)
    wider = bert(hidden_size=20, num_attention_heads=2)
    adapt(wider, LoRA, "*.query", rank=2)
    refused(bank, r"query.A is \(2, 20\) in the file and \(2, 16\) here", wider)
    refused(
        bank, r"(?s)other does not fit this bank's model; nothing was changed:.*A is", save(wider, tmp_path / "other")
    )
    refused(bank, r"query: no such layer in this model", {"query": LowRank(torch.ones(3, 1), torch.ones(1, 3))})
    name = "bert.encoder.layer.0.attention.self.query"
    refused(
        bank, rf"{name} is \(3, 3\) in the state and \(16, 16\)", {name: LowRank(torch.ones(3, 1), torch.ones(1, 3))}
    )
    pair = LowRank(torch.ones(16, 1), torch.full((1, 16), torch.nan))
    refused(bank, f"{name} holds NaN or infinity", {name: pair})
    refused(bank, r"query: a Tensor is no pair of factors: delta.truncate", {name: torch.ones(16, 16)})
    refused(bank, r"it changes no layer: give \{layer: LowRank\}", {})
    fine = {name: LowRank(torch.ones(16, 1), torch.ones(1, 16))}
    refused(bank, r"elsewhere: no layer and no tensor of this model", {**fine, "elsewhere": torch.ones(2)})
    refused(bank, r"classifier.weight holds NaN", {**fine, "classifier.weight": torch.full((2, 16), torch.nan)})
    refused(
        bank,
        r"classifier.weight is \(3, 16\) for the task and \(2, 16\)",
        {**fine, "classifier.weight": torch.ones(3, 16)},
    )
    norm = "bert.embeddings.LayerNorm"
    refused(
        bank, rf"{norm}.weight is \(3,\) for", {**fine, f"{norm}.weight": torch.ones(3), f"{norm}.bias": torch.ones(3)}
    )
    refused(bank, f"{norm}: a LayerNorm has no weight matrix", {norm: LowRank(torch.ones(16, 1), torch.ones(1, 16))})


def test_factors_without_their_scale():
    refused(Bank(bert()), r"query.A: a factor without its scale: give the model itself", trainable_state(trained(bert)))


def test_a_merged_source():
    model = trained(bert)
    merge(model)
    refused(Bank(bert()), "it is merged: unmerge", model)


def test_another_base_of_the_same_shape(tmp_path):
    other = bert()
    with torch.no_grad():
        for number, parameter in enumerate(other.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    adapt(other, LoRA, "*.query", rank=2)
    stir(other)
    bank, _ = filled(bert)
    for source in (other, save(other, tmp_path / "other")):
        refused(bank, "the weights under the adapter are not those it was trained on: another base model", source)
    bank.switch("1")
    bank.add("while another is merged", trained(bert, 0))


def test_another_name_of_the_base_is_a_warning(tmp_path):
    model = trained(bert)
    model.config._name_or_path = "someone/else"
    bank, folder = Bank(bert()), save(model, tmp_path / "theirs")
    bank.model.config._name_or_path = "ours/mine"
    with pytest.warns(UserWarning, match="made for 'someone/else', and this model is 'ours/mine'"):
        bank.add("theirs", folder)


def test_a_new_head_that_nobody_brings():
    model = bert()
    model.new_modules = ("classifier",)
    bank = Bank(model)
    refused(bank, r"classifier has no pretrained weights and the file brings none \(pass without=", trained(bert))
    bank.add("known", trained(bert), without=["classifier"])


def test_adapted_by_one_and_brought_whole_by_another():
    bank = Bank(bert())
    bank.add("whole", headed(2, 1))
    both = bert()
    adapt(both, LoRA, "classifier", rank=2)
    stir(both)
    refused(bank, r"brought whole by one task and adapted by another: \['classifier'\]", both)
    bank = Bank(bert())
    bank.add("adapted", both)
    refused(bank, "brought whole by one task and adapted by another", headed(2, 1))


def test_a_shared_weight_is_not_switched():
    bank, models = filled(gpt2)
    bank.switch("1")
    before = bits(bank.model)
    with pytest.raises(ValueError, match=r"switching would change it for all: transformer.wte = lm_head. bank.use"):
        bank.switch("2")
    assert identical(bits(bank.model), before)
    assert (bank.active, bank.merged) == ("1", True)
    bank.use("2")
    assert close(bank.model(tokens()).logits, models[2](tokens()).logits)


def test_a_sum_that_is_no_number_is_not_switched():
    bank = Bank(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).half())
    large = LowRank(torch.full((4, 1), 3e2), torch.full((1, 4), 3e2))
    bank.add("fine", {"0": large * 1e-6})
    bank.add("large", {"0": large * 1e-6, "1": large})
    bank.switch("fine")
    before = bits(bank.model)
    with pytest.raises(ValueError, match=r"1 would hold NaN or infinity in torch\.float16: nothing was merged"):
        bank.switch("large")
    assert identical(bits(bank.model), before)
    assert bank.active == "fine"


def test_saving_a_bank_is_refused(tmp_path):
    bank, _ = filled(bert)
    with pytest.raises(ValueError, match="these hold nothing of their own to save"):
        save(bank.model, tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


# on real models


@pytest.mark.model
@pytest.mark.parametrize(("name", "where"), [("minilm", ["*.query", "*.value", "*.dense"]), ("smollm2", ["*_proj"])])
def test_on_real_models(name, where):
    from lorakit.models import load_causal_lm, load_classifier

    build = (lambda: load_classifier("minilm")) if name == "minilm" else (lambda: load_causal_lm("smollm2"))
    model, tokenizer = build()
    bank, sources = Bank(model), []
    for seed, (layers, rank) in enumerate(((where, 8), (where[:1], 4))):
        source, _ = build()
        adapt(source, LoRA, layers, rank=rank, alpha=4 * rank, seed=seed)
        for adapter in adapters(source).values():
            adapter.B.normal_(std=0.01, generator=torch.Generator().manual_seed(seed))
        bank.add(str(seed), source)
        sources.append(source)
    text = ["A film that is never dull.", "I want my two hours back.", "Fine."]
    batch = tokenizer(text, return_tensors="pt", padding=True)
    with bank.route(["1", None, "0"]):
        mixed = model(**batch).logits
    for row, alone in enumerate((sources[1], build()[0], sources[0])):
        one = {key: value[row : row + 1] for key, value in batch.items()}
        real = one["attention_mask"].bool() if name == "smollm2" else ...
        expected = alone(**one).logits[real]
        tolerance = 1e-5 * max(1.0, expected.abs().max())  # SmolLM2's logits reach 20
        assert close(mixed[row : row + 1][real], expected, tolerance)
