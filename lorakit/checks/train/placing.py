"""Which layers are adapted, and what is frozen: names with *, every one of them accounted for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from lorakit.checks.checking import Case, Mistake, call, settle
from lorakit.checks.drawing import Draw
from lorakit.checks.failing import fail, passed
from lorakit.checks.small import Small, batches, small
from lorakit.layers import LoRA, innermost

NAMED = "ValueError that names the pattern"
NAMELESS, NEEDLESS = "ValueError without the pattern that matched nothing", "ValueError though every pattern matches"


def check_select(select: Callable, *, seed: int = 0) -> None:
    """select(model, patterns): names of nn.Linear layers that match any pattern; each pattern must match one."""
    model = small(Draw(seed))
    patterns = [
        ["blocks.1.*", "*.query"],
        ["*.query", "*.value"],
        ["*.mlp.*"],
        ["head", "blocks.?.attention.[qk]*"],
        ["*.value", "*.attention.query"],
        ["*.query", "*.vlaue"],
        ["query"],
        ["*.query", "*_norm"],
    ]
    cases = [Case(f"patterns {p}", (model, p), _selected(model, p)) for p in patterns]
    settle(
        "select",
        _raising(select),
        cases,
        SELECT_MISTAKES,
        otherwise=_misnamed,
    )


def _misnamed(case: Case, returned: Any) -> str:
    if isinstance(returned, list) and isinstance(case.expected, list) and set(returned) == set(case.expected):
        return "the right names, and in another order or twice: keep the order of model.named_modules()"
    return "look at model.named_modules() and fnmatchcase(name, pattern)"


def _raising(select: Callable) -> Callable:
    """A ValueError counts as what came back: whether it names the pattern that matches nothing."""

    def outcome(model: nn.Module, patterns: list[str]) -> Any:
        try:
            return list(select(model, patterns))
        except ValueError as error:
            lost = [p for p in patterns if not _linear(model, [p])]
            return NEEDLESS if not lost else NAMED if all(p in str(error) for p in lost) else NAMELESS

    return outcome


def _selected(model: nn.Module, patterns: list[str]) -> Any:
    return NAMED if any(not _linear(model, [p]) for p in patterns) else _linear(model, patterns)


def _linear(model: nn.Module, patterns: list[str]) -> list[str]:
    return _names(((n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)), patterns)


def _names(modules: Iterable[tuple[str, nn.Module]], patterns: list[str]) -> list[str]:
    return [name for name, _ in modules if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _quiet(model: nn.Module, patterns: list[str]) -> list[str]:
    return _linear(model, patterns)


def _partial(model: nn.Module, patterns: list[str]) -> list[str]:
    return [n for n in _linear(model, ["*"]) if any(p.strip("*") in n for p in patterns)]


def check_adapt(adapt: Callable, *, seed: int = 0) -> None:
    """adapt(model, names, rank, alpha): freeze the model and let a LoRA stand in for each layer named."""
    draw = Draw(seed)
    choices = [["*.query", "*.value"], ["head"], ["*.up", "*.down", "*.key"]]
    for number, patterns in enumerate(choices, 1):
        model, rank, alpha = small(draw), draw.integer(2, 3), float(draw.choice(4, 12, 20))
        names = _linear(model, patterns)
        says = f"case {number} of {len(choices)}: {', '.join(patterns)}, r = {rank}, α = {alpha:g}"
        before, tokens = copy.deepcopy(model), batches(draw, 1)[0][0]
        call("adapt", adapt, Case(says, (model, names, rank, alpha), None, changes=True, shared=True))
        _look(says, model, before, names, rank, alpha)
        if not torch.allclose(model(tokens), before(tokens), atol=1e-5):
            fail(
                "adapt",
                says,
                diagnosis="the model computes something else now: a fresh LoRA around the same layer changes nothing",
            )
    passed("adapt", f"{len(choices)} models, the layers named and no other, all else frozen")


def _look(says: str, model: Small, before: Small, names: list[str], rank: int, alpha: float) -> None:
    found = {name: layer for name, layer in _layers(model) if isinstance(layer, LoRA)}
    if not found or any("." in name for name in model._modules):
        fail("adapt", says, f"LoRA at {names[0]}, …", "no LoRA there", _nowhere(model))
    if list(found) != names:
        fail("adapt", says, names, list(found), "LoRA stands at other layers than those named")
    one = found[names[0]]
    if (one.rank, one.alpha) != (rank, alpha):
        given = f"rank={one.rank}, alpha={one.alpha:g}"
        fail("adapt", says, f"rank={rank}, alpha={alpha:g}", given, "rank and alpha were not passed on to LoRA(…)")
    _look_at_gradients(says, model, names)
    for name in names:
        if not torch.equal(innermost(found[name]).weight, before.get_submodule(name).weight):  # type: ignore[arg-type]
            fail(
                "adapt",
                f"{says}, {name}",
                diagnosis="the LoRA stands around another weight: LoRA(layer, …) keeps the old one inside",
            )


def _look_at_gradients(says: str, model: nn.Module, names: list[str]) -> None:
    wanted = {f"{name}.{part}" for name in names for part in "AB"}
    trains = {name for name, p in model.named_parameters() if p.requires_grad}
    if trains == wanted:
        return
    if not trains:
        why = "everything is frozen, A and B too: freeze first, and put the LoRAs in afterwards"
    elif wanted <= trains and any(n.endswith((".base.weight", ".base.bias")) for n in trains):
        why = "the adapted layers' own weights train: freeze them too"
    elif wanted <= trains:
        why = "the rest of the model still trains: set requires_grad to False for all of it"
    else:
        why = "some A or B does not train"
    fail("adapt", says, f"{len(wanted)} parameters train, A and B of each layer named", f"{len(trains)} train", why)


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in model.named_modules() if ".base" not in name]


def _nowhere(model: nn.Module) -> str:
    dotted = [name for name in model._modules if "." in name] + [name for name in vars(model) if "." in name]
    if dotted:
        return "a name with dots was set on the model itself: find the parent, and set the last part of the name there"
    return "a LoRA was perhaps built, and not put where the layer was: setattr(parent, last_part, lora)"


SELECT_MISTAKES = [
    Mistake("a pattern that matches nothing was passed over: raise ValueError, or a typing error trains less", _quiet),
    Mistake("the message does not say which pattern matched nothing", lambda m, p: NAMELESS),
    Mistake("each pattern matches a layer here, and a ValueError was raised", lambda m, p: NEEDLESS),
    Mistake("'query' matched as a part of a name: a pattern stands for the whole name, * for any part of it", _partial),
    Mistake("layers that are no nn.Linear are listed too", lambda m, p: _names(m.named_modules(), p)),
    Mistake("a layer that two patterns match is listed twice", lambda m, p: [n for q in p for n in _linear(m, [q])]),
    Mistake(
        "they come pattern by pattern: keep the order of the model",
        lambda m, p: [*dict.fromkeys(n for q in p for n in _linear(m, [q]))],
    ),
    Mistake("only the first pattern is looked at", lambda m, p: _linear(m, p[:1])),
    Mistake(
        "a layer must match any of the patterns, not all of them",
        lambda m, p: [n for n in _linear(m, ["*"]) if all(fnmatchcase(n, q) for q in p)],
    ),
    Mistake(
        "parameters are listed, *.weight and *.bias: names of layers are asked for",
        lambda m, p: [n for n, _ in m.named_parameters() if any(fnmatchcase(n.rpartition(".")[0], q) for q in p)],
    ),
]
