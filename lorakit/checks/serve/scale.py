"""The scale of somebody else's adapter, which may not be guessed.

scale_of(config)   s of ΔW = s·B·A: α/r, with use_rslora α/√r, or a ValueError that names what is not there
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.drawing import Draw
from lorakit.checks.failing import fail

REFUSED = "ValueError that names "


def check_scale(function: Callable, *, seed: int = 0) -> None:
    """`scale_of(config)` → α/r or α/√r, or ValueError naming a missing key; raises `CheckFailed`."""
    draw, cases = Draw(seed), []
    for rslora in (False, True, False):
        r, alpha = draw.choice(4, 9, 25, 36, 49), draw.integer(9, 60) + 0.5  # no r that is a guess at α
        config = {"peft_type": "LORA", "r": r, "lora_alpha": alpha, "use_rslora": rslora, "lora_dropout": 0.1}
        says = f"r = {r}, lora_alpha = {alpha:g}, use_rslora = {rslora}"
        cases.append(Case(says, (config,), alpha / (math.sqrt(r) if rslora else r)))
    for key in ("lora_alpha", "use_rslora", "r"):
        without = {name: value for name, value in config.items() if name != key}
        cases.append(Case(f"{key} is not there", (without,), REFUSED + key))
        cases.append(Case(f"{key} is null in the file", (config | {key: None},), REFUSED + key))
    settle("scale", _refusing(function), cases, SCALE, otherwise=_missaid, looks=False)


def _refusing(function: Callable) -> Callable:
    """The function, with a refusal as what it returns: which key its message names."""
    if not callable(function):
        return function

    def answer(config: dict) -> Any:
        try:
            return function(config)
        except ValueError as error:
            named = [key for key in ("lora_alpha", "use_rslora", "r") if _names(str(error), key)]
            return REFUSED + (named[0] if len(named) == 1 else "nothing" if not named else " and ".join(named))
        except (AssertionError, RuntimeError) as error:
            if isinstance(error, NotImplementedError):
                raise
            name = type(error).__name__
            why = f"it refuses with {name}: a caller waits for ValueError, which says that the file is wrong"
            fail("scale", f"config has {sorted(config)}", returned=f"{type(error).__name__}: {error}", diagnosis=why)
        except (KeyError, TypeError) as error:
            null = [key for key, value in config.items() if value is None]
            why = "a bare KeyError tells nobody what to do: look first, and raise a ValueError that names the key"
            why = f"{null[0]} is there and null, and null is missing too: test for None" if null else why
            fail("scale", f"config has {sorted(config)}", returned=f"{type(error).__name__}: {error}", diagnosis=why)

    return answer


def _missaid(case: Case, returned: Any) -> str:
    if isinstance(returned, Exception):
        return "the error came back as a value: raise it"
    if isinstance(returned, str) and " and " in returned:
        return "the message names keys that are there: say which one is not"
    return "look for all three keys first, refuse where one is missing, and then divide"


def _names(message: str, key: str) -> bool:
    words = "".join(letter if letter.isalnum() or letter == "_" else " " for letter in message).split()
    return key in words


def _guessing(**defaults: Any) -> Callable[[dict], float]:
    def scale(config: dict) -> float:
        config = defaults | {key: value for key, value in config.items() if value is not None}
        return config["lora_alpha"] / (math.sqrt(config["r"]) if config["use_rslora"] else config["r"])

    return scale


def _instead(value: float | None) -> Callable[[dict], float | None]:
    """A function that returns `value` where it should refuse."""

    def scale(config: dict) -> float | None:
        known = all(config.get(key) is not None for key in ("lora_alpha", "use_rslora", "r"))
        return _guessing()(config) if known else value

    return scale


SCALE = (
    *(
        Mistake(f"{value} came back where a key is missing: refuse, with a ValueError", _instead(value))
        for value in (None, math.nan, 0.0)
    ),
    Mistake(
        "// rounds α/r down to a whole number: use /", lambda c: {False: c["lora_alpha"] // c["r"]}[c["use_rslora"]]
    ),
    Mistake(
        "// rounds α/r down to a whole number: use /",
        lambda c: {False: int(c["lora_alpha"]) // c["r"]}[c["use_rslora"]],
    ),
    Mistake(
        "with use_rslora it is α/√r: neither r·√r nor r²",
        lambda c: {True: c["lora_alpha"] / c["r"] ** 1.5}[c["use_rslora"]],
    ),
    Mistake(
        "with use_rslora it is α/√r: neither r·√r nor r²",
        lambda c: {True: c["lora_alpha"] / c["r"] ** 2}[c["use_rslora"]],
    ),
    Mistake("this is α: divide by r", lambda c: c["lora_alpha"]),
    Mistake("this is r/α, upside down", lambda c: c["r"] / c["lora_alpha"]),
    Mistake("this is α·r", lambda c: c["lora_alpha"] * c["r"]),
    Mistake(
        "use_rslora is on, and the scale is α/√r then", lambda c: {True: c["lora_alpha"] / c["r"]}[c["use_rslora"]]
    ),
    Mistake(
        "α/√r is for use_rslora; otherwise it is α/r",
        lambda c: {False: c["lora_alpha"] / math.sqrt(c["r"])}[c["use_rslora"]],
    ),
    Mistake("lora_alpha was guessed to be 8: a silent default mis-scales every ΔW", _guessing(lora_alpha=8)),
    Mistake("lora_alpha was guessed to be 16: a silent default mis-scales every ΔW", _guessing(lora_alpha=16)),
    Mistake(
        "α was taken to be r: a scale of 1 is a guess like any other",
        lambda c: 1.0 if c.get("lora_alpha") is None else _guessing()(c),
    ),
    Mistake(
        "use_rslora was taken to be False: a file that does not say may have been trained either way, √r apart",
        _guessing(use_rslora=False),
    ),
    Mistake("r was guessed to be 8: the file has to say", _guessing(r=8)),
    Mistake("it refuses, and the message names no key: say which one is not there", lambda c: REFUSED + "nothing"),
    Mistake(
        "it refuses a file in which nothing is missing: use_rslora may be False, and False is an answer",
        lambda c: REFUSED + "use_rslora",
    ),
)
