# %% [markdown] id="title"
# # Assignment 4 · The intrinsic rank
#
# ![One ΔW with a stable rank of 1.2 and an effective rank of 43](attachment:intrinsic_rank.png)
#
# "The change of weights has a low intrinsic rank" is the idea behind LoRA (Hu et al. 2021, section 4.1). It sounds like
# one number. Here you build the probes that are meant to find it: two counts of directions, a share of the norm, what
# chance would give, and a search in random subspaces. Then you make them contradict each other, and say what each of
# them is good for.
#
# Afterwards you can
#
# - count the directions of a ΔW in **three ways**, and say what each of them hears,
# - give each count the **null** that belongs beside it,
# - search for the least **dimension** that a task can be learned in, in few runs,
# - answer “the intrinsic rank is 1” with numbers.
#
# **How it works.** Each exercise has a function to finish and a cell that checks it, on several cases. When something
# is wrong the check says on which case, what it expected, what you returned, and what the likely mistake is. Hints are
# folded; each says more than the one before. No exercise needs your answer to another. *Run All* stops at the first
# answer that is missing: run cell by cell.
#
# Every exercise says how hard it is (● to ●●●), how much later ones build on the idea (○ to ○○○) and how long it may take.
# Everything together: 153 minutes. You need the singular value decomposition and a little PyTorch; the lesson
# `05_intrinsic_rank` shows the same things at work.

# %% id="setup"
from glob import glob

try:
    import lorakit
except ImportError:  # on Colab: put the wheel of `make wheel` beside this notebook
    # %pip install --quiet {sorted(glob("lorakit-*.whl") + glob("../lorakit-*.whl"))[-1]}
    import lorakit
import math

import torch

from lorakit.checks import intrinsic_rank

# %% [markdown] id="names"
# **The names.** ΔW is a matrix `(out, in)`. Its singular values $\sigma_1 \ge \sigma_2 \ge \dots$ say how much each of its
# directions carries; `torch.linalg.svdvals(delta)` gives them, largest first. $\|\Delta W\|_F^2$, the sum of all squared
# entries, is $\sum_i \sigma_i^2$.

# %% [markdown] id="stable-say"
# ## 1 · The stable rank
#
# *Difficulty ● · importance ○○○ · 8 minutes*
#
# The rank counts every $\sigma_i > 0$, and a breath of noise makes it full. The stable rank asks how many directions as
# strong as the first would make up the norm:
#
# $$\frac{\|\Delta W\|_F^2}{\sigma_1^2}$$
#
# Write `stable_rank(delta)`, a plain number. A ΔW of zeros has no direction: return 0 there.
#
# <details><summary>Hint 1</summary>
#
# A ΔW with σ = 2, 2, 2 has stable rank 3, whatever its shape. With σ = 2, 1 it is (4 + 1)/4 = 1.25.
#
# </details>
# <details><summary>Hint 2</summary>
#
# You need no singular vector: `torch.linalg.svdvals(delta)` is all. Look at $\sigma_1$ before you divide by it.
#
# </details>

# %% id="stable" kind="answer" exercise="stable"
def stable_rank(delta):
    """‖ΔW‖_F²/σ₁² of ΔW (out, in); 0 where ΔW = 0."""
    # BEGIN SOLUTION
    sigma = torch.linalg.svdvals(delta)
    return float((sigma**2).sum() / sigma[0] ** 2) if sigma[0] > 0 else 0.0
    # END SOLUTION


# %% id="stable-check" kind="check" exercise="stable" points="1"
intrinsic_rank.check_stable(stable_rank)

# %% [markdown] id="stable-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.analysis.spectrum`.

# %% id="stable-hidden" kind="hidden" exercise="stable" points="1"
intrinsic_rank.check_stable(stable_rank, seed=4711)

