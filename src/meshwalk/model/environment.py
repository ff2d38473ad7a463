"""
Environment variables in texts: each `${NAME}` stands for the variable of that name.

Addresses hold names in place of secrets, so that a graph, a command line and an error can show them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from meshwalk.model.problems import SetupError


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def names_in(text: str) -> list[str]:
    """
    List the variables that *text* names, each once.
    """
    return [*dict.fromkeys(_VARIABLE.findall(text))]


def read(names: Iterable[str], whose: str) -> dict[str, str]:
    """
    Read the variables *names* without the space around them.

    Args:
        whose: Who needs them, in the words of an error.

    Raises:
        SetupError: If one is not set, or empty.
    """
    values = {name: os.environ.get(name, "").strip() for name in names}
    missing = [name for name, value in values.items() if not value]
    if missing:
        raise SetupError(f"{whose} needs {_unset(missing)} and start again")

    return values


def fill(text: str, values: Mapping[str, str]) -> str:
    """
    Put the values *values* in place of the names in *text*.
    """
    return _VARIABLE.sub(lambda match: values[match[1]], text)


def without(text: str) -> str:
    """
    Return *text* without its variables.
    """
    return _VARIABLE.sub("", text)


def _unset(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"the environment variable {names[0]}, which is not set; set it"

    return f"the environment variables {', '.join(names)}, which are not set; set them"
