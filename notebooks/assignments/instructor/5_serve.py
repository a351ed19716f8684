# %% [markdown] id="title"
# # Assignment 5 · Serve
#
# ![Six requests for three tasks in one batch over one frozen weight](attachment:serve.png)
#
# A trained adapter is a few hundred kilobytes. The hard part comes after: a hundred of them over one model, requests for
# different tasks in one batch, weights in bfloat16 that are switched all day, a file that somebody sent you, and the
# question what any of it costs in milliseconds. Here you write the small functions on which all that rests, and
# each of them is a place where real software has gone wrong.
#
# Afterwards you can
#
# - serve many tasks in **one batch**, or switch between them, and say what each costs,
# - measure what switching and merging do to weights in **half precision**,
# - draw up a **ledger** of somebody else's file before you load it,
# - measure **latency** so that it means something.
#
# **How it works.** Each exercise has a function to finish and a cell that checks it, on several cases. When something
# is wrong the check says on which case, what it expected, what you returned, and what the likely mistake is. Hints are
# folded; each says more than the one before. No exercise needs your answer to another. A few cells are marked *with
# your function*; everything else runs without your answers. *Run All* stops at the first answer that is missing: run
# cell by cell.
#
# Every exercise says how hard it is (● to ●●●), how much later ones build on the idea (○ to ○○○) and how long it may take.
# Everything together: 166 minutes. You need matrices, a little PyTorch and the lesson `00_start_here`;
# `03_merge_and_serve` shows the same things at work.

# %% id="setup"
from glob import glob

try:
    import lorakit
except ImportError:  # on Colab: put the wheel of `make wheel` beside this notebook
    # %pip install --quiet {sorted(glob("lorakit-*.whl") + glob("../lorakit-*.whl"))[-1]}
    import lorakit
import math

import torch

from lorakit.checks import serve

# %% [markdown] id="names"
# **The names**, here and everywhere in lorakit. A weight $W$ is `(out, in)`, $A$ is `(r, in)`, $B$ is `(out, r)`. The scale
# $\alpha / r$ is folded into $B$ wherever it is not spoken of, so that $\Delta W = B A$.

# %% [markdown] id="storage-say"
# ## 1 · A hundred tasks on a disk
#
# *Difficulty ● · importance ○○ · 6 minutes*
#
# A model of `parameters` numbers is to serve `tasks` tasks. Either each task has a fine-tuned copy of the model, or the
# frozen model is stored once and each task adds LoRA of rank `rank` on `matrices` square matrices of width `d`. A number
# takes `size` bytes.
#
# Write `storage(parameters, tasks, matrices, d, rank, size)`: the bytes of the copies and the bytes with adapters, in this
# order.
#
# <details><summary>Hint 1</summary>
#
# $A$ and $B$ of one square matrix have $d \cdot r$ numbers each.
#
# </details>
# <details><summary>Hint 2</summary>
#
# "With adapters" includes the frozen model, once.
#
# </details>

# %% id="storage" kind="answer" exercise="storage"
def storage(parameters, tasks, matrices, d, rank, size):
    """(bytes of one full copy a task, bytes of one frozen model and an adapter a task)."""
    # BEGIN SOLUTION
    adapter = 2 * matrices * d * rank
    return tasks * parameters * size, (parameters + tasks * adapter) * size
    # END SOLUTION


# %% id="storage-check" kind="check" exercise="storage" points="1"
serve.check_storage(storage)

# %% [markdown] id="storage-on"
# *Going on without it?* Of what is below, the next code cell alone needs yours: lorakit's own is `lorakit.accounting.checkpoint_bytes`.

# %% id="storage-hidden" kind="hidden" exercise="storage" points="1"
serve.check_storage(storage, seed=4711)

# %% [markdown] id="storage-look"
# *With your function:* the paper's own numbers, a hundred tasks over GPT-3 in half precision with $r = 4$ on query and value
# of 96 layers. It says 354 GB instead of 35 TB.

# %% id="storage-see"
copies, adapters = storage(175_000_000_000, 100, 2 * 96, 12288, 4, 2)
print(f"{copies / 1e12:.1f} TB of copies, {adapters / 1e9:.1f} GB with adapters")

