"""The loop against one written out by hand, cut in every way it may be cut, and stopped in every way it may stop."""

import contextlib
import math
import os
import random
import socket
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch
from conftest import bert, gpt2, stir, tokens
from torch import nn

from lorakit import LoRA, adapt, adapters, trainable_state
from lorakit.layers import trainable_parameters
from lorakit.modes import settle
from lorakit.training import Diverged, constant, cosine, evaluate, linear, train

QUIET = {"progress": False}


def classified(batches: int = 3, rows: int = 4, seed: int = 0, **options) -> tuple[nn.Module, list[dict]]:
    """A tiny classifier with LoRA on query and value, and batches of labelled token ids."""
    model = bert(**options)
    adapt(model, LoRA, ["*.query", "*.value"], keep="classifier", rank=2)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (batches, rows), generator=generator)
    data = [{"input_ids": tokens(rows, 6, seed=i), "labels": labels[i]} for i in range(batches)]
    return model, data


def spoken(counts=(6, 2, 5, 3), rows: int = 2) -> tuple[nn.Module, list[dict]]:
    """A tiny language model with LoRA, and batches whose rows have uneven numbers of labels."""
    model = gpt2()
    adapt(model, LoRA, "*.c_attn", rank=2, parts=(True, False, True))
    data = []
    for i, count in enumerate(counts):
        ids = tokens(rows, 8, seed=i)
        data.append({"input_ids": ids, "labels": torch.where(torch.arange(8) < count, ids, -100)})
    return model, data


