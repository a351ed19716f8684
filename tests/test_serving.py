"""Drift, the plots of latency and answers, and the two explorers of the lesson on serving."""

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from conftest import bert, stir

from lorakit import LoRA, adapt, plots
from lorakit.bank import Bank, drift
from lorakit.delta import LowRank
from lorakit.widgets import BankExplorer, LatencyExplorer

ABOUT = "GPT-2 medium · one thread"
MODELS = ("merged LoRA", "Adapter-L", "Adapter-H")
ROWS = [
    dict(
        model=model,
        batch=batch,
        length=length,
        ms=10.0 * batch * length * (1 + 0.1 * i),
        sd=1.0,
        ratio=1 + 0.1 * i / batch,
    )
    for length in (16, 64)
    for batch in (1, 4)
    for i, model in enumerate(MODELS)
]


def pair(seed, size=24, scale=0.02):
    g = torch.Generator().manual_seed(seed)
    return LowRank(scale * torch.randn(size, 2, generator=g), torch.randn(2, size, generator=g))


def weight(size=24):
    return torch.randn(size, size, generator=torch.Generator().manual_seed(9))


# drift


def test_drift_by_hand():
    """At 1 bfloat16 steps by 2⁻⁷ upwards and 2⁻⁸ downwards: 1 + 2⁻⁸ is a tie, rounds to 1, and 1 − 2⁻⁸ is kept."""
    one = LowRank(torch.ones(1, 1), torch.full((1, 1), 2.0**-8))
    found = drift(torch.ones(1, 1), [one], 3)
    assert list(found.switches) == [1, 2, 3]
    assert found.error == pytest.approx([1.0, 1.0, 1.0]), "lost in the first switch, and never found again"
    assert list(found.moved) == [1.0, 1.0, 1.0]
    assert found.exact == 0.0


def test_drift_is_what_the_loop_gives():
    W, tasks = weight(), [pair(0), pair(1)]
    found = drift(W, tasks, 40, points=6)
    now = W.bfloat16()
    for n in range(1, 41):
        change = tasks[n % 2].left @ tasks[n % 2].right
        now = (now.float() + change).bfloat16()
        now = (now.float() - change).bfloat16()
        if n in found.switches:
            at = list(found.switches).index(n)
            size = np.mean([float((t.left @ t.right).norm()) for t in tasks])
            assert found.error[at] == pytest.approx(float((now.float() - W.bfloat16().float()).norm()) / size, rel=1e-5)
            assert found.moved[at] == pytest.approx(float((now != W.bfloat16()).float().mean()))
    assert found.switches[0] == 1
    assert found.switches[-1] == 40


def test_narrower_dtypes_drift_more():
    ends = [
        drift(weight(), [pair(0), pair(1)], 100, dtype=d).error[-1]
        for d in (torch.float32, torch.float16, torch.bfloat16)
    ]
    assert 0 <= ends[0] < 1e-4 < ends[1] < ends[2] < 1
    assert repr(drift(weight(), [pair(0)], 1000)).startswith("Drift(bfloat16: after 1,000 switches an error of ")


@pytest.mark.parametrize(("tasks", "switches"), [([], 3), ([pair(0)], 0), ([pair(0, size=5)], 3)])
def test_drift_of_nothing(tasks, switches):
    with pytest.raises(ValueError, match=r"give switches ≥ 1 and tasks' ΔW of \(24, 24\); given switches="):
        drift(weight(), tasks, switches)


# figures


FIGURES = {
    "bars": plots.latency_bars(ROWS[:3], about=ABOUT),
    "curves": plots.latency_curves(ROWS, at=(4, 16), about=ABOUT),
    "survival": plots.survival({"float32": {1: 1.0, 0.25: 1.0}, "bfloat16": {1: 0.97, 0.25: 0.6}}, about=ABOUT),
    "drifts": plots.drifts({"bfloat16": drift(weight(), [pair(0), pair(1)], 10)}, about=ABOUT),
    "answers": plots.answers({"movies": {"bad": 0.2, "good": 0.8}, "source": {"a": 1.0}}, chosen="source", about=ABOUT),
}


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_figures_say_what_they_are(figure):
    assert isinstance(figure, go.Figure)
    assert figure.layout.title.subtitle.text == ABOUT
    assert len(plots.alt_text(figure)) > 15
    assert "<" not in plots.alt_text(figure)


