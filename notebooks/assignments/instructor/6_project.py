# %% [markdown] id="title"
# # Assignment 6 · A project of your own
#
# ![A value, what chance gives, and the distance between them in spreads](attachment:project.png)
#
# Bring an **adapter** (yours, or one that you found) or a **task** (a CSV with texts and labels), ask one question of it, and
# answer it so that somebody else can check you. This notebook is the template: a rubric, four tools that stand between a
# number and a claim, a checklist of claims that need a null, and the sections of a report to fill in. It runs as it
# stands, with an adapter and a task that come with lorakit, so that you can put your own in their place line by line.
# *Run All* stops at the first answer that is missing: run cell by cell.
#
# Afterwards you can
#
# - find test rows that **leak**, and give an accuracy the interval it deserves,
# - say how far **beyond chance** a value is, and over how many seeds,
# - write a **report** in which every claim has its null.
#
# The five exercises together: 78 minutes; the report takes what your question asks for, two hours at least. You need the lessons
# `00_start_here` and `04_inside_delta_w`; `09_bring_your_own` and assignments 3 and 4 help.

# %% [markdown] id="rubric"
# ## The rubric
#
# | section | points | 0 | half | full |
# |---|---|---|---|---|
# | Tools (exercises 1 to 4) | 9 | | | marked by their checks |
# | Claims (exercise 5) | 5 | | | marked by its check: every claim has a null, a spread, two runs and a verdict that follows |
# | Question | 2 | none, or not answerable here | a question, without what would answer it "no" | one sentence, and the result that would make you say no |
# | Method | 4 | not to be repeated from the text | some of model, data, split, seeds, choices missing | all of it, and how each choice was made without looking at the test rows |
# | Result | 5 | numbers alone | a figure, or numbers beside their nulls | one figure and one table, every number with null and spread, read in words |
# | Limits | 4 | none | general ones ("more data") | the two most likely ways in which *this* result is wrong, and what would show each |
#
# A negative answer that is well shown is worth as much as a positive one.

# %% id="setup"
from glob import glob

try:
    import lorakit
except ImportError:  # on Colab: put the wheel of `make wheel` beside this notebook
    # %pip install --quiet {sorted(glob("lorakit-*.whl") + glob("../lorakit-*.whl"))[-1]}
    import lorakit
import math
import re

import torch

from lorakit.checks import project

# %% [markdown] id="leak-say"
# ## 1 · Do your test rows test anything?
#
# *Difficulty ●● · importance ○○○ · 15 minutes*
#
# Scraped text repeats itself. A test row whose text stands in the training rows too, perhaps in capitals or with another full
# stop, tests memory. Two texts count as the same when their **letters and digits** are, in this order: lower case, every
# run of other characters one space, none at the ends. An é is a letter too.
#
# Write `leaked(train, test)`. Both are lists of rows `(text, label)`. Return the places (from 0) of all rows in `test` whose text is
# in `train`, whatever the labels say.
#
# <details><summary>Hint 1</summary>
#
# `re.findall(r"\w+", text.lower())` is the list of words; joined by single spaces it is the text in its plain clothes.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Put the plain training texts into a set: looking one up then takes no time, however many there are.
#
# </details>

# %% id="leak" kind="answer" exercise="leak"
def leaked(train, test):
    """Places in `test` of rows whose text, letters and digits alone, is in `train`."""
    # BEGIN SOLUTION
    plain = lambda text: " ".join(re.findall(r"\w+", text.lower()))
    known = {plain(text) for text, _ in train}
    return [place for place, (text, _) in enumerate(test) if plain(text) in known]
    # END SOLUTION


# %% id="leak-check" kind="check" exercise="leak" points="1"
project.check_leak(leaked)

# %% [markdown] id="leak-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.data.splits.normalised`.

# %% id="leak-hidden" kind="hidden" exercise="leak" points="1"
project.check_leak(leaked, seed=4711)

