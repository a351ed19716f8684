# %% [markdown] id="title"
# # Assignment 3 · Inside ΔW
#
# ![φ(i, j) of two runs with other seeds, and of chance](attachment:inside_delta_w.png)
#
# What did training change? Section 7 of the LoRA paper answers with three figures and a table. Here you build the
# tools behind them, and beside each the thing that the paper leaves out: what **chance** would give. Then you read
# adapters that ship with lorakit, and argue from what you see.
#
# Afterwards you can
#
# - take the **SVD** of a ΔW of GPT-3's size in milliseconds,
# - measure what two adapters **share**, beside what chance would give,
# - tell an **amplification factor** that means something from one that does not,
# - argue from figures: what is shared, and **why**.
#
# **How it works.** Each exercise has a function to finish and a cell that checks it, on several cases. When something
# is wrong the check says on which case, what it expected, what you returned, and what the likely mistake is. Hints are
# folded; each says more than the one before. No exercise needs your answer to another. *Run All* stops at the first
# answer that is missing: run cell by cell.
#
# Every exercise says how hard it is (● to ●●●), how much later ones build on the idea (○ to ○○○) and how long it may
# take. Everything together: 145 minutes. You need the singular value decomposition; the lesson `04_inside_delta_w`
# shows the finished tools at work. Source: Hu et al. 2021, [*LoRA*](https://arxiv.org/abs/2106.09685), section 7 and
# appendix G.

# %% id="setup"
from glob import glob

try:
    import lorakit
except ImportError:  # on Colab: put the wheel of `make wheel` beside this notebook
    # %pip install --quiet {sorted(glob("lorakit-*.whl") + glob("../lorakit-*.whl"))[-1]}
    import lorakit
import math
from statistics import median

import torch

from lorakit.analysis import similarity
from lorakit.checks import inside_delta_w
from lorakit.delta import LowRank, svd

# %% [markdown] id="names"
# **The names.** $\Delta W = B A$ is `(out, in)`, with the scale $\alpha / r$ already in $B$. Its singular value
# decomposition is $\Delta W = U\, \mathrm{diag}(S)\, V^\top$. A *direction* is a column of $U$ (on the side of the
# outputs, left) or a row of $V^\top$ (on the side of the inputs, right). In code $V^\top$ is called `Vh`, so that the
# first input direction is `Vh[0]`. "The top $k$" are the first $k$: $S$ falls.

# %% [markdown] id="svd-say"
# ## 1 · The SVD, through the factors
#
# *Difficulty ●●● · importance ○○○ · 20 minutes*
#
# $\Delta W$ of a GPT-3 layer has 12288 × 12288 entries, and its SVD takes minutes. But it is $B A$ with thin factors.
# Two thin QR decompositions, $B = Q_B R_B$ and $A^\top = Q_A R_A$, leave a core of $r \times r$:
#
# $$B A = Q_B\, (R_B R_A^\top)\, Q_A^\top$$
#
# Write `factored_svd(B, A)`: $U$ `(out, r)`, $S$ `(r,)` and `Vh` `(r, in)`, without ever forming $B A$. The last case
# looks for that.
#
# <details><summary>Hint 1</summary>
#
# `Q, R = torch.linalg.qr(B)` is thin already. The SVD of the core costs nothing: `torch.linalg.svd(core)`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# If the core is $u\, \mathrm{diag}(S)\, v^\top$, then $B A = (Q_B u)\, \mathrm{diag}(S)\, (v^\top Q_A^\top)$, and both
# brackets have orthonormal columns or rows.
#
# </details>
# <details><summary>Hint 3</summary>
#
# For the second QR, `torch.linalg.qr(A.T)`: its Q is `(in, r)`, and its R meets that of $B$ transposed.
#
# </details>

