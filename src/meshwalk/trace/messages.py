"""
Messages that a caller gives as mappings, in the shape of OpenAI's API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshwalk.model.arguments import described, text_fault
from meshwalk.model.problems import RequestError, Violation
from meshwalk.model.spelling import did_you_mean
from meshwalk.trace.exchange import Message, ToolCall


_FIELDS = ("role", "content", "name", "tool_calls", "tool_call_id", "carried")
_CALL_FIELDS = ("id", "name", "arguments", "carried")
_TEXTS = ("role", "name", "tool_call_id", "carried")
_EXAMPLE = '{"role": "user", "content": "…"}'


def messages_of(prompt: object) -> tuple[Message, ...]:
    """
    Return the messages of *prompt*, which is a text, a message, or a sequence of messages.

    Raises:
        RequestError: If it is anything else; each message that is none is named by its place.
    """
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    if isinstance(prompt, Message | Mapping):
        prompt = (prompt,)
    takes = f"a text, or a list of messages: meshwalk.Message or {_EXAMPLE}"
    if isinstance(prompt, bytes | bytearray) or not isinstance(prompt, Sequence):
        raise RequestError([Violation("messages", f"is {described(prompt)}, and takes {takes}")])

    return tuple(_message(message, f"messages[{position}]") for position, message in enumerate(prompt))


def _message(message: object, field: str) -> Message:
    if isinstance(message, Message):
        return _as_message(message._asdict(), field)
    if not isinstance(message, Mapping):
        takes = f"a meshwalk.Message or {_EXAMPLE}"
        raise RequestError([Violation(field, f"is {described(message)}, and takes {takes}")])
    _known(message, _FIELDS, field)
    if "role" not in message:
        raise RequestError([Violation(field, f"has no 'role'; write {_EXAMPLE}")])
    if message.get("content") is None and not message.get("tool_calls"):
        raise RequestError([Violation(field, f"has neither 'content' nor 'tool_calls'; write {_EXAMPLE}")])

    return _as_message({**message, "content": message.get("content") or ""}, field)


def _as_message(fields: Mapping[str, Any], field: str) -> Message:
    _refuse_others_than_texts({name: fields[name] for name in _TEXTS if name in fields}, field)
    calls = fields.get("tool_calls") or ()
    if not isinstance(calls, list | tuple):
        takes = 'a list of calls: meshwalk.ToolCall or {"id": "…", "name": "…", "arguments": "{…}"}'
        raise RequestError([Violation(f"{field}.tool_calls", f"is {described(calls)}, and takes {takes}")])
    made = tuple(_call(call, f"{field}.tool_calls[{position}]") for position, call in enumerate(calls))

    return Message(**{**fields, "tool_calls": made})


def _call(call: object, field: str) -> ToolCall:
    if isinstance(call, ToolCall):
        fields: dict[str, Any] = call._asdict()
    elif isinstance(call, Mapping):
        # `{type: function, function: {…}}` is what OpenAI writes; the inner mapping alone says as much.
        inner = call.get("function")
        outer = {name: value for name, value in call.items() if name not in {"type", "function"}}
        fields = {**outer, **inner} if isinstance(inner, Mapping) else outer
        _known(fields, _CALL_FIELDS, field)
    else:
        raise RequestError([Violation(field, f"is {described(call)}, and takes a meshwalk.ToolCall")])
    needed = [Violation(f"{field}.{name}", "is missing") for name in ("id", "name", "arguments") if name not in fields]
    if needed:
        raise RequestError(needed)
    _refuse_others_than_texts(fields, field)

    return ToolCall(**fields)


def _refuse_others_than_texts(fields: Mapping[str, object], field: str) -> None:
    violations = [Violation(f"{field}.{name}", fault) for name, value in fields.items() if (fault := text_fault(value))]
    if violations:
        raise RequestError(violations)


def _known(fields: Mapping[Any, Any], known: Sequence[str], field: str) -> None:
    strange = [str(name) for name in fields if name not in known]
    if strange:
        there_are = f"there are: {', '.join(known)}"
        raise RequestError(
            Violation(f"{field}.{name}", f"is not known; {did_you_mean(name, known) or there_are}") for name in strange
        )