def test_bars_say_ms_and_the_paired_ratio():
    figure = FIGURES["bars"]
    assert list(figure.data[0].x) == [160.0, 176.0, 192.0]
    assert list(figure.data[0].text) == ["160.0 ± 1.0", "176.0 ± 1.0", "192.0 ± 1.0"]
    notes = [(note.y, note.text) for note in figure.layout.annotations]
    assert notes == [(MODELS[1], "<b>+10.0%</b>"), (MODELS[2], "<b>+20.0%</b>")]
    assert "Adapter-L 176.0 ms (+10.0%), Adapter-H" in plots.alt_text(figure)


def test_curves_go_by_tokens_and_mark_the_point():
    points, lines = FIGURES["curves"].data[:2], FIGURES["curves"].data[2:]
    assert [point.name for point in points] == list(MODELS[1:])
    assert list(points[0].x) == [16, 64, 64, 256]
    assert list(points[0].y) == pytest.approx([0.1, 0.025, 0.1, 0.025])
    assert list(points[0].marker.size) == [8, 16, 8, 8]
    assert (list(lines[0].x), list(lines[0].y)) == ([16, 64, 256], pytest.approx([0.1, 0.0625, 0.025]))
    assert list(FIGURES["curves"].layout.xaxis.tickvals) == [16, 64, 256]
    assert plots.alt_text(FIGURES["curves"]).endswith("Adapter-L +10.0% to +2.5%, Adapter-H +20.0% to +5.0%")


def test_drifts_are_beside_what_is_exact():
    figure = FIGURES["drifts"]
    assert [note.text for note in figure.layout.annotations] == ["with W<sub>0</sub> kept beside: 0, after any number"]
    assert plots.alt_text(figure).endswith("; with W₀ kept beside 0")


def test_survival_goes_from_the_trained_size_down():
    figure = FIGURES["survival"]
    assert [line.name for line in figure.data] == ["float32", "bfloat16"]
    assert (list(figure.data[1].x), list(figure.data[1].y)) == ([1, 0.25], [0.97, 0.6])
    axis = figure.layout.xaxis
    assert (axis.type, axis.autorange, axis.tickvals, axis.ticktext) == ("log", "reversed", (0.25, 1), ("1/4", "1"))
    assert plots.alt_text(figure).endswith("at 1/4 of its size: float32 100%, bfloat16 60%")
    odd = plots.survival({"x": {0.3: 0.5}}).layout.xaxis
    assert odd.ticktext == ("0.3",), "no fraction that it is not"


def test_answers_are_labelled_by_their_task():
    bars = FIGURES["answers"].data[0]
    assert list(bars.y) == ["movies: bad", "movies: good", "source: a"]
    assert list(bars.x) == [0.2, 0.8, 1.0]
    assert bars.marker.color[0] == bars.marker.color[1] != bars.marker.color[2]
    assert plots.alt_text(FIGURES["answers"]) == "movies says good 80%; source says a 100%"


# explorers


def test_the_laboratory_shows_the_chosen_point():
    lab = LatencyExplorer(ROWS, about=ABOUT)
    assert (lab.batch.value, lab.length.value) == (1, 16)
    lab.batch.value, lab.length.value = 4, 64
    bars, curves = (view.figure for view in lab.views)
    assert list(bars.data[0].x) == [row["ms"] for row in ROWS if (row["batch"], row["length"]) == (4, 64)]
    assert bars.layout.title.text == "One forward pass, 4 × 64 tokens"
    assert list(curves.data[1].marker.size) == [8, 8, 8, 16]


@pytest.mark.parametrize("rows", [[], ROWS[:-1]])
def test_the_laboratory_wants_every_point(rows):
    with pytest.raises(ValueError, match="every model at every batch and length, please; missing"):
        LatencyExplorer(rows)


class Letters:
    """A tokenizer of letters."""

    def __call__(self, texts, **options):
        texts = [texts] if isinstance(texts, str) else texts
        ids = torch.tensor([[1 + ord(letter) % 20 for letter in (text + " " * 8)[:8]] for text in texts])
        return type("Batch", (dict,), {"to": lambda self, device: self})(input_ids=ids)


