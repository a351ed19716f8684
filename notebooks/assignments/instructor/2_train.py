# %% [markdown] id="title"
# # Assignment 2 · Train
#
# ![A step in five parts, and the few numbers that it moves](attachment:train.png)
#
# Training with LoRA is ordinary training in which almost nothing trains. Here you place the adapters by name, take the
# step in its right order, weigh what the optimiser keeps, see why the scale decides how a learning rate carries over
# from one rank to another, write LoRA's two oldest rivals, and run all three at the same number of parameters.
#
# Afterwards you can
#
# - **place** adapters by name, and notice a name that matches nothing,
# - take a **step** in its right order, and weigh what the optimiser keeps,
# - say how a learning rate carries over from one **rank** to another, and why,
# - set rivals beside LoRA at **equal parameters**, and say what such a comparison shows.
#
# **How it works.** Each exercise has a function to finish and a cell that checks it, on several cases. When something
# is wrong the check says on which case, what it expected, what you returned, and what the likely mistake is. Hints are
# folded; each says more than the one before. No exercise needs your answer to another. *Run All* stops at the first
# answer that is missing: run cell by cell.
#
# Every exercise says how hard it is (● to ●●●), how much later ones build on the idea (○ to ○○○) and how long it may
# take. Everything together: 135 minutes, of which the machine takes one or two. You need a little PyTorch, and
# assignment 1 or the lesson `00_start_here`. Sources: Hu et al. 2021, [*LoRA*](https://arxiv.org/abs/2106.09685),
# sections 3 to 5; others where they are used.

# %% id="setup"
from glob import glob

try:
    import lorakit
except ImportError:  # on Colab: put the wheel of `make wheel` beside this notebook
    # %pip install --quiet {sorted(glob("lorakit-*.whl") + glob("../lorakit-*.whl"))[-1]}
    import lorakit
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import nn

from lorakit import LoRA
from lorakit.checks import train

# %% [markdown] id="model-say"
# **The model.** Most exercises are checked on a Transformer of two or three blocks. This is how its layers are called;
# real models have longer names of the same kind.

# %% id="model"
from lorakit.checks.drawing import Draw
from lorakit.checks.small import small

layers = small(Draw(0)).named_modules()
print(*(name for name, layer in layers if isinstance(layer, nn.Linear)), sep="\n")

# %% [markdown] id="select-say"
# ## 1 · Which layers?
#
# *Difficulty ●● · importance ○○○ · 15 minutes*
#
# Layers are chosen by patterns like those for files: `*` stands for any part of a name, `?` for one character and `[qk]`
# for a q or a k, as in `["*.query", "blocks.?.mlp.up"]`. A pattern is for the *whole* name, so `"query"` alone matches
# nothing here. A pattern that matches nothing is nearly always a typing
# error, and passing it over in silence has cost people days: the model trains, and less of it than they think.
#
# Write `select(model, patterns)`: a list of the names of all `nn.Linear` layers that match at least one of the
# patterns, each once, in the order of the model. If one of the patterns matches no `nn.Linear`, raise a `ValueError`
# whose message names that pattern.
#
# <details><summary>Hint 1</summary>
#
# `model.named_modules()` gives `(name, module)` for everything in the model, in order. `fnmatchcase(name, pattern)`
# compares one name with one pattern.
#
# </details>
# <details><summary>Hint 2</summary>
#
# First collect the names of all `nn.Linear` layers. Then two questions, each with `any(…)`: does this pattern match
# any name, and does this name match any pattern?
#
# </details>

# %% id="select" kind="answer" exercise="select"
def select(model, patterns):
    """Names of the nn.Linear layers that match a pattern."""
    # BEGIN SOLUTION
    names = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"no nn.Linear matches {pattern!r}; there are {names}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
    # END SOLUTION


# %% id="select-check" kind="check" exercise="select" points="1"
train.check_select(select)

# %% [markdown] id="select-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.adapt`.

# %% id="select-hidden" kind="hidden" exercise="select" points="2"
train.check_select(select, seed=4711)

