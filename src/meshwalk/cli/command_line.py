"""
Faults of a command line, in our words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args, get_origin

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
)


_TRACES = "--traces"


def worded(error: CycloptsError, words: Sequence[str]) -> str:
    """
    Return what is wrong with the command line *words*: the option, what it takes, and what it was given.
    """
    match error:
        case MissingArgumentError():
            return _missing(error, words)
        case UnknownOptionError():
            return _plain(error).replace("Unknown option: ", "there is no option ", 1)
        case RepeatArgumentError():
            return f"{error.token.keyword} is given twice, and takes one value"
        case CoercionError(token=token) if token is not None:
            return f"{token.keyword or 'the argument'} takes {_taken(error)}, and {token.value!r} is none"
        case UnusedCliTokensError():
            return f"there is no place for {' '.join(map(repr, error.unused_tokens or ()))}; quote a text of several words"
        case _:
            return _plain(error)


def _missing(error: MissingArgumentError, words: Sequence[str]) -> str:
    name = error.argument.name if error.argument is not None else error.keyword or ""
    if not name.startswith("-"):
        return f"{name} is missing"
    if any(word.partition("=")[0] == name for word in words):
        return f"{name} takes a value, and none stands behind it"

    if name == _TRACES:
        return f"name the folder that traces are kept in with {name}"

    return f"{name} is missing, and must be given"


def _taken(error: CoercionError) -> str:
    wanted = error.target_type
    members = [member for member in get_args(wanted) if isinstance(member, str)]
    if members:
        return f"one of {', '.join(members)}"
    kinds = {wanted, *(get_args(wanted) if get_origin(wanted) is not None else ())}

    return "a whole number" if int in kinds else "a number" if float in kinds else "true or false"


def _plain(error: CycloptsError) -> str:
    return " ".join(str(error).split())
