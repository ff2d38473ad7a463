"""
API keys: made here, kept as salted hashes, compared in constant time.

A key is `mwk_`, 8 digits that name it, 32 random bytes, and 6 digits of a checksum: scanners for secrets recognise it, and a
key that was copied badly is told from one that is unknown.  So many random bytes cannot be guessed, so that one round of
SHA-256 is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from meshwalk.model.serving import ApiKey


PREFIX = "mwk_"
_KEY = re.compile(r"mwk_([0-9a-f]{8})_([A-Za-z0-9_-]{43})([0-9a-f]{6})", re.ASCII)

# The hash of a key of no id takes as long as that of another.
_NOBODY = ApiKey(id="", tenant="", salt="0" * 32, sha256="0" * 64)


class NewKey(NamedTuple):
    """
    A new key, and the parts of it that a server keeps.
    """

    key: str
    id: str
    salt: str
    sha256: str


def new_key() -> NewKey:
    """
    Make a key that nobody had before.
    """
    id, salt = secrets.token_hex(4), secrets.token_hex(16)
    text = f"{PREFIX}{id}_{secrets.token_urlsafe(32)}"
    key = text + _checksum(text)

    return NewKey(key, id, salt, _digest(salt, key))


def key_fault(text: str) -> str:
    """
    Return the reason why *text* is no key of any server, or nothing if it may be one.
    """
    match = _KEY.fullmatch(text)
    if match is None:
        return "it does not have the form of one"
    if _checksum(text[: -len(match[3])]) != match[3]:
        return "its checksum is wrong, so it was not copied as it is"

    return ""


class ApiKeys:
    """
    The keys that a server takes.
    """

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._by_id = {key.id: key for key in keys}

    def find(self, text: str) -> ApiKey | None:
        """
        Return the entry of the key *text*, which has the form of one; None if there is none.
        """
        match = _KEY.fullmatch(text)
        entry = self._by_id.get("" if match is None else match[1], _NOBODY)

        return entry if hmac.compare_digest(_digest(entry.salt, text), entry.sha256) and entry is not _NOBODY else None


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()) & 0xFFFFFF:06x}"


def _digest(salt: str, key: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + key.encode()).hexdigest()
