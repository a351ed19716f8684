"""LoRA against PEFT and loralib, how it starts, and what the verbs of `lorakit.layers` do and refuse."""

import copy
import math

import numpy as np
import pytest
import torch
from conftest import bert, gpt2, llama, stir, tokens
from torch import nn

from lorakit import LoRA, adapt, adapters, deltas, disabled, trainable_state
from lorakit.adapter import check_rank
from lorakit.delta import LowRank, dense
from lorakit.layers import few, gaussian, named_layers, substituted, trainable_parameters, weight_of
from lorakit.lora import kaiming


class Pair(nn.Module):
    """Two dense layers and a head, by names that patterns can tell apart."""

    new_modules = ("head",)

    def __init__(self, dim=8):
        super().__init__()
        torch.manual_seed(0)
        self.q, self.v, self.norm = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.LayerNorm(dim)
        self.narrow, self.head = nn.Linear(dim, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.narrow(self.norm(self.q(x) + self.v(x))))


class Place(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def trains(model) -> dict[str, bool]:
    return {name: p.requires_grad for name, p in model.named_parameters()}


# against PEFT


def _peft(base: nn.Module, **config):
    """PEFT's layer before `base`, and its A and B as lorakit shapes them."""
    from peft import LoraConfig, get_peft_model

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = base

        def forward(self, x):
            return self.layer(x)

    model = get_peft_model(Model(), LoraConfig(target_modules=["layer"], **config))
    layer = model.base_model.model.layer
    if isinstance(base, nn.Embedding):
        A, B = layer.lora_embedding_A["default"], layer.lora_embedding_B["default"]
    else:
        A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    return layer, A, B


def _conv1d(out, into):
    from transformers.pytorch_utils import Conv1D

    return Conv1D(out, into)


IDS = torch.tensor([[1, 0, 5], [7, 7, 0]])
PEERS = {
    "linear": (lambda: nn.Linear(10, 6), torch.randn(2, 3, 10), {}),
    "conv1d": (lambda: _conv1d(12, 7), torch.randn(2, 3, 7), {"fan_in_fan_out": True}),
    "embedding": (lambda: nn.Embedding(9, 6), IDS, {}),
    "embedding-padded": (lambda: nn.Embedding(9, 6, padding_idx=0), IDS, {}),
    "conv2d": (lambda: nn.Conv2d(3, 6, (3, 2), stride=2, padding=1), torch.randn(2, 3, 7, 7), {}),
}


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("rslora", [False, True], ids=["α/r", "α/√r"])
def test_output_gradients_and_delta_are_those_of_peft(kind, rslora):
    make, x, config = PEERS[kind]
    base = make()
    ours = LoRA(copy.deepcopy(base), rank=4, alpha=6.0, rslora=rslora)
    theirs, A, B = _peft(base, r=4, lora_alpha=6, use_rslora=rslora, **config)
    stir(ours)
    with torch.no_grad():
        A.copy_(ours.A.reshape(A.shape))
        B.copy_(ours.B.reshape(B.shape))
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)
    (ours(x) ** 2).sum().backward()
    (theirs(x) ** 2).sum().backward()
    torch.testing.assert_close(ours.A.grad, A.grad.reshape(ours.A.shape), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(ours.B.grad, B.grad.reshape(ours.B.shape), atol=1e-4, rtol=1e-5)
    change = theirs.get_delta_weight("default")
    stored = change.flatten(1) if kind == "conv2d" else change.mT if kind != "linear" else change
    torch.testing.assert_close(dense(ours.delta()), stored, atol=1e-5, rtol=1e-5)


def test_dropout_drops_what_peft_drops():
    base, x = nn.Linear(10, 6), torch.randn(5, 10)
    ours = LoRA(copy.deepcopy(base), rank=4, alpha=6.0, dropout=0.5)
    theirs, A, B = _peft(base, r=4, lora_alpha=6, lora_dropout=0.5)
    stir(ours)
    with torch.no_grad():
        A.copy_(ours.A)
        B.copy_(ours.B)
    outputs = []
    for layer in (ours, theirs):
        torch.manual_seed(7)
        outputs.append(layer.train()(x))
    torch.testing.assert_close(*outputs)
    assert not torch.allclose(outputs[0], ours.eval()(x))


@pytest.mark.parametrize("enabled", [(True, False, True), (False, True, False), (True, True, True)])
@pytest.mark.parametrize("transposed", [False, True], ids=["Linear", "Conv1D"])
def test_a_fused_projection_is_loralibs_merged_linear(enabled, transposed):
    import loralib

    theirs = loralib.MergedLinear(
        7, 12, r=2, lora_alpha=5, enable_lora=list(enabled), fan_in_fan_out=transposed, merge_weights=False
    )
    base = _conv1d(12, 7) if transposed else nn.Linear(7, 12)
    base.load_state_dict({"weight": theirs.weight.detach().clone(), "bias": theirs.bias.detach().clone()})
    ours = LoRA(base, rank=2, alpha=5.0, parts=enabled)
    assert ours.A.shape == theirs.lora_A.shape
    assert ours.B.shape == theirs.lora_B.shape
    stir(ours)
    theirs.load_state_dict({"lora_A": ours.A, "lora_B": ours.B}, strict=False)
    x = torch.randn(4, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)
    change = theirs.merge_AB().T if transposed else theirs.merge_AB()
    torch.testing.assert_close(dense(ours.delta()), change * theirs.scaling, atol=1e-5, rtol=1e-5)
    (ours(x) ** 2).sum().backward()
    (theirs(x) ** 2).sum().backward()
    torch.testing.assert_close(ours.A.grad, theirs.lora_A.grad, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(ours.B.grad, theirs.lora_B.grad, atol=1e-3, rtol=1e-5)


def test_parts_may_be_slices_of_any_height():
    base, x = nn.Linear(6, 16), torch.randn(3, 6)
    adapter = LoRA(base, rank=2, alpha=3.0, parts=[slice(0, 8), slice(12, None)])
    stir(adapter)
    change = (adapter(x) - base(x)).detach()
    assert not change[:, 8:12].any()
    torch.testing.assert_close(change[:, :8], 1.5 * x @ adapter.A[:2].T @ adapter.B[:8].T)
    torch.testing.assert_close(change[:, 12:], 1.5 * x @ adapter.A[2:].T @ adapter.B[8:].T)
    torch.testing.assert_close(change, x @ dense(adapter.delta()).T, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "parts", [(False, False), (), [slice(4, 8), slice(0, 4)], [slice(0, 5), slice(4, 8)], [slice(3, 3)]]
)
def test_parts_that_name_nothing_or_overlap(parts):
    with pytest.raises(ValueError, match="parts must name at least one part, in order and apart; given"):
        LoRA(nn.Linear(6, 8), rank=2, parts=parts)


def test_parts_that_do_not_divide():
    with pytest.raises(ValueError, match="3 equal parts do not divide 8 outputs; give slices"):
        LoRA(nn.Linear(6, 8), rank=2, parts=(True, False, True))


# how it starts


@pytest.mark.parametrize(
    ("layer", "into"),
    [(nn.Linear(400, 300), 400), (_conv1d(300, 400), 400), (nn.Conv2d(16, 300, 5), 400)],
    ids=["Linear", "Conv1D", "Conv2d"],
)
def test_kaiming_takes_the_fan_in_and_not_the_rank(layer, into):
    """Uniform in ±1/√in. With A stored the other way round the fan-in would be the rank: √(in/r) too large."""
    A = LoRA(layer, rank=64).A.detach()
    assert A.shape == (64, into)
    assert float(A.std()) == pytest.approx(1 / math.sqrt(3 * into), rel=0.02)
    assert float(A.abs().max()) == pytest.approx(1 / math.sqrt(into), rel=0.01)
    assert abs(float(A.mean())) < 1e-3


def test_the_parts_of_a_fused_projection_start_as_if_apart():
    A = LoRA(nn.Linear(400, 300), rank=32, parts=(True, False, True)).A.detach()
    assert float(A.std()) == pytest.approx(1 / math.sqrt(3 * 400), rel=0.02)
    assert not torch.equal(A[:32], A[32:])


def test_gaussian_is_as_wide_as_pefts():
    ours = LoRA(nn.Linear(2000, 300), rank=16, init=gaussian)
    _, theirs, _ = _peft(nn.Linear(2000, 300), r=16, init_lora_weights="gaussian")
    assert float(ours.A.std()) == pytest.approx(1 / 16, rel=0.02)
    assert float(theirs.std()) == pytest.approx(1 / 16, rel=0.02)
    assert float((ours.A / ours.A.std()).pow(4).mean()) == pytest.approx(3, rel=0.05)


def test_an_embedding_starts_the_other_way_round():
    adapter = LoRA(nn.Embedding(300, 200), rank=16)
    assert adapter.A.shape == (16, 300)
    assert not adapter.A.any()
    assert float(adapter.B.std()) == pytest.approx(1, rel=0.05)


def test_dense_layers_start_with_b_at_zero():
    assert not LoRA(nn.Linear(8, 8), rank=2).B.any()


def test_the_init_is_any_function_that_fills_a_tensor():
    def orthogonal(A, generator=None):
        return nn.init.orthogonal_(A, generator=generator)

    A = LoRA(nn.Linear(9, 8), rank=4, init=orthogonal).A
    torch.testing.assert_close(A @ A.T, torch.eye(4), atol=1e-5, rtol=0)


def test_alpha_may_be_set_at_any_time():
    base, x = nn.Linear(8, 8), torch.randn(3, 8)
    adapter = LoRA(base, rank=4, alpha=8.0)
    stir(adapter)
    change = adapter(x) - base(x)
    for alpha in (16.0, 4.0, 0.0):
        adapter.alpha = alpha
        torch.testing.assert_close(adapter(x) - base(x), change * alpha / 8, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(x @ dense(adapter.delta()).T, change * alpha / 8, atol=1e-5, rtol=1e-4)
    assert torch.equal(adapter(x), base(x))


def test_its_own_dtype_may_be_wider_than_the_layers():
    layer = nn.Linear(8, 8).bfloat16()
    adapter = LoRA(layer, rank=2, dtype=torch.float32)
    assert adapter.A.dtype == adapter.B.dtype == torch.float32
    stir(adapter)
    x = torch.randn(3, 8).bfloat16()
    assert adapter(x).dtype == torch.bfloat16
    expected = layer(x).double() + x.double() @ dense(adapter.delta()).double().T
    torch.testing.assert_close(adapter(x).double(), expected, atol=2e-2, rtol=1e-2)


def test_repr_says_what_it_is():
    text = repr(LoRA(nn.Linear(8, 8), rank=2, alpha=3.0, rslora=True))
    assert "rank=2, alpha=3, rslora" in text


# adapt


def test_adapt_returns_the_names_and_freezes_the_rest():
    model = Pair()
    assert adapt(model, LoRA, ["q", "v"], rank=2) == ["q", "v"]
    assert [name for name, on in trains(model).items() if on] == [
        "q.A",
        "q.B",
        "v.A",
        "v.B",
        "head.weight",
        "head.bias",
    ]
    assert set(trainable_state(model)) == {"q.A", "q.B", "v.A", "v.B", "head.weight", "head.bias"}


def test_a_head_that_was_frozen_stays_frozen():
    model = Pair()
    model.head.requires_grad_(False)
    adapt(model, LoRA, "q", rank=2)
    assert set(trainable_state(model)) == {"q.A", "q.B"}


def test_keep_names_what_else_trains():
    model = Pair()
    adapt(model, LoRA, "q", keep="norm", rank=2)
    assert set(trainable_state(model)) == {"q.A", "q.B", "norm.weight", "norm.bias", "head.weight", "head.bias"}


def test_calls_add_up():
    model = Pair()
    adapt(model, LoRA, "q", keep="norm", rank=2)
    adapt(model, LoRA, "v", rank=4, alpha=1.0)
    assert {name: (a.rank, a.alpha) for name, a in adapters(model).items()} == {"q": (2, 16.0), "v": (4, 1.0)}
    assert set(trainable_state(model)) >= {"q.A", "q.B", "v.A", "v.B", "norm.weight", "norm.bias", "head.weight"}
    assert not model.v.base.weight.requires_grad


def test_names_are_those_of_the_pretrained_model():
    model = bert()
    before = [name for name, _ in named_layers(model)]
    assert before == [name for name, _ in model.named_modules()][1:]
    names = adapt(model, LoRA, ["*.query", "*.value"], rank=2)
    assert names == [f"bert.encoder.layer.{i}.attention.self.{m}" for i in (0, 1) for m in ("query", "value")]
    assert [name for name, _ in named_layers(model)] == before
    assert list(deltas(model)) == names


class Around(LoRA):
    """Stands in for a whole Place, to nest adapters."""

    def __init__(self, base, *, generator=None):
        nn.Module.__init__(self)
        self.base, self.enabled, self.training = base, True, base.training
        self.shift = nn.Parameter(torch.zeros(()))

    @classmethod
    def adapts(cls, module):
        return isinstance(module, Place)

    def adapted(self, x):
        return self.base(x) + self.shift


@pytest.mark.parametrize("outer_first", [True, False])
def test_names_stay_canonical_when_adapters_nest(outer_first):
    model = nn.Sequential(Place(nn.Linear(8, 8)))
    for method, name in [(Around, "0"), (LoRA, "0.inner")][:: 1 if outer_first else -1]:
        assert adapt(model, method, name) == [name]
    assert list(adapters(model)) == ["0", "0.inner"]
    assert {name for name, _ in trainable_parameters(model)} == {"0.shift", "0.inner.A", "0.inner.B"}
    assert all(p.requires_grad for _, p in trainable_parameters(model))
    x = torch.randn(2, 8)
    expected = model[0].base.inner.base(x)
    stir(model)
    with disabled(model):
        assert torch.equal(model(x), expected)


def test_a_module_in_two_places_is_one_layer():
    shared = nn.Linear(8, 8)
    model = nn.Sequential(Place(shared), Place(shared))
    assert adapt(model, LoRA, "*.inner", rank=2) == ["0.inner"]
    assert model[0].inner is model[1].inner
    assert list(adapters(model)) == ["0.inner"]
    assert set(trainable_state(model)) == {"0.inner.A", "0.inner.B"}
    assert isinstance(model[1].inner, LoRA)


def test_the_same_seed_draws_the_same():
    def drawn(seed, *wheres):
        model = Pair()
        torch.manual_seed(seed + 50)
        for where in wheres:
            adapt(model, LoRA, where, rank=2, seed=seed)
        return model

    assert torch.equal(drawn(0, "q").q.A, drawn(0, "q").q.A)
    assert not torch.equal(drawn(0, "q").q.A, drawn(1, "q").q.A)
    both = drawn(0, ["q", "v"])
    assert not torch.equal(both.q.A, both.v.A)
    apart = drawn(0, "q", "v")
    assert not torch.equal(apart.q.A, apart.v.A), "two calls with one seed start q and v from the same A"


def test_adapting_leaves_the_global_random_state_alone():
    model = Pair()
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    adapt(model, LoRA, "q", rank=2)
    assert torch.equal(torch.randn(3), expected)


def test_the_head_is_trained_or_adapted():
    model = Pair()
    with pytest.raises(ValueError, match=r"trained whole, these need no adapter: \['head'\]; leave them out"):
        adapt(model, LoRA, "*", rank=2)
    with pytest.raises(ValueError, match=r"these need no adapter: \['q'\]"):
        adapt(model, LoRA, ["q", "v"], keep="q", rank=2)
    model.head.requires_grad_(False)
    assert adapt(model, LoRA, "*", rank=2) == ["q", "v", "narrow", "head"]


REFUSED = {
    "no match": (
        {"where": "*.query"},
        r"no module for LoRA matches '\*\.query'; it could adapt \['q', 'v', 'narrow', 'head'\]",
    ),
    "one of several": ({"where": ["q", "k"]}, r"no module for LoRA matches 'k'; it could adapt \['q'"),
    "not a layer": ({"where": "norm"}, r"no module for LoRA matches 'norm'; it could adapt"),
    "nothing given": ({"where": []}, r"no module for LoRA matches ''; it could adapt"),
    "rank 0": ({"rank": 0}, r"q: rank must be a whole number in 1\.\.8 for a weight \(8, 8\); given 0"),
    "negative": ({"rank": -2}, r"q: rank must be a whole number in 1\.\.8 .*; given -2"),
    "too large": ({"rank": 9}, r"q: rank must be a whole number in 1\.\.8 .*; given 9"),
    "a bool": ({"rank": True}, r"rank must be a whole number in 1\.\.8 .*; given True"),
    "a fraction": ({"rank": 2.5}, r"rank must be a whole number in 1\.\.8 .*; given 2.5"),
    "text": ({"rank": "8"}, r"rank must be a whole number in 1\.\.8 .*; given '8'"),
    "a later layer": (
        {"where": ["q", "narrow"], "rank": 4},
        r"narrow: rank must be a whole number in 1\.\.3 .*; given 4",
    ),
    "dropout": ({"dropout": 1.5}, r"q: dropout probability .* 1\.5"),
    "keep": ({"keep": "normal"}, r"keep='normal' matches no module; there are \['q', 'v', 'norm', 'narrow', 'head'\]"),
    "parts": ({"parts": (True, False, True)}, r"q: 3 equal parts do not divide 8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_changes_nothing(case):
    options, message = REFUSED[case]
    model = Pair()
    model.norm.requires_grad_(False)
    modules, before = list(model.named_modules()), trains(model)
    with pytest.raises(ValueError, match=message):
        adapt(model, LoRA, **{"where": ["q", "v"], **options})
    assert list(model.named_modules()) == modules
    assert trains(model) == before


@pytest.mark.parametrize("option", ["ranks", "base", "lora_alpha"])
def test_an_unknown_option_changes_nothing(option):
    model = Pair()
    before = trains(model)
    with pytest.raises(TypeError, match=option):
        adapt(model, LoRA, "q", **{option: 3})
    assert trains(model) == before
    assert not adapters(model)


def test_an_interrupt_changes_nothing():
    def stop(A, generator=None):
        raise KeyboardInterrupt

    model = Pair()
    before = trains(model)
    with pytest.raises(KeyboardInterrupt):
        adapt(model, LoRA, "q", init=stop)
    assert trains(model) == before


def test_adapting_twice_is_refused_by_name():
    model = Pair()
    adapt(model, LoRA, "q", rank=2)
    stir(model)
    trained = trainable_state(model)
    with pytest.raises(ValueError, match=r"adapted already: \['q \(LoRA\)'\]; merge\(model\) first"):
        adapt(model, LoRA, ["q", "v"], rank=2)
    assert list(adapters(model)) == ["q"]
    assert all(torch.equal(value, trained[name]) for name, value in trainable_state(model).items())


def test_a_bare_layer_is_no_model():
    with pytest.raises(ValueError, match=r"no module for LoRA matches .* it could adapt nothing in this model"):
        adapt(nn.Linear(8, 8), LoRA, "*")


def test_a_rank_must_be_given():
    check_rank(8, 8, (8, 8))
    with pytest.raises(ValueError, match=r"in 1\.\.8 for a weight \(8, 8\); given None"):
        check_rank(None, 8, (8, 8))


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(4, 4, 3, groups=2), nn.Conv1d(4, 4, 3), nn.LayerNorm(4), nn.Embedding(9, 4, max_norm=1.0), nn.ReLU()],
    ids=lambda layer: type(layer).__name__,
)
def test_what_is_no_matrix_is_not_adapted(layer):
    assert not LoRA.adapts(layer)


def test_an_embedding_that_scales_what_it_looks_up_is_not_adapted():
    class Scaled(nn.Embedding):
        def forward(self, ids):
            return super().forward(ids) * 4

    class Renamed(nn.Embedding):
        pass

    assert not LoRA.adapts(Scaled(9, 4))
    assert LoRA.adapts(Renamed(9, 4))


def test_weight_of_says_what_it_does_not_know():
    with pytest.raises(TypeError, match="no weight matrix is known for LayerNorm"):
        weight_of(nn.LayerNorm(4))
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(torch.zeros(4, 4, dtype=torch.int8), requires_grad=False)
    with pytest.raises(TypeError, match=r"Linear holds torch.int8 codes, not a weight: dequantize it first"):
        weight_of(layer)


def test_weight_of_is_a_view():
    for layer in (nn.Linear(5, 3), _conv1d(3, 5), nn.Embedding(5, 3), nn.Conv2d(5, 3, 1)):
        view = weight_of(layer)
        assert view.shape == (3, 5)
        assert view.data_ptr() == layer.weight.data_ptr()


def test_few_names_and_the_number_of_the_others():
    assert few(["a", "b"]) == "['a', 'b']"
    assert few(map(str, range(15)), most=2) == "['0', '1'] and 13 more"


# where torch reads weights instead of calling layers


def test_multihead_attention_fails_loudly():
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2, batch_first=True)})
    adapt(model, LoRA, "attention.out_proj", rank=2)
    x = torch.randn(2, 3, 8)
    with pytest.raises(AttributeError, match=r"LoRA has no \.weight that computes what it does: call it, merge\(\)"):
        model["attention"](x, x, x)