# %% [markdown] id="interval-say"
# ## 2 · How sure are so few rows?
#
# *Difficulty ● · importance ○○○ · 10 minutes*
#
# An accuracy $p$ from $n$ rows is one draw. The textbook's $p \pm 1.96\sqrt{p(1-p)/n}$ is empty at 100 %, which nobody believes of ten
# rows. Wilson's interval (1927) is not: with $z = 1.96$,
#
# $$\frac{p + \dfrac{z^2}{2n} \pm z\sqrt{\dfrac{p(1-p)}{n} + \dfrac{z^2}{4n^2}}}{1 + \dfrac{z^2}{n}}$$
#
# Write `interval(correct, total)`: its two ends, `(low, high)`, as shares.
#
# <details><summary>Hint 1</summary>
#
# 84 of 100 right: 0.756 to 0.899. All of 10 right: 0.722 to 1.
#
# </details>

# %% id="interval" kind="answer" exercise="interval"
def interval(correct, total):
    """(low, high): the 95 % interval of correct/total, Wilson's."""
    # BEGIN SOLUTION
    p, z = correct / total, 1.96
    centre = p + z**2 / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    return (centre - half) / (1 + z**2 / total), (centre + half) / (1 + z**2 / total)
    # END SOLUTION


# %% id="interval-check" kind="check" exercise="interval" points="1"
project.check_interval(interval)

# %% [markdown] id="interval-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.evaluation.Evaluation.interval`.

# %% id="interval-hidden" kind="hidden" exercise="interval" points="1"
project.check_interval(interval, seed=4711)

# %% [markdown] id="beyond-say"
# ## 3 · Beyond chance?
#
# *Difficulty ● · importance ○○○ · 8 minutes*
#
# You measured a value on your adapter, and the same on a number of random ones (labels shuffled, factors drawn, directions
# turned). How surprising is the value? Count. It would itself be one more draw if chance were all there is, so
#
# $$p = \frac{1 + \#\{\text{draws} \ge \text{value}\}}{1 + \#\{\text{draws}\}}$$
#
# which is never 0: with 19 draws the least there is to say is $p = 0.05$.
#
# Write `p_value(value, chance)`, where `chance` is a list of numbers.
#
# <details><summary>Hint 1</summary>
#
# `sum(draw >= value for draw in chance)` counts. Draws that *equal* the value reach it.
#
# </details>

# %% id="beyond" kind="answer" exercise="beyond"
def p_value(value, chance):
    """The share of draws, the value itself among them, that reach the value."""
    # BEGIN SOLUTION
    return (1 + sum(draw >= value for draw in chance)) / (1 + len(chance))
    # END SOLUTION


# %% id="beyond-check" kind="check" exercise="beyond" points="1"
project.check_beyond(p_value)

# %% [markdown] id="beyond-on"
# *Going on without it?* Nothing below needs yours.

# %% id="beyond-hidden" kind="hidden" exercise="beyond" points="1"
project.check_beyond(p_value, seed=4711)

# %% [markdown] id="paired-say"
# ## 4 · Better, over how many seeds?
#
# *Difficulty ●● · importance ○○○ · 15 minutes*
#
# Method ours beats method theirs by a point. Run both with the same seeds, and what a seed does to both (the order of the rows, the
# start of the head) cancels in the **differences** $d_s$. Their mean has the 95 % interval
#
# $$\bar d \pm t_{0.975,\,n-1}\,\frac{s_d}{\sqrt n},$$
#
# with $s_d$ their standard deviation ($n - 1$) and Student's $t$, which for 3 seeds is 4.3 and not 1.96.
#
# Write `paired(ours, theirs)` for two lists of scores in the same order of seeds: `(mean, low, high)`.
#
# <details><summary>Hint 1</summary>
#
# `scipy.stats.t.ppf(0.975, n - 1)` is the quantile.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `numpy.std(d, ddof=1)` divides by $n - 1$; without `ddof` it divides by $n$.
#
# </details>