# %% [markdown] id="effective-say"
# ## 2 · The effective rank
#
# *Difficulty ●● · importance ○○ · 10 minutes*
#
# The stable rank hears only the first direction and the norm. The effective rank (Roy and Vetterli 2007) hears the tail.
# Take the σ as shares, and the exponential of their entropy:
#
# $$p_i = \frac{\sigma_i}{\sum_k \sigma_k}, \qquad \exp\Bigl(-\sum_i p_i \ln p_i\Bigr)$$
#
# Write `effective_rank(delta)`. Return 0 for a ΔW of zeros.
#
# <details><summary>Hint 1</summary>
#
# With $n$ equal σ every share is $1/n$, the entropy is $\ln n$ and the effective rank $n$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $0 \cdot \ln 0$ counts as 0 in an entropy, and is NaN in floating point. Some of the cases have singular values that are
# exactly 0.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `sigma[sigma > 0]` keeps the others. The shares are of σ, not of σ².
#
# </details>

# %% id="effective" kind="answer" exercise="effective"
def effective_rank(delta):
    """exp(−Σ p·ln p), p = σ/Σσ, of ΔW (out, in); 0 where ΔW = 0."""
    # BEGIN SOLUTION
    sigma = torch.linalg.svdvals(delta)
    p = sigma[sigma > 0] / sigma.sum()
    return float(torch.exp(-(p * p.log()).sum())) if len(p) else 0.0
    # END SOLUTION


# %% id="effective-check" kind="check" exercise="effective" points="1"
intrinsic_rank.check_effective(effective_rank)

# %% [markdown] id="effective-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.analysis.spectrum`.

# %% id="effective-hidden" kind="hidden" exercise="effective" points="2"
intrinsic_rank.check_effective(effective_rank, seed=4711)

# %% [markdown] id="energy-say"
# ## 3 · How many directions hold 90 %?
#
# *Difficulty ●● · importance ○○○ · 10 minutes*
#
# Among all matrices of rank $k$, the one nearest to ΔW keeps its top $k$ directions (Eckart and Young), and with them the
# share $\sum_{i \le k} \sigma_i^2 / \|\Delta W\|_F^2$ of its squared norm.
#
# Write `rank_at(delta, share)`: the least $k$ for which that share is at least `share`, a number in (0, 1).
#
# <details><summary>Hint 1</summary>
#
# σ = 3, 1, 1 have squares 9, 1, 1. One direction holds 9/11 = 82 %, two hold 91 %: `rank_at(delta, 0.9)` is 2.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `cumsum(0)` gives the running sums. How many of them lie *below* the share? The answer is one more.
#
# </details>

# %% id="energy" kind="answer" exercise="energy"
def rank_at(delta, share):
    """The fewest directions that hold `share` of ‖ΔW‖_F²."""
    # BEGIN SOLUTION
    power = torch.linalg.svdvals(delta) ** 2
    return int((power.cumsum(0) / power.sum() < share).sum()) + 1
    # END SOLUTION


# %% id="energy-check" kind="check" exercise="energy" points="1"
intrinsic_rank.check_energy(rank_at)

# %% [markdown] id="energy-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.analysis.spectrum`.

# %% id="energy-hidden" kind="hidden" exercise="energy" points="2"
intrinsic_rank.check_energy(rank_at, seed=4711)

# %% [markdown] id="real-say"
# ### A real one
#
# lorakit has the three of them in `lorakit.analysis.spectrum`, so you can go on without yours. Here they are for a ΔW that
# was trained: MiniLM on film reviews, LoRA of rank 8. *Predict:* which of the three is the largest, and which the smallest?

# %% id="real"
from lorakit.analysis import spectrum
from lorakit.checkpoints import read
from lorakit.data.results import adapter

trained = read(adapter(rank=8, init=0, order=0))
name = "bert.encoder.layer.4.attention.self.query"
found = spectrum(trained[name])
stable, effective = found.stable_rank, found.effective_rank
print(f"stable {stable:.2f}, effective {effective:.2f}, 90 % at {found.rank_at(0.9)}")

