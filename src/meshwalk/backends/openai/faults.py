"""
What can be wrong at an endpoint, in words: with the backend's name, without an address and without a key.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from meshwalk.model.problems import BackendError, Malformed, Overloaded, RateLimited, RefusedByModel, Unreachable


_QUOTED_CHARACTERS = 200

# By status, the first range that holds it.
_STATUSES: tuple[tuple[range, type[BackendError]], ...] = (
    (range(429, 430), RateLimited),
    (range(408, 409), Overloaded),
    (range(500, 600), Overloaded),
    (range(600), RefusedByModel),
)

# By what aiohttp raised, the first that fits: the class's words, and whether nothing can have been sent.
_FOREIGN: tuple[tuple[type[Exception], str, bool], ...] = (
    (aiohttp.InvalidURL, "its address is none that can be called", True),
    (UnicodeError, "its address is none that can be called", True),
    (aiohttp.ClientConnectorDNSError, "the name of its host cannot be resolved", True),
    (aiohttp.ClientConnectorCertificateError, "its certificate is not to be trusted", True),
    (aiohttp.ClientSSLError, "no TLS connection could be made", True),
    (aiohttp.ClientConnectorError, "no connection could be made", True),
    (aiohttp.ServerDisconnectedError, "it closed the connection without an answer", False),
    (aiohttp.ClientPayloadError, "the connection broke in the middle of its answer", False),
    (aiohttp.ClientOSError, "the connection broke", False),
    (OSError, "the connection broke", False),
)

# What an error inside an answer says of itself where it has no status: providers differ in the field and agree in the words.
_SAID: tuple[tuple[re.Pattern[str], type[BackendError]], ...] = (
    (re.compile(r"\b429\b|rate_?limit|quota|too_many_requests"), RateLimited),
    (re.compile(r"\b(408|5\d\d)\b|server_error|overloaded|unavailable|internal|timeout"), Overloaded),
)

# Nobody is left alone for longer, whatever a header says.
_LONGEST_REST_US = 86_400_000_000
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


class Faults:
    """
    Say what is wrong at one endpoint of a backend.

    Args:
        endpoint: Empty where the backend has only one.
        keys: Those of all its endpoints, none of which is ever quoted.
        key_env: The variable that this endpoint's key came from.
    """

    def __init__(
        self, backend: str, endpoint: str, model: str, *, keys: Collection[str], key_env: str, addresses: Collection[str] = ()
    ) -> None:
        self.backend = backend
        self._whose = whose(backend, endpoint)
        self._model = model
        self._key_env = key_env
        # A key may hold another one; and where it is quoted in JSON, some of its characters are escaped.
        spelt = {text for key in keys if key for text in (key, orjson.dumps(key)[1:-1].decode())}
        self._keys = sorted(spelt, key=len, reverse=True)
        # Longest first, so that nothing of a path is left behind its host.
        places = {text for address in addresses if address for text in (address.rstrip("/"), urlsplit(address).netloc)}
        self._addresses = sorted(filter(None, places), key=len, reverse=True)

    def broken(self, error: Exception, *, sent: bool) -> BackendError:
        """
        Say in our words what the HTTP library raised.
        """
        words, unsent = next(((words, unsent) for kind, words, unsent in _FOREIGN if isinstance(error, kind)), ("", False))
        if not words:
            return self.malformed(f"it does not speak HTTP ({type(error).__name__})", billable=sent)
        # The system's words by number, since aiohttp's own texts hold the address.
        number = getattr(getattr(error, "os_error", error), "errno", None)
        detail = f" ({os.strerror(number)})" if isinstance(number, int) and number > 0 else ""

        return self._unreachable(f"{words}{detail}", billable=sent and not unsent)

    def cut_off(self) -> Unreachable:
        """
        Say that a stream ended before the answer did.
        """
        return self._unreachable("the connection broke in the middle of its answer", billable=True)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> BackendError:
        """
        Say what an answer that is no 200 means.
        """
        house = next(house for statuses, house in _STATUSES if status in statuses)
        # A provider that rejects a key may quote a part of it, so its words are left out.
        if status in {401, 403}:
            remedy = (
                f"check the key in {self._key_env}" if self._key_env else "give the backend a 'key_env:' that names its key"
            )
            return house(f"{self._whose} answered HTTP {status}: it does not accept our key; {remedy}", backend=self.backend)
        said = self._quoted(body)
        remedy = ""
        if status == 404:
            remedy = f"; check 'base_url:' and whether it has the model '{self._model}'"
        elif 300 <= status < 400:
            remedy = "; it redirects, and 'base_url:' must name where it really is"
        rest_us = _rest_us(headers) if house in {RateLimited, Overloaded} else None

        return house(
            f"{self._whose} answered HTTP {status}{f': {said}' if said else ''}{remedy}",
            backend=self.backend,
            retry_after_us=rest_us,
        )

    def malformed(self, why: str, *, billable: bool = True) -> Malformed:
        """
        Say why an answer cannot be read.
        """
        return Malformed(f"the answer of {self._whose} cannot be read: {why}", backend=self.backend, billable=billable)

    def instead(self, why: str, answer: Any) -> BackendError:
        """
        Say what stands in an answer in the place of a reply: an error of the provider's, or *why* it is none.
        """
        error = answer.get("error") if isinstance(answer, dict) else None
        if not error:
            return self.malformed(why)
        said = self._quoted(orjson.dumps(answer))
        named = [error.get(key) for key in ("code", "type", "status")] if isinstance(error, dict) else []
        words = " ".join(str(name).lower() for name in named if isinstance(name, str | int))
        for pattern, house in _SAID:
            if pattern.search(words):
                return house(f"{self._whose} ended its answer with an error: {said}", backend=self.backend, billable=True)

        return self.malformed(f"{why}, and says: {said}")

    def unwilling(self) -> RefusedByModel:
        """
        Say that the model refused, in a message of its own kind.
        """
        return RefusedByModel(f"{self._whose}: the model refused to answer", backend=self.backend, billable=True)

    def _unreachable(self, why: str, *, billable: bool) -> Unreachable:
        return Unreachable(f"{self._whose} cannot be reached: {why}", backend=self.backend, billable=billable)

    def _quoted(self, body: bytes) -> str:
        """
        Return the provider's own words on an error: on one line, without a key, and short.
        """
        text = body.decode("utf-8", "replace")
        try:
            said = orjson.loads(body)
            error = said.get("error", said)
            text = error if isinstance(error, str) else str(error.get("message") or text)
        except (orjson.JSONDecodeError, AttributeError):
            pass
        for key in self._keys:
            text = text.replace(key, "[key]")
        for address in self._addresses:
            text = text.replace(address, "[address]")
        line = " ".join("".join(char if char.isprintable() else " " for char in text).split())

        return line if len(line) <= _QUOTED_CHARACTERS else line[: _QUOTED_CHARACTERS - 1] + "…"


def whose(backend: str, endpoint: str) -> str:
    """
    Name an endpoint of a backend, or the backend where that is all there is to say.
    """
    return f"backend '{backend}' at endpoint '{endpoint}'" if endpoint else f"backend '{backend}'"


def _rest_us(headers: Mapping[str, str]) -> int | None:
    """
    Read how long a provider asks to be left alone; nonsense says nothing.
    """
    for name, unit_us in (("retry-after-ms", 1_000), ("retry-after", 1_000_000)):
        given = headers.get(name, "").strip()
        if _NUMBER.fullmatch(given):
            return min(round(float(given) * unit_us), _LONGEST_REST_US)
    until = _unix_s(headers.get("retry-after", ""))
    if until is None:
        return None
    # By the provider's own clock, where it says what that shows.
    now = _unix_s(headers.get("date", ""))
    left_s = until - (time.time() if now is None else now)

    return min(max(0, round(left_s * 1_000_000)), _LONGEST_REST_US)


def _unix_s(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError):
        return None