# %% id="svd" kind="answer" exercise="factored_svd"
def factored_svd(B, A):
    """U (out, r), S (r,), Vh (r, in) of B·A."""
    # BEGIN SOLUTION
    Q_B, R_B = torch.linalg.qr(B)
    Q_A, R_A = torch.linalg.qr(A.T)
    u, S, vh = torch.linalg.svd(R_B @ R_A.T)
    return Q_B @ u, S, vh @ Q_A.T
    # END SOLUTION


# %% id="svd-check" kind="check" exercise="factored_svd" points="2"
inside_delta_w.check_factored_svd(factored_svd)

# %% [markdown] id="svd-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.delta.svd`.

# %% id="svd-hidden" kind="hidden" exercise="factored_svd" points="2"
inside_delta_w.check_factored_svd(factored_svd, seed=4711)

# %% [markdown] id="svd-look"
# `lorakit.delta.svd` does this. One matrix of GPT-3's size, on this machine:

# %% id="svd-see"
from time import process_time

draw = torch.Generator().manual_seed(0)
large = LowRank(torch.randn(12288, 8, generator=draw), torch.randn(8, 12288, generator=draw))
start = process_time()
print(svd(large).S, f"{1000 * (process_time() - start):.0f} milliseconds of a processor", sep="\n")

# %% [markdown] id="truncated-say"
# ## 2 · Fewer directions
#
# *Difficulty ●● · importance ○○ · 10 minutes*
#
# Of all matrices of rank $k$, the one nearest to $\Delta W$ keeps its top $k$ directions (Eckart and Young 1936).
# Write `truncated(B, A, k)`: a pair `left` `(out, k)`, `right` `(k, in)` whose product is that matrix. You may form $B
# A$ here, or use exercise 1, or lorakit's `svd(LowRank(B, A))`.
#
# <details><summary>Hint 1</summary>
#
# The first $k$ columns of $B$ will not do: the columns of $B$ are in no order, and they are not orthogonal.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $\sum_{i \le k} \sigma_i u_i v_i^\top$: scale the columns of `U[:, :k]` by `S[:k]`, and put `Vh[:k]` beside them.
#
# </details>

# %% id="truncated" kind="answer" exercise="truncated"
def truncated(B, A, k):
    """left (out, k), right (k, in): the best approximation of B·A of rank k."""
    # BEGIN SOLUTION
    U, S, Vh = svd(LowRank(B, A))
    return U[:, :k] * S[:k], Vh[:k]
    # END SOLUTION


# %% id="truncated-check" kind="check" exercise="truncated" points="1"
inside_delta_w.check_truncated(truncated)

# %% [markdown] id="truncated-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.delta.truncate`.

# %% id="truncated-hidden" kind="hidden" exercise="truncated" points="1"
inside_delta_w.check_truncated(truncated, seed=4711)

# %% [markdown] id="phi-say"
# ## 3 · φ, for all i and j
#
# *Difficulty ●● · importance ○○○ · 15 minutes*
#
# How much of the top $i$ directions of one adapter lies in the top $j$ of another?
#
# $$\varphi(i, j) = \frac{\|U_i^\top V_j\|_F^2}{\min(i, j)} \in [0, 1]$$
#
# Here `U` is `(d, i)` and `V` is `(d, j)`, with orthonormal columns, the most important first; $U_i$ are the first $i$
# columns. Write `phi(U, V)`: the table of φ for every pair of counts, where entry `[0, 0]` is φ(1, 1). Loops are
# accepted; none is needed.
#
# <details><summary>Hint 1</summary>
#
# All overlaps are in one matrix, `U.T @ V`. $\|U_i^\top V_j\|_F^2$ is the sum of the squares in its top left corner,
# $i$ by $j$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Sums over all top left corners at once: `.cumsum(0).cumsum(1)`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `torch.minimum(rows, columns)` of `torch.arange(1, i + 1)[:, None]` and `torch.arange(1, j + 1)` is the table of
# min(i, j).
#
# </details>

