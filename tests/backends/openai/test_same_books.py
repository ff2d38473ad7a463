"""
A stream is the same reply, at the same cost, however it is cut, padded and chunked.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.base import CallProgress, ChatRequest
from meshwalk.backends.openai.assembly import Assembly
from meshwalk.backends.openai.events import Events
from meshwalk.backends.openai.faults import Faults
from meshwalk.backends.openai.shape import CallShape
from meshwalk.backends.secrets import Secrets
from meshwalk.model import ThoughtTags
from meshwalk.model.problems import BackendError
from meshwalk.trace import Message, Piece, Reply, Timing


ASK = ChatRequest((Message("user", "Two and two?"),))
FAULTS = Faults("large", "", "large-1", secrets=Secrets(), key_env="")
SHAPE = CallShape(thoughts=ThoughtTags("<think>", "</think>"))

# What stands between events and means nothing.
IDLE = st.lists(
    st.sampled_from([b": warm\n\n", b"data:\n\n", b"data: \n\n", b"\n", b"event: ping\ndata: -\n\n", b'data: {"id": "c"}\n\n'])
).map(b"".join)

TEXT = st.lists(st.sampled_from(["<think>", "</think>", "<th", " ", "a", "b\n", "\u00e9", "\U0001f600"]), max_size=6).map(
    "".join
)
ARGUMENTS = st.text(st.sampled_from('ab"\u00e9\U0001f600'), max_size=8).map(
    lambda text: json.dumps({"a": text}, ensure_ascii=False)
)
COUNT = st.integers(0, 50)
USAGES = st.none() | st.fixed_dictionaries(
    {"prompt_tokens": COUNT, "completion_tokens": COUNT},
    optional={"total_tokens": COUNT, "completion_tokens_details": st.fixed_dictionaries({"reasoning_tokens": COUNT})},
)


def cut(data: st.DataObject, text: str) -> list[str]:
    """
    Cut a text into pieces of at least a character.
    """
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(text) - 1))))) if len(text) > 1 else []

    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True) if text[start:end]]


def deltas(data: st.DataObject, thoughts: str, content: str, arguments: str, *, whole: bool) -> list[dict[str, Any]]:
    """
    Make the deltas of an answer, each part in one or in as many as are drawn.
    """

    def pieces(text: str) -> list[str]:
        return [text] * bool(text) if whole else cut(data, text)

    found: list[dict[str, Any]] = [{"reasoning_content": piece} for piece in pieces(thoughts)]
    found += [{"content": piece} for piece in pieces(content)]
    if arguments:
        first, *rest = pieces(arguments)
        found.append({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look", "arguments": first}}]})
        found += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in rest]

    return found


def events(parts: list[dict[str, Any]], usage: Any) -> list[bytes]:
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": part}]} for part in parts]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if usage is not None:
        chunks.append({"choices": [], "usage": usage})

    return [b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]


def read(*chunks: bytes) -> tuple[Reply | str, str]:
    """
    Return the reply that a stream gives, or the words of its error, and what was told of it.
    """
    told: list[Piece] = []
    assembly = Assembly(ASK, CallProgress(), told.append, backend="large", model="large-1", faults=FAULTS, shape=SHAPE)
    stream = Events()
    try:
        for chunk in chunks:
            for event in stream.feed(chunk):
                assembly.feed(event)
        reply: Reply | str = assembly.reply(Timing())
    except BackendError as error:
        reply = f"{type(error).__name__}: {error}"

    return reply, "".join(piece.text for piece in told)


def said(reply: Reply | str) -> Any:
    if isinstance(reply, str):
        return reply

    return reply.text, reply.finish_reason, reply.usage, reply.estimated, reply.tool_calls, reply.carried


@given(TEXT, TEXT, st.just("") | ARGUMENTS, USAGES, st.data())
def test_a_stream_is_the_same_however_it_comes(
    thoughts: str, content: str, arguments: str, usage: Any, data: st.DataObject
) -> None:
    """
    Cut anywhere, with heartbeats between events, and with each part in any number of deltas, it is one reply at one cost.
    """
    plain, told = read(*events(deltas(data, thoughts, content, arguments, whole=True), usage))
    rechunked = events(deltas(data, thoughts, content, arguments, whole=False), usage)
    stream = b"".join(data.draw(IDLE) + event for event in rechunked)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    other, told_otherwise = read(*[stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)])

    assert said(plain) == said(other)
    assert told == told_otherwise
    assert not isinstance(plain, Reply) or plain.text == told