def test_the_fast_path_of_the_encoder_layer_fails_loudly():
    model = nn.ModuleDict({"layer": nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)}).eval()
    adapt(model, LoRA, "layer.linear1", rank=2)
    with torch.no_grad(), pytest.raises(AttributeError, match=r"LoRA has no \.(weight|bias)"):
        model["layer"](torch.randn(2, 3, 8))


# disabled and substituted


def adapted(make=bert, where=("*.query", "*.value"), **options):
    model = make()
    adapt(model, LoRA, where, **{"rank": 2, **options})
    stir(model)
    return model


@pytest.mark.parametrize(
    ("make", "where"), [(bert, "*.query"), (gpt2, "*.c_attn"), (llama, "*.k_proj"), (gpt2, "*.wte")]
)
def test_disabled_is_the_pretrained_model(make, where):
    expected = make()(tokens()).logits
    model = make()
    adapt(model, LoRA, where, rank=2)
    assert torch.equal(model(tokens()).logits, expected)
    stir(model)
    with disabled(model) as same:
        assert same is model
        assert torch.equal(model(tokens()).logits, expected)
    assert not torch.allclose(model(tokens()).logits, expected, atol=1e-4)


def test_disabled_nests_and_survives_exceptions():
    model = adapted()
    first = next(iter(adapters(model).values()))
    first.enabled = False
    with disabled(model):
        with disabled(model):
            pass
        assert not any(adapter.enabled for adapter in adapters(model).values())
    with pytest.raises(RuntimeError, match="on purpose"), disabled(model):
        raise RuntimeError("on purpose")
    assert [adapter.enabled for adapter in adapters(model).values()] == [False, True, True, True]