# %% [markdown] id="chance-say"
# ## 4 · What chance gives
#
# *Difficulty ●● · importance ○○○ · 15 minutes*
#
# Is a stable rank of 1.3 low? Low against what? A ΔW that never saw a task has a stable rank as well, and a small one if
# its rank is small. So take $\Delta W = B A$ with $B$ `(out, rank)` and $A$ `(rank, in)` whose entries are independent draws
# from $N(0, 1)$, measure it, do that `draws` times, and report the mean and the standard deviation.
#
# Write `by_chance(measure, out, inputs, rank, draws, seed)`. It calls `measure(delta)` once for each draw and returns
# `(mean, spread)`. The same seed gives the same numbers, another seed gives others, and whoever calls it finds torch's and
# NumPy's own generators as they were.
#
# <details><summary>Hint 1</summary>
#
# One generator, made before the loop from the seed: `torch.Generator().manual_seed(seed)`. Made inside the loop it gives
# the same matrix every time.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.randn(out, rank, generator=g)` draws from $N(0, 1)$; `torch.rand` does not.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The spread is that of a single ΔW, because a single ΔW is what you compare with it: `torch.tensor(values).std()`, not
# divided by anything.
#
# </details>

# %% id="chance" kind="answer" exercise="chance"
def by_chance(measure, out, inputs, rank, draws, seed):
    """(mean, standard deviation) of measure(B·A) over random B (out, rank) and A (rank, inputs)."""
    # BEGIN SOLUTION
    g = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(draws):
        B, A = torch.randn(out, rank, generator=g), torch.randn(rank, inputs, generator=g)
        values.append(float(measure(B @ A)))
    values = torch.tensor(values, dtype=torch.float64)
    return float(values.mean()), float(values.std())
    # END SOLUTION


# %% id="chance-check" kind="check" exercise="chance" points="1"
intrinsic_rank.check_chance(by_chance)

# %% [markdown] id="chance-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.analysis.spectrum`.

# %% id="chance-hidden" kind="hidden" exercise="chance" points="2"
intrinsic_rank.check_chance(by_chance, seed=4711)

# %% [markdown] id="chance-look"
# Now the number above has something beside it. (lorakit's own null is exact and quick; `null_stable_rank` has its mean and
# its spread.) *Question:* how many spreads does the trained ΔW lie from chance, and on which side?

# %% id="chance-see"
null = found.null_stable_rank
print(f"stable rank {found.stable_rank:.2f}; by chance {null.mean:.2f} ± {null.spread:.2f}")
print(f"z = {(found.stable_rank - null.mean) / null.spread:.1f}")
assert found.stable_rank < null.mean - 2 * null.spread

# %% [markdown] id="subspace-say"
# ## 5 · A model that can only move along a few random directions
#
# *Difficulty ●● · importance ○○○ · 15 minutes*
#
# Another question, older than LoRA (Li et al. 2018): let all $D$ numbers $\theta$ of a model move, but only inside a random
# subspace of $d$ dimensions,
#
# $$\theta = \theta_0 + P z, \qquad P \in \mathbb{R}^{D \times d} \text{ random and fixed}, \; z \in \mathbb{R}^d \text{ trained.}$$
#
# $\theta_0$ comes as a list of tensors of any shapes, say a weight and a bias. $P z$ is one long vector: its first entries
# belong to the first tensor, row by row, the next ones to the second, and so on.
#
# Write `moved(start, P, z)`: the list of tensors $\theta$, each in the shape of its part of `start`. A loss of them must
# have a gradient in `z`, and `start` stays as it is.
#
# <details><summary>Hint 1</summary>
#
# `tensor.numel()` says how many entries a tensor takes, and `(P @ z).split([…])` cuts the long vector accordingly.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `piece.view_as(tensor)` gives a piece its shape. Add with `+`, which makes a new tensor; `+=` would change `start`.
#
# </details>

