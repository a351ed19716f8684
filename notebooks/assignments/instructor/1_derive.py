# %% [markdown] id="title"
# # Assignment 1 · Derive
#
# ![The equation of LoRA, with the number of the exercise at each of its parts](attachment:derive.png)
#
# $$h = W_0\,x + \frac{\alpha}{r}\,B A\,x$$
#
# One line, and all of LoRA is in it. Here you write it in eleven small pieces: the change of weights $\Delta W$, what it
# costs, the layer that computes with it, how it starts, the gradients that train it, and how it is merged away.
#
# Afterwards you can
#
# - say what shape, scale and size $\Delta W = \frac{\alpha}{r} B A$ has, and **count** what trains,
# - write the **layer**, its start, and its two **gradients** by hand,
# - **merge** it away without losing it to rounding, and take it out again bit for bit.
#
# **How it works.** Each exercise has a function to finish and a cell that checks it. A check tries your function on
# several cases, with odd shapes, in single and in double precision. When something is wrong it tells you on which
# case, what it expected, what you returned, and what it takes for the likely mistake. Hints are folded; each says more
# than the one before. No exercise needs your answer to another, so skip what you like and come back. *Run All* stops
# at the first answer that is missing: run cell by cell.
#
# Every exercise says how hard it is (● to ●●●), how much later ones build on the idea (○ to ○○○) and how long it may
# take. Everything together: 96 minutes. You need matrices and a little PyTorch; the lesson
# `00_start_here` shows the same thing at work. Source: Hu et al. 2021, [*LoRA*](https://arxiv.org/abs/2106.09685),
# section 4.

# %% id="setup"
from glob import glob

try:
    import lorakit
except ImportError:  # on Colab: put the wheel of `make wheel` beside this notebook
    # %pip install --quiet {sorted(glob("lorakit-*.whl") + glob("../lorakit-*.whl"))[-1]}
    import lorakit
import torch

from lorakit.checks import derive

# %% [markdown] id="names"
# **The names**, here and everywhere in lorakit. A weight $W$ is `(out, in)`: one row makes one output. $A$ is `(r,
# in)`, $B$ is `(out, r)`, so that $\Delta W = \frac{\alpha}{r} B A$ is `(out, in)` like $W$. The rank $r$ is small and
# $\alpha$ is a number that one chooses. A batch of inputs `x` holds one input a row.

# %% [markdown] id="scale-say"
# ## 1 · The scale
#
# *Difficulty ● · importance ○○○ · 3 minutes*
#
# $B A x$ is a sum over $r$ terms, so it grows with $r$. The factor $\alpha / r$ takes that back: $\alpha$ is chosen
# once and stays put when the rank changes.
#
# Write `scale(alpha, rank)`, a plain number.
#
# <details><summary>Hint 1</summary>
#
# α = 16 and r = 8 give 2. α = 8 and r = 64 give 0.125.
#
# </details>

# %% id="scale" kind="answer" exercise="scale"
def scale(alpha, rank):
    """The factor before B·A."""
    # BEGIN SOLUTION
    return alpha / rank
    # END SOLUTION


# %% id="scale-check" kind="check" exercise="scale" points="1"
derive.check_scale(scale)

# %% [markdown] id="scale-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.LoRA.scale`.

# %% id="scale-hidden" kind="hidden" exercise="scale" points="1"
derive.check_scale(scale, seed=4711)

# %% [markdown] id="delta-say"
# ## 2 · The change of weights
#
# *Difficulty ● · importance ○○○ · 5 minutes*
#
# Write `delta(B, A, alpha)`: the matrix $\Delta W$, `(out, in)`. The rank is not handed over: it is in the shapes.
#
# <details><summary>Hint 1</summary>
#
# $r$ is the side that $B$ and $A$ share.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `A.shape` is `(r, in)` and `B.shape` is `(out, r)`. The product of two matrices is `@`.
#
# </details>

# %% id="delta" kind="answer" exercise="delta"
def delta(B, A, alpha):
    """ΔW (out, in) of B (out, r) and A (r, in)."""
    # BEGIN SOLUTION
    return alpha / A.shape[0] * (B @ A)
    # END SOLUTION


# %% id="delta-check" kind="check" exercise="delta" points="1"
derive.check_delta(delta)

# %% [markdown] id="delta-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.LoRA.delta`.