# %% id="paired" kind="answer" exercise="paired"
def paired(ours, theirs):
    """(mean of ours − theirs, low, high): 95 % over seeds, in pairs."""
    # BEGIN SOLUTION
    from scipy.stats import t

    d = torch.tensor(ours, dtype=torch.float64) - torch.tensor(theirs, dtype=torch.float64)
    half = t.ppf(0.975, len(d) - 1) * float(d.std()) / math.sqrt(len(d))
    mean = float(d.mean())
    return mean, mean - half, mean + half
    # END SOLUTION


# %% id="paired-check" kind="check" exercise="paired" points="1"
project.check_paired(paired)

# %% [markdown] id="paired-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.analysis.paired.paired`.

# %% id="paired-hidden" kind="hidden" exercise="paired" points="2"
project.check_paired(paired, seed=4711)

# %% [markdown] id="checklist"
# ## The checklist: claims that need a null
#
# | what one would like to write | beside it must stand | in lorakit | the trap |
# |---|---|---|---|
# | "the two runs share directions", φ(i, j) | max(i, j)/d, and its spread | `similarity(…).null`, `.z` | d = 128 gives 0.5 at j = 64 from noise; shared seeds give more |
# | "ΔW is of low rank" | a random B·A of the same rank | `spectrum(…).null_stable_rank` | a random ΔW of rank 4 has one of 3.3 at d = 384 |
# | "ΔW amplifies what W does" | the enrichment over random directions | `amplification(…).enrichment` | the *factor* is largest for a ΔW that has nothing to do with W |
# | "it brings intruder dimensions" | a random ΔW of the same singular values | `intruders(…)` | any ΔW that is large enough brings some |
# | "rank k is enough" | k random directions out of the r | `truncation(…).null` | a head that was trained along |
# | "the gradient asks for these layers" | the gradient under shuffled labels | `gradient_probe(…, shuffled=…)` | noise has a top direction as well |
# | "accuracy 84 %" | the majority's share, and an interval | `task.majority()`, `evaluate(…).interval` | 68 % of the product reviews are positive |
# | "better than the other method" | the differences over seeds | exercise 4 | one seed; a learning rate tuned for one of the two |
# | "as good as full fine-tuning" | an interval that *excludes* a difference that matters | exercise 4 | "not significantly different" is not "equal" |
# | "faster" | the same model measured twice | `latencies(…)` | the first calls; a machine that gets slower |
# | "it generalises" | rows that are not in the training set | exercise 1 | copies, and reviews of one film on both sides |

# %% [markdown] id="choose-say"
# ## Your adapter
#
# Put your own in the first two lines: a PEFT folder, a loralib, torchtune or litgpt file, or `from_full(before, after)` for two models.
# A second run of the same task with other seeds makes half of the claims possible; without one, leave it `None` and skip
# what compares.

# %% id="adapter"
from lorakit.checkpoints import read
from lorakit.data.results import adapter

mine = read(adapter(rank=8, init=0, order=0))
again = read(adapter(rank=8, init=1, order=1))
about = "MiniLM · movies · LoRA r = 8, α = 16 on query, value"
print(f"{len(mine)} matrices", *list(mine)[:3], "…", sep="\n")

# %% id="adapter-spectra"
from statistics import median

from lorakit import plots
from lorakit.analysis import similarities, spectrum

spectra = {name: spectrum(delta) for name, delta in mine.items()}
stable = median(one.stable_rank for one in spectra.values())
null = next(iter(spectra.values())).null_stable_rank
print(f"stable rank: median {stable:.2f}; by chance {null.mean:.2f} ± {null.spread:.2f}")
assert 5.5 < null.mean < 6.2
counts = {name: one.stable_rank for name, one in spectra.items()}
chance = {name: one.null_stable_rank.mean for name, one in spectra.items()}
plots.layer_map(counts, null=chance, title="Stable rank of ΔW", about=about, form=".1f")

# %% id="adapter-shared"
tables = similarities(mine, again, top=8)
first = median(float(table.phi[0, 0]) for table in tables.values())
one = next(iter(tables.values()))
print(f"φ(1, 1): median {first:.3f}; by chance {one.null[0, 0]:.4f} ± {one.null_spread[0, 0]:.4f}")
values = {name: float(table.phi[0, 0]) for name, table in tables.items()}
by_chance = dict.fromkeys(values, float(one.null[0, 0]))
plots.layer_map(values, null=by_chance, title="φ(1, 1) of two runs", about=about)

