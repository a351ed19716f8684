"""A sweep is killed, cut short, run twice at once, on processes and on a cluster: its table comes out the same."""

import csv
import json
import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest

from lorakit import LoRA, adapt, train, trainable_state
from lorakit.data import planted
from lorakit.sweeps import done, grid, name_of, sweep, write_csv

quiet = partial(sweep, progress=False)


def square(rank, seed, log=None):
    """A run that says, in a file, that it ran."""
    if log:
        with open(log, "a") as file:
            file.write(f"{rank} {seed} {os.getpid()}\n")
    return {"area": rank**2 + seed, "curve": [seed, rank]}


def lines(path):
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


# ── Settings ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_grid_is_every_combination_the_last_axis_fastest():
    points = grid(rank=[1, 8], seed=range(2), task="movies", where=("q", "v"), method=LoRA)
    assert [(point["rank"], point["seed"]) for point in points] == [(1, 0), (1, 1), (8, 0), (8, 1)]
    assert all(point["where"] == ("q", "v") and point["task"] == "movies" for point in points)
    assert len(grid(rank=8, seed=range(3)) + grid(rank=64, seed=0)) == 4
    assert grid() == [{}]


def test_a_name_reads_like_its_settings_and_belongs_to_them_alone():
    name = name_of({"rank": 8, "lr": 3e-3, "method": LoRA, "where": "*.query *.value"})
    assert name.startswith("lr=0.003,method=LoRA,rank=8,where=_.query_.value-")
    assert name == name_of({"where": "*.query *.value", "method": LoRA, "lr": 3e-3, "rank": 8})
    alike = [1, 1.0, True, "1", "True", "a b", "a_b", "a/b", (1, 2), "[1, 2]", None, "None", "", "x" * 300, "x" * 301]
    names = [name_of({"value": value}) for value in alike]
    assert len(set(names)) == len(alike)
    assert all(len(name) < 200 and set(name).isdisjoint('/\\:*?"<>| ') for name in names)
    assert name_of({"value": np.int64(1)}) == name_of({"value": 1})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"f": lambda x: x}, "a named class or function; given <function"),
        ({"f": object()}, "a setting is a plain value"),
        ({"f": np.zeros(3)}, "array"),
    ],
)
def test_settings_that_no_file_can_hold(settings, said):
    with pytest.raises((TypeError, ValueError), match=said):
        name_of(settings)


def test_one_run_given_twice(tmp_path):
    with pytest.raises(ValueError, match=r"one run twice.*rank=1"):
        quiet(square, [{"rank": 1, "seed": 0}, {"seed": 0, "rank": 1}], tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


# ── Rows ────────────────────────────────────────────────────────────────────────────────────────────────


def odd(rank, method):
    return {"mean": np.float32(0.5), "count": np.int64(3), "pair": (1, 2), "nan": float("nan"), "of": method}


def test_rows_are_settings_and_results_the_same_the_second_time(tmp_path):
    settings = grid(rank=[2, 1], method=LoRA)
    first, second = (quiet(odd, settings, tmp_path) for _ in range(2))
    assert [row["rank"] for row in first] == [2, 1]
    assert repr(first) == repr(second) == repr(done(settings, tmp_path))
    assert first[0] | {"nan": 0} == dict(method="LoRA", rank=2, mean=0.5, count=3, pair=[1, 2], nan=0, of="LoRA")


def test_done_runs_nothing(tmp_path):
    settings = grid(rank=[1, 2], seed=[0])
    quiet(square, settings[:1], tmp_path)
    assert done(settings, tmp_path) == [{"rank": 1, "seed": 0, "area": 1, "curve": [0, 1]}]
    assert done(settings, tmp_path / "nowhere") == []
    assert not (tmp_path / "nowhere").exists()


def test_a_table_holds_the_single_values(tmp_path):
    rows = [{"rank": 1, "curve": [1, 2], "of": "q, v"}, {"rank": 2, "test": 0.1 + 0.2, "best": True}]
    path = write_csv(rows, tmp_path / "table.csv")
    read = list(csv.DictReader(path.open(newline="")))
    assert list(read[0]) == ["rank", "of", "test", "best"]
    assert (read[0]["of"], read[0]["test"], float(read[1]["test"]), read[1]["best"]) == ("q, v", "", 0.1 + 0.2, "True")


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"rank": 3}, r"beside its settings; it would hide \['rank'\]"),
        (0.5, "a dict of plain values; this one returned float"),
        ({"model": object()}, "plain value"),
    ],
)
def test_results_that_make_no_row(tmp_path, result, said):
    with pytest.raises(ExceptionGroup) as raised:
        quiet(lambda rank: result, [{"rank": 1}], tmp_path)
    assert raised.group_contains((TypeError, ValueError), match=said)
    assert visible(tmp_path) == []


# ── What is there is not run again, and what is not whole is ────────────────────────────────────────────


