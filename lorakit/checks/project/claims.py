"""A checklist that is looked at by a program: every claim beside what chance gives, and its verdict beside both.

    claims() → [{"claim", "kind", "value", "null", "spread", "seeds", "by", "holds"}, …]

The claims are the student's own. What is asked of them is that a reader can check each: a null of the right kind, a
spread, more than one run, and a verdict that follows from the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lorakit.checks.checking import Case, call
from lorakit.checks.failing import fail, passed

FIELDS = {
    "claim": str,
    "kind": str,
    "value": float,
    "null": float,
    "spread": float,
    "seeds": int,
    "by": str,
    "holds": bool,
}
KINDS = ("overlap", "count", "accuracy", "difference", "ratio")
FEWEST = 3


def check_claims(function: Callable, *, seed: int = 0) -> None:
    """`claims()` → a list of at least three claims that a reader can check; raises `CheckFailed`. Nothing is drawn."""
    given = call("claims", function, Case("your claims", (), None))
    if not isinstance(given, list | tuple) or not all(isinstance(one, Mapping) for one in given):
        fail("claims", "your claims", "a list of dicts", given, "return a list with one dict for each claim")
    for number, one in enumerate(given, 1):
        problem = _form(one) or _numbers(one) or _null(one) or _verdict(one)
        if problem:
            fail("claims", f"claim {number} of {len(given)}: {str(one.get('claim', ''))[:60]}", diagnosis=problem)
    problem = _together(given)
    if problem:
        fail("claims", "all together", diagnosis=problem)
    passed("claims", f"{len(given)} claims, {sum(one['holds'] for one in given)} hold")


def _form(one: Mapping[str, Any]) -> str | None:
    missing = [name for name in FIELDS if name not in one]
    if missing:
        return f"{missing[0]!r} is missing: a claim has {', '.join(FIELDS)}"
    for name, kind in FIELDS.items():
        if not _is(one[name], kind):
            return f"{name!r} is a {_said(kind)}, not {one[name]!r}"
    if len(one["claim"].split()) < 4:
        return "'claim' is a sentence that could be false, of four words at least"
    if one["claim"].strip().endswith("?") or "todo" in one["claim"].casefold():
        return "'claim' states something: no question, and nothing that is still to be written"
    if len(one["by"].split()) < 3:
        return "'by' says how the null was got, in three words at least: a reader has to be able to do it again"
    return None if one["kind"] in KINDS else f"'kind' is one of {', '.join(KINDS)}, not {one['kind']!r}"


def _is(value: Any, kind: type) -> bool:
    if kind is str:
        return isinstance(value, str)
    truth = isinstance(value, bool | np.bool_)
    if kind is bool or truth or isinstance(value, str):
        return truth and kind is bool
    try:
        number = float(value)
    except (TypeError, ValueError):
        return False
    return kind is float or number.is_integer()


def _said(kind: type) -> str:
    return {str: "text", float: "number", int: "whole number", bool: "True or False"}[kind]


def _numbers(one: Mapping[str, Any]) -> str | None:
    if not all(math.isfinite(float(one[name])) for name in ("value", "null", "spread")):
        return "value, null and spread are finite numbers: what could not be measured is no claim yet"
    if one["spread"] <= 0:
        return "a spread of 0 would make anything certain: the standard deviation of the null's draws, or over seeds"
    return "one run shows what one run did: two seeds at least" if one["seeds"] < 2 else None


def _null(one: Mapping[str, Any]) -> str | None:
    kind, value, null = one["kind"], float(one["value"]), float(one["null"])
    if kind == "overlap" and null <= 0:
        return "independent subspaces do not overlap by 0: φ(i, j) has the null max(i, j)/d"
    if kind in ("overlap", "accuracy") and not (0 <= value <= 1 and 0 < null < 1):
        return f"an {kind} lies between 0 and 1, and so does its null (the majority's share, say)"
    if kind == "count" and (null < 1 or value < 1):
        return "a count of directions is at least 1, for a random ΔW as well: measure B·A with random factors"
    if kind == "difference" and null != 0:
        return "the null of a difference is 0; what stands at another value is an accuracy or a ratio"
    if kind == "ratio" and null <= 0:
        return "a ratio by chance is above 0: 1 for an enrichment, ‖ΔW‖·d/(‖W‖·r) for the amplification factor"
    return None


def _verdict(one: Mapping[str, Any]) -> str | None:
    z = abs(float(one["value"]) - float(one["null"])) / float(one["spread"])
    if one["holds"] and z <= 2:
        return f"it is said to hold, {z:.1f} spreads from its null: within 2 chance does as well"
    if not one["holds"] and z > 2:
        return f"it is said not to hold, {z:.1f} spreads from its null: state it the way the numbers point"
    return None


def _together(given: Any) -> str | None:
    if len(given) < FEWEST:
        return f"{len(given)} claims: at least {FEWEST}, of two kinds"
    if len({one["claim"].casefold().strip() for one in given}) < len(given):
        return "one claim stands twice"
    return "all claims are of one kind: look at the project from a second side" if len(_kinds(given)) < 2 else None


def _kinds(given: Any) -> set[str]:
    return {one["kind"] for one in given}