@pytest.fixture
def bank():
    made = Bank(bert())
    for seed, (name, classes) in enumerate({"two": 2, "three": 3}.items()):
        model = bert(classes)
        adapt(model, LoRA, "*.query", rank=2, keep="classifier")
        stir(model, seed)
        made.add(name, model)
    return made


@torch.no_grad()
def test_hot_swap_while_a_sentence_is_typed(bank):
    labels = {"two": ["no", "yes"], "three": ["a", "b", "c"]}
    explorer = BankExplorer(bank, Letters(), labels=labels, text="A film", about="tiny")
    for text, task in (("A film", "two"), ("A film!", "three"), ("A film?", "two")):
        explorer.text.value, explorer.task.value = text, task
        assert bank.active == task
        expected = bank.model(**Letters()(text)).logits[0].softmax(0)
        one, every = (view.figure for view in explorer.views)
        assert list(one.data[0].x) == pytest.approx(expected.tolist(), abs=1e-6)
        assert one.layout.title.text == f"In use: {task}"
        start = 0 if task == "two" else 2
        assert list(every.data[0].x)[start : start + len(expected)] == pytest.approx(expected.tolist(), abs=1e-5)
        assert sum(every.data[0].x) == pytest.approx(2.0, abs=1e-5)


def test_labels_of_tasks_that_are_not_there(bank):
    with pytest.raises(
        ValueError, match=r"labels for tasks of the bank, please: \['two', 'three'\]; unknown are \['x'\]"
    ):
        BankExplorer(bank, Letters(), labels={"x": ["a"]}, text="")


def test_the_answers_are_quick_enough_to_type(bank):
    """One forward pass a keystroke for the task in use, and one for all of them: no more."""
    explorer = BankExplorer(bank, Letters(), labels={"two": ["no", "yes"], "three": ["a", "b", "c"]}, text="A film")
    calls = []
    bank.model.register_forward_pre_hook(lambda *_: calls.append(1))
    explorer.text.value = "A film!"
    assert len(calls) == 2


@pytest.mark.model
def test_the_drift_of_the_shipped_tasks_is_made_by_few():
    """Lesson 03: one entry in forty loses something every round, in one direction, until a power of two is passed; and
    these make up nearly all of the error. In float16 it is as far, in eight times as many rounds."""
    from lorakit.checkpoints import read
    from lorakit.data.results import adapter
    from lorakit.delta import dense
    from lorakit.geometry import weight_of
    from lorakit.models import load_classifier

    query = "bert.encoder.layer.4.attention.self.query"
    frozen = weight_of(load_classifier("minilm", labels=2)[0].get_submodule(query)).detach().bfloat16()
    ranks = {"movies": 8, "tweets": 4, "source": 2}
    changes = [dense(read(adapter(task=task, rank=rank, seed=0))[query]) for task, rank in ranks.items()]
    now, rounds, up = frozen.clone(), torch.zeros(frozen.shape), torch.zeros(frozen.shape)
    for _ in range(120):
        before = now
        for change in changes:
            now = ((now.float() + change).bfloat16().float() - change).bfloat16()
        rounds += now != before
        up += now > before
    assert torch.equal(now, before), "it has come to rest"
    error, few = (now.float() - frozen.float()) ** 2, rounds > 2
    assert 1 / 45 < float(few.float().mean()) < 1 / 35
    assert float(error[few].sum() / error.sum()) > 0.98
    assert set((up / rounds)[few].tolist()) == {0.0, 1.0}, "each in one direction"
    passed = [torch.frexp(now.float() + c).exponent != torch.frexp(frozen.float() + c).exponent for c in (0, *changes)]
    assert float(torch.stack(passed).any(0)[few].float().mean()) > 0.95
    narrow, wide = (drift(frozen, changes, n, dtype=d) for n, d in ((100, torch.bfloat16), (800, torch.float16)))
    assert narrow.error[-1] == pytest.approx(wide.error[-1], rel=0.05)
    assert narrow.error[-1] > 10 * narrow.error[0]
