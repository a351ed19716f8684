"""What is the intrinsic rank of ΔW? Every probe's answer side by side, with where they disagree and why.

Hu et al. 2021 (section 7.2) answer from three sides: quality by trained rank, shared directions, the spectrum. Each
asks something else, so there is no one number:

    what the matrix is    rank, stable and effective rank: of the ΔW found, which is only one that would do
    what is repeatable    directions that another run found too
    what the task uses    quality of the truncated ΔW; the gradient before any training; a random subspace
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from lorakit.analysis.gradients import GradientProbe
from lorakit.analysis.intrinsic import IntrinsicDimension
from lorakit.analysis.spectra import Spectrum, spectrum
from lorakit.analysis.subspaces import similarities
from lorakit.analysis.truncating import Truncation
from lorakit.delta import Delta

RUNS, TASK = "directions shared by two runs", "rank that the task needs"
GRADIENT, RANDOM = "gradient directions", "intrinsic dimension as rank"


@dataclass(frozen=True, eq=False)
class Answer:
    """One probe's answer: `value` and `null` are (layers,), or (1,) where the probe looks at all layers at once."""

    probe: str
    value: np.ndarray
    null: np.ndarray
    asks: str


@dataclass(frozen=True, eq=False, repr=False)
class RankReport:
    """All answers, each beside its null, and `notes`: where they disagree and why. `print` it for the table.

    report["stable rank"] is the answer of one probe; KeyError, with those that were asked, for another name.
    """

    layers: tuple[str, ...]
    answers: tuple[Answer, ...]
    notes: tuple[str, ...]

    sources: ClassVar[str] = "Hu et al. 2021, section 7.2; each probe's own `sources`"

    def __getitem__(self, probe: str) -> Answer:
        """One answer by its name. Raises KeyError with those there are."""
        found = {answer.probe: answer for answer in self.answers}
        if probe not in found:
            raise KeyError(f"no probe {probe!r} was asked; there are {list(found)}")
        return found[probe]

    def __repr__(self) -> str:
        ranks = ", ".join(f"{a.probe} {np.median(a.value):.3g}" for a in self.answers[:4])
        return f"RankReport({len(self.layers)} layers; {ranks}, …)"

    def __str__(self) -> str:
        head = f"{'probe':<30}{'median':>9}{'least':>9}{'most':>9}{'chance':>9}  asks"
        rows = [
            f"{a.probe:<30}{np.median(a.value):>9.3g}{a.value.min():>9.3g}{a.value.max():>9.3g}"
            f"{_shown(a.null):>9}  {a.asks}"
            for a in self.answers
        ]
        notes = [fill(f"· {note}", 96, subsequent_indent="  ") for note in self.notes]
        return "\n".join([head, *rows, *notes])


def rank_report(
    delta: Delta | Mapping[str, Delta],
    *,
    other: Delta | Mapping[str, Delta] | None = None,
    truncation: Truncation | None = None,
    gradients: GradientProbe | None = None,
    intrinsic: IntrinsicDimension | None = None,
    share: float = 0.9,
) -> RankReport:
    """Every probe of "the intrinsic rank" for one ΔW or for those of many layers: `RankReport`.

    other        the same layers from another run (seed or rank): which directions were found twice?
    truncation, gradients, intrinsic   results of those probes, which need a model and so are the caller's to run
    share        of the energy, and of the gain in quality, that a rank has to hold
    Raises ValueError for no layer, or where `other` shares none.
    """
    deltas = _named(delta)
    if not deltas:
        raise ValueError("a report needs at least one ΔW; given none")
    answers = _of_matrix([spectrum(one) for one in deltas.values()], share)
    if other is not None:
        answers.append(_of_runs(deltas, _named(other)))
    if truncation is not None:
        value, null = truncation.rank_at(share), _rank_by_chance(truncation, share)
        answers.append(_answer(TASK, [value], [null], f"{share:.0%} of the gain, ΔW truncated"))
    if gradients is not None:
        answers.append(_answer(GRADIENT, gradients.directions, 0, f"above {gradients.calibrated_by}"))
    if intrinsic is not None:
        per_rank = sum(sum(one.shape) for one in deltas.values())
        asks = f"d = {intrinsic.dimension:.3g} in a random subspace, as parameters of LoRA at rank r"
        answers.append(_answer(RANDOM, [intrinsic.dimension / per_rank], np.nan, asks))
    return RankReport(tuple(deltas), tuple(answers), tuple(_notes(answers)))


