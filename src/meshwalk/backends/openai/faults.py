"""
Messages for faults of an endpoint: with the backend's name, without an address and without a key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from meshwalk.backends.openai.json_text import NotJsonError, loads, scalar_text
from meshwalk.backends.openai.statuses import Meaning, code_of, error_in, meaning_of, words_of
from meshwalk.backends.openai.waits import wait_us
from meshwalk.backends.secrets import Secrets
from meshwalk.model.private_text import joined, private
from meshwalk.model.problems import BackendError, Malformed, Overloaded, RateLimited, RefusedByModel, Unreachable


_QUOTED_CHARACTERS = 200

# Of a text that is longer no more is looked at.
_READ_CHARACTERS = 4_000

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

# An endpoint without credit is left alone for so long, unless it says for how long.
_NO_CREDIT_REST_US = 60_000_000


class Faults:
    """
    The errors of one endpoint of a backend.

    Args:
        endpoint: Empty where the backend has only one.
        secrets: Those of all its endpoints, none of which is ever quoted.
        key_env: The variable that this endpoint's key came from.
    """

    def __init__(self, backend: str, endpoint: str, model: str, *, secrets: Secrets, key_env: str) -> None:
        self.backend = backend
        self._whose = whose(backend, endpoint)
        self._model = model
        self._key_env = key_env
        self._secrets = secrets

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
        Return the error of a stream that ended before the answer did.
        """
        return self._unreachable("the connection broke in the middle of its answer", billable=True)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> BackendError:
        """
        Return the error of an answer that is no 200.
        """
        answer = _parsed(body)
        meaning = meaning_of(status, answer)
        subject = f"{self._whose} answered HTTP {status}"
        if meaning.bad_key:
            return self._bad_key(f"{subject}: it does not accept our key", meaning)
        said = self._quoted(answer)
        remedy = ""
        if status == 404:
            remedy = f"; check 'base_url:' and whether it has the model '{self._model}'"
        elif 300 <= status < 400:
            remedy = "; it redirects, and 'base_url:' must name where it really is"

        message = joined(subject, ": ", said, remedy) if said else f"{subject}{remedy}"

        return self._error(meaning, message, headers, answer)

    def _bad_key(self, subject: str, meaning: Meaning) -> BackendError:
        # A provider that rejects a key may quote a part of it, so its words are left out.
        remedy = f"check the key in {self._key_env}" if self._key_env else "give the backend a 'key_env:' that names its key"

        return meaning.error(f"{subject}; {remedy}", backend=self.backend, of_endpoint=True)

    def _error(self, meaning: Meaning, message: str, headers: Mapping[str, str], answer: Any) -> BackendError:
        rest_us = wait_us(headers, answer) if meaning.error in (RateLimited, Overloaded) else None
        final = meaning.final and (rest_us is None or not _may_wait(answer))
        if final and rest_us is None:
            rest_us = _NO_CREDIT_REST_US

        return meaning.error(
            message, backend=self.backend, retry_after_us=rest_us, final=final, of_endpoint=meaning.of_endpoint
        )

    def malformed(self, why: str, *, billable: bool = True) -> Malformed:
        """
        Say why an answer cannot be read.
        """
        message = joined(f"the answer of {self._whose} cannot be read: ", why)

        return Malformed(message, backend=self.backend, billable=billable)

    def in_band(self, answer: Mapping[str, Any], headers: Mapping[str, str], *, failed: bool = False) -> BackendError | None:
        """
        Return the error in an answer of status 200; None if there is none.

        Args:
            headers: Those of the answer, which may say how long to wait.
            failed: Whether its server called it an error.
        """
        error = error_in(answer)
        if error is None and not (failed and not answer.get("choices")):
            return None
        meaning = meaning_of(None, answer)
        if meaning.bad_key:
            return self._bad_key(f"{self._whose} ended its answer with an error: it does not accept our key", meaning)
        said = self._quoted(answer)
        subject = f"{self._whose} ended its answer with an error"

        return self._error(meaning, joined(subject, ": ", said) if said else subject, headers, answer)

    def in_choice(self, choice: Mapping[str, Any] | None, headers: Mapping[str, str]) -> BackendError:
        """
        Return the error in a choice, or that of a choice its server gave up.
        """
        error = self.in_band(choice or {}, headers)
        if error is not None:
            return error

        return Overloaded(f"{self._whose} gave its answer up in the middle", backend=self.backend)

    def empty(self) -> Overloaded:
        """
        Return the error of an answer with no text, no tool call and no tokens.
        """
        return Overloaded(f"{self._whose} gave an empty answer", backend=self.backend)

    def unwilling(self) -> RefusedByModel:
        """
        Return the error of a model that refused, in a message of its own kind.
        """
        return RefusedByModel(f"{self._whose}: the model refused to answer", backend=self.backend, billable=True)

    def _unreachable(self, why: str, *, billable: bool) -> Unreachable:
        return Unreachable(f"{self._whose} cannot be reached: {why}", backend=self.backend, billable=billable)

    def _quoted(self, answer: Any) -> str:
        """
        Return the provider's own words on an error: on one line, without a secret, and short.
        """
        text = words_of(error_in(answer)) or words_of(answer) or (answer if isinstance(answer, str) else "")
        if not text and answer:
            text = orjson.dumps(answer, default=str).decode()
        return self.quoted(text, code_of(answer))

    def quoted(self, words: str, code: str = "") -> str:
        """
        Return *words*, which a provider wrote, for the caller alone; nothing where nothing of them can be shown.
        """
        text = self._secrets.hidden(scalar_text(words[:_READ_CHARACTERS]))
        line = " ".join("".join(char if char.isprintable() else " " for char in text).split())

        if not line:
            return ""

        return private(line if len(line) <= _QUOTED_CHARACTERS else line[: _QUOTED_CHARACTERS - 1] + "…", code)

    def hidden(self, text: str) -> str:
        """
        Return *text* without the secrets of the backend.
        """
        return self._secrets.hidden(text)


def whose(backend: str, endpoint: str) -> str:
    """
    Name an endpoint of a backend, or the backend where that is all there is to say.
    """
    return f"backend '{backend}' at endpoint '{endpoint}'" if endpoint else f"backend '{backend}'"


def _parsed(body: bytes) -> Any:
    try:
        return loads(body)[0]
    except NotJsonError:
        return body.decode("utf-8", "replace")


def _may_wait(answer: Any) -> bool:
    """
    Tell whether an allowance that is gone by its words comes back, as its answer says when.
    """
    error = error_in(answer)

    return not (isinstance(error, dict) and any("insufficient" in str(error.get(field, "")) for field in ("code", "type")))
