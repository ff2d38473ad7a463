"""
Options that several commands have, and how their texts become values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from meshwalk.cli.output import Misuse
from meshwalk.problems import did_you_mean


if TYPE_CHECKING:
    from meshwalk.model import Value, ValueType


Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document.")]
TracesFolder = Annotated[str, Parameter(name="--traces", help="The folder that traces are kept in.")]

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(us|ms|s|m|h)", re.ASCII)
_UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}


def duration_us(option: str, text: str) -> int:
    """
    Read a duration as a graph writes it.

    Raises:
        Misuse: If *text* is none.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise Misuse(f"{option} takes a duration such as 300ms, 4s or 2m, and {text!r} is none")

    return int(Decimal(found[1]) * _UNITS_US[found[2]])


def nano_usd(option: str, amount: float) -> int:
    """
    Read an amount of dollars.

    Raises:
        Misuse: If it is not a finite number, or less than nothing.
    """
    if not math.isfinite(amount) or amount < 0:
        raise Misuse(f"{option} takes an amount in USD of 0 or more, and {amount:g} is none")

    # The shortest decimal that reads back as the float is what was typed.
    return round(Decimal(repr(amount)) * 10**9)


def attribute_values(given: Sequence[str], graph: str, declared: Mapping[str, ValueType]) -> dict[str, Value]:
    """
    Read `NAME=VALUE` texts by the types that *graph* declares.

    Raises:
        Misuse: At the first that is not such a text, names no attribute, or is not of its type.
    """
    values: dict[str, Value] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise Misuse(f"--set takes NAME=VALUE, and {text!r} has no '='")
        if name not in declared:
            hint = did_you_mean(name, declared)
            raise Misuse(
                f"graph '{graph}' declares no attribute '{name}'; {hint + ' ' if hint else ''}it has: {', '.join(declared)}"
            )
        if name in values:
            raise Misuse(f"--set gives '{name}' twice")
        values[name] = _value(name, value, declared[name])

    return values


def _value(name: str, text: str, type: ValueType) -> Value:
    match type:
        case "string":
            return text
        case "bool":
            if text not in ("true", "false"):
                raise Misuse(f"--set {name}={text}: '{name}' takes true or false")
            return text == "true"
        case "number":
            try:
                return float(text)
            except ValueError:
                raise Misuse(f"--set {name}={text}: '{name}' takes a number") from None