# %% [markdown] id="adapt-say"
# ## 2 · Freeze, and adapt
#
# *Difficulty ●● · importance ○○○ · 15 minutes*
#
# Now the names are given. Write `adapt(model, names, rank, alpha)`: afterwards
#
# - nothing of the model trains but the new $A$ and $B$,
# - in the place of each layer named stands `LoRA(layer, rank=rank, alpha=alpha)`, around the very layer that stood
#   there,
# - the model computes what it computed before, since $B$ starts at zero.
#
# `LoRA` is lorakit's; it is an `nn.Module` that calls the layer it is given and adds $\frac{\alpha}{r} B A x$. The
# model itself is changed, and nothing is returned.
#
# <details><summary>Hint 1</summary>
#
# The order matters: what is frozen after the adapters are in is frozen with them.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `model.get_submodule("blocks.0.attention.query")` finds a layer by its name, and
# `model.get_submodule("blocks.0.attention")` its parent.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `name.rpartition(".")` takes a name apart at its last dot; `setattr(parent, "query", new)` puts a module in place.
# The name of a layer right below the model has no dot, and `model.get_submodule("")` is the model.
#
# </details>

# %% id="adapt" kind="answer" exercise="adapt"
def adapt(model, names, rank, alpha):
    """Freeze the model, and put a LoRA around each layer named."""
    # BEGIN SOLUTION
    model.requires_grad_(False)
    for name in names:
        parent, _, last = name.rpartition(".")
        layer = model.get_submodule(name)
        setattr(model.get_submodule(parent), last, LoRA(layer, rank=rank, alpha=alpha))
    # END SOLUTION


# %% id="adapt-check" kind="check" exercise="adapt" points="2"
train.check_adapt(adapt)

# %% [markdown] id="adapt-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.adapt`.

# %% id="adapt-hidden" kind="hidden" exercise="adapt" points="2"
train.check_adapt(adapt, seed=4711)

# %% [markdown] id="step-say"
# ## 3 · A step
#
# *Difficulty ●● · importance ○○○ · 15 minutes*
#
# Write `step(model, batch, optimizer, clip)`: one step of training. A batch is a pair `(tokens, labels)`; the model
# takes the tokens and returns logits; the loss is the mean cross-entropy. If the norm of the gradient (of all
# parameters together) is larger than `clip`, it is scaled down to `clip` before the step. Return the loss that the
# step was taken for, as a number.
#
# The check takes three steps one after another: what is left over from the step before shows then.
#
# <details><summary>Hint 1</summary>
#
# Five things in a fixed order: gradients to zero, the loss, its backward pass, the clip, the step.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `F.cross_entropy(logits, labels)` and `nn.utils.clip_grad_norm_(parameters, clip)`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `loss.item()` is the number. `model.parameters()` may be given to the clip: what has no gradient is passed over.
#
# </details>

# %% id="step" kind="answer" exercise="step"
def step(model, batch, optimizer, clip):
    """One step; returns its loss."""
    # BEGIN SOLUTION
    tokens, labels = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(tokens), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss.item()
    # END SOLUTION


# %% id="step-check" kind="check" exercise="step" points="2"
train.check_step(step)

# %% [markdown] id="step-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.train`.

# %% id="step-hidden" kind="hidden" exercise="step" points="2"
train.check_step(step, seed=4711)

# %% [markdown] id="step-look"
# lorakit's `train` is this step, with a schedule for the learning rate and a bar. From here on the notebook uses it.

# %% [markdown] id="stored-say"
# ## 4 · What the optimiser keeps
#
# *Difficulty ●● · importance ○○ · 10 minutes*
#
# Adam keeps two moving averages of every parameter that it trains. That, and not the weights, is where full
# fine-tuning needs its memory. Write `stored(optimizer)`: how many **bytes** all tensors take that an optimiser keeps
# beside the parameters.
#
# After a step, `optimizer.state` is a dict `{parameter: {name: value, …}, …}`. Count every value that is a tensor,
# also the small one that counts steps. The check tries optimisers that keep one tensor, three, or none, and half
# precision.
#
# <details><summary>Hint 1</summary>
#
# Look at one: `torch.optim.AdamW` on a small layer, a backward pass, a step, then `print(optimizer.state)`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A tensor takes `t.numel() * t.element_size()` bytes. Two loops: over `optimizer.state.values()`, and over the values
# of each of these.
#
# </details>