# %% [markdown] id="mixed-say"
# ## 2 · One batch, many tasks
#
# *Difficulty ●● · importance ○○○ · 20 minutes*
#
# Requests for different tasks arrive together. Merged weights can serve one task at a time; kept beside the weights, the
# adapters can all work in the same batch. Each row $x_i$ brings the number of its task, $t_i$:
#
# $$y_i = W x_i + B_{t_i} A_{t_i} x_i, \qquad y_i = W x_i \text{ where } t_i = -1$$
#
# `x` is `(rows, tokens, in)`, `A` is `(tasks, r, in)`, `B` is `(tasks, out, r)` and `task` is a tensor `(rows,)` of whole numbers.
# A row with task **−1** wants the frozen model alone.
#
# Write `mixed(x, W, A, B, task)`, `(rows, tokens, out)`, best without a loop over rows.
#
# <details><summary>Hint 1</summary>
#
# `A[task]` looks up a whole batch of factors, `(rows, r, in)`. `torch.bmm` multiplies batches of matrices, row by row.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $A x$ for row vectors is `x @ A.T`, so for batches `torch.bmm(x, A[task].mT)`, `(rows, tokens, r)`. Then the same with $B$.
#
# </details>
# <details><summary>Hint 3</summary>
#
# In Python `A[-1]` is the *last* adapter. Switch those rows off: `(task >= 0)` is True or False for each row, and
# `.view(-1, 1, 1)` lets it multiply `(rows, tokens, out)`.
#
# </details>

# %% id="mixed" kind="answer" exercise="mixed"
def mixed(x, W, A, B, task):
    """y (rows, tokens, out): every row by the adapter of its own task, the frozen W alone where that is −1."""
    # BEGIN SOLUTION
    h = torch.bmm(x, A[task].mT)
    change = torch.bmm(h, B[task].mT) * (task >= 0).view(-1, 1, 1)
    return x @ W.T + change
    # END SOLUTION


# %% id="mixed-check" kind="check" exercise="mixed" points="1"
serve.check_mixed(mixed)

# %% [markdown] id="mixed-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.bank.Bank`.

# %% id="mixed-hidden" kind="hidden" exercise="mixed" points="2"
serve.check_mixed(mixed, seed=4711)

# %% [markdown] id="mixed-look"
# `lorakit.bank` does the same to every layer of a whole model: `with bank.route(["movies", None, "tweets"])` gives each row of the
# batch its own task, and `bank.switch("movies")` does what the next exercise is about. You need neither here.

# %% [markdown] id="switch-say"
# ## 3 · Switch
#
# *Difficulty ● · importance ○○ · 6 minutes*
#
# The other way to serve: the adapter is merged, $W = W_0 + B A$, and costs nothing to run. For another task, take it off and
# put the next one on (the paper, section 4.2).
#
# Write `switch(W, old, new)`: `W` has the adapter `old = (B, A)` in it; return the weight with `new` in its place, and leave
# `W` as it is. The two may have different ranks.
#
# <details><summary>Hint 1</summary>
#
# Two products, one subtracted and one added. With different ranks, $B' - B$ is not even defined.
#
# </details>

# %% id="switch" kind="answer" exercise="switch"
def switch(W, old, new):
    """W − BA + B′A′, with old = (B, A) and new = (B′, A′)."""
    # BEGIN SOLUTION
    (B, A), (B_new, A_new) = old, new
    return W - B @ A + B_new @ A_new
    # END SOLUTION


# %% id="switch-check" kind="check" exercise="switch" points="1"
serve.check_switch(switch)

# %% [markdown] id="switch-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.bank.Bank`.

# %% id="switch-hidden" kind="hidden" exercise="switch" points="1"
serve.check_switch(switch, seed=4711)

# %% [markdown] id="drift-say"
# ## 4 · What switching does to the weights
#
# *Difficulty ●● · importance ○○○ · 20 minutes*
#
# On paper $W + \Delta W - \Delta W = W$. A weight in bfloat16 keeps eight bits of each number, and every sum is rounded to
# them. So measure it: several adapters take turns all day, each is added to the weights and subtracted again.
#
# Write `drift(W, deltas, rounds)`. `W` and every ΔW in the list `deltas` have the same half-precision dtype. In one **round**, each
# ΔW in turn is added to the weights and then subtracted, and the weights are stored in their own dtype after every step;
# the next round goes on from there. Return a list of `rounds` numbers, after each round the distance from the start,
#
# $$\|W_k - W_0\|_F \,/\, \|W_0\|_F,$$
#
# measured in float32.
#
# <details><summary>Hint 1</summary>
#
# `W + delta` of two bfloat16 tensors is a bfloat16 tensor: rounded and stored, as asked. `W + delta - delta` does both steps.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Keep `start = W` before the loop. `W = W + delta` makes a new tensor and leaves `start` alone; `W += delta` does not.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Measure with `.float()` on both before you subtract them: in bfloat16 the difference itself would be rounded.
#
# </details>

