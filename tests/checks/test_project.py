"""Assignment 6: right answers written differently, and wrong ones as students give them, each told why."""

import math
import re
import string

import numpy as np
import pytest
import scipy.stats
import torch
from answers import Answered, checks_of

from lorakit.checks import project
from lorakit.data.splits import normalised
from lorakit.evaluation import Evaluation

CHECKS = checks_of(project)


# ── Right ───────────────────────────────────────────────────────────────────────────────────────────────


def normal(text):
    return " ".join(re.findall(r"\w+", text.lower()))


def leak_by_set(train, test):
    known = {normal(text) for text, _ in train}
    return [n for n, (text, _) in enumerate(test) if normal(text) in known]


def leak_by_letters(train, test):
    def letters(text):
        return "".join(c if c.isalnum() else " " for c in text.casefold()).split()

    known = [letters(text) for text, label in train]
    return {n for n in range(len(test)) if letters(test[n][0]) in known}


def leak_by_lorakit(train, test):
    known = set(map(normalised, (row[0] for row in train)))
    return np.array([n for n, row in enumerate(test) if normalised(row[0]) in known], dtype=int)


def interval_by_formula(correct, total):
    p, z = correct / total, 1.96
    centre, half = p + z**2 / (2 * total), z * (p * (1 - p) / total + z**2 / (4 * total**2)) ** 0.5
    return (centre - half) / (1 + z**2 / total), (centre + half) / (1 + z**2 / total)


def interval_by_scipy(correct, total):
    found = scipy.stats.binomtest(correct, total).proportion_ci(0.95, method="wilson")
    return [found.low, found.high]


def interval_by_lorakit(correct, total):
    return torch.tensor(Evaluation(0.0, correct / total, total).interval)


def interval_by_roots(correct, total):
    z = 1.96**2
    return np.roots([total + z, -(2 * correct + z), correct**2 / total])[::-1]


def beyond_by_sum(value, chance):
    return (1 + sum(draw >= value for draw in chance)) / (1 + len(chance))


def beyond_by_numpy(value, chance):
    return np.mean(np.append(chance, value) >= value)


def beyond_by_sorting(value, chance):
    below = np.searchsorted(np.sort(chance), value, side="left")
    return 1 - torch.tensor(below / (len(chance) + 1))


def paired_by_numpy(ours, theirs):
    d = np.subtract(ours, theirs)
    half = scipy.stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5
    return d.mean(), d.mean() - half, d.mean() + half


def paired_by_scipy(ours, theirs):
    test = scipy.stats.ttest_rel(ours, theirs)
    low, high = test.confidence_interval(0.95)
    return [np.mean(ours) - np.mean(theirs), low, high]


def paired_by_hand(ours, theirs):
    differences = torch.tensor([a - b for a, b in zip(ours, theirs)], dtype=torch.float64)
    t = {3: 4.302653, 5: 2.776445, 8: 2.364624}[len(differences)]
    error = differences.std() / math.sqrt(len(differences))
    return torch.stack([differences.mean() + side * t * error for side in (0, -1, 1)])


def claim(**changes):
    one = {"claim": "Two runs share their first direction", "kind": "overlap", "value": 0.4, "null": 1 / 384}
    one |= {"spread": 0.01, "seeds": 2, "by": "independent subspaces, 1/d exactly", "holds": True}
    return one | changes


def count(**changes):
    words = {"claim": "ΔW uses few directions for its norm", "by": "random factors of rank 8"}
    return claim(kind="count", value=1.4, null=6.1, spread=0.3, **words) | changes


def accuracy(**changes):
    words = {"claim": "LoRA beats always saying the majority label", "by": "the majority's share of the test rows"}
    return claim(kind="accuracy", value=0.84, null=0.5, spread=0.012, **words) | changes


def three_claims():
    return [claim(), count(), accuracy()]


def claims_in_a_tuple():
    lost = {"claim": "rank 64 is better than rank 8 here", "by": "ten seeds, in pairs"}
    return claim(), accuracy(), claim(kind="difference", value=0.001, null=0, spread=0.004, holds=False, **lost)


def claims_with_numpy():
    numbers = {"value": np.float32(1.3), "null": torch.tensor(1.0), "spread": np.float64(0.1), "seeds": np.int64(3)}
    ratio = claim(kind="ratio", claim="ΔW is aligned with W", by="uniform directions, exact", holds=np.bool_(True))
    return [ratio | numbers, count(seeds=5.0), accuracy(), claim()]


