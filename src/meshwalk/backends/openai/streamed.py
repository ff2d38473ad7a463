"""
Put a reply together from the chunks of a stream, and tell of its text as it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from meshwalk.backends.base import ChatRequest, Tell
from meshwalk.backends.openai.events import DONE
from meshwalk.backends.openai.faults import Faults
from meshwalk.backends.openai.reply import (
    NOTHING,
    ProbabilitySeries,
    UnreadableReply,
    arguments_of,
    functions_of,
    index_of,
    probabilities_of,
    tool_call,
    usage_of,
    wishes_in,
)
from meshwalk.trace import Piece, Reply, Timing, ToolCall, Usage


class _Wish:
    """
    Gather a tool call: its name comes once, its arguments bit by bit.
    """

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id: Any = None
        self.name: Any = None
        self.arguments: list[str] = []

    def add(self, given: Mapping[str, Any], function: Mapping[str, Any]) -> None:
        """
        Add what a chunk has of it.
        """
        self.id = self.id or given.get("id")
        self.name = self.name or function.get("name")
        self.arguments.append(arguments_of(function))


class _Choice:
    """
    Gather one sample.
    """

    __slots__ = ("finish_reason", "refused", "texts", "wishes")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.finish_reason = ""
        self.refused = False
        self.wishes: dict[int, _Wish] = {}

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """
        Return the tools that it wishes to call.

        Raises:
            Unreadable: If one of them names no tool.
        """
        wishes = [wish for _, wish in sorted(self.wishes.items())]

        return tuple([tool_call(wish.id, wish.name, "".join(wish.arguments), at) for at, wish in enumerate(wishes)])

    def wish(self, given: Any) -> None:
        """
        Add the parts of tool calls to what came of them before.

        Raises:
            Unreadable: If they are none.
        """
        for position, (part, function) in enumerate(functions_of(given)):
            at = index_of(part, position)
            wish = self.wishes.get(at)
            if wish is None:
                wish = self.wishes[at] = _Wish()
            wish.add(part, function)


class Assembly:
    """
    Take the data of events, one after the other; `done` once the stream has said that it is at its end.
    """

    __slots__ = ("_asked", "_choices", "_faults", "_margins", "_model", "_probabilities", "_request", "_tell", "_usage", "done")

    def __init__(self, request: ChatRequest, tell: Tell, model: str, faults: Faults) -> None:
        self.done = False
        self._request = request
        self._tell = tell
        self._faults = faults
        self._asked = model
        self._model = ""
        self._usage: Usage | None = None
        self._choices: dict[int, _Choice] = {}
        self._probabilities: list[float] = []
        self._margins: list[float] = []

    @property
    def whole(self) -> bool:
        """
        Tell whether every sample that began has ended.
        """
        return 0 in self._choices and all(choice.finish_reason for choice in self._choices.values())

    def feed(self, event: bytes) -> None:
        """
        Take an event; what comes after the end is not looked at.

        Raises:
            BackendError: If it is no chunk of an answer.
        """
        if self.done:
            return
        if event == DONE:
            self.done = True
            return
        try:
            chunk: Any = orjson.loads(event)
        except orjson.JSONDecodeError:
            raise self._faults.malformed("an event of its stream is not JSON") from None
        choices = chunk.get("choices", [] if "usage" in chunk else None) if isinstance(chunk, dict) else None
        if not isinstance(choices, list) or chunk.get("error"):
            raise self._faults.instead("an event of its stream has no choices", chunk)
        if not self._model and isinstance(named := chunk.get("model"), str):
            self._model = named
        try:
            # The last one counts: some servers count as they go.
            self._usage = usage_of(chunk.get("usage")) or self._usage
            for choice in choices:
                self._take(choice)
        except UnreadableReply as error:
            raise self._faults.malformed(str(error)) from error

    def _take(self, given: Any) -> None:
        delta = (given.get("delta") or {}) if isinstance(given, dict) else None
        if not isinstance(delta, dict):
            raise UnreadableReply("a choice of its stream has no delta")
        index = index_of(given, 0)
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
        text = delta.get("content")
        if not isinstance(text, str | None):
            raise UnreadableReply("a piece of its stream is no text")
        if text:
            choice.texts.append(text)
        choice.wish(wishes_in(delta))
        choice.refused |= isinstance(delta.get("refusal"), str)
        if isinstance(reason := given.get("finish_reason"), str):
            choice.finish_reason = reason
        if index == 0:
            self._tell_of(text or "", given.get("logprobs"))

    def _tell_of(self, text: str, logprobs: Any) -> None:
        probabilities = probabilities_of(logprobs) if logprobs and self._request.probabilities else NOTHING
        if probabilities.chosen:
            self._probabilities += probabilities.chosen
            self._margins += probabilities.margins
            self._tell(Piece(text, len(probabilities.chosen), tuple(probabilities.chosen), tuple(probabilities.margins)))
        elif text:
            self._tell(Piece(text))

    def reply(self, timing: Timing) -> Reply:
        """
        Return what came.

        Raises:
            BackendError: If that is no reply.
        """
        first = self._choices.get(0)
        if first is None:
            raise self._faults.malformed("it has no choice with a message")
        try:
            calls = first.tool_calls
        except UnreadableReply as error:
            raise self._faults.malformed(str(error)) from error
        text = "".join(first.texts)
        if first.refused and not text and not calls:
            raise self._faults.unwilling()
        others = [choice for index, choice in sorted(self._choices.items()) if index]
        samples = (text, *("".join(choice.texts) for choice in others)) if self._request.samples > 1 else ()

        return Reply(
            text,
            finish_reason=first.finish_reason,
            usage=self._usage,
            probabilities=ProbabilitySeries(self._probabilities, self._margins).summary,
            timing=timing,
            model=self._model or self._asked,
            tool_calls=calls,
            samples=samples,
        )
