"""
The LiteLLM proxy of the pinned version, before servers that answer and fail: a dialect of its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

import meshwalk
from meshwalk import Tool, WalkStopped
from meshwalk.testing import RecordList
from meshwalk.trace import Attempt
from tests.dialects import run
from tests.dialects.programs import ENVIRONMENTS, free_port, started


PROXY = ENVIRONMENTS / "litellm" / "bin" / "litellm"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not PROXY.is_file(), reason="`make .venvs/litellm/.made` makes the environment of the LiteLLM proxy"),
]

KEY = "sk-proxy-0123456789abcdef"
USAGE = {"prompt_tokens": 240, "completion_tokens": 16, "total_tokens": 256}


def whole(message: dict[str, Any], reason: str = "stop", usage: Any = USAGE) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": reason}

    return {"body": {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}}


def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}

    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]} | more


PIECES = [chunk({"role": "assistant", "content": "Ni"}), chunk({"content": "ne."})]
CALL = {"id": "k1", "type": "function", "function": {"name": "add", "arguments": '{"a": 4}'}}
UPSTREAM: dict[str, dict[str, Any]] = {
    "good": whole({"content": "Nine."}),
    "thinking": whole({"content": "Nine.", "reasoning_content": "four and five"}),
    "calling": whole({"content": None, "tool_calls": [CALL]}, "tool_calls"),
    "uncounted": whole({"content": "Nine."}, usage=None),
    "streaming": {"stream": [*PIECES, chunk({}, "stop"), {**chunk({}), "choices": [], "usage": USAGE}, {"data": "[DONE]"}]},
    "breaking": {"stream": [*PIECES, {"pause": 0.2}, {"cut": True}]},
    "limited": {"status": 429, "headers": {"Retry-After": "7"}, "body": {"error": {"message": "slow down", "code": "x"}}},
    "busy": {"status": 503, "body": {"error": {"message": "no instance is free"}}},
    "narrow": {
        "status": 400,
        "body": {"error": {"message": "This model's maximum context length is 5 tokens.", "code": "context_length_exceeded"}},
    },
}


class Proxied:
    """
    The proxy's address, and what asks it.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder

    async def route(self, model: str, **changes: Any) -> tuple[Any, Attempt]:
        """
        Ask *model* once, and return the result or the error, and the attempt that was recorded.
        """
        tools = changes.pop("tools", ())
        backend = {"kind": "openai", "model": model, "base_url": f"{self._url}/v1", "key_env": "PROXY_KEY"}
        graph = {
            "meshwalk": 1,
            "name": "proxied",
            "start": "ask",
            "limits": {"cost_usd": 1, "deadline": "20s"},
            "backends": {"model": backend | {"usd_per_mtok": {"input": 1, "output": 10}} | changes.pop("backend", {})},
            "nodes": {"ask": {"role": "primary", "backend": "model", "max_tokens": 100, "next": "done"} | changes},
        }
        (self._folder / "graph.yaml").write_text(json.dumps(graph))
        records = RecordList()
        async with meshwalk.load(self._folder / "graph.yaml", sinks=[records]) as mesh:
            try:
                found: Any = await mesh.route("Four and five?", tools=tools)
            except WalkStopped as error:
                found = error
        (attempt,) = records.traversals[0].attempts()

        return found, attempt