def alike(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def columns(history) -> np.ndarray:
    return np.stack([history.loss, history.lr, history.grad_norm])


class Scalar(nn.Module):
    """loss = mean of w·x over the batch: its gradient is the mean of x."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0]))

    def forward(self, x):
        return (self.w * x).mean()


def direct(model, batch):
    return model(batch)


# what it computes


@pytest.mark.parametrize(
    ("schedule", "formula"), [(cosine, None), (linear, lambda p: 1 - p), (constant, lambda p: 1.0)]
)
def test_the_curve_is_that_of_a_loop_by_hand(schedule, formula):
    formula = formula or (lambda p: (1 + math.cos(math.pi * p)) / 2)
    model, data = classified()
    history = train(model, data, steps=7, lr=0.02, schedule=schedule, warmup=0.3, weight_decay=0.1, clip=0.5, **QUIET)

    other, data = classified()
    trained = [p for p in other.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.02, weight_decay=0.1)
    rising = lambda i: (i + 1) / 2 if i < 2 else formula((i - 1) / 5)  # noqa: E731
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, rising)
    expected = []
    for i in range(7):
        optimizer.zero_grad()
        loss = other(**data[i % 3]).loss
        loss.backward()
        norm = nn.utils.clip_grad_norm_(trained, 0.5)
        expected.append((loss.item(), optimizer.param_groups[0]["lr"], norm.item()))
        optimizer.step()
        rates.step()
    np.testing.assert_array_equal(columns(history)[[0, 2]], np.array(expected).T[[0, 2]])
    np.testing.assert_allclose(history.lr, np.array(expected).T[1], rtol=1e-12, atol=1e-18)
    assert alike(trainable_state(model), trainable_state(other))
    assert history.ended == "finished"
    assert (history.seconds > 0).all()


def test_it_learns():
    model, data = classified()
    history = train(model, data, steps=60, lr=0.05, **QUIET)
    assert history.loss[-3:].mean() < 0.2 * history.loss[:3].mean()
    assert evaluate(model, data).accuracy == 1.0
    assert repr(history).startswith(
        f"History(60 steps finished in {history.seconds.sum():.1f} s, loss {history.loss[0]:.3f}"
    )


def test_the_same_call_gives_the_same_bits():
    def run(seed):
        model, data = classified()
        torch.manual_seed(random.randint(0, 1000))
        adapters(model)["bert.encoder.layer.0.attention.self.query"].dropout.p = 0.5
        return columns(train(model, data, steps=5, seed=seed, frozen_dropout=True, **QUIET)), trainable_state(model)

    (first, state), (again, same), (other, _) = run(0), run(0), run(1)
    np.testing.assert_array_equal(first, again)
    assert alike(state, same)
    assert not np.array_equal(first, other)


def test_full_fine_tuning_goes_through_the_same_loop():
    model, data = bert(), classified()[1]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    history = train(model, data, steps=30, lr=0.01, **QUIET)
    assert history.loss[-1] < 0.8 * history.loss[0]
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_only_what_trains_is_changed():
    model, data = classified()
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    before = trainable_state(model)
    train(model, data, steps=4, lr=0.05, **QUIET)
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)
    assert all(not torch.equal(value, before[name]) for name, value in trainable_state(model).items())


@pytest.mark.parametrize("clip", [0.1, None])
def test_clipping(clip):
    model = Scalar()
    optimizer = lambda parameters, lr, weight_decay: torch.optim.SGD(parameters, lr=lr)  # noqa: E731
    history = train(
        model, [torch.full((2,), 5.0)], steps=1, lr=1.0, clip=clip, loss=direct, optimizer=optimizer, **QUIET
    )
    assert history.grad_norm[0] == pytest.approx(5.0)
    assert float(model.w.detach()) == pytest.approx(1 - (clip or 5.0), rel=1e-4)


def test_groups_of_an_optimizer_keep_the_ratio_of_their_rates():
    model, data = classified()
    heads = list(model.classifier.parameters())

    def faster(parameters, lr, weight_decay):
        rest = [p for p in parameters if not any(p is head for head in heads)]
        groups = [{"params": rest}, {"params": heads, "lr": 0.0}]
        return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay)

    before = model.classifier.weight.clone()
    train(model, data, steps=3, optimizer=faster, **QUIET)
    assert torch.equal(model.classifier.weight, before)


def test_epochs_are_counted_in_steps():
    assert len(train(*classified(batches=4), epochs=1.5, **QUIET)) == 6
    assert len(train(*classified(batches=4), epochs=1, accumulate=2, **QUIET)) == 2
    assert len(train(*classified(batches=3), steps=5, **QUIET)) == 5


def test_the_last_step_of_a_cosine_is_at_zero():
    history = train(*classified(), steps=11, lr=1.0, warmup=0.1, **QUIET)
    assert history.lr[0] == 1.0
    assert history.lr[-1] == pytest.approx(0, abs=1e-12)
    assert history.lr[5] == pytest.approx((1 + math.cos(math.pi / 2)) / 2)


# how it is cut


def test_accumulated_rows_are_one_batch():
    whole, data = classified(batches=2, rows=16)
    pieces = [{key: tensor[i : i + 4] for key, tensor in batch.items()} for batch in data for i in range(0, 16, 4)]
    cut, _ = classified()
    one = train(whole, data, steps=4, lr=0.02, **QUIET)
    four = train(cut, pieces, steps=4, lr=0.02, accumulate=4, **QUIET)
    np.testing.assert_allclose(columns(four), columns(one), atol=1e-6)


def test_accumulated_batches_are_weighed_by_their_tokens():
    whole, data = spoken()
    cut, _ = spoken()
    together = {key: torch.cat([batch[key] for batch in data]) for key in data[0]}
    one = train(whole, [together], steps=4, lr=0.02, **QUIET)
    four = train(cut, data, steps=4, lr=0.02, accumulate=4, **QUIET)
    np.testing.assert_allclose(columns(four), columns(one), atol=1e-6)
    plain = np.mean([float(gpt2()(**batch).loss.detach()) for batch in data])
    assert abs(four.loss[0] - plain) > 1e-3, "the batches do not tell weighed from unweighed"


def test_a_piece_without_labels_weighs_nothing():
    with_blank, data = spoken()
    without, _ = spoken()
    blank = {"input_ids": tokens(2, 8), "labels": torch.full((2, 8), -100)}
    a = train(with_blank, [data[0], blank], steps=2, accumulate=2, **QUIET)
    b = train(without, [data[0]], steps=2, **QUIET)
    np.testing.assert_allclose(a.loss, b.loss, atol=1e-6)


def test_a_loss_of_ones_own_is_weighed_by_rows():
    def run(batches, accumulate):
        return train(Scalar(), batches, steps=1, accumulate=accumulate, loss=direct, **QUIET)

    whole, cut = run([torch.arange(6.0)], 1), run([torch.arange(2.0), torch.arange(2.0, 6.0)], 2)
    np.testing.assert_allclose([whole.loss[0], whole.grad_norm[0]], [2.5, 2.5], rtol=1e-5)
    np.testing.assert_allclose([cut.loss[0], cut.grad_norm[0]], [2.5, 2.5], rtol=1e-5)


PROCESS = """
    import sys, numpy as np, torch
    torch.set_num_threads(1)
    sys.path.insert(0, {tests!r})
    import test_training as t
    for kind in t.CUTS:
        history, model = t.run_cut(kind)
        from accelerate import PartialState
        assert PartialState().num_processes == 2
        out = sys.argv[1] + kind + str(PartialState().process_index)
        np.save(out + ".npy", t.columns(history))
        torch.save(t.trainable_state(model), out + ".pt")
    torch.distributed.destroy_process_group()
"""

CUTS = ("even", "odd", "single", "tokens", "accumulated")


def run_cut(kind: str):
    """In float64: Adam's first steps are a sign, and would turn rounding into steps."""
    torch.manual_seed(0)
    model, data = spoken(rows=4) if kind == "tokens" else classified(rows=5 if kind == "odd" else 4)
    if kind == "single":  # a batch of one row leaves the second process without any
        data = [data[0], {key: tensor[:1] for key, tensor in data[1].items()}]
    if kind == "tokens":  # no label at all among the rows of the second process
        data[1]["labels"][1::2] = -100
    options = {"accumulate": 2} if kind == "accumulated" else {}
    return train(model.double(), data, steps=4, lr=0.02, **options, **QUIET), model


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Every cut, run by two processes that find each other as `accelerate launch` would have them."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    script = folder / "run.py"
    script.write_text(textwrap.dedent(PROCESS.format(tests=os.path.dirname(__file__))))
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    shared |= {"ACCELERATE_USE_CPU": "true"}
    ranks = [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in (0, 1)]
    command = [sys.executable, str(script), f"{folder}/"]
    running = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for env in ranks]
    try:
        errors = [process.communicate(timeout=240)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], errors[0][-2000:] + errors[1][-2000:]
    return folder