# %% id="phi" kind="answer" exercise="phi"
def phi(U, V):
    """The table (i, j) of φ for U (d, i) and V (d, j)."""
    # BEGIN SOLUTION
    total = (U.T @ V).square().cumsum(0).cumsum(1)
    rows, columns = torch.arange(1, U.shape[1] + 1)[:, None], torch.arange(1, V.shape[1] + 1)
    return total / torch.minimum(rows, columns)
    # END SOLUTION


# %% id="phi-check" kind="check" exercise="phi" points="2"
inside_delta_w.check_phi(phi)

# %% [markdown] id="phi-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.analysis.similarity`.

# %% id="phi-hidden" kind="hidden" exercise="phi" points="2"
inside_delta_w.check_phi(phi, seed=4711)

# %% [markdown] id="null-say"
# ## 4 · φ by chance
#
# *Difficulty ●● · importance ○○○ · 10 minutes*
#
# Two subspaces of $\mathbb{R}^d$ that know nothing of each other still overlap. For an $i$-dimensional one, and a
# $j$-dimensional one in a random position, the mean of $\|U_i^\top V_j\|_F^2$ is $i\,j / d$: each of the $i \cdot j$
# squared cosines is $1/d$ on average.
#
# Write `phi_null(i, j, d)`: the table of what φ is on average, for all counts up to $i$ and up to $j$, as in exercise
# 3.
#
# <details><summary>Hint 1</summary>
#
# Divide $i j / d$ by $\min(i, j)$. What is left?
#
# </details>
# <details><summary>Hint 2</summary>
#
# $i j = \min(i, j) \cdot \max(i, j)$.
#
# </details>

# %% id="null" kind="answer" exercise="phi_null"
def phi_null(i, j, d):
    """The table (i, j) of the mean of φ between independent subspaces."""
    # BEGIN SOLUTION
    return torch.maximum(torch.arange(1.0, i + 1)[:, None], torch.arange(1.0, j + 1)) / d
    # END SOLUTION


# %% id="null-check" kind="check" exercise="phi_null" points="1"
inside_delta_w.check_phi_null(phi_null)

# %% [markdown] id="null-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.analysis.similarity`.

# %% id="null-hidden" kind="hidden" exercise="phi_null" points="1"
inside_delta_w.check_phi_null(phi_null, seed=4711)

# %% [markdown] id="factor-say"
# ## 5 · The amplification factor
#
# *Difficulty ●● · importance ○○ · 15 minutes*
#
# Does $\Delta W$ amplify what $W$ already does? Project $W$ on the top $r$ directions of $\Delta W$ and compare the
# sizes (table 7):
#
# $$\frac{\|\Delta W\|_F}{\|U^\top W V\|_F}, \qquad U, V \text{ the top } r \text{ left and right directions of } \Delta W$$
#
# Write `factor(delta, W, rank)` for two matrices `(out, in)`. The norm above is that of all of $\Delta W$.
#
# <details><summary>Hint 1</summary>
#
# `U, S, Vh = torch.linalg.svd(delta, full_matrices=False)`. The directions are the first columns of `U` and the first
# *rows* of `Vh`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The projection is `(r, r)`: `(r, out) @ (out, in) @ (in, r)`. `torch.linalg.matrix_norm` is the Frobenius norm.
#
# </details>

# %% id="factor" kind="answer" exercise="factor"
def factor(delta, W, rank):
    """‖ΔW‖_F over ‖UᵀWV‖_F."""
    # BEGIN SOLUTION
    U, _, Vh = torch.linalg.svd(delta, full_matrices=False)
    projected = U[:, :rank].T @ W @ Vh[:rank].T
    return torch.linalg.matrix_norm(delta) / torch.linalg.matrix_norm(projected)
    # END SOLUTION


# %% id="factor-check" kind="check" exercise="factor" points="1"
inside_delta_w.check_factor(factor)

# %% [markdown] id="factor-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.analysis.amplification`.

# %% id="factor-hidden" kind="hidden" exercise="factor" points="2"
inside_delta_w.check_factor(factor, seed=4711)

