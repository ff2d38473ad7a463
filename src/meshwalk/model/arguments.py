"""
Arguments of the public calls, for callers that have no type checker: each fault names the argument, what it takes and a remedy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from meshwalk.model.problems import RequestError, SetupError, Violation


TEXT = (str,)
PATH = (str, Path)

_SECONDS = "a number of seconds or a timedelta"
_DOLLARS = "a number of dollars"


def fault_of(value: object, types: tuple[type, ...], takes: str) -> str:
    """
    Return what is wrong with *value*, which is to be of one of *types*; empty if nothing is.

    Args:
        takes: The types, in words, and where it helps an example.
    """
    wrong = not isinstance(value, types) or (isinstance(value, bool) and bool not in types)

    return f"is {described(value)}, and takes {takes}" if wrong else ""


def described(value: object) -> str:
    """
    Return what *value* is, without its content unless that is a number: a prompt is its caller's own.
    """
    if value is None or isinstance(value, bool | int | float):
        return repr(value)

    return f"of the type {type(value).__name__}"


def checked_request(**faults: str) -> None:
    """
    Refuse a request for *faults*, by the names of its arguments; an empty one is none.

    Raises:
        RequestError: If there is any.
    """
    violations = [Violation(name, fault) for name, fault in faults.items() if fault]
    if violations:
        raise RequestError(violations)


def checked_setup(**faults: str) -> None:
    """
    Refuse to set something up for *faults*, by the names of its arguments; an empty one is none.

    Raises:
        SetupError: If there is any.
    """
    found = [f"{name} {fault}" for name, fault in faults.items() if fault]
    if found:
        raise SetupError("; ".join(found))


def text_fault(value: object) -> str:
    """
    Return what is wrong with *value*, which is to be a text.
    """
    return fault_of(value, TEXT, "a text")


def path_fault(value: object) -> str:
    """
    Return what is wrong with *value*, which is to be a path.
    """
    if value == "":
        return "is empty, and takes the path of a file"

    return fault_of(value, PATH, "a path: a text or a pathlib.Path")


def seconds_fault(value: object) -> str:
    """
    Return what is wrong with *value*, which is to be a time.
    """
    from datetime import timedelta  # noqa: PLC0415 - only a fault needs it

    fault = fault_of(value, (int, float, timedelta), _SECONDS)
    if not fault and isinstance(value, float) and not math.isfinite(value):
        return f"is {value}, and takes {_SECONDS}"

    return fault


def dollars_fault(value: object) -> str:
    """
    Return what is wrong with *value*, which is to be an amount of money.
    """
    fault = fault_of(value, (int, float, Decimal), _DOLLARS)
    if not fault and not math.isfinite(cast("float", value)):
        return f"is {value}, and takes {_DOLLARS}"

    return fault


def count_fault(value: object) -> str:
    """
    Return what is wrong with *value*, which is to be a whole number from 0 on.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        return f"is {value}, and takes a whole number from 0 on"

    return fault_of(value, (int,), "a whole number")


def calls_fault(value: object, takes: str) -> str:
    """
    Return what is wrong with *value*, which is to be called.
    """
    return "" if isinstance(value, Callable) else f"is {described(value)}, and takes {takes}"  # type: ignore[arg-type]


def mapping_fault(value: object, takes: str) -> str:
    """
    Return what is wrong with *value*, which is to be a mapping from texts.
    """
    fault = fault_of(value, (Mapping,), takes)
    if not fault and isinstance(value, Mapping):
        names: list[Any] = [name for name in value if not isinstance(name, str)]
        fault = f"has the name {described(names[0])}, and takes {takes}" if names else ""

    return fault
