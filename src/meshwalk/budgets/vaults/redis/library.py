"""
The Lua library: its text, its name, and how it gets into a server.

Its name carries a hash of its text, and so do the names of its functions.  Two versions of meshwalk can therefore share a
server, and one that finds its own name there knows what it will run.  Nobody removes another's library.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from meshwalk.budgets.account import MAX_LINES, OTHERS
from meshwalk.budgets.ledger import KEPT_AFTER_WINDOW_US, KEPT_ID_US, KEPT_IDLE_US
from meshwalk.budgets.vaults.redis.wording import place_words


class Library(NamedTuple):
    """
    Hold a library's text; its functions are called *prefix* and a name.
    """

    text: str
    prefix: str


@cache
def library() -> Library:
    """
    Put the library together.
    """
    constants = {
        "MOST_LINES": MAX_LINES,
        "OTHERS": f"'{place_words(OTHERS)}'",
        "KEPT_AFTER_WINDOW": KEPT_AFTER_WINDOW_US,
        "KEPT_IDLE": KEPT_IDLE_US,
        "KEPT_ID": KEPT_ID_US,
    }
    body = "\n".join(f"local {name} = {value}" for name, value in constants.items())
    body += "\n" + files(__package__).joinpath("books.lua").read_text(encoding="utf-8")
    name = f"meshwalk_{hashlib.sha256(body.encode()).hexdigest()[:12]}"

    return Library(f"#!lua name={name}\nlocal PREFIX = '{name}_'\n{body}", f"{name}_")