def test_only_what_is_missing_runs(tmp_path):
    run, folder = partial(square, log=tmp_path / "log"), tmp_path / "runs"
    quiet(run, grid(rank=[1, 2], seed=[0]), folder)
    rows = quiet(run, grid(rank=[1, 2, 3], seed=[0, 1]), folder)
    ran = [line.rsplit(" ", 1)[0] for line in lines(tmp_path / "log")]
    assert ran == ["1 0", "2 0", "1 1", "2 1", "3 0", "3 1"]
    assert [row["area"] for row in rows] == [1, 2, 4, 5, 9, 10]


def with_files(rank, folder):
    assert list(folder.iterdir()) == []
    (folder / "deep").mkdir()
    (folder / "deep" / "adapter").write_bytes(bytes(range(rank)))
    return {"mark": time.perf_counter()}


def empty_result(place):
    (place / "result.json").write_text("")


def half_result(place):
    text = (place / "result.json").read_text()
    (place / "result.json").write_text(text[: len(text) // 2])


def other_json(place):
    (place / "result.json").write_text("[1]")


def other_settings(place):
    record = json.loads((place / "result.json").read_text())
    (place / "result.json").write_text(json.dumps(record | {"settings": {"rank": 9}}))


def no_result(place):
    (place / "result.json").unlink()


def half_file(place):
    os.truncate(place / "deep" / "adapter", 3)


def no_file(place):
    (place / "deep" / "adapter").unlink()


DAMAGES = [empty_result, half_result, other_json, other_settings, no_result, half_file, no_file]


@pytest.mark.filterwarnings("ignore:.*counts as missing")
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_run_that_is_not_whole_is_run_again_and_no_other(tmp_path, damage):
    settings = grid(rank=[7, 8, 9])
    before = quiet(with_files, settings, tmp_path)
    damage(tmp_path / name_of(settings[1]))
    assert done(settings, tmp_path) == [before[0], before[2]]
    after = quiet(with_files, settings, tmp_path)
    assert [a == b for a, b in zip(after, before)] == [True, False, True]
    assert (tmp_path / name_of(settings[1]) / "deep" / "adapter").stat().st_size == 8


def test_what_is_not_whole_is_spoken_of(tmp_path):
    (one,) = grid(rank=7)
    quiet(with_files, [one], tmp_path)
    half_file(tmp_path / name_of(one))
    with pytest.warns(UserWarning, match=r"rank=7-\w+ is not whole, or not what its name says; it counts as missing"):
        assert done([one], tmp_path) == []


def test_a_scratch_folder_is_never_read_and_never_stays(tmp_path):
    (one,) = grid(rank=7)
    quiet(with_files, [one], tmp_path)
    place = tmp_path / name_of(one)
    place.rename(tmp_path / f".part-{place.name}")  # all written, killed before the rename
    assert done([one], tmp_path) == []
    quiet(with_files, [one], tmp_path)
    assert visible(tmp_path) == [place.name]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".locks", place.name]


# ── Runs that fail ──────────────────────────────────────────────────────────────────────────────────────


class Stubborn(Exception):
    """Pickles, and cannot be built again."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fragile(rank, broken):
    if rank > 2 or not broken.exists():
        return {"found": rank}
    with broken.open("a") as file:
        file.write(f"{rank} ")
    if rank == 1:
        raise Stubborn("this", "that")
    raise ZeroDivisionError("two is bad")


@pytest.mark.parametrize("jobs", [1, 2])
def test_runs_that_raise_keep_no_other_from_running(tmp_path, jobs):
    broken, folder, settings = tmp_path / "broken", tmp_path / "runs", grid(rank=[1, 2, 3, 4])
    broken.touch()
    run = partial(fragile, broken=broken)
    with pytest.raises(ExceptionGroup, match=r"2 of 4 runs failed; the others are kept") as raised:
        quiet(run, settings, folder, jobs=jobs)
    assert raised.group_contains(ZeroDivisionError, match="two is bad")
    assert raised.group_contains((RuntimeError, Stubborn), match="this and that")
    notes = [note for error in raised.value.exceptions for note in error.__notes__]
    assert sum("in fragile" in note for note in notes) == 2, "where it happened"
    assert {note[:9] for note in notes} == {"in rank=1", "in rank=2"}
    assert sorted(broken.read_text().split()) == ["1", "2"], "each is tried once a call"
    assert [row["found"] for row in done(settings, folder)] == [3, 4]
    broken.unlink()
    assert [row["found"] for row in quiet(run, settings, folder, jobs=jobs)] == [1, 2, 3, 4]


def test_an_interrupt_stops_the_sweep_and_leaves_nothing_half(tmp_path):
    def run(rank, folder):
        (folder / "adapter").touch()
        if rank == 2:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        quiet(run, grid(rank=[1, 2, 3]), tmp_path)
    assert [row["rank"] for row in done(grid(rank=[1, 2, 3]), tmp_path)] == [1]
    assert sorted(path.name for path in tmp_path.iterdir())[0] == ".locks"
    assert len(visible(tmp_path)) == len(list(tmp_path.iterdir())) - 1, "no scratch folder stays"


def test_the_bar_counts_runs_and_starts_where_the_last_one_stopped(tmp_path, monkeypatch):
    import tqdm.auto

    bars = []

    class Bar(tqdm.auto.tqdm):
        def __init__(self, **options):
            super().__init__(**options, file=(tmp_path / "bar").open("w"))
            bars.append([])

        def update(self, count):
            super().update(count)
            bars[-1].append(self.n)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    sweep(square, grid(rank=[1, 2], seed=0), tmp_path / "runs")
    sweep(square, grid(rank=[1, 2, 3], seed=0), tmp_path / "runs")
    assert [seen[0] for seen in bars] == [0, 2]
    assert [seen[-1] for seen in bars] == [2, 3]


# ── Killed, and two at once ─────────────────────────────────────────────────────────────────────────────

SETTINGS = grid(rank=[1, 2, 3], seed=range(3))


def training(rank, seed, folder, log):
    """A small real one; the weights are written in two halves, for a kill to come between."""
    task = planted(2, inputs=12, outputs=12, rows=128, test_rows=8)
    adapt(task.model, LoRA, "linear", rank=rank, seed=seed)
    history = train(task.model, task.batches(), steps=10, seed=seed, progress=False)
    weights = b"".join(tensor.numpy().tobytes() for tensor in trainable_state(task.model).values())
    with open(folder / "adapter", "wb", buffering=0) as file:
        file.write(weights[:100])
        time.sleep(0.02)
        file.write(weights[100:])
    with open(log, "a") as file:
        file.write(f"{rank} {seed}\n")
    return {"loss": float(history.loss[-1])}


def started(folder, log, jobs=1):
    """A sweep in a process of its own, with a group of its own for its workers."""

    def child():
        os.setsid()
        with joblib.parallel_config("multiprocessing", n_jobs=jobs):
            rows = quiet(partial(training, log=log), SETTINGS, folder)
        os._exit(len(rows))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    return process


def ended(process):
    process.join(timeout=120)
    return process.exitcode


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.glob("[!.]*/*")}


def stamps(folder):
    """The files of complete runs, by their inode: what is written again gets another one."""
    return {path: path.stat().st_ino for path in folder.glob("[!.]*/*")}


@pytest.fixture
def paths(tmp_path):
    if not hasattr(os, "fork"):
        pytest.skip("the sweeps to be killed are forked")
    pytest.importorskip("accelerate")  # once here, not in every fork
    return tmp_path / "runs", tmp_path / "log"


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_in_the_middle_again_and_again(paths, jobs):
    folder, log = paths
    for wanted in (1, 4):
        before, process = stamps(folder), started(folder, log, jobs)
        while process.is_alive() and not (len(stamps(folder)) >= 2 * wanted and list(folder.glob(".part-*/adapter"))):
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
        assert ended(process) == -signal.SIGKILL, "it was over before it could be killed"
        assert before.items() <= stamps(folder).items(), "a complete run was touched"
        whole = done(SETTINGS, folder)
        assert 0 < len(whole) < 9
        assert len(stamps(folder)) == 2 * len(whole), "something half-written has a name"
    assert list(folder.glob(".part-*")), "a kill leaves its scratch folder behind"
    kept = stamps(folder)
    assert ended(started(folder, log, jobs)) == 9
    assert kept.items() <= stamps(folder).items()
    assert list(folder.glob(".part-*")) == []

    undisturbed = folder.with_name("undisturbed")
    assert ended(started(undisturbed, log)) == 9
    assert len(contents(folder)) == 18
    assert contents(folder) == contents(undisturbed)


def test_two_sweeps_on_one_folder_share_the_work(paths):
    folder, log = paths
    two = [started(folder, log) for _ in range(2)]
    assert [ended(process) for process in two] == [9, 9], "each has the whole table"
    assert len(lines(log)) == len(set(lines(log))) == 9, "and nothing ran twice"


# ── Elsewhere ───────────────────────────────────────────────────────────────────────────────────────────


def where(rank):
    return {"process": os.getpid()}


def test_processes_here(tmp_path):
    settings = grid(rank=list(range(6)))
    rows = quiet(where, settings, tmp_path, jobs=2)
    assert os.getpid() not in {row["process"] for row in rows}
    assert rows == done(settings, tmp_path)


def test_a_backend_that_gives_nothing_before_all_have_ended(tmp_path):
    """Ray's is of this family."""
    with joblib.parallel_config("multiprocessing", n_jobs=2):
        rows = quiet(where, grid(rank=[1, 2, 3]), tmp_path)
    assert os.getpid() not in {row["process"] for row in rows}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_dask_cluster(tmp_path):
    distributed = pytest.importorskip("distributed", reason="pip install 'lorakit[cluster]'")
    settings = grid(rank=list(range(8)))
    quiet(where, settings[:2], tmp_path)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        workers = {worker.pid for worker in cluster.workers.values()}
        with joblib.parallel_config("dask"):
            rows = quiet(where, settings, tmp_path)
    assert {row["process"] for row in rows[:2]} == {os.getpid()}, "what was there stays"
    assert {row["process"] for row in rows[2:]} <= workers
    assert rows == done(settings, tmp_path)
