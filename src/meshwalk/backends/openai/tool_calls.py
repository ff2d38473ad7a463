"""
The tool calls of an answer, gathered from a whole message or from the deltas of a stream.

An id that was not seen before begins a call, whatever the index beside it says.  A later piece without an id belongs to the
call that was begun last at its index.  A piece that names a tool while the call at its index has all of its arguments begins
another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import orjson

from meshwalk.backends.openai import spellings
from meshwalk.backends.openai.json_text import NotJsonError, loads, scalar_text
from meshwalk.trace import ToolCall


class UnreadableReplyError(Exception):
    """
    A part of an answer that is not what it must be.
    """


class _Call:
    """
    One tool call: its name comes once, its arguments bit by bit.
    """

    __slots__ = ("arguments", "carried", "id", "index", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.carried: dict[str, Any] = {}

    @property
    def is_whole(self) -> bool:
        """
        Tell whether its arguments are a JSON object already.
        """
        text = "".join(self.arguments).strip()

        return text.startswith("{") and text.endswith("}") and _object(text) is not None

    def repeats(self, function: Mapping[str, Any]) -> bool:
        """
        Tell whether *function* is the whole of this call once more.
        """
        return (
            bool(self.name)
            and function.get("name") == self.name
            and self.is_whole
            and (_arguments_of(function).strip() == "".join(self.arguments).strip())
        )


class ToolCalls:
    """
    The tool calls of one sample.

    Attributes:
        mended: Whether they had to be told apart, named or completed.
    """

    __slots__ = ("_calls", "mended")

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self.mended = False

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, message: Mapping[str, Any]) -> bool:
        """
        Take what a message, or a part of one, says of tools, and tell whether it says anything.

        Raises:
            UnreadableReplyError: If that is no tool call.
        """
        wishes = _wishes_in(message)
        alone = not isinstance(wishes, list) or len(wishes) == 1
        for position, (wish, function) in enumerate(_functions_of(wishes)):
            self._add(wish, function, position, alone=alone)

        return bool(wishes)

    def add_whole(self, message: Mapping[str, Any]) -> bool:
        """
        Take the tool calls of a whole message, each of which is one call.

        Raises:
            UnreadableReplyError: If that is no tool call.
        """
        wishes = _wishes_in(message)
        for wish, function in _functions_of(wishes):
            self._fill(self._begin(len(self._calls)), wish, function)

        return bool(wishes)

    def take_over(self, other: ToolCalls) -> None:
        """
        Add the calls of another choice that is a part of the same answer.
        """
        self._calls += other._calls
        self.mended |= other.mended

    def _add(self, wish: Mapping[str, Any], function: Mapping[str, Any], position: int, *, alone: bool) -> None:
        given, index = wish.get("id"), wish.get("index")
        id_ = given if isinstance(given, str) else ""
        at = spellings.index_of(index, -1)
        stated = at >= 0
        name = function.get("name")
        named = isinstance(name, str) and bool(name)
        here = [call for call in self._calls if call.index == (at if stated else position)]
        call = next((call for call in reversed(self._calls) if id_ and call.id == id_), None)
        if call is None:
            call = here[-1] if here else None
            # Without ids and indexes, what names no tool continues the call begun last, and so does what comes alone.
            if not stated and not id_ and self._calls and (alone or (call is None and not named)):
                call = self._calls[-1]
            # An id that is new begins a call; behind half of one's arguments, what names no tool is the other half.
            if call is not None and id_ and call.id and (named or call.is_whole):
                call, self.mended = None, True
        elif call.repeats(function):
            self.mended = True
            return
        if call is not None and named and self._is_another(call, name, function):
            call, self.mended = None, True
        if call is None:
            call = self._begin(at if stated else self._next_index(position))
        self._fill(call, wish, function)

    @staticmethod
    def _is_another(call: _Call, name: Any, function: Mapping[str, Any]) -> bool:
        """
        Tell whether a piece that names a tool begins another call than the one at its index.
        """
        if call.name and name != call.name:
            return call.is_whole or not "".join(call.arguments).strip()

        return bool(function.get("arguments")) and call.is_whole and bool("".join(call.arguments).strip("{} \n"))

    def _next_index(self, position: int) -> int:
        return max((call.index + 1 for call in self._calls), default=position)

    def _begin(self, index: int) -> _Call:
        call = _Call(index)
        self._calls.append(call)

        return call

    def _fill(self, call: _Call, wish: Mapping[str, Any], function: Mapping[str, Any]) -> None:
        id_, name = wish.get("id"), function.get("name")
        if not call.id and isinstance(id_, str):
            call.id = scalar_text(id_)
        if not call.name and isinstance(name, str):
            call.name = scalar_text(name)
        call.arguments.append(_arguments_of(function))
        for field in spellings.CARRIED_BY_CALLS:
            value = wish.get(field) or function.get(field)
            if value:
                call.carried[field] = value

    @property
    def size(self) -> str:
        """
        Return the text of all calls, for an estimate of their tokens.
        """
        return " ".join(f"{call.name} {''.join(call.arguments)}" for call in self._calls)

    def calls(self, backend: str) -> tuple[ToolCall, ...]:
        """
        Return the calls in order, each with an id of its own and with arguments; what *backend* needs back goes with them.

        Raises:
            UnreadableReplyError: If one of them names no tool.
        """
        found: list[ToolCall] = []
        taken: set[str] = set()
        for call in sorted(self._calls, key=lambda call: call.index):
            if not call.name:
                raise UnreadableReplyError("one of its tool calls names no tool")
            id_ = call.id
            if not id_ or id_ in taken:
                id_, self.mended = f"call_{uuid4().hex[:24]}", True
            taken.add(id_)
            text = scalar_text("".join(call.arguments))
            arguments = _tidied(text)
            self.mended |= arguments != text
            found.append(ToolCall(id_, call.name, arguments, carried_text(backend, call.carried)))

        return tuple(found)


def carried_text(backend: str, fields: Mapping[str, Any]) -> str:
    """
    Write what *backend* needs back as opaque text; empty where it needs nothing.
    """
    return orjson.dumps({backend: _clean(fields)}).decode() if fields else ""


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return scalar_text(value)
    if isinstance(value, dict):
        return {scalar_text(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]

    return value


def _wishes_in(message: Mapping[str, Any]) -> Any:
    # Before there were tools there was one function.
    function = message.get("function_call")

    return message.get("tool_calls") or ([{"function": function}] if function else None)


_FUNCTION_FIELDS = ("name", "arguments")


def _functions_of(wishes: Any) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for wish in wishes if isinstance(wishes, list) else [wishes] if wishes else ():
        function = wish.get("function") if isinstance(wish, dict) else None
        if function is None and isinstance(wish, dict):
            # The function's fields stand beside it, or this piece has none of them.
            function = {field: wish[field] for field in _FUNCTION_FIELDS if field in wish}
        if not isinstance(function, dict):
            raise UnreadableReplyError("its tool calls are none")
        yield wish, function


def _arguments_of(function: Mapping[str, Any]) -> str:
    """
    Return the arguments as text; some servers have parsed what the model wrote.
    """
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        return orjson.dumps(_clean(arguments)).decode()
    if arguments == []:
        return ""
    if not isinstance(arguments, str | None):
        raise UnreadableReplyError("the arguments of one of its tool calls are no text")

    return arguments or ""


def _tidied(text: str) -> str:
    """
    Return arguments as an object where none were given, or where the object stands in a text of its own.
    """
    if text.strip() in {"", "null", "[]"}:
        return "{}"
    if text.startswith("{}") and _object(text[2:]) is not None:
        # Some gateways begin with what would stand for no arguments.
        return text[2:]
    if text.lstrip().startswith('"'):
        try:
            inner, _ = loads(text.encode())
        except NotJsonError:
            return text
        if isinstance(inner, str) and _object(inner) is not None:
            return inner

    return text


def _object(text: str) -> dict[str, Any] | None:
    try:
        value, _ = loads(text.encode("utf-8", "replace"))
    except NotJsonError:
        return None

    return value if isinstance(value, dict) else None


def as_object(arguments: str) -> str:
    """
    Return *arguments* as they go back to a server: always a JSON object.
    """
    if _object(arguments) is not None:
        return arguments
    tidied = _tidied(arguments)
    if _object(tidied) is not None:
        return tidied

    return orjson.dumps({"arguments": scalar_text(arguments)}).decode()
