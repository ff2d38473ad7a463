from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from meshwalk.model import Sampling
from meshwalk.trace import Message, ReplyOptions, ResponseFormat, Tool, ToolCall
from tests.backends.chat_endpoint import ASK, KEY, answer, endpoint, fails, streamed


pytestmark = pytest.mark.anyio

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class TestRequest:
    async def test_what_is_set_is_sent_and_nothing_else(self) -> None:
        """
        Messages with their names, set sampling parameters, the key and the trace context go over the wire.
        """
        seen: list[tuple[dict[str, str], dict[str, Any]]] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append((dict(request.headers), await request.json()))
            return web.json_response(answer())

        async with endpoint(handler) as backend:
            await backend.chat(ASK._replace(traceparent=TRACEPARENT, sampling=Sampling(max_tokens=8, stop=("\n",))))
            await backend.chat(ASK._replace(probabilities=True))
        (headers, body), (plain, other) = seen

        assert (f"Bearer {KEY}", TRACEPARENT) == (headers["Authorization"], headers["traceparent"])
        assert "traceparent" not in plain
        assert {
            "model": "large-1",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Two and two?", "name": "ann"},
            ],
            "max_tokens": 8,
            "stop": ["\n"],
        } == body
        assert (True, 2) == (other["logprobs"], other["top_logprobs"])

    async def test_redirects_are_not_followed(self) -> None:
        """
        The key does not travel to another host.
        """

        async def handler(_: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect("http://127.0.0.1:1/v1/chat/completions")

        async with endpoint(handler) as backend:
            error = await fails(backend)

        assert "refused_by_model" == error.error_class
        assert "it redirects" in str(error)

    async def test_tools_and_formats_are_sent_as_the_caller_wrote_them(self) -> None:
        """
        A form becomes the fields of the protocol, its schemas unchanged to the last digit.
        """
        seen: list[bytes] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append(await request.read())
            return web.json_response(answer())

        schema = '{"const": 1.10,  "maximum": 123456789012345678901234567890}'
        tools = (Tool("look", "See.", schema), Tool("wait"))
        strict = ResponseFormat("json_schema", schema=schema, strict=True)
        async with endpoint(handler) as backend:
            await backend.chat(ASK._replace(form=ReplyOptions(tools, "look", strict)))
            await backend.chat(ASK._replace(form=ReplyOptions(tools[1:], "required", ResponseFormat("json_object"))))
            await backend.chat(ASK._replace(form=ReplyOptions(response_format=ResponseFormat("json_schema", "shape", "{}"))))
        first, second, third = map(json.loads, seen)

        assert 2 == seen[0].count(schema.encode())
        assert [
            {"name": "look", "description": "See.", "parameters": json.loads(schema)},
            {"name": "wait", "parameters": {"type": "object", "properties": {}}},
        ] == [tool["function"] for tool in first["tools"]]
        assert {"function"} == {tool["type"] for tool in first["tools"]}
        assert {"type": "function", "function": {"name": "look"}} == first["tool_choice"]
        assert {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": json.loads(schema), "strict": True},
        } == first["response_format"]
        assert ("required", {"type": "json_object"}) == (second["tool_choice"], second["response_format"])
        assert {"type": "json_schema", "json_schema": {"name": "shape", "schema": {}}} == third["response_format"]
        assert not {"tools", "tool_choice"} & third.keys()

    async def test_a_conversation_with_tools_is_sent(self) -> None:
        """
        What a model wished and what a tool said go back to a model as the protocol has them.
        """
        seen: list[dict[str, Any]] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append(await request.json())
            return web.json_response(answer())

        talk = (
            Message("user", "Rome?"),
            Message("assistant", "", tool_calls=(ToolCall("c1", "look", '{"at": "Rome"}'),)),
            Message("tool", "sunny", tool_call_id="c1"),
        )
        async with endpoint(handler) as backend:
            await backend.chat(ASK._replace(messages=talk))

        assert [
            {"role": "user", "content": "Rome?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "Rome"}'}}],
            },
            {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
        ] == seen[0]["messages"]

    async def test_a_stream_and_samples_are_asked_for(self) -> None:
        """
        A stream is asked for with its usage, several samples by their number, and neither where nobody wants them.
        """
        seen: list[tuple[str, dict[str, Any]]] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append((request.headers["Accept"], await request.json()))
            return web.json_response(answer())

        async with endpoint(handler) as backend:
            await backend.chat(ASK)
            await streamed(backend, ASK._replace(samples=3))
        (plain, one), (events, several) = seen

        assert ("application/json", "text/event-stream") == (plain, events)
        assert not {"n", "stream", "stream_options", "tools", "response_format"} & one.keys()
        assert (3, True, {"include_usage": True}) == (several["n"], several["stream"], several["stream_options"])