@pytest.fixture(scope="module")
async def proxy(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    assert "asyncio" == anyio_backend
    folder, port = tmp_path_factory.mktemp("proxy"), free_port()
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(run.Stub({name: [answer] for name, answer in UPSTREAM.items()}))
        prices = {"input_cost_per_token": 2e-6, "output_cost_per_token": 2e-5}
        models = [
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{name}", "api_base": f"{url}/v1", "api_key": "k", **prices},
            }
            for name, url in servers.urls.items()
        ]
        settings = {"num_retries": 0, "disable_cooldowns": True}
        config = {"model_list": models, "router_settings": settings, "litellm_settings": {"num_retries": 0}}
        (folder / "config.yaml").write_text(json.dumps(config))
        address = f"http://127.0.0.1:{port}"
        program = started(
            [PROXY, "--config", folder / "config.yaml", "--host", "127.0.0.1", "--port", str(port)],
            ready=f"{address}/health/liveliness",
            folder=folder / "home",
            LITELLM_MASTER_KEY=KEY,
            LITELLM_LOCAL_MODEL_COST_MAP="True",
        )
        await anyio.to_thread.run_sync(stack.enter_context, program)
        yield address


@pytest.fixture
def proxied(proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proxied:
    monkeypatch.setenv("PROXY_KEY", KEY)

    return Proxied(proxy, tmp_path)


async def test_an_answer_costs_what_our_prices_say(proxied: Proxied) -> None:
    """
    The proxy's own price stands in a header, and is left alone.
    """
    result, attempt = await proxied.route("good")

    assert "Nine." == result.answer
    assert ("reported", 400_000) == (attempt.basis, attempt.cost_nano_usd)


@pytest.mark.parametrize(("model", "changes"), [("good", {}), ("streaming", {"stream": "live"})])
async def test_an_answer_costs_what_the_proxy_says_where_that_is_settled(
    proxied: Proxied, model: str, changes: dict[str, Any]
) -> None:
    """
    Whole it stands in a header, and streamed in the usage.
    """
    result, attempt = await proxied.route(model, backend={"cost": "reported"}, **changes)

    assert "Nine." == result.answer
    assert ("reported", 800_000) == (attempt.basis, attempt.cost_nano_usd)


async def test_a_stream_is_read_to_its_usage(proxied: Proxied) -> None:
    """
    Its usage comes on a chunk that has a choice as well.
    """
    result, attempt = await proxied.route("streaming", stream="live")

    assert ("Nine.", "stop") == (result.answer, result.finish_reason)
    assert ("reported", 400_000) == (attempt.basis, attempt.cost_nano_usd)


async def test_thoughts_are_not_served(proxied: Proxied) -> None:
    """
    They come under the name that their server gave them.
    """
    result, attempt = await proxied.route("thinking")

    assert "Nine." == result.answer
    assert 400_000 == attempt.cost_nano_usd


async def test_a_tool_call_comes_through(proxied: Proxied) -> None:
    """
    With its id and its arguments.
    """
    result, _ = await proxied.route("calling", tools=(Tool("add"),))

    assert [("k1", "add", '{"a": 4}')] == [(call.id, call.name, call.arguments) for call in result.tool_calls]


async def test_noughts_for_an_answer_that_nobody_counted_are_an_estimate(proxied: Proxied) -> None:
    """
    The proxy makes a usage of noughts of none at all.
    """
    result, attempt = await proxied.route("uncounted")

    assert "Nine." == result.answer
    assert "estimated" == attempt.basis
    assert attempt.cost_nano_usd > 0


async def test_a_stream_that_breaks_upstream_is_an_error_event(proxied: Proxied) -> None:
    """
    It has the code 500, no last word, and what came is paid for.
    """
    error, attempt = await proxied.route("breaking", stream="live")

    assert ("overloaded", "Nine.") == (error.error_class, error.partial)
    assert ("estimated", 2) == (attempt.basis, attempt.usage.output_tokens)


@pytest.mark.parametrize(
    ("model", "error_class"), [("limited", "rate_limited"), ("busy", "overloaded"), ("narrow", "too_long")]
)
async def test_a_failure_keeps_its_class_and_is_free(proxied: Proxied, model: str, error_class: str) -> None:
    """
    The proxy puts its own words and codes round those of the server.
    """
    error, attempt = await proxied.route(model)

    assert error_class == error.error_class
    assert 0 == attempt.cost_nano_usd
    assert KEY not in attempt.message