@pytest.mark.parametrize("kind", CUTS)
def test_two_processes_give_the_curve_of_one(kind, two_processes):
    history, model = run_cut(kind)
    first, second = (np.load(two_processes / f"{kind}{rank}.npy") for rank in (0, 1))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, columns(history), atol=1e-6)
    states = [torch.load(two_processes / f"{kind}{rank}.pt") for rank in (0, 1)]
    assert alike(*states)
    for name, value in trainable_state(model).items():
        torch.testing.assert_close(states[0][name], value, atol=1e-6, rtol=0)


def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path):
    bundle = tmp_path / "run.pt"
    whole, data = classified()
    options = {"steps": 6, "lr": 0.02, "frozen_dropout": True, **QUIET}
    expected = train(whole, data, **options)
    first, _ = classified()
    train(first, data, resume=bundle, on_step=lambda step: step.step < 4, **options)
    second, _ = classified()
    stir(second, seed=9)
    resumed = train(second, data, resume=bundle, **options)
    np.testing.assert_array_equal(columns(resumed), columns(expected))
    assert alike(trainable_state(second), trainable_state(whole))
    assert len(train(second, data, resume=bundle, **options)) == 6, "a finished run is not run again"
    other = bert()
    adapt(other, LoRA, "*.key", rank=2)
    with pytest.raises(ValueError, match=r"run.pt is of a run that trained something else: .*query"):
        train(other, data, resume=bundle, **options)


# what it leaves alone


def test_modes_are_restored():
    model, data = classified()
    model.train()
    model.bert.encoder.layer[1].eval()
    before = [module.training for module in model.modules()]
    train(model, data, steps=2, **QUIET)
    assert [module.training for module in model.modules()] == before
    with pytest.raises(ZeroDivisionError):
        train(model, data, steps=2, on_step=lambda step: 1 / 0, **QUIET)
    assert [module.training for module in model.modules()] == before


def test_the_global_random_states_are_untouched():
    states = []
    for work in (False, True):
        torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002
        if work:
            train(*classified(), steps=2, frozen_dropout=True, **QUIET)
        if not work:
            classified()
        states.append((torch.rand(1).item(), np.random.rand(), random.random()))  # noqa: NPY002
    assert states[0] == states[1]