# %% id="drift" kind="answer" exercise="drift"
def drift(W, deltas, rounds):
    """[‖W_k − W₀‖/‖W₀‖ after round 1, 2, …]."""
    # BEGIN SOLUTION
    start, found = W, []
    for _ in range(rounds):
        for delta in deltas:
            W = W + delta
            W = W - delta
        found.append(float((W.float() - start.float()).norm() / start.float().norm()))
    return found
    # END SOLUTION


# %% id="drift-check" kind="check" exercise="drift" points="1"
serve.check_drift(drift)

# %% [markdown] id="drift-on"
# *Going on without it?* Of what is below, the next code cell alone needs yours: lorakit's own is `lorakit.bank.drift`.

# %% id="drift-hidden" kind="hidden" exercise="drift" points="2"
serve.check_drift(drift, seed=4711)

# %% [markdown] id="drift-look"
# *With your function:* a real query matrix of MiniLM and adapters that were trained for it, in bfloat16. *Predict:* does the
# drift grow when a single adapter goes in and out a hundred times? And with three of them?

# %% id="drift-see"
from lorakit.checkpoints import read
from lorakit.data.results import adapter
from lorakit.delta import dense
from lorakit.geometry import weight_of
from lorakit.models import load_classifier

name = "bert.encoder.layer.4.attention.self.query"
frozen, tokenizer = load_classifier("minilm", labels=2)
W = weight_of(frozen.get_submodule(name)).detach().bfloat16()
deltas = [dense(read(adapter(rank=8, seed=seed))[name]).bfloat16() for seed in (0, 1, 2)]
for count in (1, 2, 3):
    far = drift(W, deltas[:count], 100)
    print(f"of {count}: {far[0]:.2%} after 1 round, {far[9]:.2%} after 10, {far[99]:.2%} after 100")
    assert far[99] > 1.5 * far[0] if count > 1 else far[99] == far[9]

# %% [markdown] id="explain" kind="manual" exercise="explain" points="3"
# ## 5 · Explain it
#
# *Difficulty ●● · importance ○○○ · 15 minutes · 3 points, marked by a person*
#
# In the figures above (if you have no `drift`: with one adapter the distance is about the same after 1, 10 and 100 rounds;
# with two and three it goes on growing) two things ask for an explanation, in at most six sentences: (a) why does a single
# adapter stop doing damage after the first round, and why do several not? (b) Which rule would you follow so that no number of
# switches can drift, and what does it cost in memory? (c) Would float16 be better or worse here than bfloat16, and why?
#
# <!-- BEGIN SOLUTION -->
# (a) The first round moves every entry onto a value from which adding and subtracting *this* ΔW comes back to the same value: a
# fixed point of the rounding. Another ΔW has other fixed points and moves it off again, so that several adapters push the weights along,
# a little in each round, like a random walk.
#
# (b) Never compute from the merged weights: keep $W_0$ (or its original bits) and form $W_0 + B'A'$ in float32, cast once, for
# every switch. It costs one more copy of the adapted matrices, in the dtype in which they are stored.
#
# (c) Better: float16 keeps eleven bits instead of eight, so each rounding is eight times smaller for weights of this size. Its smaller range
# matters only for very large or very small numbers.
#
# *Marks: one each.*
# <!-- END SOLUTION -->

# %% [markdown] id="survived-say"
# ## 6 · What of ΔW survives a merge?
#
# *Difficulty ●● · importance ○○○ · 12 minutes*
#
# Merging well means to form $W + \Delta W$ in float32 and to cast the sum once to the dtype of the layer. Even so, where
# $|\Delta W_{ij}|$ is less than half a unit in the last place of $W_{ij}$, the sum rounds back to $W_{ij}$, and this entry of the
# training is lost.
#
# Write `survived(W, delta)`: of the entries that ΔW is meant to change ($\Delta W_{ij} \ne 0$), the share that did change. `delta`
# is float32. Where nothing is to change, everything survived: 1.
#
# <details><summary>Hint 1</summary>
#
# `(W.float() + delta).to(W.dtype)` is the merged weight. Compare it with `W`, entry by entry.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `moved[delta != 0]` keeps the entries that matter; the mean of truth values is a share, after `.float()`.
#
# </details>

