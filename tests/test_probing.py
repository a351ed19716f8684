"""From a model to what analysis asks for: the model's own numbers, and the model left as it was."""

import pytest
import torch

from lorakit import LoRA, adapt, deltas
from lorakit.analysis import gradient_probe, intrinsic_dimension, truncation
from lorakit.data import planted
from lorakit.geometry import weight_of
from lorakit.probing import averaged, gradients, in_subspace, quality


@pytest.fixture
def model(tiny):
    model = tiny.bert()
    adapt(model, LoRA, ["*.query", "*.value"], rank=2, alpha=4)
    tiny.stir(model)
    return model


def batch(tiny, rows=4, seed=0):
    return {"input_ids": tiny.tokens(rows, seed=seed), "labels": torch.arange(rows) % 2}


def test_quality_is_the_models_with_these_changes_in_place(model, tiny):
    one = batch(tiny)
    logit = quality(model, lambda model: float(model(**one).logits.detach()[0, 0]))
    own = float(model(**one).logits.detach()[0, 0])
    cut = truncation(logit, deltas(model), ranks=(0, 1, 2), seeds=())
    assert cut.full == pytest.approx(own, abs=1e-5)
    assert len({round(value, 6) for value in cut.quality}) == 3
    assert float(model(**one).logits.detach()[0, 0]) == own, "the model is left as it was"


@pytest.mark.parametrize("build", ["bert", "gpt2"])
def test_gradients_are_autograds_own_as_out_in(tiny, build):
    model = getattr(tiny, build)()
    one = batch(tiny) if build == "bert" else {"input_ids": tiny.tokens(), "labels": tiny.tokens()}
    where = "*.dense" if build == "bert" else "*.c_*"
    (found,) = gradients(model, [one], where)
    assert all(p.grad is None for p in model.parameters())
    model(**one).loss.backward()
    for name, G in found.items():
        layer = model.get_submodule(name)
        assert G.shape == weight_of(layer).shape
        expected = layer.weight.grad.mT if build == "gpt2" else layer.weight.grad
        torch.testing.assert_close(G, expected)


def test_a_frozen_models_gradients_are_found_and_it_stays_frozen(model, tiny):
    before = {name: p.requires_grad for name, p in model.named_parameters()}
    assert not model.bert.encoder.layer[0].attention.self.query.base.weight.requires_grad
    model.train()
    (found,) = gradients(model, [batch(tiny)], "*.query")
    assert list(found) == [f"bert.encoder.layer.{n}.attention.self.query" for n in range(2)]
    assert {name: p.requires_grad for name, p in model.named_parameters()} == before
    assert model.training, "it is left in the mode it was in"


def test_shuffled_labels_are_the_same_labels_in_another_order(tiny):
    model, one = tiny.bert(), batch(tiny, rows=6)
    seen = []
    model.register_forward_pre_hook(lambda _m, _a, given: seen.append(given), with_kwargs=True)
    (first,), (again,) = (list(gradients(model, [one], "*.query", shuffled=3)) for _ in range(2))
    (straight,) = gradients(model, [one], "*.query")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], straight[name]) for name in first)
    assert torch.equal(seen[0]["input_ids"], one["input_ids"])
    assert torch.equal(seen[0]["labels"].sort().values, one["labels"].sort().values)


def test_one_draw_of_chance_is_the_mean_of_its_batches(tiny):
    model, both = tiny.bert(), [batch(tiny, seed=seed) for seed in (0, 1)]
    one, two = gradients(model, both, "*.query")
    mean = averaged(gradients(model, both, "*.query"))
    assert all(torch.allclose(mean[name], (one[name] + two[name]) / 2) for name in one)


def test_a_pattern_that_matches_nothing(tiny):
    with pytest.raises(ValueError, match=r"no linear layer matches \['\*.nothing'\]; there are"):
        next(gradients(tiny.bert(), [batch(tiny)], "*.nothing"))


def test_the_planted_rank_is_in_the_gradient():
    task = planted(rank=3, inputs=24, outputs=24, noise=0.05)
    assert gradient_probe(gradients(task.model, task.batches(), "linear")).directions.tolist() == [3]


def test_a_random_subspace_holds_its_share_whatever_the_rank():
    """Of a linear task with one solution, d random dimensions of D hold d/D: low rank is not low dimension."""
    task = planted(rank=2, inputs=12, outputs=12)
    missing = task.model(*task.test).loss.item()
    fresh = lambda: planted(rank=2, inputs=12, outputs=12).model  # noqa: E731
    learned = lambda model: 1 - model(*task.test).loss.item() / missing  # noqa: E731
    score = in_subspace(fresh, task.batches(batch_size=1024), learned, steps=80, lr=0.05)
    assert score(0, 0) == 0
    assert score(72, 0) == pytest.approx(0.5, abs=0.15)
    found = intrinsic_dimension(score, 0.9, dimensions=(36, 72, 144), seeds=(0,))
    assert found.dimension == 144