def test_the_models_forward_is_its_own_again():
    model, data = classified()
    train(model, data, steps=2, precision="bf16", **QUIET)
    assert "forward" not in model.__dict__
    assert model(**data[0]).logits.dtype == torch.float32
    history = train(model, data, steps=2, precision="no", **QUIET)
    assert history.ended == "finished"


def test_bf16_is_close_to_float32_and_not_the_same():
    curves = [train(*classified(), steps=3, precision=precision, **QUIET).loss for precision in ("no", "bf16")]
    assert not np.array_equal(*curves)
    np.testing.assert_allclose(*curves, rtol=0.1)


# dropout in what is frozen


def test_settle_trains_what_trains_and_rests_what_is_frozen():
    model, _ = classified()
    adapters(model)["bert.encoder.layer.0.attention.self.query"].dropout.p = 0.5
    settle(model)
    active = {name for name, module in model.named_modules() if module.training and isinstance(module, nn.Dropout)}
    layers = [f"bert.encoder.layer.{i}.attention.self.{m}.dropout" for i in (0, 1) for m in ("query", "value")]
    assert active == set(layers)
    assert model.classifier.training
    assert not model.bert.training


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable")
def test_gradient_checkpointing_is_not_switched_off_by_resting_the_frozen():
    model, data = classified(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    plain = train(classified(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)[0], data, steps=3, **QUIET)
    model.gradient_checkpointing_enable()
    calls = []
    model.bert.encoder.layer[0].attention.self.value.register_forward_hook(lambda *_: calls.append(1))
    history = train(model, data, steps=3, **QUIET)
    assert len(calls) == 6, "each block is computed once forward and once again backward"
    np.testing.assert_array_equal(columns(history), columns(plain))


def test_settle_keeps_dropout_where_everything_trains():
    model = bert()
    settle(model)
    assert all(module.training for module in model.modules())


def test_frozen_dropout_drops_and_is_off_by_default():
    losses = {}
    for on in (False, True):
        model, data = classified(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
        expected = float(model(**data[0]).loss.detach())
        options = {"frozen_dropout": True} if on else {}
        losses[on] = train(model, data, steps=1, **options, **QUIET).loss[0]
    assert losses[False] == expected
    assert abs(losses[True] - expected) > 1e-3


def test_an_adapters_own_dropout_drops_either_way():
    for on in (False, True):
        model = bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        adapt(model, LoRA, "*.query", rank=2, dropout=0.5)
        stir(model)
        data = classified()[1]
        expected = float(model(**data[0]).loss.detach())
        assert train(model, data, steps=1, frozen_dropout=on, **QUIET).loss[0] != expected


# how it stops


def test_on_step_sees_each_step_and_may_stop():
    model, data = classified()
    seen = []

    def look(step):
        seen.append(step)
        return None if step.step < 3 else False

    history = train(model, data, steps=9, on_step=look, **QUIET)
    assert history.ended == "stopped"
    assert [step.step for step in seen] == [1, 2, 3]
    np.testing.assert_array_equal([step.loss for step in seen], history.loss)
    np.testing.assert_array_equal([step.grad_norm for step in seen], history.grad_norm)
    assert len(train(*classified(), steps=3, on_step=lambda step: 0, **QUIET)) == 3, "only False stops"


def interrupting(model, at: int):
    """Raise what the stop button raises, in the middle of the forward pass `at`."""
    calls = iter(range(1, 1000))

    def stop(*_):
        if next(calls) == at:
            raise KeyboardInterrupt

    return model.classifier.register_forward_hook(stop)


@pytest.mark.parametrize("where", ["on_step", "model"])
def test_an_interrupt_keeps_what_was_learned(where):
    def stop(step):
        if where == "on_step" and step.step == 2:
            raise KeyboardInterrupt

    model, data = classified()
    hook = interrupting(model, 3) if where == "model" else contextlib.nullcontext()
    with hook:
        history = train(model, data, steps=9, on_step=stop, **QUIET)
    expected, _ = classified()
    train(expected, data, steps=9, on_step=lambda step: step.step < 2, **QUIET)
    assert history.ended == "interrupted"
    assert len(history) == 2
    assert alike(trainable_state(model), trainable_state(expected))
    assert not any(module.training for module in model.modules())


def test_an_interrupted_step_leaves_no_gradient_behind():
    model, data = classified()
    with interrupting(model, 2):  # one of two accumulated batches is done
        train(model, data, steps=3, accumulate=2, **QUIET)
    fresh, _ = classified()
    np.testing.assert_array_equal(
        columns(train(model, data, steps=2, **QUIET)), columns(train(fresh, data, steps=2, **QUIET))
    )


def test_gradients_from_before_do_not_count():
    model, data = classified()
    model(**data[1]).loss.backward()
    fresh, _ = classified()
    np.testing.assert_array_equal(
        columns(train(model, data, steps=2, **QUIET)), columns(train(fresh, data, steps=2, **QUIET))
    )


def poisoned(at: int):
    calls = iter(range(1, 1000))

    def loss(model, batch):
        value = model(**batch).loss
        return value * math.nan if next(calls) == at else value

    return loss


def test_a_loss_that_is_not_a_number_stops_with_the_step():
    model, data = classified()
    with pytest.raises(
        Diverged, match=r"the loss is not a number at step 3: the learning rate is likely too high"
    ) as caught:
        train(model, data, steps=9, lr=1e-3, loss=poisoned(3), **QUIET)
    expected, _ = classified()
    until = train(expected, data, steps=9, lr=1e-3, loss=poisoned(99), on_step=lambda s: s.step < 2, **QUIET)
    assert alike(trainable_state(model), trainable_state(expected))
    np.testing.assert_array_equal(caught.value.history.loss, until.loss)
    assert caught.value.history.ended == "diverged"
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_a_gradient_that_is_not_a_number_never_reaches_the_weights():
    """√ has a finite value and an infinite slope at 0: the loss looks well and the step would ruin the weights."""

    def loss(model, batch):
        return model(**batch).loss + (0 * model.classifier.weight.sum()).sqrt() * 0

    model, data = classified()
    before = trainable_state(model)
    with pytest.raises(Diverged, match=r"gradient is not a number at step 1"):
        train(model, data, steps=3, loss=loss, **QUIET)
    assert alike(trainable_state(model), before)


def test_the_cause_is_named():
    batch = torch.tensor([1.0, math.nan])
    with pytest.raises(Diverged, match="step 1: the batch holds NaN or infinity in 'batch'"):
        train(Scalar(), [batch], steps=2, loss=direct, **QUIET)
    model, data = classified()
    with torch.no_grad():
        model.bert.pooler.dense.weight[0, 0] = math.nan
    with pytest.raises(Diverged, match=r"step 1: the model came with NaN or infinity in bert.pooler.dense.weight"):
        train(model, data, steps=2, **QUIET)


# what does not move


def test_what_no_gradient_reaches_is_named():
    model, data = classified()
    model.unused = nn.Linear(3, 3)
    with pytest.warns(UserWarning, match=r"no gradient reached unused.bias, unused.weight in the first 3 steps"):
        train(model, data, steps=4, **QUIET)


def test_checkpointing_that_cuts_the_graph_is_named():
    """Re-entrant checkpointing of a block whose inputs need no gradient trains nothing inside it, in silence."""
    from torch.utils.checkpoint import checkpoint

    model, data = classified()
    for layer in model.bert.encoder.layer:
        plain = layer.forward
        layer.forward = lambda *args, plain=plain, **kwargs: checkpoint(
            lambda x: plain(x, *args[1:], **kwargs), args[0].detach(), use_reentrant=True
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(model, data, steps=3, **QUIET)
    texts = [str(warning.message) for warning in caught if warning.filename == __file__]
    assert any("no gradient reached bert.encoder.layer.0.attention.self.query.A" in text for text in texts)
    assert any("gradient checkpointing" in text and "2 more" in text for text in texts)


def test_nothing_is_said_where_everything_moves():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(*classified(), steps=4, **QUIET)


def test_b_moves_first_and_a_is_not_blamed():
    """At the first step B is zero, so A has a gradient of zero: three steps are waited for."""
    model, data = classified()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, data, steps=3, lr=1e-2, **QUIET)


# what is refused


def test_nothing_to_train():
    model, data = bert().requires_grad_(False), classified()[1]
    with pytest.raises(ValueError, match=r"every parameter is frozen. adapt\(model, …\) or unfreeze something"):
        train(model, data, steps=1, **QUIET)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "steps or epochs, one of the two; given steps=None, epochs=None"),
        ({"steps": 2, "epochs": 1}, "given steps=2, epochs=1"),
        ({"steps": 0}, "at least one step of at least one batch; given 0 steps of 1"),
        ({"steps": -3}, "given -3 steps"),
        ({"epochs": 0.1}, "given 0 steps"),
        ({"steps": 2, "accumulate": 0}, "given 2 steps of 0"),
        ({"epochs": 1, "accumulate": 0}, "steps of 0"),
    ],
)
def test_steps_that_make_no_run(options, message):
    model, data = classified()
    before = trainable_state(model)
    with pytest.raises(ValueError, match=message):
        train(model, data, **options, **QUIET)
    assert alike(trainable_state(model), before)