# %% id="survived" kind="answer" exercise="survived"
def survived(W, delta):
    """The share, in [0, 1], of the entries meant to change that a merge in the dtype of W changes."""
    # BEGIN SOLUTION
    wanted = delta != 0
    moved = (W.float() + delta).to(W.dtype) != W
    return float(moved[wanted].float().mean()) if wanted.any() else 1.0
    # END SOLUTION


# %% id="survived-check" kind="check" exercise="survived" points="1"
serve.check_survived(survived)

# %% [markdown] id="survived-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.merge`.

# %% id="survived-hidden" kind="hidden" exercise="survived" points="2"
serve.check_survived(survived, seed=4711)

# %% [markdown] id="certificate-say"
# lorakit's `merge` measures that on every layer and returns it as a certificate. Here is a real adapter, merged into float32
# weights and into bfloat16 ones. *Predict:* how much is lost?

# %% id="certificate"
from lorakit import merge
from lorakit.checkpoints import load

for dtype in (torch.float32, torch.bfloat16):
    model, _ = load_classifier("minilm", labels=2)
    load(model, adapter(rank=8, seed=0))
    model.to(dtype)
    print(dtype, merge(model), sep="\n  ")

# %% [markdown] id="scale-say"
# ## 7 · Somebody's adapter: its scale
#
# *Difficulty ●● · importance ○○○ · 12 minutes*
#
# PEFT writes a file `adapter_config.json` beside the weights. What the layers compute hangs on three of its entries: `r`,
# `lora_alpha` and `use_rslora`. The scale is $\alpha / r$, or $\alpha / \sqrt{r}$ where `use_rslora` is true. Where an entry is
# missing, PEFT takes a default without a word, and ΔW comes out too large or too small by a factor that nobody notices.
#
# Write `scale_of(config)` for a dict: the scale, or a `ValueError` whose message names the entry that is missing. An entry that
# is there and `None` (null in the file) is missing too. `False` is not missing.
#
# <details><summary>Hint 1</summary>
#
# `config.get("r")` is `None` both where the entry is missing and where it is null.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Test for `is None`: `if not config.get("use_rslora")` would also refuse `False`.
#
# </details>

# %% id="scale" kind="answer" exercise="scale"
def scale_of(config):
    """s of ΔW = s·B·A; raises ValueError, naming it, for an entry that is missing."""
    # BEGIN SOLUTION
    for key in ("r", "lora_alpha", "use_rslora"):
        if config.get(key) is None:
            raise ValueError(f"{key} is not in the configuration, and a guess would mis-scale ΔW")
    root = math.sqrt(config["r"]) if config["use_rslora"] else config["r"]
    return config["lora_alpha"] / root
    # END SOLUTION


# %% id="scale-check" kind="check" exercise="scale" points="1"
serve.check_scale(scale_of)

# %% [markdown] id="scale-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.checkpoints.load`.

# %% id="scale-hidden" kind="hidden" exercise="scale" points="2"
serve.check_scale(scale_of, seed=4711)

# %% [markdown] id="ledger-say"
# ## 8 · Somebody's adapter: the ledger
#
# *Difficulty ●●● · importance ○○○ · 25 minutes*
#
# A file with a missing $B$ loads with $B = 0$ in some libraries, and you serve the frozen model in disguise. A tensor under a
# misspelt name is dropped. A NaN waits for its first request. So before anything is loaded, draw up a **ledger**: every tensor
# of the file and every layer of the model accounted for.
#
# `tensors` is the file, `{key: tensor}`. `layers` is what it is said to adapt, `{name: (out, in)}`. Each layer has two
# keys, as PEFT spells them:
#
#     base_model.model.<name>.lora_A.weight      A, (r, in)
#     base_model.model.<name>.lora_B.weight      B, (out, r)
#
# Write `ledger(tensors, layers, rank)`: a list of pairs `(what, key)` of all that is wrong, in any order, each once, empty where
# nothing is. `what` is one of
#
# - `"missing"`: a key that there should be and is not,
# - `"unknown"`: a key of the file that belongs to no layer,
# - `"shape"`: a tensor of another shape than its key asks for,
# - `"not finite"`: a tensor of the right shape that holds NaN or infinity.
#
# <details><summary>Hint 1</summary>
#
# First build what there should be, `{key: shape}`, from `layers` and `rank`. Then everything is a comparison of two dicts.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `wanted.keys() - tensors.keys()` are the missing ones, the other way round the unknown ones, and `&` gives those that are in
# both. Do not take keys apart: a layer may be called `lora_A_head`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `tuple(tensor.shape)` compares with a tuple; a transposed $A$ has the right *number* of entries. `tensor.isfinite().all()` sees
# NaN and infinity.
#
# </details>