# %% id="delta-hidden" kind="hidden" exercise="delta" points="1"
derive.check_delta(delta, seed=4711)

# %% [markdown] id="delta-look"
# lorakit keeps the pair and does not multiply it out until somebody asks. A layer says the same ΔW as you do:

# %% id="delta-see"
from lorakit import LoRA
from lorakit.delta import dense

layer = LoRA(torch.nn.Linear(6, 4), rank=2, alpha=8)
torch.nn.init.normal_(layer.B)  # as if it had been trained: B starts at zero
print(layer.delta().detach(), dense(layer.delta().detach()), sep="\n")

# %% [markdown] id="shapes-say"
# ## 3 · Shapes
#
# *Difficulty ● · importance ○○○ · 5 minutes*
#
# Somebody hands you a weight of shape `(out, in)` and a rank. Write `shapes(out, inputs, rank)`: the shape of $A$ and
# the shape of $B$, in this order, as two pairs.
#
# Take care: published code exists that stores $A$ the other way round. It still trains, and it starts far too large,
# as you will see in exercise 7.
#
# <details><summary>Hint 1</summary>
#
# Follow $x$ through $B A x$: it has length *in*, and meets $A$ first.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $A x$ has length $r$. A matrix that makes vectors of length $r$ out of vectors of length *in* has $r$ rows.
#
# </details>

# %% id="shapes" kind="answer" exercise="shapes"
def shapes(out, inputs, rank):
    """(shape of A), (shape of B)."""
    # BEGIN SOLUTION
    return (rank, inputs), (out, rank)
    # END SOLUTION


# %% id="shapes-check" kind="check" exercise="shapes" points="1"
derive.check_shapes(shapes)

# %% [markdown] id="shapes-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.LoRA`.

# %% id="shapes-hidden" kind="hidden" exercise="shapes" points="1"
derive.check_shapes(shapes, seed=4711)

# %% [markdown] id="formula-say"
# ## 4 · How many numbers train? On paper
#
# *Difficulty ● · importance ○○ · 5 minutes*
#
# For square weights of width $d$ the paper writes $|\Theta| = 2\,\hat{L}\,d\,r$ with $\hat{L}$ adapted matrices. Not
# all weights are square: the MLP of a Transformer goes from $d$ to $4d$ and back.
#
# Write `formula(weights, rank)` for any list of shapes, `[(out, in), (out, in), …]`.
#
# <details><summary>Hint 1</summary>
#
# Count the entries of $A$ and of $B$ for one weight, from exercise 3; then add up.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $A$ has $r \cdot in$ entries, $B$ has $out \cdot r$. Two lines, or one with `sum(… for out, inputs in weights)`.
#
# </details>

# %% id="formula" kind="answer" exercise="formula"
def formula(weights, rank):
    """How many parameters LoRA trains on these weights."""
    # BEGIN SOLUTION
    return sum(rank * (out + inputs) for out, inputs in weights)
    # END SOLUTION


# %% id="formula-check" kind="check" exercise="formula" points="1"
derive.check_formula(formula)

# %% [markdown] id="formula-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.accounting.count`.

# %% id="formula-hidden" kind="hidden" exercise="formula" points="1"
derive.check_formula(formula, seed=4711)

# %% [markdown] id="formula-look"
# The last case of the check is GPT-3 with $r = 4$ on query and value: 18.87 million, and its paper says that the
# checkpoint shrinks from 350 GB to 35 MB. In half precision that is:

# %% id="formula-see"
trained = 2 * 192 * 12288 * 4
bytes_each = 2 * trained
print(f"{trained:,} parameters, {bytes_each / 1e6:.1f} MB; 350 GB is {350e9 / bytes_each:,.0f} times as much")

# %% [markdown] id="counted-say"
# ## 5 · How many numbers train? Counted
#
# *Difficulty ● · importance ○○ · 8 minutes*
#
# A formula says what ought to train; a count says what does. Write `counted(model)`: how many numbers in `model`
# require a gradient. Two traps: a head that trains beside LoRA counts too, whatever its name, and a parameter that two
# layers *share* (as the word table and the output of many language models) is one parameter.
#
# <details><summary>Hint 1</summary>
#
# `model.parameters()` gives each parameter once, shared ones too. `p.requires_grad` says whether it trains.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `p.numel()` is how many numbers a tensor holds.
#
# </details>