def test_batches_that_run_out():
    model, data = classified()
    with pytest.raises(ValueError, match=r"there are no \(more\) batches: give a list"):
        train(model, iter(data), steps=9, **QUIET)
    with pytest.raises(ValueError, match="epochs need batches with a length; give steps"):
        train(model, iter(data), epochs=1, **QUIET)
    with pytest.raises(ValueError, match=r"there are no \(more\) batches"):
        train(model, [], steps=1, **QUIET)
    assert len(train(model, iter(data), steps=3, **QUIET)) == 3


def test_batches_without_labels_need_a_loss():
    model, data = classified()
    with pytest.raises(ValueError, match=r"no 'labels' in .*input_ids.*loss="):
        train(model, [{"input_ids": data[0]["input_ids"]}], steps=1, **QUIET)


# evaluation


def test_evaluating_a_classifier_by_hand():
    model, data = classified(batches=2, rows=5)
    data[1] = {key: tensor[:2] for key, tensor in data[1].items()}
    data[0]["labels"][1] = -100
    stir(model)
    result = evaluate(model.train(), data)
    model.eval()
    logits = torch.cat([model(batch["input_ids"]).logits for batch in data]).detach()
    labels = torch.cat([batch["labels"] for batch in data])
    counted = labels != -100
    chosen = torch.log_softmax(logits[counted].double(), -1)[torch.arange(6), labels[counted]]
    assert result.count == 6
    assert result.loss == pytest.approx(float(-chosen.mean()), rel=1e-5)
    assert result.accuracy == pytest.approx(float((logits.argmax(-1) == labels)[counted].double().mean()))


