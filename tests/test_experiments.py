"""The shipped experiments compare like with like, and count nothing that was cut short."""

from types import SimpleNamespace

import pytest
import torch
from transformers import BertConfig

from benchmarks import experiments, recipe, summary
from lorakit import adapt
from lorakit.accounting import count
from lorakit.data import results
from lorakit.history import History
from lorakit.models import MeanPooledClassifier
from lorakit.sweeps import name_of

SIZES = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12, "num_hidden_layers": 6}
OWN = ("method", "where", "init", "order", "task", "lr", "best", "keep")


def planned(experiment):
    """The settings of every run of an experiment, as if each had been done equally well."""
    seen = []

    def go(settings):
        seen.extend(settings)
        return [{**one, "validation": 0.5} for one in settings]

    experiment(go)
    return seen


def parameters(settings):
    """What one run trains beside the head, counted on a MiniLM without numbers."""
    with torch.device("meta"):
        model = MeanPooledClassifier(BertConfig(**SIZES))
    if settings["method"]:
        options = {key: value for key, value in settings.items() if key not in OWN}
        adapt(model, settings["method"], [f"*{end}" for end in settings["where"].split()], **options)
    return count(model).trained - 770


def test_no_experiment_runs_a_thing_twice():
    for experiment in experiments.EXPERIMENTS:
        names = [name_of(settings) for settings in planned(experiment)]
        assert len(names) == len(set(names)) > 0


def test_alpha_is_the_same_at_every_rank():
    runs = planned(experiments.rank) + planned(experiments.seeds) + planned(experiments.targets)
    assert {run["alpha"] for run in runs} == {16}
    assert {run["lr"] for run in runs} == {3e-3}
    assert {run["rank"] for run in planned(experiments.rank)} == {1, 2, 4, 8, 64}


def test_the_two_seeds_are_crossed():
    runs = planned(experiments.seeds)
    cells = {(run["rank"], run["init"], run["order"]) for run in runs}
    assert cells == {(rank, init, order) for rank in (8, 64) for init in (0, 1) for order in (0, 1)}


def test_budgets_are_what_they_are_said_to_be():
    budgets = {run["where"]: parameters(run) for run in planned(experiments.targets)}
    assert len(budgets) == 8
    assert budgets.pop(experiments.EVERYWHERE) == 41_472
    assert set(budgets.values()) == {36_864}
    sizes = {str(run["method"].__name__): parameters(run) for run in planned(experiments.methods)[::-1]}
    assert sizes == {"FusedLoRA": 73_728, "BitFit": 25_728, "Houlsby": 78_432, "Lin": 80_736, "Prefix": 73_728}
    assert parameters(planned(experiments.full)[0]) > 22_000_000


def test_the_learning_rate_is_chosen_on_validation_at_one_seed():
    scores = {1e-3: (0.7, 0.9), 3e-3: (0.8, 0.1)}
    asked = []

    def go(settings):
        asked.extend(settings)
        return [{**one, "validation": scores[one["lr"]][0], "test": scores[one["lr"]][1]} for one in settings]

    rows = experiments.tuned(go, [{"method": None}], list(scores))
    assert [(one["lr"], one["init"], one["order"]) for one in asked] == [
        (1e-3, 0, 0),
        (3e-3, 0, 0),
        (3e-3, 1, 1),
        (3e-3, 2, 2),
    ]
    assert [row["best"] for row in rows] == [False, True, True, True]


def test_training_that_was_cut_short_is_no_result(monkeypatch, tiny, tmp_path):
    corpus = SimpleNamespace(labels=("a", "b"), batches=lambda *_, **__: [])
    monkeypatch.setattr(recipe, "load_task", lambda name: corpus)
    monkeypatch.setattr(recipe, "load_classifier", lambda *_, **__: (tiny.bert(), None))
    monkeypatch.setattr(recipe, "train", lambda *_, **__: History.of([], "interrupted"))
    with pytest.raises(KeyboardInterrupt, match="cut short after 0 steps"):
        recipe.run(task="movies", method=None, where="", lr=1e-3, init=0, order=0, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_intervals_over_seeds_and_over_rows():
    half = 4.3027 * 0.01 / 3**0.5
    assert summary.over_seeds([0.83, 0.84, 0.85]) == f"{0.84 - half:.3f} to {0.84 + half:.3f}"
    assert summary.over_seeds([0.848, 0.848]) == "too few seeds"
    row = {"rank": 8, "test": 0.84, "test_rows": 1029, "validation": 0.85, "trained": 1234}
    (_, _, line) = summary.means([row], "rank")
    assert line == "| 8 | 1,234 | 0.850 | 0.840 | 0.840 | 0.816 to 0.861 | too few seeds |"


def test_the_readme_of_the_results_says_what_the_tables_say():
    said = (results._home() / "README.md").read_text(encoding="utf-8").splitlines()
    missing = [line for line in summary.means(results.table("rank"), "task", "rank") if line not in said]
    assert missing == []