# %% id="counted" kind="answer" exercise="counted"
def counted(model):
    """How many numbers in `model` train."""
    # BEGIN SOLUTION
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
    # END SOLUTION


# %% id="counted-check" kind="check" exercise="counted" points="1"
derive.check_counted(counted)

# %% [markdown] id="counted-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.accounting.count`.

# %% id="counted-hidden" kind="hidden" exercise="counted" points="1"
derive.check_counted(counted, seed=4711)

# %% [markdown] id="counted-look"
# Do formula and count agree on a real model? MiniLM has twelve query and value matrices, 384×384. *Predict* the number
# for $r = 8$, and where the 770 come from.

# %% id="counted-see"
from lorakit import adapt
from lorakit.accounting import count
from lorakit.models import load_classifier

model, tokenizer = load_classifier("minilm", labels=2)
adapt(model, LoRA, ["*.query", "*.value"], rank=8, alpha=16)
print(f"{count(model)}; 2·12·384·8 = {2 * 12 * 384 * 8:,}")
assert count(model).trained == 2 * 12 * 384 * 8 + 770

# %% [markdown] id="forward-say"
# ## 6 · The layer
#
# *Difficulty ●● · importance ○○○ · 10 minutes*
#
# Write `forward(x, W, b, A, B, alpha)`: what a dense layer computes with LoRA beside it,
#
# $$h = W x + b + \frac{\alpha}{r} B (A x).$$
#
# `x` holds one input in its last dimension and may have any number of dimensions before: `(in,)`, `(batch, in)`,
# `(batch, tokens, in)`. The brackets matter: never form $B A$, which is as large as $W$. The last case looks for that.
#
# <details><summary>Hint 1</summary>
#
# For one vector it is `W @ x`. For rows of vectors it is `x @ W.T`, and that works for all three kinds of `x`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `x @ A.T` is $A x$ for every row, `(…, r)`. Go on from there with $B$.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Only $B A x$ is scaled. $W x$ and $b$ are as they were.
#
# </details>

# %% id="forward" kind="answer" exercise="forward"
def forward(x, W, b, A, B, alpha):
    """h (…, out) for x (…, in)."""
    # BEGIN SOLUTION
    frozen = x @ W.T + b
    change = (x @ A.T) @ B.T
    return frozen + alpha / A.shape[0] * change
    # END SOLUTION


# %% id="forward-check" kind="check" exercise="forward" points="2"
derive.check_forward(forward)

# %% [markdown] id="forward-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.LoRA.forward`.

# %% id="forward-hidden" kind="hidden" exercise="forward" points="2"
derive.check_forward(forward, seed=4711)

# %% [markdown] id="initial-say"
# ## 7 · The start
#
# *Difficulty ●● · importance ○○ · 10 minutes*
#
# At the start nothing may have changed: $\Delta W = 0$. So one of the two is zero, and it is $B$. The paper draws $A$
# from a Gaussian and does not say how wide; the authors' own code, and PEFT, draw it uniformly from
# $\left[-1/\sqrt{in},\; 1/\sqrt{in}\right]$, so that $A x$ is of the size of one entry of $x$, however long $x$ is.
#
# Write `initial(out, inputs, rank, generator)`, which returns $A$ and $B$. Everything random is drawn from
# `generator`, a `torch.Generator`: then a run can be repeated, and nothing else that draws numbers is disturbed.
#
# <details><summary>Hint 1</summary>
#
# A tensor fills itself: `torch.empty(3, 4).uniform_(low, high, generator=generator)`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The bound uses the length of what $A$ is multiplied with, *in*, and not $r$: had you stored $A$ transposed, the usual
# helper functions would take the wrong one, and start $\sqrt{in / r}$ too large.
#
# </details>

# %% id="initial" kind="answer" exercise="initial"
def initial(out, inputs, rank, generator):
    """A (r, in) uniform in ±1/√in and B (out, r) zero."""
    # BEGIN SOLUTION
    bound = inputs**-0.5
    A = torch.empty(rank, inputs).uniform_(-bound, bound, generator=generator)
    return A, torch.zeros(out, rank)
    # END SOLUTION


# %% id="initial-check" kind="check" exercise="initial" points="2"
derive.check_initial(initial)