def test_evaluating_a_language_model_by_hand():
    model, data = spoken()
    stir(model)
    result = evaluate(model, data)
    losses, right = [], []
    for batch in data:
        logits = model(batch["input_ids"]).logits.detach().double()
        for row, labels in zip(logits, batch["labels"], strict=True):
            for position in range(7):
                if labels[position + 1] != -100:
                    losses.append(-float(torch.log_softmax(row[position], -1)[labels[position + 1]]))
                    right.append(int(row[position].argmax() == labels[position + 1]))
    assert result.count == len(losses) == sum(2 * (count - 1) for count in (6, 2, 5, 3))
    assert result.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert result.accuracy == pytest.approx(np.mean(right))


def test_evaluating_leaves_modes_and_gradients_alone():
    model, data = classified()
    model.train()
    model.bert.eval()
    before = [module.training for module in model.modules()]
    evaluate(model, data)
    assert [module.training for module in model.modules()] == before
    assert all(p.grad is None for _, p in trainable_parameters(model))


def test_a_batch_without_labels_does_not_spoil_the_mean():
    model, data = spoken()
    blank = {"input_ids": tokens(2, 8), "labels": torch.full((2, 8), -100)}
    alone, mixed = evaluate(model, data), evaluate(model, [*data, blank])
    assert mixed.loss == alone.loss
    assert mixed.count == alone.count
    with pytest.raises(ValueError, match="nothing to evaluate: the batches hold no label that is not -100"):
        evaluate(model, [blank])


def test_the_interval_is_wilsons():
    from scipy.stats import binomtest

    from lorakit.evaluation import Evaluation

    for right, count in ((0, 10), (7, 10), (841, 1007), (10, 10)):
        low, high = Evaluation(0.0, right / count, count).interval
        expected = binomtest(right, count).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-4)
    assert repr(Evaluation(0.5, 0.7, 10)) == "Evaluation(accuracy 0.700 [0.397, 0.892], loss 0.500, n=10)"