# %% [markdown] id="task-say"
# ## Your task
#
# Put your own in the first line: `from_csv("reviews.csv", text="review", label="stars")`, `from_jsonl(…)` or `from_pairs(rows)`. Rows fall on
# their sides by their text, the same everywhere. The run below is a sketch of 25 steps, to see that all of it works; for a result give
# it some hundreds, several seeds and `lorakit.sweeps`.

# %% id="task"
from lorakit.data import load_task

task = load_task("movies")
print(task, f"\nalways saying the usual label: {task.majority():.3f}")
for text, label in task.train[:3]:
    print(f"{task.labels[label]:>9}  {text[:90]}")

# %% id="task-train"
from lorakit import LoRA, adapt, train
from lorakit.models import load_classifier
from lorakit.training import evaluate

model, tokenizer = load_classifier("minilm", labels=len(task.labels))
adapt(model, LoRA, ["*.query", "*.value"], rank=8, alpha=16, seed=0)
history = train(model, task.batches("train", tokenizer), steps=25, lr=5e-3, seed=0, progress=False)
rows = list(task.batches("test", tokenizer, 64))[::4]
evaluate(model, rows)

# %% id="task-seeds"
from lorakit.data.results import table

scores = {rank: [row["test"] for row in table("rank") if row["rank"] == rank] for rank in (1, 8)}
for rank, tests in scores.items():
    print(f"r = {rank}, three seeds that ship with lorakit:", *(f"{test:.3f}" for test in tests))

# %% [markdown] id="claims-say"
# ## 5 · Your claims
#
# *Difficulty ●●● · importance ○○○ · 30 minutes*
#
# Now the list that the report stands on. Write `claims()`: a list of at least **three** claims of at least two kinds, each a dict with
#
# | entry | what |
# |---|---|
# | `claim` | a sentence that could be false |
# | `kind` | `"overlap"` (φ), `"count"` (of directions), `"accuracy"`, `"difference"`, `"ratio"` |
# | `value` | what you measured |
# | `null` | what chance gives, for a difference 0 |
# | `spread` | the standard deviation of what chance gives, or over seeds, of what you compare |
# | `seeds` | on how many runs it stands, at least 2 |
# | `by` | how the null was got, so that a reader can do it again |
# | `holds` | whether the value lies more than 2 spreads from its null |
#
# The check does not know your subject. It looks whether a reader could check each claim, and whether the verdicts follow from the
# numbers. Use what you measured above by name, or type numbers in.
#
# <details><summary>Hint 1</summary>
#
# A claim that does *not* hold belongs on the list as well: "rank 64 is better than rank 8", `holds=False`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The null of an overlap is never 0, that of a count is never below 1, that of an accuracy is the majority's share.
#
# </details>

# %% id="claims" kind="answer" exercise="claims"
def claims():
    """[{claim, kind, value, null, spread, seeds, by, holds}, …]"""
    # BEGIN SOLUTION
    gains = [b - a for a, b in zip(scores[1], scores[8])]
    gain, error = sum(gains) / 3, float(torch.tensor(gains).std()) / math.sqrt(3)
    return [
        {
            "claim": "two runs with both seeds different share their first direction",
            "kind": "overlap", "value": first, "null": float(one.null[0, 0]), "spread": float(one.null_spread[0, 0]),
            "seeds": 2, "by": "independent directions in ℝ³⁸⁴, exact: 1/d", "holds": True,
        },
        {
            "claim": "the norm of ΔW lies in fewer directions than that of a random ΔW",
            "kind": "count", "value": stable, "null": float(null.mean), "spread": float(null.spread),
            "seeds": 12, "by": "random B·A of rank 8, 32 draws", "holds": True,
        },
        {
            "claim": "rank 8 is better than rank 1 on the test rows",
            "kind": "difference", "value": gain, "null": 0.0, "spread": error,
            "seeds": 3, "by": "three seeds in pairs, standard error of the mean", "holds": gain > 2 * error,
        },
    ]
    # END SOLUTION