# %% [markdown] id="initial-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.layers.kaiming`.

# %% id="initial-hidden" kind="hidden" exercise="initial" points="1"
derive.check_initial(initial, seed=4711)

# %% [markdown] id="gradients-say"
# ## 8 · The gradients
#
# *Difficulty ●●● · importance ○○○ · 20 minutes*
#
# The loss $L$ depends on $A$ and $B$ through $y = W x + b + \frac{\alpha}{r} B A x$. For a batch, `x` is `(N, in)`,
# and somebody has already worked out $g = \partial L / \partial y$, `(N, out)`: one row for each row of `x`.
#
# Write `gradients(x, g, A, B, alpha)`, which returns $\partial L / \partial A$ and $\partial L / \partial B$, by hand:
# two or three matrix products. The check switches autograd off.
#
# <details><summary>Hint 1</summary>
#
# A gradient has the shape of what it is the gradient of: `(r, in)` and `(out, r)`. With `x`, `g`, `A` and `B` there
# are few ways to get there.
#
# </details>
# <details><summary>Hint 2</summary>
#
# First for one row: $y = s\,B h$ with $h = A x$ and $s = \alpha / r$. Then $\partial L / \partial B = s\, g\, h^\top$
# (a column times a row), and $\partial L / \partial h = s\, B^\top g$. One more step leads to $A$.
#
# </details>
# <details><summary>Hint 3</summary>
#
# For a batch, add the rows up, and a sum of columns times rows is one product: $\sum_n g_n h_n^\top$ = `g.T @ h`.
# There is no division by $N$: if $L$ is a mean, then $g$ holds the $1/N$ already.
#
# </details>

# %% id="gradients" kind="answer" exercise="gradients"
def gradients(x, g, A, B, alpha):
    """∂L/∂A (r, in) and ∂L/∂B (out, r)."""
    # BEGIN SOLUTION
    scale = alpha / A.shape[0]
    h = x @ A.T  # (N, r)
    up = g @ B  # (N, r)
    return scale * up.T @ x, scale * g.T @ h
    # END SOLUTION


# %% id="gradients-check" kind="check" exercise="gradients" points="2"
derive.check_gradients(gradients)

# %% [markdown] id="gradients-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.methods.FusedLoRA`.

# %% id="gradients-hidden" kind="hidden" exercise="gradients" points="2"
derive.check_gradients(gradients, seed=4711)

# %% [markdown] id="gradients-look"
# `lorakit.methods.fused` is LoRA with just these lines in place of autograd's own, because they write four large
# arrays less. Here is what autograd gives for a fresh layer. *Look at which of the two is zero.*

# %% id="gradients-see"
fresh = LoRA(torch.nn.Linear(6, 4), rank=2, alpha=8)
fresh(torch.randn(5, 6)).square().sum().backward()
print(f"‖∂L/∂A‖ = {fresh.A.grad.norm():.3f}   ‖∂L/∂B‖ = {fresh.B.grad.norm():.3f}")
assert not fresh.A.grad.any() and fresh.B.grad.any()

# %% [markdown] id="start-say"
# ## 9 · Why B, and not A?
#
# *Difficulty ●● · importance ○○ · 10 minutes · in words*
#
# Use your formulas of exercise 8 at the start, and answer in three or four sentences. Which of the two gradients is
# zero when $B = 0$, and for how long? What would change if $A$ started at zero and $B$ at random? And if both started
# at zero?

# %% [markdown] id="start" kind="manual" exercise="start" points="3"
# <!-- BEGIN SOLUTION -->
# ∂L/∂A holds the factor B, so it is zero at the first step; ∂L/∂B holds A·x, so B moves at once, and from the second
# step on A moves too. With A = 0 and B random it is the other way round: ΔW is zero as well, A moves first, and
# training works; the paper's choice is a convention, though the two do not train alike. With both at zero both
# gradients are zero, and stay so: nothing ever trains.
#
# *1 point for each: A's gradient and only at the first step; A = 0 works as well, with the roles swapped; both zero
# never trains.*
# <!-- END SOLUTION -->

