"""
Keys of callers and operators, as a server is given them and as a client sends them.

A key travels in a header, and gRPC breaks off over characters that no header can hold.  No error shows a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from meshwalk.model.problems import SetupError


# The characters of an HTTP header, without the spaces that it does not keep.
_KEY = re.compile(r"[!-~]+", re.ASCII)


def key_from(name: str, environment: Mapping[str, str]) -> str:
    """
    Take a key from the variable *name*.

    Raises:
        SetupError: If it is not set, or holds what no header can.
    """
    key = environment.get(name, "")
    if not key:
        raise SetupError(f"the key is to come from {name!r} in the environment, and that is not set")

    return checked_key(key, f" in {name!r}")


def checked_key(key: str, where: str = "") -> str:
    """
    Return *key* if a header can hold it.

    Args:
        where: What an error says of its place, with a space in front.

    Raises:
        SetupError: If none can.
    """
    if not _KEY.fullmatch(key):
        raise SetupError(f"the key{where} holds spaces or characters that are not ASCII; choose another")

    return key
