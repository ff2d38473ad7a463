"""
The Lua library: its text and its name.

The name of the library and of its functions contains a hash of the text.  Two versions of meshwalk can therefore share a server
and its data, each with its own library, and a library found under its name has the expected text.  No version removes the
library of another.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from meshwalk.budgets.account import MAX_LINES, OTHERS
from meshwalk.budgets.ledger import KEPT_AFTER_WINDOW_US, KEPT_ID_US, KEPT_IDLE_US
from meshwalk.budgets.vaults.redis.codec import spend_path_words


class Library(NamedTuple):
    """
    The text of a library; *prefix* begins the names of its functions.
    """

    text: str
    prefix: str


@cache
def library() -> Library:
    """
    Assemble the library.
    """
    constants = {
        "MAX_LINES": MAX_LINES,
        "OTHERS": f"'{spend_path_words(OTHERS)}'",
        "KEPT_AFTER_WINDOW": KEPT_AFTER_WINDOW_US,
        "KEPT_IDLE": KEPT_IDLE_US,
        "KEPT_ID": KEPT_ID_US,
    }
    body = "\n".join(f"local {name} = {value}" for name, value in constants.items())
    body += "\n" + files(__package__).joinpath("ledger.lua").read_text(encoding="utf-8")
    name = f"meshwalk_{hashlib.sha256(body.encode()).hexdigest()[:12]}"

    return Library(f"#!lua name={name}\nlocal PREFIX = '{name}_'\n{body}", f"{name}_")