# %% id="ledger" kind="answer" exercise="ledger"
def ledger(tensors, layers, rank):
    """[(what, key), …]: all that is wrong with a file."""
    # BEGIN SOLUTION
    wanted = {}
    for name, (out, inputs) in layers.items():
        wanted[f"base_model.model.{name}.lora_A.weight"] = (rank, inputs)
        wanted[f"base_model.model.{name}.lora_B.weight"] = (out, rank)
    problems = [("missing", key) for key in wanted if key not in tensors]
    for key, tensor in tensors.items():
        if key not in wanted:
            problems.append(("unknown", key))
        elif tuple(tensor.shape) != wanted[key]:
            problems.append(("shape", key))
        elif not tensor.isfinite().all():
            problems.append(("not finite", key))
    return problems
    # END SOLUTION


# %% id="ledger-check" kind="check" exercise="ledger" points="2"
serve.check_ledger(ledger)

# %% [markdown] id="ledger-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.checkpoints.load`.

# %% id="ledger-hidden" kind="hidden" exercise="ledger" points="3"
serve.check_ledger(ledger, seed=4711)

# %% [markdown] id="tampered-say"
# lorakit's `load` draws up such a ledger, scale and all, and changes nothing unless everything fits. Take a good adapter, spoil
# it in two ways, and see. (This writes a folder `figures/spoilt` beside the notebook.)

# %% id="tampered"
import shutil

from safetensors.torch import load_file, save_file

spoilt = shutil.copytree(adapter(rank=8, seed=0), "figures/spoilt", dirs_exist_ok=True)
tensors = load_file(f"{spoilt}/adapter_model.safetensors")
gone = next(key for key in tensors if "lora_B" in key)
tensors["misspelt.lora_B.weight"] = tensors.pop(gone)
save_file(tensors, f"{spoilt}/adapter_model.safetensors")

# %% id="refused"
model, _ = load_classifier("minilm", labels=2)
try:
    load(model, spoilt)
except ValueError as error:
    print(error)

# %% [markdown] id="latency-say"
# ## 9 · Latency, measured so that it means something
#
# *Difficulty ●●● · importance ○○○ · 25 minutes*
#
# Table 1 of the paper compares milliseconds: GPT-2 medium with LoRA merged, and with adapters in series. A first call is
# slow (caches, memory); a machine gets slower as it warms up; single calls scatter. So:
#
# 1. call each variant `warmup` times without timing it, before any timing starts;
# 2. then make `rounds` rounds; in each, **every** variant is called once and timed;
# 3. report for each variant the mean and the standard deviation of its timed calls, in **milliseconds**.
#
# Write `latency(variants, rounds, warmup, clock)`. `variants` is `{name: function without arguments}` and `clock()` gives the time
# in seconds (pass `time.perf_counter` when you use it). Return `{name: (mean, spread)}`.
#
# <details><summary>Hint 1</summary>
#
# The loop over rounds is outside, the loop over variants inside. Run all rounds of one variant first, and the one that runs last pays
# for the heat of the others.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `start = clock()`, the call, `clock() - start`. Keep all times in lists by name; mean and spread come at the end.
#
# </details>

# %% id="latency" kind="answer" exercise="latency"
def latency(variants, rounds, warmup, clock):
    """{name: (mean, standard deviation)} in ms of each variant's calls, by turns, after a warm-up."""
    # BEGIN SOLUTION
    for _ in range(warmup):
        for run in variants.values():
            run()
    took = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            start = clock()
            run()
            took[name].append(1000 * (clock() - start))
    times = {name: torch.tensor(some, dtype=torch.float64) for name, some in took.items()}
    return {name: (float(some.mean()), float(some.std())) for name, some in times.items()}
    # END SOLUTION


# %% id="latency-check" kind="check" exercise="latency" points="2"
serve.check_latency(latency)

# %% [markdown] id="latency-on"
# *Going on without it?* Nothing below needs yours: lorakit's own is `lorakit.accounting.latencies`.

# %% id="latency-hidden" kind="hidden" exercise="latency" points="3"
serve.check_latency(latency, seed=4711)

# %% [markdown] id="table-say"
# ### Table 1 on your machine
#
# MiniLM in six versions: frozen; frozen a *second time*, under another name, which is the null of the whole table; LoRA merged;
# LoRA beside the weights; adapters in series by Houlsby (two a block) and Lin (one). lorakit's own `latencies` takes the time, so
# this needs no answer of yours. *Predict:* which rows will differ by more than the two frozen ones do, in a batch of 16 and
# in one of 1?

