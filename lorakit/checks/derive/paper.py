"""ΔW = (α/r)·B·A on paper: its scale, its shapes, and how many numbers it takes."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.drawing import Draw, Sizes

FOR_ALPHA = "off by a factor of r = {}: did you use α where it says α/r?"
ONE_FRACTION = "one fraction of the two: twice the α is twice the scale, and twice the rank half of it"
ROOT = "this has α/√r, the scale of rsLoRA: the paper's is α/r"


def check_scale(scale: Callable, *, seed: int = 0) -> None:
    """scale(alpha, rank) = α/r."""
    draw = Draw(seed)
    pairs = [draw.distinct(2, 3, 40) for _ in range(6)] + [[16, 8], [8, 64], [draw.integer(2, 9), 1]]
    mistakes = [
        Mistake(lambda alpha, rank: FOR_ALPHA.format(rank), lambda alpha, rank: alpha),
        Mistake("the fraction is upside down: this is r/α", lambda alpha, rank: rank / alpha),
        Mistake("the rank divides: a larger r must not make a larger step", lambda alpha, rank: alpha * rank),
        Mistake(ROOT, lambda alpha, rank: alpha / math.sqrt(rank)),
        Mistake("// rounds α/r down to a whole number: use /", lambda alpha, rank: alpha // rank),
        Mistake("rounded: give the fraction as it is", lambda alpha, rank: round(alpha / rank, 1)),
        Mistake("r² for r: the rank divides once", lambda alpha, rank: alpha / rank**2),
        Mistake("α is missing: this is 1/r", lambda alpha, rank: 1 / rank),
    ]
    settle(
        "scale", scale, [Case(f"α = {a}, r = {r}", (a, r), a / r) for a, r in pairs], mistakes, otherwise=ONE_FRACTION
    )


def _factors(draw: Draw, count: int = 6) -> list[tuple[Sizes, Tensor, Tensor, float]]:
    """B (out, r), A (r, in) and an α that is neither r nor r², count times."""
    some = []
    for sizes in draw.sizes(count):
        B, A = draw.normal(sizes.out, sizes.rank, dtype=sizes.dtype), draw.normal(*sizes[2:0:-1], dtype=sizes.dtype)
        some.append((sizes, B, A, draw.choice(5, 7, 11, 20) + 0.5))
    return some


def check_delta(delta: Callable, *, seed: int = 0) -> None:
    """delta(B, A, alpha) = (α/r)·B·A, (out, in)."""
    cases = [Case(f"{z}, α = {a:g}", (B, A, a), a / z.rank * B @ A) for z, B, A, a in _factors(Draw(seed))]
    mistakes = [
        Mistake(lambda B, A, alpha: FOR_ALPHA.format(len(A)), lambda B, A, alpha: alpha * B @ A),
        Mistake("the scale is missing: this is B·A", lambda B, A, alpha: B @ A),
        Mistake(ROOT, lambda B, A, alpha: alpha / math.sqrt(len(A)) * B @ A),
        Mistake("α is divided by out: r is the inner side, B's columns", lambda B, A, alpha: alpha / len(B) * B @ A),
        Mistake("α is divided by in: r is the inner side, A's rows", lambda B, A, alpha: alpha / A.shape[1] * B @ A),
        Mistake("the fraction is upside down: this has r/α", lambda B, A, alpha: len(A) / alpha * B @ A),
        Mistake("α stands below: this has 1/α", lambda B, A, alpha: B @ A / alpha),
        Mistake("// rounds α/r down to a whole number: use /", lambda B, A, alpha: alpha // len(A) * B @ A),
        Mistake("the scale is there twice: on B and on A", lambda B, A, alpha: (alpha / len(A)) ** 2 * B @ A),
        Mistake("this is ΔW transposed, (in, out)", lambda B, A, alpha: alpha / len(A) * (B @ A).T),
    ]
    settle("delta", delta, cases, mistakes, otherwise="is it α/r times B·A, in this order?")


def check_shapes(shapes: Callable, *, seed: int = 0) -> None:
    """shapes(out, inputs, rank) = (shape of A, shape of B)."""
    sizes = Draw(seed).sizes(6)
    cases = [Case(str(z).rpartition(",")[0], z[:3], ((z.rank, z.inputs), (z.out, z.rank))) for z in sizes]
    mistakes = [
        Mistake("A comes first, and this is B and then A", lambda o, i, r: ((o, r), (r, i))),
        Mistake(
            "both are transposed: A takes x of length in, so its rows have length in", lambda o, i, r: ((i, r), (r, o))
        ),
        Mistake("A is transposed: A·x must work for x of length in", lambda o, i, r: ((i, r), (o, r))),
        Mistake("B is transposed: B·h must work for h of length r", lambda o, i, r: ((r, i), (r, o))),
        Mistake("out and in are swapped: A meets the input, B makes the output", lambda o, i, r: ((r, o), (i, r))),
        Mistake("A and B are thin: one side of each is r", lambda o, i, r: ((o, i), (o, i))),
    ]
    settle("shapes", shapes, cases, mistakes, otherwise="B·A must come out as (out, in), with r inside")


def check_formula(formula: Callable, *, seed: int = 0) -> None:
    """formula(weights, rank): what LoRA trains on weights of shapes [(out, in), …], Σ r·(out + in)."""
    draw, cases = Draw(seed), []
    for count in (1, 2, 3, draw.integer(4, 12)):
        rank, weights = draw.integer(2, 8), [tuple(draw.distinct(2, 16, 400)) for _ in range(count)]
        text = f"r = {rank} on {count} weights, the first {weights[0][0]}×{weights[0][1]}"
        cases.append(Case(text, (weights, rank), rank * sum(map(sum, weights))))
    cases.append(Case("GPT-3, q and v: r = 4 on 192 weights, 12288×12288", ([(12288, 12288)] * 192, 4), 18874368))
    settle(
        "formula",
        formula,
        cases,
        FORMULA,
        otherwise="count the entries of A, (r, in), and of B, (out, r), one weight after another",
    )


def _like_the_first(weights: list[tuple[int, int]], rank: int) -> int:
    return len(weights) * rank * sum(weights[0])


def _saved(weights: list[tuple[int, int]], rank: int) -> int:
    return sum(out * inputs - rank * (out + inputs) for out, inputs in weights)


def check_counted(counted: Callable, *, seed: int = 0) -> None:
    """counted(model): the parameters of `model` that require a gradient, counted one by one, shared ones once."""
    draw = Draw(seed)
    with draw.apart():
        cases = [Case(text, (model,), _trained(model)) for text, model in _models(draw)]
    mistakes = [
        Mistake("every parameter is counted, the frozen ones too", lambda m: sum(p.numel() for p in m.parameters())),
        Mistake("this counts what is frozen", lambda m: sum(p.numel() for p in m.parameters() if not p.requires_grad)),
        Mistake("this is how many tensors train: ask each for its entries, numel()", lambda m: len(_training(m))),
        Mistake(
            "only matrices are counted: biases train as well",
            lambda m: sum(p.numel() for p in _training(m) if p.ndim > 1),
        ),
        Mistake("a parameter that two layers share is counted twice", _with_shared_twice),
        Mistake("these are bytes, 4 an entry: numbers are asked for", lambda m: 4 * _trained(m)),
        Mistake("only A and B are counted: whatever requires a gradient trains, a head too", _adapters_only),
        Mistake(
            "the layers inside are counted again: modules() gives every level, and parameters() goes all the way down",
            lambda m: sum(p.numel() for part in m.modules() for p in part.parameters() if p.requires_grad),
        ),
        Mistake("nothing counts here: state_dict() hands out tensors that require no gradient", lambda m: 0),
        Mistake("this counts rows, len(p): ask for all entries, numel()", lambda m: sum(len(p) for p in _training(m))),
        Mistake(
            "this is a share: the number of parameters is asked for",
            lambda m: _trained(m) / sum(p.numel() for p in m.parameters()),
        ),
    ]
    settle(
        "counted",
        counted,
        cases,
        mistakes,
        otherwise="go through model.parameters(), and ask each for requires_grad and numel()",
    )


def _models(draw: Draw) -> list[tuple[str, nn.Module]]:
    from lorakit.layers import LoRA, adapt

    d, e, c = draw.distinct(3, 4, 11)
    open_, frozen, tied, adapted = (nn.Sequential(nn.Linear(d, e), nn.ReLU(), nn.Linear(e, c)) for _ in range(4))
    frozen[0].requires_grad_(False)
    tied = nn.Sequential(nn.Embedding(c, d), nn.Linear(d, c, bias=False))
    tied[1].weight = tied[0].weight
    adapt(adapted, LoRA, "0", rank=2, keep="2")
    named = {"LoRA and a head": adapted, "nothing frozen": open_, "a frozen layer": frozen, "a tied weight": tied}
    return list(named.items())


def _training(model: nn.Module) -> list[Tensor]:
    return [p for p in model.parameters() if p.requires_grad]


def _trained(model: nn.Module) -> int:
    return sum(p.numel() for p in _training(model))


def _with_shared_twice(model: nn.Module) -> int:
    return sum(p.numel() for _, p in model.named_parameters(remove_duplicate=False) if p.requires_grad)


def _adapters_only(model: nn.Module) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if name.split(".")[-1] in ("A", "B"))


FORMULA = [
    Mistake("only A is counted, r·in", lambda w, r: sum(r * i for _, i in w)),
    Mistake("only B is counted, r·out", lambda w, r: sum(r * o for o, _ in w)),
    Mistake(
        "2·d·r holds for square weights; A has r·in entries and B out·r", lambda w, r: sum(2 * i * r for _, i in w)
    ),
    Mistake(
        "2·d·r holds for square weights; A has r·in entries and B out·r", lambda w, r: sum(2 * o * r for o, _ in w)
    ),
    Mistake("this is the size of ΔW, out·in: what full fine-tuning trains", lambda w, r: sum(o * i for o, i in w)),
    Mistake(
        "out and in are multiplied: each entry of A and B is counted once",
        lambda w, r: sum(r * o * i for o, i in w),
    ),
    Mistake("twice too many: r·in for A and r·out for B, each once", lambda w, r: 2 * r * sum(map(sum, w))),
    Mistake(
        "the size of A times that of B: add them up",
        lambda w, r: sum(r * o * r * i for o, i in w),
    ),
    Mistake("half of it: r·in for A and r·out for B", lambda w, r: r * sum(map(sum, w)) / 2),
    Mistake("r² for r: A is r·in and B out·r", lambda w, r: r * r * sum(map(sum, w))),
    Mistake("the weights differ: each has sizes of its own, not those of the first", _like_the_first),
    Mistake("this is what LoRA saves: how much it trains is asked for", _saved),
    Mistake("biases are counted: LoRA trains A and B alone", lambda w, r: sum(r * (o + i) + o for o, i in w)),
    Mistake("the rank is missing: this is out + in", lambda w, r: sum(map(sum, w))),
    Mistake("only the first weight is counted", lambda w, r: r * sum(w[0])),
    Mistake("only the last weight is counted: is the sum inside the loop?", lambda w, r: r * sum(w[-1])),
]