# %% [markdown] id="chance-say"
# ## 6 · The factor by chance
#
# *Difficulty ●● · importance ○○○ · 10 minutes*
#
# In GPT-3 the factor is 21.5, and the paper says that $\Delta W$ "amplifies". What would a $\Delta W$ score that has
# nothing to do with $W$? Of the $out \cdot in$ entries that $W$ has in any basis, $r$ random directions on each side
# see $r^2$; so $\|U^\top W V\|_F^2$ is about $\|W\|_F^2 \cdot r^2 / (out \cdot in)$.
#
# Write `factor_null(norm_delta, norm_W, rank, out, inputs)`: the amplification factor of such a $\Delta W$, a number.
#
# <details><summary>Hint 1</summary>
#
# Take the root: $\|U^\top W V\|_F \approx \|W\|_F \cdot r / \sqrt{out \cdot in}$. For GPT-3 at $r = 4$, with $\|W\|_F$
# = 61.95, that is 0.02.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The factor divides $\|\Delta W\|_F$ by that.
#
# </details>

# %% id="chance" kind="answer" exercise="factor_null"
def factor_null(norm_delta, norm_W, rank, out, inputs):
    """The factor of a ΔW whose directions are independent of W."""
    # BEGIN SOLUTION
    return norm_delta / (norm_W * rank / math.sqrt(out * inputs))
    # END SOLUTION


# %% id="chance-check" kind="check" exercise="factor_null" points="1"
inside_delta_w.check_factor_null(factor_null)

# %% [markdown] id="chance-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.analysis.amplification`.

# %% id="chance-hidden" kind="hidden" exercise="factor_null" points="1"
inside_delta_w.check_factor_null(factor_null, seed=4711)

# %% [markdown] id="medians-say"
# ## 7 · Two adapters
#
# *Difficulty ●● · importance ○○○ · 15 minutes*
#
# Now real ones. An adapter is a dict `{layer: ΔW}`, with names like `bert.encoder.layer.0.attention.self.query`.
# `similarity(a, b)` is lorakit's φ, for two ΔW; its result has the table `.phi`.
#
# Write `medians(a, b)`: a dict `{"query": …, "value": …}` with the median over all layers of φ(1, 1) between the two
# adapters' ΔW, on the right side (which is what `similarity` does unless told otherwise). Pair the layers **by name**:
# another file may hold them in another order, and more of them. Take the layers of `a`; a query matrix is one whose name
# *ends* in `query`, and `query_pooler.value` is a value matrix.
#
# <details><summary>Hint 1</summary>
#
# `similarity(a[name], b[name]).phi[0, 0]` is φ(1, 1) of one layer.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `name.endswith("query")`, and `median` of a list, which is imported above.
#
# </details>

# %% id="medians" kind="answer" exercise="medians"
def medians(a, b):
    """Median of φ(1, 1) over the query matrices, and over the value matrices."""
    # BEGIN SOLUTION
    found = {}
    for kind in ("query", "value"):
        found[kind] = median(similarity(a[name], b[name]).phi[0, 0] for name in a if name.endswith(kind))
    return found
    # END SOLUTION


# %% id="medians-check" kind="check" exercise="medians" points="1"
inside_delta_w.check_medians(medians)

# %% [markdown] id="medians-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.analysis.similarities`.

# %% id="medians-hidden" kind="hidden" exercise="medians" points="2"
inside_delta_w.check_medians(medians, seed=4711)

# %% [markdown] id="runs-look"
# ## The adapters
#
# MiniLM on film reviews, LoRA on query and value, α = 16, ranks 8 and 64. Two seeds were varied apart: `init` draws
# the start of $A$ (and of the head), `order` the order of the training rows. Each picture below compares one pair of
# runs in one layer: on top what was measured, below what chance gives.

# %% id="runs"
from itertools import product

from lorakit import plots
from lorakit.analysis import similarities
from lorakit.checkpoints import read
from lorakit.data.results import adapter

