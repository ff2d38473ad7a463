"""
The streams of the cases, read in other pieces: they are the same reply, at the same cost.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshwalk.backends.base import CallProgress, ChatRequest
from meshwalk.backends.openai.assembly import Assembly
from meshwalk.backends.openai.events import Events
from meshwalk.backends.openai.faults import Faults
from meshwalk.backends.openai.shape import CallShape
from meshwalk.backends.secrets import Secrets
from meshwalk.model import ThoughtTags
from meshwalk.model.problems import BackendError
from meshwalk.trace import Message, Piece, Timing
from tests.dialects import run


FAULTS = Faults("model", "", "m-1", secrets=Secrets(), key_env="")
IDLE = st.sampled_from(
    [b"", b"", b": warm\n\n", b"data:\n\n", b"\n", b"event: ping\ndata: -\n\n", b'data: {"choices": null}\n\n']
)


def streams() -> Iterator[Any]:
    """
    Yield each stream of the cases with what its backend declares; pauses and cuts have no part in what is read.
    """
    for case in run.read(Path(__file__).parent / "cases", "", ""):
        for server in run.servers_of(case["server"])[0].values():
            for number, answer in enumerate(server):
                if "stream" in answer and "repeat" not in json.dumps(answer):
                    yield pytest.param(case, answer, id=f"{case['kind']}: {case['name']} {number}")


def is_event(step: Any) -> bool:
    return isinstance(step, dict) and set(step) not in ({"pause"}, {"cut"})


def halves(chunk: dict[str, Any], at: int) -> list[dict[str, Any]]:
    """
    Cut the content of a chunk in two, where it has one and nothing beside it that is of the whole.
    """
    choices = chunk.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or chunk.get("usage") or not isinstance(choices[0], dict):
        return [chunk]
    delta = choices[0].get("delta")
    content = delta.get("content") if isinstance(delta, dict) else None
    if (
        not isinstance(delta, dict)
        or not isinstance(content, str)
        or len(content) < 2
        or "logprobs" in choices[0]
        or "reasoning_content" in delta
    ):
        return [chunk]
    at = 1 + at % (len(content) - 1)
    first, second = copy.deepcopy(chunk), copy.deepcopy(chunk)
    first["choices"][0]["delta"]["content"], second["choices"][0]["delta"]["content"] = content[:at], content[at:]
    first["choices"][0].pop("finish_reason", None)

    return [first, second]


def read(case: dict[str, Any], chunks: list[bytes]) -> tuple[Any, str]:
    """
    Return what a stream comes to, or the words of its error, and what was passed on of it.
    """
    backend, node = case.get("backend") or {}, case.get("node") or {}
    tags = backend.get("thoughts")
    thoughts = None if tags is None else ThoughtTags(tags.get("open", ""), tags["close"])
    shape = CallShape(thoughts=thoughts, settles_reported=backend.get("cost") == "reported")
    told: list[Piece] = []
    request = ChatRequest((Message("user", run.ASK),), samples=(node.get("confidence") or {}).get("samples", 1))
    assembly = Assembly(
        request,
        CallProgress(),
        told.append,
        backend="model",
        model="m-1",
        faults=FAULTS,
        shape=shape,
    )
    events = Events()
    try:
        for event in [event for chunk in chunks for event in events.feed(chunk)] + events.end():
            assembly.feed(event)
        reply = assembly.reply(Timing())
        calls = [(call.name, call.arguments, call.carried) for call in reply.tool_calls]
        found: Any = (reply.text, reply.finish_reason, reply.usage, reply.estimated, reply.cost_nano_usd, calls, reply.carried)
    except BackendError as error:
        found = (error.error_class, str(error))

    return found, "".join(piece.text for piece in told)


@pytest.mark.parametrize(("case", "answer"), list(streams()))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_stream_is_the_same_in_other_pieces(case: dict[str, Any], answer: dict[str, Any], data: st.DataObject) -> None:
    """
    Cut into any bytes, with heartbeats between its events and its contents in two, it is the same reply at the same cost.
    """
    separator = answer.get("separator", "\n\n")
    plain = [step for step in run.steps_of(answer["stream"], separator) if isinstance(step, bytes)]
    idle = IDLE if separator == "\n\n" and all(map(is_event, answer["stream"])) else st.just(b"")
    other: list[bytes] = []
    for event in answer["stream"]:
        chunks = halves(event, data.draw(st.integers(0, 99))) if is_event(event) and "choices" in event else [event]
        for step in run.steps_of(chunks, separator):
            if isinstance(step, bytes):
                other += [data.draw(idle), step]
    whole = b"".join(other)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))

    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert read(case, plain) == read(case, pieces)