# %% [markdown] id="merge-say"
# ## 10 · Merge
#
# *Difficulty ●● · importance ○○ · 10 minutes*
#
# To use a trained adapter, add it into the weight: $W = W_0 + \frac{\alpha}{r} B A$. Then the model is as fast as
# before. Weights are often stored in half precision, and `bfloat16` keeps about three digits: a small $\Delta W$ added
# there is rounded away. So the rule is
#
# - form the sum in single precision (in double, if $W$ is stored in double),
# - cast *once*, at the end, to the dtype of $W$.
#
# Write `merge(W, A, B, alpha)`. `W` may be `float16`, `bfloat16`, `float32` or `float64` and stays as it is: return a
# new tensor.
#
# <details><summary>Hint 1</summary>
#
# `W.float()` is `W` in `float32`; `.to(W.dtype)` goes back.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.promote_types(W.dtype, torch.float32)` is `float64` for a `float64` weight, and `float32` otherwise.
#
# </details>

# %% id="merge" kind="answer" exercise="merge"
def merge(W, A, B, alpha):
    """W + ΔW in the dtype of W, rounded once."""
    # BEGIN SOLUTION
    wide = torch.promote_types(W.dtype, torch.float32)
    change = alpha / A.shape[0] * (B.to(wide) @ A.to(wide))
    return (W.to(wide) + change).to(W.dtype)
    # END SOLUTION


# %% id="merge-check" kind="check" exercise="merge" points="1"
derive.check_merge(merge)

# %% [markdown] id="merge-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.merge`.

# %% id="merge-hidden" kind="hidden" exercise="merge" points="2"
derive.check_merge(merge, seed=4711)

# %% [markdown] id="merge-look"
# How much does it matter? A weight of the size of MiniLM's, and changes of three sizes, in `bfloat16`. The share is
# that of the entries of $W$ that changed at all:

# %% id="merge-see"
W = (0.05 * torch.randn(384, 384, generator=torch.Generator().manual_seed(0))).bfloat16()
for size in (1e-2, 1e-3, 1e-4):
    change = size * torch.randn(384, 384, generator=torch.Generator().manual_seed(1)) * 0.05
    moved = ((W.float() + change).bfloat16() != W).float().mean()
    print(f"‖ΔW‖/‖W‖ = {size:.0e}: {moved:.0%} of the entries moved")

# %% [markdown] id="unmerge-say"
# ## 11 · And back
#
# *Difficulty ●● · importance ○○○ · 10 minutes*
#
# Take the adapter out again, for another task or to go on training. What must come back is $W_0$, **the very same
# bits**, and after any number of cycles.
#
# Write two functions. `install(layer, change)` puts $W_0 + \Delta W$ into `layer.weight`; `change` is the matrix
# $\Delta W$ in `float32`, the layer's dtype may be narrower, and the sum is rounded once, as in exercise 10. It
# returns whatever you need to keep. `take_out(layer, kept)` gets that back, and leaves the layer as it was.
#
# <details><summary>Hint 1</summary>
#
# $(W_0 + \Delta W) - \Delta W$ is not $W_0$ on a computer: each of the two steps rounds.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Keep the old weight itself. `layer.weight.data` is the tensor under the parameter; it can be read and set.
#
# </details>
# <details><summary>Hint 3</summary>
#
# A name is not a copy. If you write into the old tensor, then what you kept changes with it; set a new one, or keep a
# `clone()`.
#
# </details>

# %% id="unmerge" kind="answer" exercise="unmerge"
def install(layer, change):
    """Put W₀ + ΔW into layer.weight; return what take_out needs."""
    # BEGIN SOLUTION
    kept = layer.weight.data
    layer.weight.data = (kept.float() + change).to(kept.dtype)
    return kept
    # END SOLUTION


def take_out(layer, kept):
    """Leave the layer as it was before install."""
    # BEGIN SOLUTION
    layer.weight.data = kept
    # END SOLUTION


# %% id="unmerge-check" kind="check" exercise="unmerge" points="2"
derive.check_unmerge(install, take_out)

# %% [markdown] id="unmerge-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.unmerge`.

# %% id="unmerge-hidden" kind="hidden" exercise="unmerge" points="1"
derive.check_unmerge(install, take_out, seed=4711)

# %% [markdown] id="end"
# ## Where to go next
#
# You have written the core of `lorakit/lora.py`, `lorakit/methods/fused.py` and `lorakit/merging.py`; read them now,
# they are short, and compare. Assignment 2 trains with these pieces.
