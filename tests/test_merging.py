"""Merging is exact where the layer's dtype lets it be, says what was lost where not, and can be undone bit for bit."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from conftest import bert, gpt2, llama, stir, tokens
from torch import nn

from lorakit import LoRA, adapt, adapters, deltas, disabled, merge, trainable_state, unmerge
from lorakit.delta import dense
from lorakit.layers import named_layers
from lorakit.merging import merged_layers

QV = ("*.query", "*.value")


def adapted(make=bert, where=QV, dtype=torch.float32, **options):
    model = make().to(dtype)
    adapt(model, LoRA, where, **{"rank": 2, **options})
    stir(model)
    return model


def bits(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def identical(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def one_layer(weight, left, right, dtype=torch.bfloat16, layer=nn.Linear):
    """A layer whose W and ΔW are given, in `dtype`, with A and B in float32."""
    model = nn.Sequential(layer(*weight.T.shape, bias=False))
    model[0].weight = nn.Parameter(weight.to(dtype))
    adapt(model, LoRA, "0", rank=left.shape[1], alpha=left.shape[1], dtype=torch.float32)
    with torch.no_grad():
        model[0].B.copy_(left)
        model[0].A.copy_(right)
    return model


# there


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("make", "where"), [(bert, QV), (gpt2, "*.c_attn"), (llama, "*.mlp.*_proj")])
def test_merged_stores_the_sum_cast_once(make, where, dtype):
    model = adapted(make, where, dtype)
    names, change = list(adapters(model)), deltas(model)
    layers = dict(named_layers(model))
    old = {name: layers[name].base.weight.detach().clone() for name in names}
    certificate = merge(model)
    assert certificate.names == tuple(names)
    assert not adapters(model)
    precise = torch.promote_types(dtype, torch.float32)
    for name, layer in named_layers(model):
        if name in names:
            delta = change[name].to(precise)
            delta = dense(delta.T if make is gpt2 else delta)  # in the layout that is stored
            assert layer.weight.dtype == dtype
            assert torch.equal(layer.weight, (old[name].to(precise) + delta).to(dtype))


def test_merged_logits_are_the_adapted_ones():
    for make, where in ((bert, QV), (gpt2, ["*.c_attn", "*.c_fc"]), (llama, "*.q_proj")):
        model = adapted(make, where)
        expected = model(tokens()).logits
        merge(model)
        torch.testing.assert_close(model(tokens()).logits, expected, atol=1e-4, rtol=1e-4)


def test_a_merged_model_has_the_names_of_the_pretrained_one():
    model = adapted()
    merge(model)
    assert list(model.state_dict()) == list(bert().state_dict())
    assert not any(p.requires_grad for name, p in model.named_parameters() if "query" in name)


# and back


def test_a_thousand_cycles_leave_every_bit():
    model = adapted(dtype=torch.bfloat16)
    before, logits = bits(model), model(tokens()).logits
    modules = list(model.modules())
    for _ in range(1000):
        merge(model)
        unmerge(model)
    assert identical(bits(model), before)
    assert torch.equal(model(tokens()).logits, logits)
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))


def test_unmerge_brings_back_the_adapters_and_their_names():
    model = adapted()
    before, names = trainable_state(model), list(adapters(model))
    merge(model)
    assert set(merged_layers(model)) == set(names)
    assert unmerge(model) == names
    assert list(adapters(model)) == names
    assert identical(trainable_state(model), before)
    assert not merged_layers(model)


def test_a_module_in_two_places_comes_back_too():
    class Place(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x)

    shared = nn.Linear(8, 8)
    model = nn.Sequential(Place(shared), Place(shared))
    adapt(model, LoRA, "*.inner", rank=2)
    stir(model)
    x, before = torch.randn(3, 8), bits(model)
    expected = model(x)
    merge(model)
    torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-5)
    unmerge(model)
    assert identical(bits(model), before)
    assert model[0].inner is model[1].inner


def test_merges_stack():
    model = adapted()
    first = bits(model)
    merge(model)
    adapt(model, LoRA, ["*.query", "*.key"], rank=2, seed=5)
    stir(model, seed=5)
    second = bits(model)
    merge(model)
    unmerge(model)
    assert identical(bits(model), second)
    with pytest.raises(ValueError, match=r"replaced after the merge: .*query.*; put them back first"):
        unmerge(model)
    assert identical(bits(model), second)
    merge(model)
    unmerge(model)
    adapt_away = {name: adapter.base for name, adapter in adapters(model).items()}
    for name, base in adapt_away.items():
        model.set_submodule(name, base)
    unmerge(model)
    assert identical(bits(model), first)


def test_a_copy_of_a_merged_model_unmerges_by_itself():
    model = adapted()
    before = bits(model)
    merge(model)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        unmerge(copied)
        assert identical(bits(copied), before)
        assert not adapters(model)
    unmerge(model)
    assert identical(bits(model), before)


def test_training_the_head_while_merged_is_kept():
    model = adapted()
    merge(model)
    with torch.no_grad():
        model.classifier.weight.fill_(0.25)
    unmerge(model)
    assert (model.classifier.weight == 0.25).all()


# the certificate


def test_the_certificate_by_hand():
    """At 1, bfloat16 steps by 2⁻⁷: a change of 2⁻¹⁰ is lost whole and one of 2⁻⁶ arrives whole."""
    change = torch.tensor([[2.0**-10, 2.0**-6], [0.0, 2.0**-10]])
    model = one_layer(torch.ones(2, 2), change, torch.eye(2))
    certificate = merge(model)
    assert torch.equal(model[0].weight.float(), torch.tensor([[1.0, 1 + 2.0**-6], [1.0, 1.0]]))
    assert certificate.survived == pytest.approx([1 / 3])
    assert certificate.largest == pytest.approx([2.0**-10])
    assert certificate.relative == pytest.approx([math.sqrt(2 * 2.0**-20) / math.sqrt(2 * 2.0**-20 + 2.0**-12)])
    assert math.isnan(certificate.logit_change)
    assert repr(certificate) == "Certificate(1 layers merged; 33.3% of ΔW survived in the worst layer, error ≤ 9.8e-04)"


def test_a_small_change_hardly_survives_in_bfloat16():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 64, generator=generator).bfloat16()
    left, right = torch.randn(64, 2, generator=generator) * 1e-3, torch.randn(2, 64, generator=generator)
    certificate = merge(one_layer(weight, left, right))
    exact = weight.double().numpy() + left.double().numpy() @ right.double().numpy()
    stored = torch.from_numpy(exact).bfloat16().double().numpy()
    assert certificate.survived[0] == pytest.approx(np.mean(stored != weight.double().numpy()), abs=2e-3)
    assert certificate.largest[0] == pytest.approx(np.abs(stored - exact).max(), rel=1e-3)
    expected = np.linalg.norm(stored - exact) / np.linalg.norm((left @ right).double().numpy())
    assert certificate.relative[0] == pytest.approx(expected, rel=1e-2)
    assert certificate.survived[0] < 0.4
    assert certificate.relative[0] > 0.5
    precise = merge(one_layer(weight, left, right, dtype=torch.float32))
    assert precise.survived[0] == 1.0
    assert precise.relative[0] < 1e-4


def test_float16_keeps_more_than_bfloat16():
    weight, left, right = torch.randn(64, 64), torch.randn(64, 2) * 1e-3, torch.randn(2, 64)
    half = merge(one_layer(weight, left, right, dtype=torch.float16))
    brain = merge(one_layer(weight, left, right, dtype=torch.bfloat16))
    assert brain.survived[0] < half.survived[0] <= 1


def test_nothing_to_change_loses_nothing():
    model = bert()
    adapt(model, LoRA, QV, rank=2)
    certificate = merge(model, probe={"input_ids": tokens()})
    assert (certificate.survived == 1).all()
    assert not certificate.largest.any()
    assert not certificate.relative.any()
    assert certificate.logit_change == 0.0


@pytest.mark.parametrize("train", [False, True])
def test_the_probe_says_how_far_the_logits_moved(train):
    model = adapted(dtype=torch.bfloat16).train(train)
    model.bert.pooler.eval()
    modes = [module.training for name, module in model.named_modules() if "query" not in name and "value" not in name]
    with torch.no_grad():
        before = copy.deepcopy(model).eval()(tokens()).logits
    certificate = merge(model, probe={"input_ids": tokens()})
    with torch.no_grad():
        after = copy.deepcopy(model).eval()(tokens()).logits
    assert certificate.logit_change == float((after.float() - before.float()).abs().max()) > 0
    assert f"logits moved ≤ {certificate.logit_change:.1e}" in repr(certificate)
    now = [module.training for name, module in model.named_modules() if "query" not in name and "value" not in name]
    assert now == modes
    assert model.bert.encoder.layer[0].attention.self.query.training is train


# all or nothing


def refused(model, error, message, **options):
    before, modules = bits(model), list(model.named_modules())
    with pytest.raises(error, match=message):
        merge(model, **options)
    assert identical(
        {k: v.nan_to_num() for k, v in bits(model).items()}, {k: v.nan_to_num() for k, v in before.items()}
    )
    assert list(model.named_modules()) == modules
    assert not merged_layers(model)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("position", [0, -1])
def test_one_broken_layer_and_none_is_merged(value, position):
    model = adapted()
    name, adapter = list(adapters(model).items())[position]
    with torch.no_grad():
        adapter.B[0, 0] = value
    refused(model, ValueError, f"{name} would hold NaN or infinity in torch.float32: nothing was merged")


def test_a_sum_too_large_for_the_dtype_is_refused():
    model = one_layer(torch.ones(2, 2), torch.full((2, 1), 7e4), torch.ones(1, 2), dtype=torch.float16)
    refused(model, ValueError, "0 would hold NaN or infinity in torch.float16")


def test_a_probe_that_does_not_fit_changes_nothing():
    refused(adapted(), ValueError, "exactly one of input_ids or inputs_embeds", probe={"nonsense": tokens()})


def test_disabled_is_not_merged():
    model = adapted()
    with disabled(model):
        refused(model, ValueError, r"query is disabled: merging would switch it on. Leave `disabled` first")
    assert merge(model).names


def test_merging_twice_or_nothing_is_refused():
    model = adapted()
    merge(model)
    with pytest.raises(ValueError, match="nothing to merge: no layer of this model is adapted"):
        merge(model)
    unmerge(model)
    with pytest.raises(ValueError, match=r"nothing to unmerge: this model was not merged \(or has been unmerged"):
        unmerge(model)
    refused(bert(), ValueError, "nothing to merge")


# tied weights


def test_a_tied_embedding_is_refused_with_the_way_out():
    model = adapted(gpt2, ["*.c_attn", "*.wte"])
    refused(model, ValueError, r"share one weight.*: transformer.wte = lm_head. merge\(model, untie=True\) gives")


def test_untied_it_merges_into_its_own_use_only():
    model = adapted(gpt2, "*.wte")
    table, expected = model.lm_head.weight, model(tokens()).logits
    before = bits(model)
    merge(model, untie=True)
    torch.testing.assert_close(model(tokens()).logits, expected, atol=1e-4, rtol=1e-4)
    assert model.lm_head.weight is table
    assert model.transformer.wte.weight is not table
    unmerge(model)
    assert model.transformer.wte.base.weight is model.lm_head.weight is table
    assert identical(bits(model), before)


def test_a_tie_with_a_weight_of_the_model_itself_is_seen():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(9, 4)
            self.out = self.embedding.weight

        def forward(self, ids):
            return self.embedding(ids) @ self.out.T

    model = Tied()
    adapt(model, LoRA, "embedding", rank=2)
    refused(model, ValueError, "share one weight.*: the model itself = embedding")


def test_a_tie_elsewhere_is_nobodys_business():
    model = adapted(gpt2, "*.c_attn")
    assert len(merge(model).names) == 2


def test_unmerging_after_a_layer_was_replaced_is_refused():
    model = adapted()
    merge(model)
    name = next(iter(merged_layers(model)))
    model.set_submodule(name, nn.Linear(16, 16))
    before = bits(model)
    with pytest.raises(ValueError, match=rf"replaced after the merge: \['{name}'\]; put them back first"):
        unmerge(model)
    assert identical(bits(model), before)
