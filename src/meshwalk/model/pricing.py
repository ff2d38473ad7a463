"""
A name for prices that nobody named, so that every record can say at which its calls were settled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import orjson

from meshwalk.model import AnyBackendSpec


_SHORT = 12


def short(digest: str) -> str:
    """
    Make the name of a version of the start of its SHA-256.
    """
    return f"sha256:{digest[:_SHORT]}"


def version_of(backends: Mapping[str, AnyBackendSpec]) -> str:
    """
    Name the version of the prices of *backends* after the prices themselves; empty if none of them has one.
    """
    prices = {name: spec.price for name, spec in backends.items() if spec.price is not None}
    if not prices:
        return ""
    # Unset prices are left out, so that a further kind of price does not make all versions new.
    stated = {
        name: {key: value for key, value in price._asdict().items() if value not in (None, ())}
        for name, price in prices.items()
    }

    return short(hashlib.sha256(orjson.dumps(stated, default=list, option=orjson.OPT_SORT_KEYS)).hexdigest())