RIGHT = {
    "leak": [leak_by_set, leak_by_letters, leak_by_lorakit],
    "interval": [interval_by_formula, interval_by_scipy, interval_by_lorakit, interval_by_roots],
    "beyond": [beyond_by_sum, beyond_by_numpy, beyond_by_sorting],
    "paired": [paired_by_numpy, paired_by_scipy, paired_by_hand],
    "claims": [three_claims, claims_in_a_tuple, claims_with_numpy],
}
# ── Wrong ───────────────────────────────────────────────────────────────────────────────────────────────


def by(key):
    def leak(train, test):
        known = {key(row) for row in train}
        return [n for n, row in enumerate(test) if key(row) in known]

    return leak


def leak_within(train, test):
    known = [normal(text) for text, _ in train]
    return [n for n, (text, _) in enumerate(test) if any(normal(text) in other for other in known)]


def leak_once(train, test):
    known, found = {normal(text) for text, _ in train}, []
    for n, (text, _) in enumerate(test):
        if normal(text) in known:
            known.discard(normal(text))
            found.append(n)
    return found


def without_punctuation(row):
    return " ".join(row[0].translate(str.maketrans("", "", string.punctuation + "“”…")).split())


def wald(z=1.96, within=True):
    def interval(correct, total):
        p = correct / total
        half = z * (p * (1 - p) / (total if within else 1)) ** 0.5
        return p - half, p + half

    return interval


def wilson(z):
    def interval(correct, total):
        p = correct / total
        centre, half = p + z**2 / (2 * total), z * (p * (1 - p) / total + z**2 / (4 * total**2)) ** 0.5
        return (centre - half) / (1 + z**2 / total), (centre + half) / (1 + z**2 / total)

    return interval


def t_interval(d, t, n):
    half = t * d.std(ddof=1) / n**0.5
    return d.mean(), d.mean() - half, d.mean() + half


def unshifted(k, n):
    low, high = interval_by_formula(k, n)
    half, middle = (high - low) / 2, k / n / (1 + 1.96**2 / n)
    return middle - half, middle + half


def unpaired(ours, theirs):
    low, high = scipy.stats.ttest_ind(ours, theirs).confidence_interval(0.95)
    return np.mean(ours) - np.mean(theirs), low, high


def ddof_0(ours, theirs):
    d = np.subtract(ours, theirs)
    half = scipy.stats.t.ppf(0.975, len(d) - 1) * d.std() / len(d) ** 0.5
    return d.mean(), d.mean() - half, d.mean() + half


def of_t(quantile):
    return lambda a, b: t_interval(np.subtract(a, b), quantile(len(a)), len(a))


def with_one(**changes):
    return lambda: [claim(**changes), count(), accuracy()]


def without(name):
    return lambda: [{key: value for key, value in claim().items() if key != name}, count(), accuracy()]


