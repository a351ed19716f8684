"""Parameters counted by pattern add up to the model, and LoRA's are the paper's 2·L̂·d·r."""

import torch
from torch import nn

from lorakit import LoRA, adapt
from lorakit.about import versions
from lorakit.accounting import Count, by_pattern, count


def blocks(layers=3, d=6):
    block = lambda: nn.ModuleDict({"query": nn.Linear(d, d), "norm": nn.LayerNorm(d)})  # noqa: E731
    return nn.ModuleDict({"table": nn.Embedding(10, d), "layer": nn.ModuleList(block() for _ in range(layers))})


def test_groups_add_up_and_are_patterns_that_adapt_understands():
    model = blocks()
    groups = by_pattern(model)
    assert groups == {"table": Count(60, 60), "layer.*.query": Count(126, 126), "layer.*.norm": Count(36, 36)}
    assert sum(group.total for group in groups.values()) == count(model).total
    assert adapt(model, LoRA, "layer.*.query", rank=2) == ["layer.0.query", "layer.1.query", "layer.2.query"]


def test_an_adapted_model_trains_2_L_d_r_parameters_and_keeps_its_names():
    model = blocks(layers=3, d=6)
    adapt(model, LoRA, "layer.*.query", rank=2)
    assert count(model).trained == 2 * 3 * 6 * 2
    assert by_pattern(model)["layer.*.query"] == Count(126 + 72, 72)
    assert sum(group.total for group in by_pattern(model).values()) == count(model).total


def test_a_shared_weight_is_counted_once():
    model = nn.ModuleDict({"embed": nn.Embedding(10, 4), "head": nn.Linear(4, 10, bias=False)})
    model["head"].weight = model["embed"].weight
    assert count(model).total == 40
    assert by_pattern(model) == {"embed": Count(40, 40)}


def test_counts_say_what_share_trains():
    assert repr(Count(1000, 5)) == "5 of 1,000 parameters train (0.50%)"
    assert Count(0, 0).share == 0.0


def test_versions_name_what_is_installed():
    found = versions()
    assert found["torch"] == torch.__version__
    assert found["lorakit"] != "missing"