# %% id="stored" kind="answer" exercise="stored"
def stored(optimizer):
    """Bytes of the tensors in the optimiser's state."""
    # BEGIN SOLUTION
    kept = [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    return sum(tensor.numel() * tensor.element_size() for tensor in kept)
    # END SOLUTION


# %% id="stored-check" kind="check" exercise="stored" points="1"
train.check_stored(stored)

# %% [markdown] id="stored-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.accounting.measured_memory`.

# %% id="stored-hidden" kind="hidden" exercise="stored" points="1"
train.check_stored(stored, seed=4711)

# %% [markdown] id="stored-look"
# *Predict:* for MiniLM's 22.6 million parameters, how many megabytes does Adam keep when everything trains, and how
# many with LoRA on query and value, $r = 8$?

# %% id="stored-see"
from lorakit.accounting import count
from lorakit.models import load_classifier

model, tokenizer = load_classifier("minilm", labels=2)
everything = count(model).trained
lorakit.adapt(model, LoRA, ["*.query", "*.value"], rank=8, alpha=16)
for name, trained in (("everything", everything), ("LoRA and the head", count(model).trained)):
    moments = 8 * trained / 1e6  # two of them, in float32
    print(f"{name:<18} {trained:>10,} parameters, two moments: {moments:>6.1f} MB")

# %% [markdown] id="change-say"
# ## 5 · The first step, across ranks
#
# *Difficulty ●●● · importance ○○○ · 20 minutes*
#
# A learning rate that is right at $r = 8$ should be right at $r = 64$. Whether it is, the scale $s$ decides: $\alpha /
# r$ in the paper, $\alpha / \sqrt{r}$ in rsLoRA (Kalajdzievski 2023). One step is enough to see it.
#
# At the start $B = 0$, and only $B$ has a gradient. With inputs `x` `(N, in)` and $g = \partial L / \partial h$ `(N,
# out)`, one step of plain gradient descent takes $B$ from zero to $-\eta\, \partial L / \partial B$. Write
# `first_change(x, g, A, scale, lr)`: by how much $h$ has moved for these same inputs, `(N, out)`.
#
# <details><summary>Hint 1</summary>
#
# $h = W x + b + s B A x$. In rows: `x @ W.T + b + s * (x @ A.T) @ B.T`. Only $B$ moves.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $\partial L / \partial B = s\, g^\top (x A^\top)$, as in assignment 1.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The new $B$ goes into $h$ with $s$ before it, so $s$ appears twice.
#
# </details>

# %% id="change" kind="answer" exercise="first_change"
def first_change(x, g, A, scale, lr):
    """How h (N, out) moves on x when B takes its first step."""
    # BEGIN SOLUTION
    h = x @ A.T  # (N, r)
    B = -lr * scale * g.T @ h  # (out, r)
    return scale * h @ B.T
    # END SOLUTION


# %% id="change-check" kind="check" exercise="first_change" points="1"
train.check_first_change(first_change)

# %% [markdown] id="change-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.LoRA`.

# %% id="change-hidden" kind="hidden" exercise="first_change" points="2"
train.check_first_change(first_change, seed=4711)

# %% [markdown] id="ranks-look"
# Here is the size of that change for layers of 512, three ranks and both scales, measured on lorakit's `LoRA` by real
# steps: one input, and the mean over twenty draws of $A$, since a single one scatters. *Predict first,* from your formula: each entry of $A x$ has a size that does not depend on $r$, and there are $r$ of them.

# %% id="ranks-see"
draw, ranks = torch.Generator().manual_seed(0), (16, 64, 256)
x, g = (torch.randn(1, 512, generator=draw) for _ in range(2))
for rslora in (False, True):
    moved = dict.fromkeys(ranks, 0.0)
    for rank in ranks * 20:
        layer = LoRA(nn.Linear(512, 512), rank=rank, alpha=16, rslora=rslora, generator=draw)
        before = layer(x)
        before.backward(g)
        torch.optim.SGD([layer.B], lr=1e-3).step()
        moved[rank] += (layer(x) - before).norm().item() / 20
    print("α/√r" if rslora else "α/r ", *(f"  r = {r}: {size:.3g}" for r, size in moved.items()))

# %% [markdown] id="ranks-say"
# ## 6 · Which scale?
#
# *Difficulty ●● · importance ○○ · 10 minutes · in words*
#
# Explain the two rows in three or four sentences: why does one fall and the other stay, and by what factor from one
# rank to the next? Somebody trains with $\alpha / r$, finds that $r = 64$ is no better than $r = 8$ at the same α and
# learning rate, and concludes that eight directions are enough. What is wrong with the experiment, and what would you
# run?

# %% [markdown] id="ranks" kind="manual" exercise="ranks" points="3"
# <!-- BEGIN SOLUTION -->
# The change is s²·(x·Aᵀ)(x·Aᵀ)ᵀ·g·η, and the product in the middle is a sum of r terms of one size, so it grows with
# r. With s = α/r the change goes as r/r² = 1/r: four times the rank, a quarter of the step. With s = α/√r it goes as
# r/r = 1 and stays. At α/r and one learning rate, r = 64 takes much smaller steps than r = 8: it may be no better
# because it was trained less. Tune the learning rate at each rank, or use α/√r, compare the best of each, and use
# several seeds.
#
# *1 point: s² against a sum of r terms, so 1/r and constant. 1 point: the experiment mixes rank and step size. 1
# point: a learning rate chosen at each rank (or rsLoRA), and seeds.*
# <!-- END SOLUTION -->

# %% [markdown] id="bitfit-say"
# ## 7 · A rival: BitFit
#
# *Difficulty ● · importance ○○ · 10 minutes*
#
# Ben Zaken et al. 2021 train the biases and nothing else. Write `bitfit(model)`: afterwards every bias in the model
# trains, whatever it was before, and nothing else does. Return the names of the parameters that train.
#
# Ask what a parameter *is*, not what its name contains: in one case there is a layer called `bias_gate`, and its
# weight is no bias. The biases of LayerNorms count, their weights do not.
#
# <details><summary>Hint 1</summary>
#
# `model.named_parameters()` gives `("blocks.0.attention.query.bias", parameter)`, and so on. The last part of the name
# says what it is.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `name.split(".")[-1]` is the last part. Set `requires_grad` of every parameter, to True or to False.
#
# </details>

# %% id="bitfit" kind="answer" exercise="bitfit"
def bitfit(model):
    """Let only biases train; their names."""
    # BEGIN SOLUTION
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.split(".")[-1] == "bias")
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    # END SOLUTION


