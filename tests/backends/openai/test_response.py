"""
A stream is the same reply in pieces, read as strictly as a whole one.
"""

from __future__ import annotations

import math
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from aiohttp import web
from anyio.abc import SocketStream

from meshwalk.backends.base import StreamingBackend
from meshwalk.backends.openai import RESPONSE_BYTES, client
from meshwalk.model.private_text import disclosed_error
from meshwalk.model.problems import Malformed, Unreachable
from meshwalk.trace import Piece, Usage
from tests.backends.chat_endpoint import (
    ASK,
    FOUR,
    KEY,
    USAGE,
    answer,
    chunk,
    endpoint,
    fails,
    says,
    sse,
    streamed,
    streams,
    wire,
)


pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def framed(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def token(text: str, chosen: float, *tops: float) -> dict[str, Any]:
    return {"token": text, "logprob": math.log(chosen), "top_logprobs": [{"logprob": math.log(top)} for top in tops]}


class TestReply:
    async def test_it_is_what_a_whole_answer_says(self) -> None:
        """
        Text, reason, usage and model are put together from the chunks, and told of piece by piece.
        """
        async with endpoint(streams(*FOUR)) as backend:
            reply, pieces = await streamed(backend)

            assert isinstance(backend, StreamingBackend)
        assert ("Four.", "stop", Usage(9, 2), "large-1-2026") == (reply.text, reply.finish_reason, reply.usage, reply.model)
        assert [Piece("Fo"), Piece("ur.")] == pieces

    async def test_pieces_come_as_they_are_made(self) -> None:
        """
        A piece is told of before the server has written the next.
        """
        told = anyio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(sse(chunk("Fo")))
            await told.wait()
            await response.write(sse(chunk("ur.", finish="stop"), "[DONE]"))
            return response

        async with endpoint(handler) as backend:
            with anyio.fail_after(5):
                reply = await backend.stream(ASK, lambda _: told.set())

        assert "Four." == reply.text

    async def test_probabilities_come_with_their_pieces(self) -> None:
        """
        Each piece has those of its tokens, and the reply has their sum, as a whole answer has.
        """
        first, second = [token("Fo", 0.9, 0.9, 0.05)], [token("ur", 0.2, 0.6, 0.2), token(".", 0.4)]
        events = [
            chunk("Fo", logprobs={"content": first}),
            chunk("ur.", logprobs={"content": second}),
            chunk(finish="stop", logprobs=None),
        ]
        whole = answer(choice={"logprobs": {"content": first + second}})
        async with endpoint(streams(*events, "[DONE]")) as backend:
            reply, pieces = await streamed(backend, ASK._replace(probabilities=True))
            unasked, _ = await streamed(backend)
        async with endpoint(says(whole)) as backend:
            expected = (await backend.chat(ASK._replace(probabilities=True))).probabilities

        assert expected == reply.probabilities
        assert [1, 2] == [piece.tokens for piece in pieces]
        assert [pytest.approx((0.9,)), pytest.approx((0.2, 0.4))] == [piece.probabilities for piece in pieces]
        assert [pytest.approx((0.85,)), pytest.approx((0.4,))] == [piece.margins for piece in pieces]
        assert unasked.probabilities is None

    async def test_tool_calls_are_put_together_by_their_index(self) -> None:
        """
        Names come once and arguments bit by bit, of several calls in turns.
        """

        def part(index: int, **function: str) -> dict[str, Any]:
            return {"index": index, "function": function}

        events = [
            chunk(delta={"content": None, "tool_calls": [part(0, name="look", arguments="") | {"id": "c1"}]}),
            chunk(delta={"tool_calls": [part(1, name="wait", arguments='{"s"'), part(0, arguments='{"at": ')]}),
            chunk(delta={"tool_calls": [part(0, arguments='"Rome"}'), part(1, arguments=": 1}")]}),
            chunk(finish="tool_calls"),
        ]
        async with endpoint(streams(*events, "[DONE]")) as backend:
            reply, pieces = await streamed(backend)

        assert ("", "tool_calls", {"": 0}) == (reply.text, reply.finish_reason, {piece.text: piece.tokens for piece in pieces})
        assert [("look", '{"at": "Rome"}'), ("wait", '{"s": 1}')] == [call[1:3] for call in reply.tool_calls]
        assert "c1" == reply.tool_calls[0].id

    async def test_the_function_of_old_is_a_tool(self) -> None:
        """
        A server from before there were tools streams one function.
        """
        events = [chunk(delta={"function_call": {"name": "look", "arguments": "{"}})]
        events += [chunk(delta={"function_call": {"arguments": "}"}}, finish="function_call")]
        async with endpoint(streams(*events)) as backend:
            reply, _ = await streamed(backend)

        assert [("look", "{}")] == [call[1:3] for call in reply.tool_calls]

    async def test_samples_are_told_apart(self) -> None:
        """
        Of several samples in turns the first is told of, and all are in the reply.
        """
        events = [chunk("Fi", index=1), chunk("Fo"), chunk("ve.", index=1, finish="stop"), chunk("ur.", finish="stop")]
        async with endpoint(streams(*events, "[DONE]")) as backend:
            reply, pieces = await streamed(backend, ASK._replace(samples=2))

        assert ("Four.", ("Four.", "Five.")) == (reply.text, reply.samples)
        assert 2 == len(pieces)

    @pytest.mark.parametrize("events", [FOUR[:4], FOUR[:5], (chunk("Four."), "[DONE]")])
    async def test_either_way_of_ending_is_one(self, events: tuple[dict[str, Any] | str, ...]) -> None:
        """
        A reason to finish ends a stream as well as its last word does.
        """
        async with endpoint(streams(*events)) as backend:
            reply, _ = await streamed(backend)

        assert "Four." == reply.text

    async def test_a_plain_answer_is_taken_at_its_word(self) -> None:
        """
        A server that does not stream gives one piece, of as many tokens as it says.
        """
        async with endpoint(says()) as backend:
            reply, pieces = await streamed(backend)

        assert ("Four.", [Piece("Four.", 2)]) == (reply.text, pieces)

    async def test_a_connection_serves_the_next_stream(self) -> None:
        """
        A stream is read to its end, so that the next call need not connect.
        """
        async with endpoint(streams(*FOUR)) as backend:
            timings = [(await streamed(backend))[0].timing for _ in range(3)]

        assert [True, False, False] == [timing.connect_us > 0 for timing in timings]

    async def test_a_server_that_closes_after_streams_is_connected_anew(self) -> None:
        """
        Of a server that is known to promise and to close, no connection is used twice after a stream.
        """

        async def slow(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Server": "llama.cpp"})
            await response.prepare(request)
            for event in FOUR:
                await response.write(sse(event))
                await anyio.lowlevel.checkpoint()
            return response

        async with endpoint(slow) as backend:
            timings = [(await streamed(backend))[0].timing for _ in range(3)]

        assert all(timing.connect_us > 0 for timing in timings)

    async def test_an_end_that_stays_open_is_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        After the last word nobody is waited for, and a server that goes on is cut off.
        """
        monkeypatch.setattr(client, "_LINGER_SECONDS", 0.02)
        closed = anyio.Event()

        async def handle(stream: SocketStream) -> None:
            async with stream:
                await stream.receive()
                await stream.send(CHUNKED + framed(sse(*FOUR)))
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
                closed.set()

        async with wire(handle) as backend:
            reply, _ = await streamed(backend)
            with anyio.fail_after(5):
                await closed.wait()

        assert "Four." == reply.text


class TestBroken:
    @pytest.mark.parametrize("tail", [b"", b"0\r\n\r\n"])
    async def test_a_stream_that_breaks_off_is_no_reply(self, tail: bytes) -> None:
        """
        Cut off or ended in the middle, it is the same: what came was told of, and may have cost.
        """
        pieces: list[Piece] = []

        async def handle(stream: SocketStream) -> None:
            async with stream:
                await stream.receive()
                await stream.send(CHUNKED + framed(sse(*FOUR[:3])) + tail)

        async with wire(handle) as backend:
            with pytest.raises(Unreachable, match="the connection broke in the middle of its answer") as caught:
                await backend.stream(ASK, pieces.append)

        assert caught.value.billable
        assert ["Fo", "ur."] == [piece.text for piece in pieces]

    async def test_an_answer_that_was_whole_is_kept(self) -> None:
        """
        A connection that breaks after the answer's end takes its usage away, and not the answer.
        """

        async def handle(stream: SocketStream) -> None:
            async with stream:
                await stream.receive()
                await stream.send(CHUNKED + framed(sse(*FOUR[:4])) + b"5\r\n")

        async with wire(handle) as backend:
            reply, _ = await streamed(backend)

        assert ("Four.", "stop", Usage(7, 2), True) == (reply.text, reply.finish_reason, reply.usage, reply.estimated)

    @pytest.mark.parametrize(
        ("event", "words"),
        [
            ("not json", "an event of its stream is not JSON"),
            ("[]", "an event of its stream has no choices"),
            ({"choices": {"a": 1}}, "an event of its stream has no choices"),
            ({"choices": [3]}, "a choice of its stream has no delta"),
            ({"choices": [{"delta": 3}]}, "a choice of its stream has no delta"),
            (chunk(delta={"content": 3}), "its content is neither a text nor a list of parts"),
            (chunk(delta={"tool_calls": [3]}), "its tool calls are none"),
            (chunk(delta={"tool_calls": [{"function": {"name": "f", "arguments": [3]}}]}), "are no text"),
        ],
    )
    async def test_an_event_that_is_no_chunk_may_have_cost(self, event: dict[str, Any] | str, words: str) -> None:
        """
        Whatever stands in a stream, the error is ours, says why, and is billable.
        """
        async with endpoint(streams(FOUR[1], event, *FOUR[2:])) as backend:
            error = await fails(backend, ASK._replace(probabilities=True), stream=True)

        assert ("malformed", True) == (error.error_class, error.billable)
        assert words in disclosed_error(error)

    @pytest.mark.parametrize(
        ("events", "words"),
        [
            (("[DONE]",), "it has no choice with a message"),
            ((chunk(delta={"tool_calls": [{"id": "c1", "function": {}}]}, finish="tool_calls"), "[DONE]"), "names no tool"),
        ],
    )
    async def test_an_end_without_an_answer_is_malformed(self, events: tuple[Any, ...], words: str) -> None:
        """
        A stream that ended as it should, and said nothing, is no reply.
        """
        async with endpoint(streams(*events)) as backend:
            error = await fails(backend, stream=True)

        assert (Malformed, True) == (type(error), error.billable)
        assert words in disclosed_error(error)

    @pytest.mark.parametrize(
        ("said", "error_class"),
        [
            ({"code": 429, "message": f"slow {KEY}"}, "rate_limited"),
            ({"type": "overloaded_error", "message": f"slow {KEY}"}, "overloaded"),
            ({"code": "503", "message": f"slow {KEY}"}, "overloaded"),
            ({"message": f"slow {KEY}"}, "overloaded"),
            (f"slow {KEY}", "overloaded"),
        ],
    )
    async def test_an_error_in_the_stream_has_a_class(self, said: Any, error_class: str) -> None:
        """
        A provider that fails in the middle says so in an event; it is quoted without the key, and may have charged.
        """
        async with endpoint(streams(FOUR[1], {"error": said})) as backend:
            error = await fails(backend, stream=True)

        assert (error_class, True) == (error.error_class, error.billable)
        assert "slow [key]" in disclosed_error(error)

    async def test_a_models_refusal_is_a_refusal(self) -> None:
        """
        Pieces of a refusal are no text.
        """
        async with endpoint(
            streams(chunk(delta={"refusal": "I "}), chunk(delta={"refusal": "won't."}, finish="stop"))
        ) as backend:
            error = await fails(backend, stream=True)

        assert ("refused_by_model", True) == (error.error_class, error.billable)

    async def test_another_content_type_is_no_stream(self) -> None:
        """
        A page from a proxy is not taken for a stream.
        """
        async with endpoint(says(text="<html>", content_type="text/html")) as backend:
            error = await fails(backend, stream=True)

        assert "its content type is 'text/html' and not text/event-stream or JSON" in disclosed_error(error)

    async def test_a_status_is_read_as_ever(self) -> None:
        """
        A refused stream is a refused call.
        """
        async with endpoint(says({"error": "busy"}, status=503)) as backend:
            error = await fails(backend, stream=True)

        assert ("overloaded", False) == (error.error_class, error.billable)

    @pytest.mark.parametrize("line", [sse(chunk("x" * 1000)), b": kept open\n", b"x" * 1000])
    async def test_an_endless_stream_is_cut_off(self, line: bytes) -> None:
        """
        Events, comments or one line without end: reading stops at the bound, and the server sees it.
        """
        stopped = anyio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            body = line * ((1 << 20) // len(line))
            try:
                while True:
                    await response.write(body)
            finally:
                stopped.set()

        async with endpoint(handler) as backend:
            error = await fails(backend, stream=True)
            with anyio.fail_after(5):
                await stopped.wait()

        assert Malformed is type(error)
        assert f"longer than {RESPONSE_BYTES >> 20} MiB" in disclosed_error(error)

    async def test_cancellation_closes_the_connection_at_once(self) -> None:
        """
        A server sees the end of a stream that nobody reads any more.
        """
        told, closed = anyio.Event(), anyio.Event()

        async def handle(stream: SocketStream) -> None:
            async with stream:
                await stream.receive()
                await stream.send(CHUNKED + framed(sse(FOUR[1])))
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
                closed.set()

        async with wire(handle) as backend:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(backend.stream, ASK, lambda _: told.set())
                await told.wait()
                tasks.cancel_scope.cancel()
            with anyio.fail_after(5):
                await closed.wait()

    async def test_usage_alone_is_an_event(self) -> None:
        """
        Some servers leave out the choices of the chunk that counts.
        """
        async with endpoint(streams(*FOUR[:4], {"usage": USAGE["usage"]}, "[DONE]")) as backend:
            reply, _ = await streamed(backend)

        assert Usage(9, 2) == reply.usage