keys = list(product((8, 64), (0, 1), (0, 1)))
runs = {(r, i, o): read(adapter(rank=r, init=i, order=o)) for r, i, o in keys}
value = "bert.encoder.layer.3.attention.self.value"
about = "MiniLM · movies · α = 16"

# %% id="sides"
pairs = {"other order": runs[8, 0, 1], "other init": runs[8, 1, 0], "both other": runs[8, 1, 1]}
maps = {}
for side, (name, other) in product(("right", "left"), pairs.items()):
    maps[f"{name}, {side}"] = similarity(runs[8, 0, 0][value], other[value], side=side)
plots.phi_maps(maps, title="two runs of r = 8", about=f"{about} · {value}")

# %% id="sides-table"
print(f"{'median over 12 matrices, r = 8 twice':<40}{'φ(1, 1)':>9}{'φ(8, 8)':>9}")
for side, (name, other) in product(("right", "left"), pairs.items()):
    tables = similarities(runs[8, 0, 0], other, side=side).values()
    one, eight = (median(table.phi[k, k] for table in tables) for k in (0, 7))
    print(f"{f'{name}, {side} side':<40}{one:>9.2f}{eight:>9.2f}")
print(f"{'by chance':<40}{1 / 384:>9.3f}{8 / 384:>9.3f}")

# %% [markdown] id="seeds-say"
# ## 8 · What is shared, and why?
#
# *Difficulty ●●● · importance ○○○ · 20 minutes · in words*
#
# Somebody shows the first picture only ("other order", right side) and writes: "Two runs of rank 8 find the same
# eight-dimensional subspace: the task has an intrinsic subspace, and LoRA finds it."
#
# 1. Which number of the table contradicts that, and what do the two runs share instead? Think of where $A$ starts, and
#    $B$.
# 2. What in the table *does* speak for directions that the task asks for, and how strongly? Compare with chance.
# 3. Which one further experiment would you run to support your answer to 2, and what result would make you change your
#    mind?

# %% [markdown] id="seeds" kind="manual" exercise="seeds" points="5"
# <!-- BEGIN SOLUTION -->
# 1. With another init the right-hand φ(8, 8) falls from about 0.65 to about 0.1, and on the left side it is low with
#    the same init as well (about 0.2). The two runs started from the same A, which moves little; so their input
#    directions are largely those that were drawn. B starts at zero and is all learned: its side, the left one, shows
#    no common eight-dimensional subspace.
# 2. With both seeds different φ(1, 1) is about 0.1 to 0.2 in the median, dozens of times chance (0.003), and φ(8, 8)
#    about 0.1 against 0.02. So there is something in common that neither seed explains, mostly one direction, and it
#    varies much from layer to layer; "the same subspace" is far too strong.
# 3. For example several more pairs with both seeds different, to have a spread; or training longer, to see whether the
#    share grows; or another task as a control: if two runs on different tasks share as much, then it is the model and
#    not the task that explains it.
#
# *2 points: the other init, or the left side, and A's memory of its start. 2 points: both seeds different against the
# null, and modest words. 1 point: an experiment with an outcome that would count against.*
# <!-- END SOLUTION -->

# %% [markdown] id="table-look"
# Table 7 for these adapters, each on its top four directions. The enrichment is the projection over that of random
# directions: 1 is chance; in GPT-3 it is 15.9.

# %% id="table"
from lorakit.analysis import amplification
from lorakit.geometry import weight_of
from lorakit.models import load_classifier

model, _ = load_classifier("minilm")
print(f"{'median over 12 matrices':<26}{'factor':>9}{'by chance':>11}{'enrichment':>12}")
for r in (8, 64):
    both = [(delta, weight_of(model.get_submodule(name))) for name, delta in runs[r, 0, 0].items()]
    rows = [amplification(delta, W, rank=4) for delta, W in both]
    numbers = zip(*((row.factor, row.null_factor, row.enrichment) for row in rows))
    print(f"{f'r = {r}':<26}" + "".join(f"{median(c):>{w}.2f}" for c, w in zip(numbers, (9, 11, 12))))