# %% id="bitfit-check" kind="check" exercise="bitfit" points="1"
train.check_bitfit(bitfit)

# %% [markdown] id="bitfit-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.methods.BitFit`.

# %% id="bitfit-hidden" kind="hidden" exercise="bitfit" points="1"
train.check_bitfit(bitfit, seed=4711)

# %% [markdown] id="bottleneck-say"
# ## 8 · Another: the bottleneck
#
# *Difficulty ●● · importance ○○ · 10 minutes*
#
# Houlsby et al. 2019 put a small network *behind* a frozen layer:
#
# $$f(h) = h + U\, \mathrm{GELU}(D h + c) + e$$
#
# with $D$ `(r, d)` down to a few units and $U$ `(d, r)` up again. Write `bottleneck(h, down, c, up, e)`. As in
# assignment 1, `h` holds one vector in its last dimension, and has any number of dimensions before. *A question to
# take along:* why can this not be merged into the layer, as LoRA can?
#
# <details><summary>Hint 1</summary>
#
# In rows, $D h$ is `h @ down.T`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# From the inside out: down, plus `c`, `F.gelu`, up, plus `e`, plus `h`.
#
# </details>

# %% id="bottleneck" kind="answer" exercise="bottleneck"
def bottleneck(h, down, c, up, e):
    """f(h), of the shape of h."""
    # BEGIN SOLUTION
    inner = F.gelu(h @ down.T + c)
    return h + inner @ up.T + e
    # END SOLUTION


# %% id="bottleneck-check" kind="check" exercise="bottleneck" points="1"
train.check_bottleneck(bottleneck)

# %% [markdown] id="bottleneck-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.methods.Houlsby`.

# %% id="bottleneck-hidden" kind="hidden" exercise="bottleneck" points="1"
train.check_bottleneck(bottleneck, seed=4711)

# %% [markdown] id="sizes-say"
# ## 9 · The same budget
#
# *Difficulty ●● · importance ○○○ · 10 minutes*
#
# A comparison is fair when both sides may train the same number of parameters. In a model of width $d$,
#
# - LoRA of rank $r$ on a number of `matrices`, each $d \times d$, trains $2\,d\,r$ in each,
# - a bottleneck of width $r$ in a number of `places` trains $D$, $U$ and both biases in each: $2\,d\,r + r + d$.
#
# Write `sizes(budget, d, matrices, places)`: the largest rank, and the largest width, that stay within the budget, as
# two whole numbers.
#
# <details><summary>Hint 1</summary>
#
# Solve each for $r$, and round down: `//`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $places \cdot (2 d r + r + d) \le budget$ means $r\,(2 d + 1) \le budget / places - d$.
#
# </details>