# %% id="subspace" kind="answer" exercise="subspace"
def moved(start, P, z):
    """θ₀ + P·z as a list of tensors shaped as `start`; P (D, d), z (d,)."""
    # BEGIN SOLUTION
    pieces = (P @ z).split([tensor.numel() for tensor in start])
    return [tensor + piece.view_as(tensor) for tensor, piece in zip(start, pieces)]
    # END SOLUTION


# %% id="subspace-check" kind="check" exercise="subspace" points="1"
intrinsic_rank.check_subspace(moved)

# %% [markdown] id="subspace-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.analysis.intrinsic.Subspace`.

# %% id="subspace-hidden" kind="hidden" exercise="subspace" points="2"
intrinsic_rank.check_subspace(moved, seed=4711)

# %% [markdown] id="descend-say"
# ## 6 · Train z
#
# *Difficulty ●●● · importance ○○ · 20 minutes*
#
# One layer, $y \approx W x$, and the loss is the mean of all squared errors, over rows and outputs. $W$ moves along
# $P z$ only: $W = W_0 + P z$, read row by row into the shape of $W_0$.
#
# Write `descend(W0, P, x, y, steps, lr)`: start at $z = 0$, take `steps` steps of plain gradient descent,
# $z \leftarrow z - \text{lr}\, \partial L / \partial z$, and return the $W$ at the end. `x` is `(rows, in)`, `y` is `(rows, out)`.
#
# <details><summary>Hint 1</summary>
#
# Let autograd do it: `z = torch.zeros(P.shape[1], dtype=P.dtype, requires_grad=True)`, and `F.mse_loss` has the right mean.
# Rows of `x` are inputs, so the predictions are `x @ W.T`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.autograd.grad(loss, z)` returns a gradient and stores none, so that nothing piles up. After the step, go on with a
# fresh leaf: `z = (z - lr * gradient).detach().requires_grad_()`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Without autograd: with $G = \partial L / \partial W = \frac{2}{\text{rows} \cdot \text{out}} (x W^\top - y)^\top x$, the gradient in $z$ is
# $P^\top$ times $G$ as one long vector.
#
# </details>

# %% id="descend" kind="answer" exercise="descend"
def descend(W0, P, x, y, steps, lr):
    """W = W₀ + P·z after `steps` of gradient descent on z, from z = 0."""
    # BEGIN SOLUTION
    z = torch.zeros(P.shape[1], dtype=P.dtype, requires_grad=True)
    for _ in range(steps):
        W = W0 + (P @ z).view_as(W0)
        loss = torch.nn.functional.mse_loss(x @ W.T, y)
        (gradient,) = torch.autograd.grad(loss, z)
        z = (z - lr * gradient).detach().requires_grad_()
    return (W0 + (P @ z).view_as(W0)).detach()
    # END SOLUTION


# %% id="descend-check" kind="check" exercise="descend" points="1"
intrinsic_rank.check_descend(descend)

# %% [markdown] id="descend-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.probing.in_subspace`.

# %% id="descend-hidden" kind="hidden" exercise="descend" points="2"
intrinsic_rank.check_descend(descend, seed=4711)

# %% [markdown] id="planted-say"
# ### A planted task
#
# Of a real task nobody knows the rank. Of this one you do: rows follow $y = (W_0 + \Delta W^*)\, x$ with a $\Delta W^*$ of rank 2,
# 24 × 24. The score is the share of ΔW*'s effect that a model has learned. From here on we use lorakit's own `Subspace`,
# which does to any model what you did to one layer, and `in_subspace`, which trains it: the next cells need none of your
# answers. *Predict:* with $D = 576$, what does a random subspace of half the dimensions learn?

# %% id="planted"
from functools import partial

from lorakit.data import planted
from lorakit.probing import in_subspace