# %% id="claims-check" kind="check" exercise="claims" points="5"
project.check_claims(claims)

# %% [markdown] id="claims-on"
# *Going on without it?* Nothing below needs yours.

# %% [markdown] id="question" kind="manual" exercise="question" points="2"
# ## The report · Question
#
# *2 points.* One sentence that ends with a question mark. Then: which result would make you answer "no"?
#
# <!-- BEGIN SOLUTION -->
# Do two LoRA runs on film reviews that share neither start nor order of the data learn the same directions? "No" if the median φ(1, 1)
# over the twelve matrices lies within two spreads of 1/384.
# <!-- END SOLUTION -->

# %% [markdown] id="method" kind="manual" exercise="method" points="4"
# ## The report · Method
#
# *4 points.* Model, data and split, what is adapted and how, seeds, learning rate and steps *and how they were chosen*, what was measured
# on which rows. Somebody who has only this section must be able to do it again.
#
# <!-- BEGIN SOLUTION -->
# MiniLM (6 layers, d = 384), film review snippets with |rating| ≥ 0.5, split by a hash of the text into 8,039 / 1,004 / 1,029 rows; no normalised
# text on two sides (exercise 1). LoRA of rank 8, α = 16, on query and value; AdamW, 200 steps of 32, learning rate 3e-3, chosen at r = 8 on
# the validation rows in earlier runs and not tuned again. Two runs: init = order = 0, and init = order = 1. Measured on the two ΔW of every matrix:
# stable rank, and φ(1, 1) of their right-singular directions; nulls from `spectrum` (32 random B·A of rank 8) and exact for φ. Test
# accuracies of ranks 1 and 8 at three seeds come from lorakit's table `rank`.
# <!-- END SOLUTION -->

# %% [markdown] id="result" kind="manual" exercise="result" points="5"
# ## The report · Result
#
# *5 points.* One figure (made above, named here), one table with value, null and spread, and what they say in words. Nothing that is not in
# your claims.
#
# <!-- BEGIN SOLUTION -->
# The figure is the map of φ(1, 1) above. The table:
#
# | claim | value | null ± spread | holds |
# |---|---|---|---|
# | first direction shared, both seeds other (median of 12) | as printed above | 0.0026 ± 0.0037 | yes |
# | stable rank of ΔW (median of 12) | as printed above | 5.8 ± 0.3 | yes |
# | rank 8 better than rank 1, three seeds | + 1.3 points | 0 ± 0.2 | yes |
#
# Two runs that share no seed do agree on a first direction, far beyond chance, in most matrices and not in all: the map has dark cells.
# ΔW puts nearly all of its norm into one or two directions. Rank 8 gains about a point over rank 1 under this recipe.
# <!-- END SOLUTION -->

# %% [markdown] id="limits" kind="manual" exercise="limits" points="4"
# ## The report · Limits
#
# *4 points.* The two most likely ways in which *this* result is wrong, and what would show each.
#
# <!-- BEGIN SOLUTION -->
# 1. Two runs are one pair. The shared direction may be a matter of these two seeds: more pairs (the shipped third seed gives two more) would show it.
# 2. The direction may be one that *any* classifier of this model finds, for example that of sentence length, and no property of the task: the same
#    two runs with shuffled labels, or on another task over the same texts, would show it.
#
# And the difference between ranks stands on one learning rate, tuned at rank 8: a sweep at rank 1 could take it away.
# <!-- END SOLUTION -->

# %% [markdown] id="questions"
# ## Before you hand it in: three questions
#
# 1. Restart the kernel and run all. Does every number in the report still stand in an output?
# 2. Which of your choices did you make after looking at the test rows?
# 3. Which sentence would you be sorry to defend? Take it out.
#
# <details><summary>What is behind them</summary>
#
# 1. A notebook that was run out of order shows numbers that nobody can get again.
# 2. Each such choice makes the test accuracy a little too good. Choose on validation rows; say where you did not.
# 3. A claim without its null is usually the one.
#
# </details>
