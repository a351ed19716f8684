"""Latency is what a clock says of single forward passes, by turns, and nothing is left changed."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from lorakit import LoRA, adapt, merge
from lorakit.accounting import Latency, latencies, latency, latency_rows, latency_table, step_latencies


class Sleeper(nn.Module):
    """Takes so many seconds, and tells a diary what it was called with and how."""

    def __init__(self, seconds=0.0, diary=None, name=""):
        super().__init__()
        self.seconds, self.diary, self.name = seconds, [] if diary is None else diary, name
        self.dropout = nn.Dropout(0.5)

    def forward(self, x=None, scale=1.0):
        self.diary.append((self.name, self.training, torch.is_grad_enabled(), torch.get_num_threads(), scale))
        time.sleep(self.seconds)


def test_mean_and_sd_are_of_single_passes():
    found = latency(Sleeper(0.01), torch.zeros(1), trials=5, warmup=1)
    assert found.trials == 5
    assert found.ms.shape == (5,)
    assert 10 <= found.ms.min() <= found.mean < 100
    assert found.sd == pytest.approx(np.std(found.ms, ddof=1))
    made = Latency(np.array([1.0, 2.0, 6.0]), 1)
    assert (made.mean, made.median) == (3.0, 2.0)
    assert made.sd == pytest.approx(7**0.5)
    assert repr(made) == "Latency(3.0 ± 2.6 ms, 3 trials, 1 thread)"
    assert repr(Latency(np.array([1.0, 1.0]), 2, processor=True)).endswith("ms of processor time, 2 trials, 2 threads)")


def test_the_warm_up_is_not_counted():
    model = Sleeper()
    assert latency(model, torch.zeros(1), trials=4, warmup=3).trials == 4
    assert len(model.diary) == 7


def test_passes_are_in_eval_mode_without_gradients_on_the_threads_asked_for_and_all_is_put_back():
    model, before = Sleeper().train(), torch.get_num_threads()
    found = latency(model, {"x": torch.zeros(1), "scale": 2.0}, trials=2, warmup=0, threads=before + 1)
    assert model.diary == 2 * [("", False, False, before + 1, 2.0)]
    assert found.threads == before + 1
    assert model.training
    assert model.dropout.training
    assert torch.get_num_threads() == before
    assert latency(model, torch.zeros(1), trials=2, threads=None).threads == before


def test_threads_and_modes_are_put_back_when_a_model_fails():
    model, before = nn.Linear(2, 2).train(), torch.get_num_threads()
    with pytest.raises(RuntimeError):
        latency(model, torch.zeros(3), threads=before + 1)
    assert model.training
    assert torch.get_num_threads() == before


def test_models_take_turns_in_another_order_each_round():
    diary = []
    latencies({name: Sleeper(diary=diary, name=name) for name in "abc"}, torch.zeros(1), trials=3, warmup=0)
    assert "".join(entry[0] for entry in diary) == "abcbcacab"


def test_a_ratio_is_the_median_within_rounds():
    base, slow = Latency(np.array([1.0, 10.0, 1.0]), 1), Latency(np.array([2.0, 30.0, 2.0]), 1)
    assert slow.ratio(base) == 2.0
    with pytest.raises(ValueError, match="given 3 and 1 of them: measure both at once"):
        slow.ratio(Latency(np.array([1.0]), 1))


def test_processor_time_leaves_waiting_out():
    assert latency(Sleeper(0.02), torch.zeros(1), trials=3, processor=True).mean < 10


def test_lora_costs_time_until_it_is_merged():
    torch.manual_seed(0)
    frozen, adapted, merged = (nn.ModuleDict({"a": nn.Linear(64, 64)}) for _ in range(3))
    for model in (adapted, merged):
        adapt(model, LoRA, "a", rank=4)
    merge(merged)
    models = {"frozen": frozen["a"], "adapted": adapted["a"], "merged": merged["a"]}
    found = latencies(models, torch.randn(4, 64), trials=50, processor=True)
    assert found["adapted"].ratio(found["frozen"]) > 1.5
    assert found["merged"].ratio(found["adapted"]) < 1 / 1.5


class Loss(nn.Module):
    """A layer and a frozen one under dropout, with a loss; its diary says the modes of both."""

    def __init__(self):
        super().__init__()
        self.trains, self.frozen = nn.Linear(3, 1), nn.Sequential(nn.Linear(3, 3).requires_grad_(False), nn.Dropout())
        self.diary = []

    def forward(self, x):
        self.diary.append((torch.is_grad_enabled(), self.trains.training, self.frozen[1].training))
        return SimpleNamespace(loss=self.trains(self.frozen(x)).mean())


def test_a_step_is_timed_in_the_modes_of_training_and_learns_nothing():
    model = Loss().eval()
    before = model.trains.weight.clone()
    found = step_latencies({"one": model, "same": model}, {"x": torch.ones(2, 3)}, trials=3, warmup=1)
    assert [one.trials for one in found.values()] == [3, 3]
    assert model.diary == 8 * [(True, True, False)]
    assert torch.equal(model.trains.weight, before)
    assert model.trains.weight.grad is None
    assert not any(module.training for module in model.modules())


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match=r"trials ≥ 2.*given \['model'\], trials=1"):
        latency(Sleeper(), torch.zeros(1), trials=1)
    with pytest.raises(ValueError, match="give a model"):
        latencies({}, torch.zeros(1))
    with pytest.raises(ValueError, match="shapes and nothing to compute"):
        latency(nn.Linear(2, 2, device="meta"), torch.zeros(2))


def test_rows_and_table_1_by_hand():
    """A ratio pairs the rounds: 2, 3 and 2 times the first model's, though the means are 11.3 and 4."""
    merged, slow = Latency(np.array([1.0, 10.0, 1.0]), 1), Latency(np.array([2.0, 30.0, 2.0]), 1)
    rows = latency_rows({"merged": merged, "Adapter-L": slow}, batch=4, length=16)
    assert rows == [
        {"model": "merged", "batch": 4, "length": 16, "ms": 4.0, "sd": 5.2, "ratio": 1.0, "trials": 3},
        {"model": "Adapter-L", "batch": 4, "length": 16, "ms": 11.3, "sd": 16.2, "ratio": 2.0, "trials": 3},
    ]
    more = [{**rows[0], "batch": 1}]
    assert latency_table(rows + more).splitlines() == [
        "ms                   4 × 16     1 × 16",
        "merged            4.0 ± 5.2  4.0 ± 5.2",
        "Adapter-L    11.3 (+100.0%)",
    ]


def test_a_table_of_nothing():
    with pytest.raises(ValueError, match="a table of no rows: give what latency_rows returned"):
        latency_table([])