# %% [markdown] id="amplifies-say"
# ## 9 · Does it amplify?
#
# *Difficulty ●● · importance ○○○ · 15 minutes · in words*
#
# "Our adapters amplify what is in the weights about tenfold: the amplification factor is around 10." Write five
# sentences to the author. What does a factor of 10 mean here, beside its null? Is a *larger* factor better evidence of
# amplification, or worse? What do the enrichments say, and how does GPT-3 differ?

# %% [markdown] id="amplifies" kind="manual" exercise="amplifies" points="4"
# <!-- BEGIN SOLUTION -->
# A ΔW of this norm whose directions have nothing to do with W would score more, as the column "by chance" shows; so
# the factor is no evidence of amplification. The factor has ‖UᵀWV‖ below the line: the less W does along ΔW's
# directions, the larger it is, so a larger factor is the weaker evidence of a connection with W. The enrichment
# compares ‖UᵀWV‖ with random directions and is a little above 1: ΔW lies slightly more along W than chance, and not
# much more. In GPT-3 at r = 4 it is 15.9: there ΔW does point where W does something. Why they differ (size, depth,
# task, length of training) these numbers do not say.
#
# *1 point each: the null; larger is weaker; the enrichment near 1; GPT-3's 15.9 and no invented reason.*
# <!-- END SOLUTION -->

# %% [markdown] id="spectra-look"
# Last, the spectra: the share of $\|\Delta W\|_F^2$ in the top directions of LoRA's ΔW, and of a model in which *all*
# weights were tuned (the same encoder, by others, on another task).

# %% id="spectra"
from lorakit.analysis import spectrum
from lorakit.checkpoints import from_full

twin, _ = load_classifier("minilm-sre")
full = from_full(model, twin, only=value)
three = {"all weights tuned": full[value]}
three |= {f"LoRA, r = {r}": runs[r, 0, 0][value] for r in (64, 8)}
spectra = {name: spectrum(delta) for name, delta in three.items()}
for name, one in spectra.items():
    print(f"{name:<18} 90 % in {one.rank_at(0.9):>3} directions   stable rank {one.stable_rank:.1f}")
plots.spectra(spectra, log=True, about=f"{value} · two tasks: compare shapes only")

# %% [markdown] id="rank-say"
# ## 10 · How many directions?
#
# *Difficulty ●● · importance ○○ · 15 minutes · in words*
#
# "LoRA's ΔW has 90 % of its norm in a few directions, so the task needs only a few." Say in a few sentences why the
# picture alone does not show that, in either direction: what might a *small* singular value still do, and what might a
# large one *not* do? What would you measure instead? (Assignment 4 and the lesson `05_intrinsic_rank` do.) And why
# does rank 8 not follow from the picture for the fully tuned model?

# %% [markdown] id="rank" kind="manual" exercise="rank" points="3"
# <!-- BEGIN SOLUTION -->
# The norm says what is large, not what is needed. A small direction can decide the prediction, if the inputs of the
# task lie along it or the layers behind it react strongly; a large one may change nothing that the loss sees. To know,
# cut ΔW to its top k in the model and measure the accuracy on held-out rows for each k, beside k random directions of
# its span; or train at several ranks. The fully tuned ΔW needs dozens of directions for 90 % of its norm, and cut to
# rank 8 it loses much of it; nothing in the picture says whether its task would suffer, and it is another task anyway.
#
# *1 point: large is not needed, both ways. 1 point: truncation in the model, or training at ranks, on held-out rows
# with a null. 1 point: the fully tuned ΔW is not of low rank by its norm, and no conclusion about the task follows.*
# <!-- END SOLUTION -->

# %% [markdown] id="end"
# ## Where to go next
#
# `lorakit/analysis/` holds these tools, each with its null and its sources; `python -m lorakit inspect PATH` runs them
# on anybody's adapter. Assignment 4 asks the same question of planted tasks, where the right answer is known.