fresh = partial(planted, rank=2, inputs=24, outputs=24)
task = fresh()
missing = task.model(*task.test).loss.item()
learned = lambda model: 1 - model(*task.test).loss.item() / missing
score = in_subspace(lambda: fresh().model, task.batches(batch_size=512), learned, steps=120, lr=0.05)
for d in (0, 72, 288, 576):
    reached = score(d, 0)
    print(f"d = {d:>3} of 576: {reached:.2f}")
    assert abs(reached - d / 576) < 0.1

# %% [markdown] id="d90-say"
# ## 7 · The least dimension that will do
#
# *Difficulty ●●● · importance ○○ · 20 minutes*
#
# $d_{90}$ is the least $d$ that brings 90 % of what there is to gain. What the untrained model scores already is no merit
# of the $d$ dimensions, so the target is
#
# $$s_0 + 0.9\,(s_{\text{full}} - s_0), \qquad s_0 = \texttt{score(0)}.$$
#
# Write `d90(score, ladder, full)`. `score(d)` trains in $d$ dimensions and returns a score, which grows with $d$;
# `ladder` has the $d$ to choose from, in ascending order; `full` is $s_{\text{full}}$. Return the least $d$ of the ladder that
# reaches the target, and `math.inf` where none does.
#
# Each call of `score` is a training run. So search by halving: at most $1 + \lceil \log_2(n + 1) \rceil$ calls for a ladder of
# $n$, `score(0)` included.
#
# <details><summary>Hint 1</summary>
#
# Look into the middle of what is left of the ladder. If that $d$ reaches the target, the answer is there or below, and
# otherwise above.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Keep two places: `low`, the last one known to fail (−1 at the start), and `high`, the first one known to pass (`len(ladder)`
# at the start, which stands for ∞). Stop when they are neighbours. Keep $s_0$ in a variable: asking again is another run.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The standard library does it as well: `bisect.bisect_left(ladder, target, key=score)`.
#
# </details>

# %% id="d90" kind="answer" exercise="d90"
def d90(score, ladder, full):
    """The least d of `ladder` at 90 % of the gain from score(0) to `full`; ∞ where none is."""
    # BEGIN SOLUTION
    null = score(0)
    target = null + 0.9 * (full - null)
    low, high = -1, len(ladder)
    while high - low > 1:
        middle = (low + high) // 2
        if score(ladder[middle]) >= target:
            high = middle
        else:
            low = middle
    return ladder[high] if high < len(ladder) else math.inf
    # END SOLUTION


# %% id="d90-check" kind="check" exercise="d90" points="1"
intrinsic_rank.check_d90(d90)

# %% [markdown] id="d90-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.analysis.intrinsic_dimension`.

# %% id="d90-hidden" kind="hidden" exercise="d90" points="2"
intrinsic_rank.check_d90(d90, seed=4711)

# %% [markdown] id="search-say"
# The search on the planted task, with LoRA on the same axis. *Predict:* LoRA of rank 2 trains $2 \cdot (24 + 24) = 96$ numbers
# and can hold all of ΔW*. Is $d_{90}$ about 96, less, or more?

# %% id="search"
from lorakit import LoRA, adapt, plots, train
from lorakit.analysis import intrinsic_dimension

small = fresh().model
adapt(small, LoRA, "linear", rank=2, alpha=2)
train(small, task.batches(batch_size=512), steps=120, lr=0.02, weight_decay=0, progress=False)
ladder = (36, 72, 144, 288, 432, 504, 540, 576)
dimension = intrinsic_dimension(score, target=0.9, dimensions=ladder, seeds=(0, 1))
beside = {"LoRA r = 2": (96, learned(small))}
about = "planted rank 2 · D = 576 · two random subspaces"
plots.intrinsic_dimension(dimension, beside=beside, about=about)