def _named(delta: Delta | Mapping[str, Delta]) -> Mapping[str, Delta]:
    return delta if isinstance(delta, Mapping) else {"ΔW": delta}


def _of_matrix(spectra: list[Spectrum], share: float) -> list[Answer]:
    def counted(field: str, asks: str) -> Answer:
        nulls = [getattr(one, f"null_{field}").mean for one in spectra]
        return _answer(field.replace("_", " "), [getattr(one, field) for one in spectra], nulls, asks)

    held = [one.rank_at(share) for one in spectra]
    chance = [min(int((one.null_energy.mean < share).sum()) + 1, one.rank) for one in spectra]
    return [
        _answer("rank", [one.rank for one in spectra], np.nan, "singular values above rounding"),
        _answer(f"rank at {share:.0%} energy", held, chance, f"directions that hold {share:.0%} of ‖ΔW‖²"),
        counted("effective_rank", "exp entropy of σ: the tail counts"),
        counted("participation_ratio", "(Σσ²)²/Σσ⁴: the tail counts little"),
        counted("stable_rank", "‖ΔW‖²/σ₁²: only the top counts"),
    ]


def _of_runs(deltas: Mapping[str, Delta], others: Mapping[str, Delta]) -> Answer:
    tables = [table for table in similarities(deltas, others).values() if table.phi.size]
    shared = [table.shared[-1, -1] for table in tables] or [0.0]
    return _answer(RUNS, shared, 0, "of the inputs, beyond chance")


def _rank_by_chance(found: Truncation, share: float) -> float:
    gained = (found.null.mean(0) - found.base) / (found.full - found.base) if len(found.null) else np.empty(0)
    enough = np.flatnonzero(gained <= 1 - share if found.tail else gained >= share)
    return float(found.ranks[enough[0]]) if len(enough) else np.nan


def _answer(probe: str, value: ArrayLike, null: ArrayLike, asks: str) -> Answer:
    value = np.atleast_1d(np.asarray(value, dtype=float))
    return Answer(probe, value, np.broadcast_to(np.asarray(null, dtype=float), value.shape), asks)


def _shown(null: np.ndarray) -> str:
    return "–" if np.isnan(null).all() else f"{np.nanmedian(null):.3g}"


WHY: tuple[tuple[Callable[[dict[str, float]], bool], str], ...] = (
    (lambda m: m["zero"] > 0, "{zero:.0f} ΔW are zero and have no direction; they count as 0."),
    (
        lambda m: m["effective rank"] > 2 * m["stable rank"] > 0,
        "effective rank {effective rank:.3g} and stable rank {stable rank:.3g} differ by definition: a few directions "
        "carry the norm, a long tail carries the entropy.",
    ),
    (
        lambda m: m["stable rank"] > 0.8 * m["stable rank by chance"] > 0,
        "the stable rank is near that of a random ΔW ({stable rank by chance:.3g}): this spectrum is no evidence of a "
        "low intrinsic rank.",
    ),
    (
        lambda m: m[TASK] < 0.75 * m["effective rank"],
        f"the task needs {{{TASK}:.3g}} directions where ΔW has an effective {{effective rank:.3g}}: what training "
        "left in the tail costs norm and brings little.",
    ),
    (
        lambda m: m[RUNS] < 0.5 * m["rank"],
        f"{{{RUNS}:.3g}} of {{rank:.3g}} directions are found again: the rest differ from run to run, so the rank of "
        "one ΔW tells what training did, and not only what the task asked for.",
    ),
    (
        lambda m: abs(m[GRADIENT] - m[TASK]) >= 1,
        f"the gradient shows {{{GRADIENT}:.3g}} directions before training, the task uses {{{TASK}:.3g}}: the gradient "
        "sees the first step alone, and later steps turn to others.",
    ),
    (
        lambda m: m[RANDOM] > m["rank"],
        "a random subspace needs more parameters than LoRA of this rank: it meets good directions by chance where "
        "LoRA learns them.",
    ),
)


def _notes(answers: Sequence[Answer]) -> list[str]:
    """Each disagreement that the medians show, with its reason; a probe not asked is nan and disagrees with none."""
    medians = {TASK: np.nan, RUNS: np.nan, GRADIENT: np.nan, RANDOM: np.nan}
    medians |= {answer.probe: float(np.median(answer.value)) for answer in answers}
    medians |= {f"{answer.probe} by chance": float(np.median(answer.null)) for answer in answers}
    medians["zero"] = float((answers[0].value == 0).sum())
    return [text.format_map(medians) for holds, text in WHY if holds(medians)]
