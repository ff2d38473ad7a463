"""
Read a whole answer, and the parts that a stream's chunks share with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from meshwalk.backends.base import ChatRequest
from meshwalk.backends.openai.faults import Faults
from meshwalk.trace import Piece, Reply, Timing, TokenProbabilities, ToolCall, Usage


class UnreadableReply(Exception):
    """
    Say why a part of an answer is not what it must be.
    """


class ProbabilitySeries(NamedTuple):
    """
    Hold the probability of each token, and of each whose second choice is known its margin to that.
    """

    chosen: Sequence[float] = ()
    margins: Sequence[float] = ()

    @property
    def summary(self) -> TokenProbabilities | None:
        """
        Sum them up; None if nothing is known.
        """
        if not self.chosen:
            return None
        margin = math.fsum(self.margins) / len(self.margins) if self.margins else None

        return TokenProbabilities(math.fsum(self.chosen) / len(self.chosen), min(self.chosen), margin)


NOTHING = ProbabilitySeries()


def read_reply(body: bytes, request: ChatRequest, model: str, timing: Timing, faults: Faults) -> tuple[Reply, Piece]:
    """
    Read an answer to *request*, and give it as one piece of a stream, too.

    Raises:
        BackendError: If it is none.
    """
    try:
        answer: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise faults.malformed("it is not JSON") from None
    choices = _choices(answer)
    if not choices:
        raise faults.instead("it has no choice with a message", answer)
    first = choices[0]
    try:
        usage = usage_of(answer.get("usage"))
        probabilities = probabilities_of(first.get("logprobs")) if request.probabilities else NOTHING
        calls = _tool_calls(first["message"])
    except UnreadableReply as error:
        raise faults.malformed(str(error)) from error
    reason, named = first.get("finish_reason"), answer.get("model")
    text = _text(first["message"], faults, called=bool(calls))
    tokens = len(probabilities.chosen) or (usage.output_tokens if usage else 0) or 1
    reply = Reply(
        text,
        finish_reason=reason if isinstance(reason, str) else "",
        usage=usage,
        probabilities=probabilities.summary,
        timing=timing,
        model=named if isinstance(named, str) and named else model,
        tool_calls=calls,
        samples=_samples(text, choices[1:]) if request.samples > 1 else (),
    )

    return reply, Piece(text, tokens, tuple(probabilities.chosen), tuple(probabilities.margins))


def _choices(answer: Any) -> list[dict[str, Any]]:
    given = answer.get("choices") if isinstance(answer, dict) else None
    found = [
        choice
        for choice in (given if isinstance(given, list) else ())
        if isinstance(choice, dict) and isinstance(choice.get("message"), dict)
    ]

    return sorted(found, key=lambda choice: index_of(choice, 0))


def index_of(part: Mapping[str, Any], otherwise: int) -> int:
    """
    Return the place that *part* says it has.
    """
    index = part.get("index")

    return index if type(index) is int else otherwise


def _text(message: Mapping[str, Any], faults: Faults, *, called: bool) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None and called:
        return ""
    if content is None and isinstance(message.get("refusal"), str):
        raise faults.unwilling()
    raise faults.malformed("its message has no text")


def _samples(first: str, others: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    # A sample without a text, such as a refusal, is one that agrees with no other.
    contents = [choice["message"].get("content") for choice in others]

    return first, *(content if isinstance(content, str) else "" for content in contents)


# ---- usage ----------------------------------------------------------------------------------------------------------


def usage_of(given: Any) -> Usage | None:
    """
    Read what an endpoint counted; None if it did not.

    Raises:
        UnreadableReply: If it is no count.
    """
    if given is None:
        return None
    counts = [given.get(key) for key in ("prompt_tokens", "completion_tokens")] if isinstance(given, dict) else []
    whole = [count for count in counts if type(count) is int and count >= 0]
    if len(whole) != 2:
        raise UnreadableReply("its usage is not in whole tokens")
    incoming, outgoing = whole
    cached = max(_part(given, "prompt_tokens_details", "cached_tokens"), _count(given.get("prompt_cache_hit_tokens")))
    reasoning = _part(given, "completion_tokens_details", "reasoning_tokens")

    # A part only says what is cheaper or dearer of the whole; where it is more than that, the whole counts and the part is it.
    return Usage(incoming, outgoing, min(cached, incoming), min(reasoning, outgoing))


def _part(given: Mapping[str, Any], details: str, name: str) -> int:
    found = given.get(details)

    return _count(found.get(name)) if isinstance(found, dict) else 0


def _count(given: Any) -> int:
    return given if type(given) is int and given >= 0 else 0


# ---- probabilities --------------------------------------------------------------------------------------------------


def probabilities_of(given: Any) -> ProbabilitySeries:
    """
    Read what an endpoint says of each token.

    The margin of a token is between the two likeliest ones, whichever of them was chosen.

    Raises:
        UnreadableReply: If those are no log-probabilities.
    """
    tokens = given.get("content") if isinstance(given, dict) else None
    if not tokens:
        return NOTHING
    try:
        chosen = [_chance(token) for token in tokens]
        ranked = [sorted(map(_chance, token.get("top_logprobs") or ()), reverse=True) for token in tokens]
    except (AttributeError, KeyError, TypeError) as error:
        raise UnreadableReply("its log-probabilities are not numbers") from error

    return ProbabilitySeries(chosen, [tops[0] - tops[1] for tops in ranked if len(tops) > 1])


def _chance(token: Mapping[str, Any]) -> float:
    # Rounding lets some servers go a little above zero.
    return math.exp(min(0.0, token["logprob"]))


# ---- tools ----------------------------------------------------------------------------------------------------------


def wishes_in(message: Mapping[str, Any]) -> Any:
    """
    Return what a message, or a part of one, says of tools; before there were tools there was one function.
    """
    function = message.get("function_call")

    return message.get("tool_calls") or ([{"function": function}] if function else None)


def functions_of(wishes: Any) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """
    Go through tool calls, each with the function that it is of.

    Raises:
        UnreadableReply: If they are none.
    """
    for wish in wishes if isinstance(wishes, list) else [wishes] if wishes else ():
        function = wish.get("function") if isinstance(wish, dict) else None
        if not isinstance(function, dict):
            raise UnreadableReply("its tool calls are none")
        yield wish, function


def arguments_of(function: Mapping[str, Any]) -> str:
    """
    Return the arguments, as text; some servers have parsed what the model wrote.

    Raises:
        UnreadableReply: If they are no text.
    """
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        return orjson.dumps(arguments).decode()
    if not isinstance(arguments, str | None):
        raise UnreadableReply("the arguments of one of its tool calls are no text")

    return arguments or ""


def tool_call(given: Any, name: Any, arguments: str, position: int) -> ToolCall:
    """
    Make a tool call; the caller answers one by its id, so that is made up where a server left it out.

    Raises:
        UnreadableReply: If it names no tool.
    """
    if not isinstance(name, str) or not name:
        raise UnreadableReply("one of its tool calls names no tool")

    return ToolCall(given if isinstance(given, str) and given else f"call_{position}", name, arguments)


def _tool_calls(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    found = enumerate(functions_of(wishes_in(message)))

    return tuple([tool_call(wish.get("id"), of.get("name"), arguments_of(of), at) for at, (wish, of) in found])
