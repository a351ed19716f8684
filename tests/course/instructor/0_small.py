# %% [markdown] id="title"
# # A small assignment
#
# Two exercises and a question: as small as an assignment can be that has everything.

# %% id="setup"
# %precision 4
import torch

import small_checks as small

# %% [markdown] id="scale-say"
# ## The scale ● · important · 5 minutes
#
# ΔW = (α/r)·B·A. Write the number in front.

# %% id="scale" kind="answer" exercise="scale"
def scale(alpha, rank):
    # BEGIN SOLUTION
    return alpha / rank
    # END SOLUTION

# %% id="scale-check" kind="check" exercise="scale" points="1"
small.check_scale(scale)

# %% id="scale-hidden" kind="hidden" exercise="scale" points="2"
small.check_scale(scale, seed=4711)

# %% [markdown] id="delta-say"
# ## ΔW ●● · important · 5 minutes

# %% id="delta" kind="answer" exercise="delta"
def delta(A, B, alpha):
    """ΔW, (out, in), in float64."""
    # BEGIN SOLUTION
    product = B @ A
    return alpha / len(A) * product
    # END SOLUTION

# %% id="delta-check" kind="check" exercise="delta" points="2"
small.check_delta(delta)

# %% id="delta-hidden" kind="hidden" exercise="delta" points="2"
small.check_delta(delta, seed=4711)

# %% [markdown] id="why" kind="manual" exercise="why" points="3"
# Why is B zero at the start?
#
# <!-- BEGIN SOLUTION -->
# So that ΔW is zero, and the first step starts from the model as it was.
# <!-- END SOLUTION -->