def test_substituted_computes_with_another_delta():
    model, other = adapted(), adapted()
    stir(other, seed=5)
    before, trained = model(tokens()).logits, trainable_state(model)
    with substituted(model, deltas(other)):
        torch.testing.assert_close(model(tokens()).logits, _with_head_of(model, other)(tokens()).logits)
        with substituted(model, {name: 0.0 * delta for name, delta in deltas(model).items()}), torch.no_grad():
            with disabled(model):
                expected = model(tokens()).logits
            torch.testing.assert_close(model(tokens()).logits, expected)
        torch.testing.assert_close(model(tokens()).logits, _with_head_of(model, other)(tokens()).logits)
    assert torch.equal(model(tokens()).logits, before)
    assert all(torch.equal(value, trained[name]) for name, value in trainable_state(model).items())


def _with_head_of(model, other):
    other.classifier.load_state_dict(model.classifier.state_dict())
    return other


def test_substituted_for_itself_changes_nothing():
    model = adapted(gpt2, "*.c_attn", parts=(True, False, True))
    before = model(tokens()).logits
    with substituted(model, deltas(model)):
        torch.testing.assert_close(model(tokens()).logits, before)
    with disabled(model):
        expected = model(tokens()).logits
        with substituted(model, deltas(model)):
            assert torch.equal(model(tokens()).logits, expected)