# %% id="search-ranks"
print(f"LoRA of rank 2: {learned(small):.1%} with 96 numbers. {dimension}")
for rank in (1, 8):
    other = partial(planted, rank=rank, inputs=24, outputs=24)
    one = other()
    effect = one.model(*one.test).loss.item()
    share = lambda model: 1 - model(*one.test).loss.item() / effect
    half = in_subspace(lambda: other().model, one.batches(batch_size=512), share, steps=120, lr=0.05)
    reached = half(288, 0)
    print(f"planted rank {rank}: {reached:.2f} learned in half of the dimensions")
    assert 0.4 < reached < 0.6

# %% [markdown] id="explain" kind="manual" exercise="explain" points="3"
# ## 8 · Explain it
#
# *Difficulty ●● · importance ○○○ · 15 minutes · 3 points, marked by a person*
#
# Half of the dimensions learn about half of ΔW*, whether its rank is 1, 2 or 8. In at most six sentences: (a) why does
# $d_{90}$ not see the rank here? (b) what does LoRA do that a random subspace cannot? (c) RoBERTa can be fine-tuned in a few
# *hundred* random dimensions (Aghajanyan et al. 2020). What must be different about its tasks?
#
# <!-- BEGIN SOLUTION -->
# (a) A random subspace of $d$ out of $D$ dimensions contains, of any fixed direction, the share $d/D$ of its squared norm. ΔW*
# is one point in $\mathbb{R}^D$, however low its rank as a matrix, and this task has no other solution, so $d_{90} \approx 0.9\,D$.
#
# (b) LoRA's $A$ and $B$ both train: it chooses its directions. The matrices of rank 2 are a curved set in which ΔW* lies, not a
# random flat one that would have to pass by it.
#
# (c) There must be very many solutions: a large network on a small task has a whole surface of good weights, of high
# dimension, and even a small random subspace meets it. $d_{90}$ measures how many solutions there are, and not their rank.
#
# *Marks: one each for (a) the share d/D of a single solution, (b) learned against given directions, (c) many solutions.*
# <!-- END SOLUTION -->

# %% [markdown] id="disagree-say"
# ## 9 · Make two probes contradict each other
#
# *Difficulty ●● · importance ○○ · 15 minutes*
#
# "The stable rank is 1.2, so ΔW is practically of rank 1." "The effective rank is 8, so it is not." Both can be said of one
# matrix. Build one.
#
# Write `disagreeing(out, inputs)`: a ΔW of that shape (both are at least 64) with a stable rank of at most **1.2** and an
# effective rank of at least **8**.
#
# <details><summary>Hint 1</summary>
#
# You may choose the σ and put them on a diagonal: such a ΔW has just these singular values.
#
# </details>
# <details><summary>Hint 2</summary>
#
# One σ = 1 and $n$ small ones of size ε, say $n = 63$ whatever the shape. The stable rank is $1 + n\,ε^2$: how large may ε be? The
# shares $p$ see ε, and not ε².
#
# </details>

# %% id="disagree" kind="answer" exercise="disagree"
def disagreeing(out, inputs):
    """A ΔW (out, inputs) of stable rank ≤ 1.2 and effective rank ≥ 8."""
    # BEGIN SOLUTION
    delta = torch.zeros(out, inputs)
    delta.fill_diagonal_(0.04)
    delta[0, 0] = 1.0
    return delta
    # END SOLUTION


# %% id="disagree-check" kind="check" exercise="disagree" points="1"
intrinsic_rank.check_disagree(disagreeing)

# %% [markdown] id="disagree-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.analysis.rank_report`.

# %% id="disagree-hidden" kind="hidden" exercise="disagree" points="1"
intrinsic_rank.check_disagree(disagreeing, seed=4711)

# %% [markdown] id="report-say"
# ### All probes on a real ΔW
#
# Two runs at rank 8 with both seeds different, every probe of this assignment and one more: how many directions the two
# runs *share*. Nothing here needs your answers.

# %% id="report"
from lorakit.analysis import rank_report

