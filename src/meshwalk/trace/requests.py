"""
A call's arguments as a request, the same for every way of calling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from meshwalk.model import Limits, Sampling, Value
from meshwalk.model.arguments import described
from meshwalk.model.problems import DeadlineExpired, RequestError, Violation
from meshwalk.trace.argument_types import refuse_types
from meshwalk.trace.exchange import Image, Message, ReplyOptions, Request, ResponseFormat, Tool, make_scopes
from meshwalk.trace.messages import messages_of


# Past this, a deadline is none: gRPC counts in nanoseconds of 64 bits.
MAX_SECONDS = 1e9

# One prompt of the user, or a conversation, whose messages may be mappings in the shape of OpenAI's API.
Prompt = str | Sequence[Message | Mapping[str, Any]]

_NO_ATTRIBUTES: Mapping[str, Value] = {}
_NO_LIMITS, _NO_SAMPLING = Limits(), Sampling()
_PLAIN = ReplyOptions()
_WHOLE_OR_NONE = (int, type(None))


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
    # One look at what callers without a type checker get wrong; the words are found only where one is.
    if not (
        type(session) is type(workflow) is type(tool_choice) is type(traceparent) is type(idempotency_key) is str
        and type(attributes) is dict
        and limits == _NO_LIMITS
        and sampling == _NO_SAMPLING
        and not tools
        and response_format is None
    ):
        texts = {"session": session, "workflow": workflow, "tool_choice": tool_choice}
        texts |= {"traceparent": traceparent, "idempotency_key": idempotency_key}
        refuse_types(attributes, limits, sampling, tools, response_format, texts)
    if twice := attributes.keys() & named.keys() if attributes else None:
        why = "is given twice, in `attributes` and as a keyword; give it once"
        raise RequestError(Violation(f"attributes.{name}", why) for name in sorted(twice))
    asks_more = tools or tool_choice or response_format is not None

    return Request(
        _messages(prompt),
        attributes={**attributes, **named} if attributes else named,
        sampling=sampling,
        scopes=make_scopes((session, workflow, "")),
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
    if seconds is None or type(limits) is not Limits or type(limits.deadline_us) not in _WHOLE_OR_NONE:
        # Of limits that are none, the request's own check tells.
        return limits
    timeout_us = int(seconds * 1e6)
    if timeout_us <= 0:
        raise DeadlineExpired([Violation("timeout", f"is {seconds:g} s, which is spent already; allow some time")])

    return limits._replace(deadline_us=timeout_us if limits.deadline_us is None else min(limits.deadline_us, timeout_us))


def _messages(prompt: Any) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message("user", prompt),)

    return tuple(
        message if isinstance(message.content, str) else with_parts(message, f"messages[{position}].content")
        for position, message in enumerate(messages_of(prompt))
    )


def with_messages(request: Any) -> Request:
    """
    Return *request* with each of its messages as a `Message`, where some are mappings.

    Raises:
        RequestError: If it is no request, or one of them is no message.
    """
    if not isinstance(request, Request):
        takes = "a meshwalk.Request, as in Request((Message('user', '…'),)); route() takes a text"
        raise RequestError([Violation("request", f"is {described(request)}, and takes {takes}")])
    if isinstance(request.messages, tuple):
        for message in request.messages:
            if type(message) is not Message:
                break
        else:
            if request.limits != _NO_LIMITS or request.sampling != _NO_SAMPLING or request.form is not _PLAIN:
                form = request.form
                refuse_types({}, request.limits, request.sampling, form.tools, form.response_format, {})
            return request

    return Request(
        _messages(request.messages),
        attributes=request.attributes,
        sampling=request.sampling,
        scopes=request.scopes,
        limits=request.limits,
        traceparent=request.traceparent,
        idempotency_key=request.idempotency_key,
        form=request.form,
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