WRONG = {
    "leak": [
        (by(lambda row: row), "whole rows"),
        (by(lambda row: row[0]), "compared as they are:"),
        (by(lambda row: row[0].lower()), "keep letters and digits"),
        (by(lambda row: row[0].lower().strip()), "outer spaces"),
        (by(lambda row: " ".join(row[0].lower().split())), "spaces are in order"),
        (by(without_punctuation), "capitals still hide"),
        (by(lambda row: normal(row[0]).replace(" ", "")), "one space is to stay"),
        (by(lambda row: (normal(row[0]), row[1])), "label is compared as well"),
        (leak_within, "a part of another"),
        (by(lambda row: re.sub("[^a-z0-9]+", " ", row[0].lower()).strip()), "é is a letter"),
        (by(lambda row: frozenset(normal(row[0]).split())), "order of the words"),
        (by(lambda row: re.sub(r"\W+", " ", row[0].lower())), "at the ends"),
        (by(lambda row: re.sub(r"\W", " ", row[0].lower()).strip()), "each run of them"),
        (leak_once, "counted once"),
        (lambda train, test: leak_by_set(test, train), "places in train"),
        (lambda train, test: len(leak_by_set(train, test)), "how many there are"),
    ],
    "interval": [
        (wald(), "Wald's"),
        (wilson(1.0), "68 %"),
        (unshifted, "p alone"),
        (lambda k, n: (0.1, 0.2), "hint 1 says"),
        (wilson(1.645), "one side"),
        (wilson(2.576), "99 %"),
        (lambda k, n: [end * (1 + 1.96**2 / n) for end in interval_by_formula(k, n)], "division by"),
        (lambda k, n: [100 * end for end in interval_by_formula(k, n)], "percent"),
        (lambda k, n: interval_by_formula(k, n)[::-1], "low comes first"),
        (wald(within=False), "inside the root"),
        (lambda k, n: np.ptp(interval_by_formula(k, n)), "both ends"),
    ],
    "beyond": [
        (lambda value, chance: np.mean(np.array(chance) >= value), "p = 0"),
        (lambda value, chance: (1 + np.sum(np.array(chance) >= value)) / len(chance), "counted below the line"),
        (lambda value, chance: np.sum(np.array(chance) >= value) / (1 + len(chance)), "counted above the line"),
        (lambda value, chance: (1 + np.sum(np.array(chance) > value)) / (1 + len(chance)), "≥, not >"),
        (lambda value, chance: (1 + np.sum(np.array(chance) <= value)) / (1 + len(chance)), "draws below the value"),
        (lambda value, chance: 1 - beyond_by_sum(value, chance), "1 − p"),
        (lambda value, chance: 2 * beyond_by_sum(value, chance), "two sides"),
        (lambda value, chance: (value - np.mean(chance)) / np.std(chance, ddof=1), "z-score"),
        (lambda value, chance: 1 + sum(draw >= value for draw in chance), "divide"),
    ],
    "paired": [
        (unpaired, "strangers"),
        (of_t(lambda n: 1.96), "1.96 is for many"),
        (of_t(lambda n: scipy.stats.t.ppf(0.975, n)), "not n"),
        (ddof_0, "ddof=1"),
        (of_t(lambda n: scipy.stats.t.ppf(0.975, n - 1) * n**0.5), "one more seed"),
        (lambda a, b: paired_by_numpy(b, a), "other way round"),
        (of_t(lambda n: scipy.stats.t.ppf(0.95, n - 1)), "0.975"),
        (lambda a, b: (m := paired_by_numpy(a, b)) and (m[0], m[1] - m[0], m[2] - m[0]), "not distances"),
        (lambda a, b: paired_by_numpy(a, b)[1:], "before the two ends"),
    ],
    "claims": [
        (lambda: claim(), "one dict for each"),
        (without("null"), "'null' is missing"),
        (with_one(null=0.0), r"max\(i, j\)/d"),
        (with_one(value=1.4), "between 0 and 1"),
        (with_one(kind="accuracy", null=0.0, claim="the accuracy is high on test"), r"\(the majority's share"),
        (lambda: [count(null=0.0), claim(), accuracy()], "for a random ΔW as well"),
        (lambda: [claim(kind="difference", null=0.1), count(), accuracy()], "null of a difference"),
        (with_one(kind="ratio", null=0.0), "1 for an enrichment"),
        (with_one(spread=0.0), "anything certain"),
        (with_one(seeds=1), "one run shows"),
        (with_one(value=math.nan), "finite numbers"),
        (with_one(spread=1.0), "within 2 chance"),
        (with_one(holds=False), "the way the numbers point"),
        (with_one(claim="It works"), "could be false"),
        (with_one(by="chance"), "do it again"),
        (with_one(kind="finding"), "'kind' is one of"),
        (with_one(value="0.4"), "is a number, not"),
        (with_one(seeds=2.5), "whole number"),
        (lambda: [claim(), accuracy()], "at least 3"),
        (lambda: [claim(), count(), claim()], "stands twice"),
        (lambda: [claim(claim=f"layer {n} shares its directions") for n in range(3)], "from a second side"),
    ],
}


class TestProject(Answered):
    CHECKS, RIGHT, WRONG = CHECKS, RIGHT, WRONG
    UNSEEDED = ("claims",)
    SHARED = ("between 0 and 1", r"\(the majority's share")  # one sentence for an overlap and for an accuracy


def test_what_is_right_is_what_others_say():
    assert project.numbers._wilson(18, 25) == pytest.approx(interval_by_scipy(18, 25), abs=1e-5)
    ours, theirs = [0.84, 0.85, 0.86], [0.83, 0.84, 0.83]
    assert project.pairs._paired(ours, theirs) == pytest.approx(paired_by_scipy(ours, theirs))