again = read(adapter(rank=8, init=1, order=1))
report = rank_report(trained, other=again)
about = "MiniLM · movies · LoRA r = 8 on query, value · two runs, both seeds other"
plots.rank_report(report, about=about)

# %% id="report-table"
print(report)
assert abs(report["stable rank"].null.mean() - 5.8) < 0.1

# %% id="trained-ranks"
from lorakit.data.results import table

for r in (1, 2, 4, 8, 64):
    tests = [row["test"] for row in table("rank") if row["rank"] == r]
    mean, each = sum(tests) / len(tests), (f"{test:.3f}" for test in tests)
    print(f"trained at r = {r:>2}: test accuracy {mean:.3f}, seeds", *each)

# %% [markdown] id="essay" kind="manual" exercise="essay" points="5"
# ## 10 · What is the intrinsic rank of this task?
#
# *Difficulty ●●● · importance ○○○ · 25 minutes · 5 points, marked by a person*
#
# A colleague writes: "The stable rank of ΔW is 1.2 and accuracy hardly changes from r = 4 to r = 64. So the intrinsic
# rank of the task is 1." Answer in half a page, from the figures above and with their numbers. Say (a) which claim each of
# the two observations does support, (b) which number stands beside each by chance or by noise (a test accuracy of a
# thousand snippets carries ± 2 points), (c) what the shared directions of the two runs add, and (d) one experiment that
# would tell more, and what you would expect of it if your colleague were right.
#
# <!-- BEGIN SOLUTION -->
# (a) A stable rank of 1.2 says where the *norm* of this ΔW lies: in one or two directions. It says nothing about which
# directions the task needs, because a weak direction may decide a prediction. Equal accuracy from r = 4 to 64 says that rank 4 is
# *enough* under this recipe; r = 1 is about a point lower (0.835 against 0.847), so "1" is not even what the table shows.
#
# (b) By chance a ΔW of rank 8 has a stable rank of 5.8 ± 0.3: 1.2 is far below, so the concentration is real. The differences
# between ranks (at most 1.3 points) lie within the ± 2.2 points of a thousand test rows; only the seeds' intervals at r = 1 and 8 do not meet.
#
# (c) The two runs share about half a direction of eight once both seeds differ (0.45 in the median). So the one strong direction is not simply *the
# task's*: several different ΔW of low stable rank do equally well, and each run finds its own.
#
# (d) For example: cut the rank-8 ΔW to its top $k$ directions and measure the accuracy, beside $k$ random ones of the eight. If the
# colleague is right, $k = 1$ keeps all of the accuracy and the seven others alone keep none of the gain. Or: train at r = 1 with a learning
# rate of its own and ten seeds; the gap to r = 8 should vanish.
#
# *Marks: one each for (a), (b), (c), (d), and one for keeping apart "ΔW has", "the task needs" and "rank r trains well".*
# <!-- END SOLUTION -->

# %% [markdown] id="questions"
# ## Three questions, without marks
#
# 1. Which of stable, effective and numerical rank change when ΔW is doubled? When a little noise is added?
# 2. A paper reports a stable rank of 3 for a ΔW of rank 4. What would you ask for?
# 3. Would $d_{90}$ of the planted task be smaller if $P$ were not random but made of the gradient's top directions?
#
# <details><summary>Answers</summary>
#
# 1. Doubling changes none of them. Noise makes the numerical rank full, moves the effective rank, and hardly touches the
#    stable rank.
# 2. For the null: a random ΔW of rank 4 has a stable rank of 3.3 at d = 384. 3 may be nothing at all.
# 3. Yes: the gradient at $W_0$ points to ΔW* here, and a few directions would hold nearly all of it. That is the difference between
#    given and learned directions again.
#
# </details>
#
# **Where to go next.** `5_serve` puts many adapters to work; `lorakit.sweeps` runs a grid of subspace trainings on a cluster.
