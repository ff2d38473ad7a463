"""
A call's arguments as a request, the same for every way of calling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from meshwalk.model import Limits, Sampling, Value
from meshwalk.model.problems import RequestError, Violation
from meshwalk.trace.exchange import Image, Message, ReplyOptions, Request, ResponseFormat, Scopes, Tool


# Past this, a deadline is none: gRPC counts in nanoseconds of 64 bits.
MAX_SECONDS = 1e9

# One prompt of the user, or a conversation.
Prompt = str | Sequence[Message]

_NO_ATTRIBUTES: Mapping[str, Value] = {}
_PLAIN = ReplyOptions()


def build_request(
    prompt: Prompt,
    *,
    attributes: Mapping[str, Value] = _NO_ATTRIBUTES,
    named: Mapping[str, Value] = _NO_ATTRIBUTES,
    session: str = "",
    workflow: str = "",
    limits: Limits = Limits(),
    sampling: Sampling = Sampling(),
    tools: Sequence[Tool] = (),
    tool_choice: str = "",
    response_format: ResponseFormat | None = None,
    traceparent: str = "",
    idempotency_key: str = "",
) -> Request:
    """
    Return the request that a call's arguments stand for.

    Args:
        named: The attributes that were given as keywords.

    Raises:
        RequestError: If *prompt* is neither a text nor messages, or an attribute is given twice.
    """
    if twice := attributes.keys() & named.keys() if attributes else None:
        why = "is given twice, in `attributes` and as a keyword; give it once"
        raise RequestError(Violation(f"attributes.{name}", why) for name in sorted(twice))
    asks_more = tools or tool_choice or response_format is not None

    return Request(
        _messages(prompt),
        attributes={**attributes, **named} if attributes else named,
        sampling=sampling,
        scopes=Scopes(session, workflow),
        limits=limits,
        traceparent=traceparent,
        idempotency_key=idempotency_key,
        form=ReplyOptions(tuple(tools), tool_choice, response_format) if asks_more else _PLAIN,
    )


def seconds_of(timeout: timedelta | float | None) -> float | None:
    """
    Return the seconds that a call may take; None is for ever, as is a time longer than any call.

    Raises:
        RequestError: If *timeout* is no number of seconds.
    """
    # The caller may have no type checker.
    value: Any = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        why = f"is {value!r}, and is a number of seconds, a timedelta, or None for ever"
        raise RequestError([Violation("timeout", why)])

    return None if value > MAX_SECONDS else float(value)


def within(limits: Limits, timeout: timedelta | float | None) -> Limits:
    """
    Return *limits* with a deadline of *timeout* at the latest.

    Raises:
        RequestError: If *timeout* is no number of seconds.
    """
    seconds = seconds_of(timeout)
    if seconds is None:
        return limits
    timeout_us = int(seconds * 1e6)

    return limits._replace(deadline_us=timeout_us if limits.deadline_us is None else min(limits.deadline_us, timeout_us))


def _messages(prompt: Any) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    # The caller may have no type checker.
    messages: tuple[Any, ...] = tuple(prompt) if isinstance(prompt, Sequence) else (prompt,)
    for message in messages:
        if not isinstance(message, Message):
            why = f"takes a text or a sequence of Message, and got {type(message).__name__}"
            raise RequestError([Violation("messages", why)])

    return tuple(
        message if isinstance(message.content, str) else with_parts(message, f"messages[{position}].content")
        for position, message in enumerate(messages)
    )


def with_parts(message: Message, field: str) -> Message:
    """
    Return *message*, whose content is a list of parts, with its text as its content and its parts beside that.

    Raises:
        RequestError: If a part is neither a text nor an image, in the words of *field*.
    """
    parts_or_text: Any = message.content
    if not isinstance(parts_or_text, list | tuple) or not parts_or_text:
        why = f"is {type(parts_or_text).__name__}, and takes a text or a list of parts"
        raise RequestError([Violation(field, why)])
    parts = tuple(_part(part, f"{field}[{position}]") for position, part in enumerate(parts_or_text))
    text = "".join(part for part in parts if isinstance(part, str))
    images = any(isinstance(part, Image) for part in parts)

    return message._replace(content=text, parts=parts if images else ())


def _part(part: Any, field: str) -> str | Image:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if isinstance(part, Image):
        return part
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind == "image_url":
        image = part.get("image_url")
        image = {"url": image} if isinstance(image, str) else image
        if isinstance(image, Mapping) and isinstance(image.get("url"), str) and isinstance(image.get("detail", ""), str):
            return Image(image["url"], image.get("detail", ""))
    why = "is no part of a message: a part is {type: text, text: …} or {type: image_url, image_url: {url: …}}"
    raise RequestError([Violation(field, why)])
