"""
What a caller says, as a request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from meshwalk.model import Limits, Sampling, Value
from meshwalk.model.problems import RequestError, Violation
from meshwalk.trace import Message, Request, Scopes


# Past this, a deadline is none: gRPC counts in nanoseconds of 64 bits.
LONGEST_SECONDS = 1e9


def request_of(
    prompt: str | Sequence[Message],
    session: str,
    workflow: str,
    limits: Limits,
    sampling: Sampling,
    attributes: dict[str, Value],
) -> Request:
    """
    Return the request that a call's arguments are.

    Raises:
        RequestError: If *prompt* is neither a text nor messages.
    """
    return Request(_messages(prompt), attributes=attributes, sampling=sampling, scopes=Scopes(session, workflow), limits=limits)


def seconds_of(timeout: float | None) -> float | None:
    """
    Return how many seconds a call may take; None is for ever, which is what a time longer than any call comes to.

    Raises:
        RequestError: If *timeout* is no number of seconds.
    """
    # Whoever calls this may have no type checker.
    said: Any = timeout
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float) or math.isnan(said):
        raise RequestError([Violation("timeout", f"is {said!r}, and is a number of seconds, or None for ever")])

    return None if said > LONGEST_SECONDS else float(said)


def _messages(prompt: Any) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    # Whoever calls this may have no type checker.
    messages: tuple[Any, ...] = tuple(prompt) if isinstance(prompt, Sequence) else (prompt,)
    for message in messages:
        if not isinstance(message, Message):
            why = f"takes a text or a sequence of Message, and got {type(message).__name__}"
            raise RequestError([Violation("messages", why)])

    return messages