# %% id="sizes" kind="answer" exercise="sizes"
def sizes(budget, d, matrices, places):
    """(rank of LoRA, width of the bottlenecks) within the budget."""
    # BEGIN SOLUTION
    return budget // (2 * d * matrices), (budget // places - d) // (2 * d + 1)
    # END SOLUTION


# %% id="sizes-check" kind="check" exercise="sizes" points="1"
train.check_sizes(sizes)

# %% [markdown] id="sizes-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.accounting.count`.

# %% id="sizes-hidden" kind="hidden" exercise="sizes" points="2"
train.check_sizes(sizes, seed=4711)

# %% [markdown] id="fair-look"
# Now the comparison itself, small enough to run here: the first **two** layers of MiniLM, film reviews cut at 24
# tokens, 60 steps of 16, two seeds. BitFit has no size to choose, so its biases in these two layers, 8,448, are
# everybody's budget: LoRA on query and value gets $r = 2$, and bottlenecks in four places get 2 units. The head of 770
# trains beside each.

# %% id="fair-setup"
from lorakit.data import load_task
from lorakit.methods.bitfit import BitFit
from lorakit.methods.bottleneck import Houlsby
from lorakit.training import evaluate

movies = load_task("movies")
test = list(movies.batches("test", tokenizer, 64, max_length=24))
methods = {
    "LoRA, r = 2": (LoRA, ["*.query", "*.value"], {"rank": 2, "alpha": 16}),
    "bottleneck, 2": (Houlsby, "*.output.dense", {"size": 2}),
    "BitFit": (BitFit, "bert.encoder.*", {}),
}

# %% id="fair-run"
for name, (method, where, options) in methods.items():
    for seed in (0, 1):
        model, _ = load_classifier("minilm", labels=2, seed=seed)
        model.bert.encoder.layer = model.bert.encoder.layer[:2]
        lorakit.adapt(model, method, where, seed=seed, **options)
        batches = movies.batches("train", tokenizer, 16, max_length=24, seed=seed)
        lorakit.train(model, batches, steps=60, lr=3e-3, seed=seed, progress=False)
        found = evaluate(model, test)
        low, high = found.interval
        right = f"{found.accuracy:.3f} [{low:.3f}, {high:.3f}]"
        print(f"{name:<14} seed {seed}  {count(model).trained:>6,} train   {right}")

# %% [markdown] id="fair-say"
# ## 10 · A fair comparison?
#
# *Difficulty ●● · importance ○○○ · 20 minutes · in words*
#
# The brackets are 95 % intervals: what a thousand test rows can tell. Write half a page for somebody who wants to
# choose a method:
#
# 1. What do these six runs show, and what do they not show? Use the intervals and the two seeds.
# 2. "Equal parameters" is one way to be fair. Name two other things that were the same or different here and may
#    decide the outcome, and say for one of them how you would find out.
# 3. Which of the three would you take where the model must answer as fast as before, and why?

# %% [markdown] id="fair" kind="manual" exercise="fair" points="5"
# <!-- BEGIN SOLUTION -->
# 1. All three learn something: every run lies far above the 0.50 of a coin. Each accuracy carries about ±3 points from
#    the test rows, and the two seeds of one method differ too; differences between methods that are inside these
#    intervals rank nothing. The rows are the same for all, so that a paired comparison would be sharper, and more
#    seeds are needed.
# 2. The learning rate was 3e-3 for all and chosen for none: each method should have its own, tuned on validation with
#    equal effort. The number of steps (60) favours what learns fast. Also: where the adapters stand (query and value,
#    or behind dense layers), α, the cut at 24 tokens, the two layers. To find out: a small grid of learning rates for
#    each method on the validation rows, then the best of each on test with three seeds.
# 3. LoRA, merged, or BitFit, whose shifts are added into the biases: both leave the model as it was. The bottleneck is
#    a network in series with a nonlinearity and cannot be merged, so each layer takes longer.
#
# *2 points: intervals and seeds used, no ranking from overlapping ones. 2 points: two confounders and a way to
# separate one. 1 point: merging, LoRA or BitFit, and why not the bottleneck.*
# <!-- END SOLUTION -->

# %% [markdown] id="end"
# ## Where to go next
#
# `lorakit/layers.py`, `lorakit/training.py` and `lorakit/methods/` hold what you have written, with everything a real
# model asks for. The lesson `04_inside_delta_w` and assignment 3 look at what such a training leaves behind.