def test_substituting_where_nothing_stands_is_refused():
    model = adapted()
    nothing = LowRank(torch.zeros(16, 1), torch.zeros(1, 16))
    wrong = substituted(model, {"bert.pooler.dense": nothing, next(iter(adapters(model))): nothing})
    with pytest.raises(ValueError, match=r"no change of weights stands at \['bert.pooler.dense'\]; there are"), wrong:
        pass
    assert all(adapter.instead is None for adapter in adapters(model).values())


def test_deltas_are_detached_and_scaled():
    model = adapted(alpha=6.0)
    for name, delta in deltas(model).items():
        adapter = adapters(model)[name]
        assert isinstance(delta, LowRank)
        assert not delta.left.requires_grad
        torch.testing.assert_close(dense(delta), 3.0 * adapter.B @ adapter.A)


def test_trainable_state_is_a_copy():
    model = adapted()
    state = trainable_state(model)
    stir(model, seed=3)
    assert all(not torch.equal(value, state[name]) for name, value in trainable_state(model).items())
    assert not any(value.requires_grad for value in state.values())


def test_tied_weights_are_listed_once():
    model = gpt2()
    names = [name for name, _ in trainable_parameters(model)]
    assert "transformer.wte.weight" in names
    assert "lm_head.weight" not in names
    assert len(names) == len(list(model.parameters()))


def test_kaiming_and_gaussian_follow_their_generator():
    for init in (kaiming, gaussian):
        draws = [init(torch.empty(3, 5), generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
        assert torch.equal(draws[0], draws[1])
        assert not np.allclose(draws[0], draws[2])
