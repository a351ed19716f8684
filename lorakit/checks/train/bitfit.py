"""BitFit: only biases train, and every one of them does (Ben Zaken et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from lorakit.checks.checking import Case, Mistake, copied, settle
from lorakit.checks.comparing import same
from lorakit.checks.drawing import Draw
from lorakit.checks.small import small


def check_bitfit(bitfit: Callable, *, seed: int = 0) -> None:
    """bitfit(model): let only biases train, whatever they belong to; returns their names."""
    draw, cases = Draw(seed), []
    for says in ("as it came", "its blocks frozen before", "with a layer called bias_gate"):
        model = small(draw)
        if "frozen" in says:
            model.blocks.requires_grad_(False)
        if "bias_gate" in says:
            with draw.apart():
                model.bias_gate = nn.Linear(model.head.in_features, 2, bias=False)
        cases.append(Case(f"a Transformer, {says}", (model,), _run(_bitfit)(copied(model)), changes=True))
    settle("bitfit", _run(bitfit), cases, BITFIT_MISTAKES, otherwise=_difference, looks=False)


def _run(bitfit: Callable) -> Callable:
    """What trains after it, and what it says."""

    def outcome(model: nn.Module) -> dict[str, Any]:
        before = copied(dict(model.named_parameters()))
        said = bitfit(model)
        trains = sorted(name for name, p in model.named_parameters() if p.requires_grad)
        changed = [name for name, p in model.named_parameters() if not same(before[name], p, 0.0)]
        return {
            "trains": trains,
            "changed": changed,
            "returned": sorted(said, key=str) if isinstance(said, list | tuple | set) else said,
        }

    return outcome


def _is_bias(name: str) -> bool:
    return name.split(".")[-1] == "bias"


def _only(model: nn.Module, wanted: Callable[[str], bool]) -> list[str]:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(wanted(name))
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def _bitfit(model: nn.Module) -> list[str]:
    return _only(model, _is_bias)


def _frozen_stays(model: nn.Module) -> list[str]:
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    return _only(model, lambda name: _is_bias(name) and name not in frozen)


def _difference(case: Case, returned: Any) -> str:
    wanted, trains = set(case.expected["trains"]), set(returned["trains"])
    more, less = sorted(trains - wanted), sorted(wanted - trains)
    if more or less:
        return f"trains and should not: {more[:3]}; should and does not: {less[:3]}"
    if returned["changed"]:
        return f"{returned['changed'][0]} has other values now: BitFit starts from those that are there"
    return "the right ones train; return the list of their names"


BITFIT_MISTAKES = [
    Mistake(
        "everything trains: set requires_grad to False for what is no bias",
        _run(lambda m: _only(m, lambda n: True)),
    ),
    Mistake(
        "nothing trains: a bias must have requires_grad set to True, whatever it was before",
        _run(lambda m: _only(m, lambda n: False)),
    ),
    Mistake("the opposite: weights train and biases are frozen", _run(lambda m: _only(m, lambda n: not _is_bias(n)))),
    Mistake(
        "bias_gate.weight is no bias: look at the last part of the name, not for 'bias' anywhere in it",
        _run(lambda m: _only(m, lambda n: "bias" in n)),
    ),
    Mistake("biases of LayerNorms count too", _run(lambda m: _only(m, lambda n: _is_bias(n) and "norm" not in n))),
    Mistake("LayerNorm's weight is no bias", _run(lambda m: _only(m, lambda n: _is_bias(n) or "norm" in n))),
    Mistake(
        "the head's weight trains too: here only biases do",
        _run(lambda m: _only(m, lambda n: _is_bias(n) or n.startswith("head"))),
    ),
    Mistake("what was frozen before stayed frozen: set requires_grad to True for each bias", _run(_frozen_stays)),
    Mistake("the right ones train, and no list of their names came back", _run(lambda m: _bitfit(m) and None)),
    Mistake(
        "these are the parameters themselves: the list of their names is asked for",
        _run(lambda m: [m.get_parameter(n) for n in _bitfit(m)]),
    ),
    Mistake(
        "the names are those of layers: return the parameters' own",
        _run(lambda m: [n.rpartition(".")[0] for n in _bitfit(m)]),
    ),
]
