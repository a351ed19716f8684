"""What is shipped in data/results is whole, says what its files say, and is found."""

import json

import pytest

from lorakit.checkpoints import load, read
from lorakit.data import load_task, results
from lorakit.delta import LowRank, norm
from lorakit.sweeps import done, name_of

OTHERWISE = {"latency", "gap"}  # made by a clock, or by several runs together
TABLES = sorted({path.stem for path in results._home().glob("*.csv")} - OTHERWISE)


def shown(row):
    return {key: value for key, value in row.items() if value not in ("", None) and not isinstance(value, list)}


def test_every_run_is_whole_and_called_by_its_settings():
    for row in results.runs():
        record = json.loads((row["folder"] / "result.json").read_text())
        assert row["folder"].name == name_of(record["settings"])
        assert done([record["settings"]], row["folder"].parent), row["folder"].name


@pytest.mark.parametrize("name", TABLES)
def test_a_table_says_what_its_runs_say(name):
    found = {json.dumps(shown({**row, "folder": None}), sort_keys=True) for row in results.runs()}
    for row in results.table(name):
        row.pop("best", None)  # chosen among the runs
        assert json.dumps(shown(row), sort_keys=True) in found


def test_the_gap_is_what_lies_between_two_accuracies():
    rows = results.table("gap")
    full = {row["seed"]: row["accuracy"] for row in rows if row["contestant"] == "full"}
    assert [row["contestant"] for row in rows[:4]] == [row["contestant"] for row in rows[4:8]]
    assert sorted(full) == [0, 1, 2]
    for row in rows:
        assert row["behind"] == pytest.approx(full[row["seed"]] - row["accuracy"], abs=2e-6)
        assert row["two_errors"] >= abs(row["behind"]) / row["rows"] ** 0.5


def test_the_latencies_are_of_every_model_at_every_point_and_the_null_is_noise():
    from benchmarks.latency import AGAIN, MERGED, METHODS, POINTS

    rows = results.table("latency")
    models, points = [MERGED, *METHODS, AGAIN], {(row["batch"], row["length"]) for row in rows}
    assert points == set(POINTS), "a grid, for two sliders"
    assert [row["model"] for row in rows] == models * len(points)
    assert all(row["ratio"] == 1 for row in rows if row["model"] == MERGED)
    assert all(abs(row["ratio"] - 1) < 0.02 for row in rows if row["model"] == AGAIN)
    assert {row["model"]: row["parameters"] for row in rows} == dict(zip(models, [0, 393216, 11089152, 11064576, 0]))


def test_what_ships_is_small():
    sizes = [path.stat().st_size for path in results._home().rglob("[!.]*") if path.is_file()]
    assert sum(sizes) < 15e6


def test_an_unknown_table():
    with pytest.raises(ValueError, match=r"no table is called 'ranks'; there are .*rank"):
        results.table("ranks")


def test_cells_are_what_they_were(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "_home", lambda: tmp_path)
    (tmp_path / "odd.csv").write_text('a,b,c,d,e,f\n1,1.0,3e-05,True,,"query, value"\n')
    assert results.table("odd") == [dict(a=1, b=1.0, c=3e-5, d=True, e=None, f="query, value")]
    assert [type(value) for value in results.table("odd")[0].values()][:2] == [int, float]


def test_an_adapter_is_chosen_by_its_settings():
    place = results.adapter(rank=8, seed=0)
    assert place == results.adapter(rank=8, init=0, order=0)
    found = read(place)
    assert len(found) == 12
    assert {delta.shape for delta in found.values()} == {(384, 384)}
    assert all(isinstance(delta, LowRank) and delta.rank == 8 and norm(delta) > 0 for delta in found.values())
    row = json.loads((place / "result.json").read_text())
    assert row["settings"] | {"rank": 8, "init": 0, "order": 0, "task": "movies"} == row["settings"]


def test_none_or_several_adapters():
    with pytest.raises(ValueError, match=r"0 adapters have .*'rank': 7.*they differ in .*'rank': \[1, .*64\]"):
        results.adapter(rank=7, seed=0)
    with pytest.raises(ValueError, match=r"[2-9] adapters have .*'rank': 8.*they differ in .*'init': \[0, 1"):
        results.adapter(rank=8)


@pytest.mark.model
def test_a_shipped_adapter_scores_on_minilm_what_its_file_says():
    from lorakit.models import load_classifier
    from lorakit.training import evaluate

    model, tokenizer = load_classifier("minilm", labels=2, seed=7)
    place = results.adapter(rank=1, seed=0)
    load(model, place)
    measured = evaluate(model, load_task("movies").batches("test", tokenizer, 64))
    told = json.loads((place / "result.json").read_text())["result"]
    assert measured.count == told["test_rows"]
    assert measured.accuracy == pytest.approx(told["test"], abs=1.5 / measured.count)  # a tie may fall either way