# %% id="versions"
from lorakit import LoRA, adapt
from lorakit.methods import Houlsby, Lin

models = {word: load_classifier("minilm", labels=2)[0] for word in ("frozen", "frozen again", "merged")}
models |= {word: load_classifier("minilm", labels=2)[0] for word in ("LoRA beside", "Houlsby", "Lin")}
for word in ("merged", "LoRA beside"):
    adapt(models[word], LoRA, ["*.query", "*.value"], rank=8)
merge(models["merged"])
adapt(models["Houlsby"], Houlsby, "*.output.dense", size=8)
adapt(models["Lin"], Lin, "*.layer.?.output.dense", size=16);

# %% id="table"
from lorakit.accounting import latencies

for rows, length, trials in ((16, 64, 10), (1, 32, 40)):
    texts = ["a film " * length] * rows
    batch = tokenizer(texts, max_length=length, truncation=True, return_tensors="pt")
    found = latencies(models, dict(batch), trials=trials, warmup=2)
    print(f"{rows} × {length}, {trials} rounds")
    for word, one in found.items():
        added = one.ratio(found["frozen"]) - 1
        print(f"  {word:<13}{one.mean:>8.1f} ± {one.sd:<6.1f} ms   {added:+.1%}")

# %% [markdown] id="advice" kind="manual" exercise="advice" points="5"
# ## 10 · Advise three customers
#
# *Difficulty ●● · importance ○○○ · 25 minutes · 5 points, marked by a person*
#
# For each of the three, say which way of serving you would choose (merged; merged and switched; beside the weights, one task
# at a time; beside the weights, mixed batches), with at least one number from this notebook each, and what you would measure
# before you promise anything:
#
# 1. *One* task, one request at a time, on a small processor; every millisecond counts.
# 2. *Eight hundred* customers with an adapter each, requests of all of them in every batch, one machine.
# 3. *Twelve* tasks on a device that holds its weights in bfloat16 and no second copy of them, another task every few
#    minutes, for months.
#
# Say also (d) what the row "frozen again" tells you about the others.
#
# <!-- BEGIN SOLUTION -->
# 1. Merged: nothing is left to compute, and in a batch of one the rows with something in series or beside the weights are the ones that
#    stand out. Before promising: the certificate of the merge in the dtype used, and the accuracy after it.
# 2. Beside the weights, mixed batches: merged weights serve one task a batch. Eight hundred adapters of rank 8 (74 thousand numbers each) take
#    59 million numbers, less than three copies of MiniLM. To measure: latency of a mixed batch against a single-task one, memory of the gathered factors.
# 3. Subtracting and adding in bfloat16 drifts for dozens of rounds once several adapters take turns (exercise 4); with no second copy
#    $W_0$ cannot be restored. So leave the weights alone and keep the adapters beside them; what that costs a call is in the table. If a copy of the
#    adapted matrices can be afforded on disk: form $W_0 + B'A'$ from it at each switch. To measure: outputs after many switches against those of a fresh load.
# 4. (d) "frozen again" is the same model: its difference from "frozen" is what this machine and so few rounds can produce from nothing. A row that
#    differs by less has shown nothing.
#
# *Marks: one for each customer with a number that supports the choice, one for what is to be measured, one for (d).*
# <!-- END SOLUTION -->

# %% [markdown] id="questions"
# ## Three questions, without marks
#
# 1. A mixed batch of 16 rows with 16 different tasks: which numbers does it read from memory that a batch of one task does not?
# 2. Your ledger is clean and `scale_of` gives a number. What can still be wrong with the adapter?
# 3. Why does the overhead of adapters in series grow when the batch gets smaller?
#
# <details><summary>Answers</summary>
#
# 1. Sixteen pairs $A$, $B$ instead of one, for every adapted layer: $16 \cdot r\,(in + out)$ numbers. $W$ is read once in both.
# 2. It may have been trained on another base model, with another tokenizer or template, or on a task you do not want. The first can be
#    seen by comparing samples of the frozen weights; lorakit's own files carry some.
# 3. A small batch does not fill the machine: each layer in series waits for the one before, and that waiting does not shrink with the
#    batch. LoRA's two small products run beside the big one, and merged there are none.
#
# </details>
#
# **Where to go next.** `6_project`: an adapter or a task of your own.
