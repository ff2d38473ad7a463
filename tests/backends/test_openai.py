from __future__ import annotations

import json
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from anyio.abc import SocketAttribute, SocketStream

from meshwalk.backends import ChatRequest, open_backend
from meshwalk.backends.openai import RESPONSE_BYTES, OpenAIBackend
from meshwalk.model import OpenAISpec, Sampling
from meshwalk.problems import BackendError, Malformed, SetupError, Span, Unreachable
from meshwalk.trace import Message, Timing, Usage


pytestmark = pytest.mark.anyio

KEY = "sk-very-secret-0123456789"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ASK = ChatRequest((Message("system", "Be brief."), Message("user", "Two and two?", "ann")))

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(**changes: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Four."}}

    return {
        "model": "large-1-2026",
        "choices": [choice | changes.pop("choice", {})],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2},
    } | changes


@asynccontextmanager
async def endpoint(handler: Handler, **settings: Any) -> AsyncIterator[OpenAIBackend]:
    """
    Serve *handler* on a free port and give a backend that calls it.
    """
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    server = TestServer(app)
    await server.start_server()
    backend = OpenAIBackend("large", "large-1", str(server.make_url("/v1/")), key=KEY, key_env="LARGE_KEY", **settings)
    try:
        yield backend
    finally:
        await backend.aclose()
        await server.close()


@asynccontextmanager
async def wire(handle: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[OpenAIBackend]:
    """
    Serve bytes instead of HTTP.
    """
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        port = listener.extra(SocketAttribute.local_port)
        backend = OpenAIBackend("large", "large-1", f"http://127.0.0.1:{port}/v1", key=KEY)
        try:
            yield backend
        finally:
            await backend.aclose()
            tasks.cancel_scope.cancel()


def says(body: Any = None, *, status: int = 200, text: str | None = None, content_type: str = "application/json") -> Handler:
    async def handler(_: web.Request) -> web.Response:
        given = json.dumps(answer() if body is None else body) if text is None else text

        return web.Response(text=given, status=status, content_type=content_type)

    return handler


async def fails(backend: OpenAIBackend, request: ChatRequest = ASK) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await backend.chat(request)
    seen = f"{caught.value} {caught.value!r}"

    assert KEY not in seen
    assert "127.0.0.1" not in seen
    assert "large" == caught.value.backend

    return caught.value


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


class TestReply:
    async def test_it_has_text_usage_reason_and_model(self) -> None:
        """
        What the endpoint says of an answer is in the reply.
        """
        async with endpoint(says()) as backend:
            reply = await backend.chat(ASK)

        assert ("Four.", Usage(9, 2), "stop") == (reply.text, reply.usage, reply.finish_reason)
        assert ("large-1-2026", False, None) == (reply.model, reply.simulated, reply.probabilities)

    async def test_what_it_does_not_say_is_left_open(self) -> None:
        """
        An answer without usage, reason and model is a reply that claims none.
        """
        async with endpoint(says({"choices": [{"message": {"content": "Four."}}]})) as backend:
            reply = await backend.chat(ASK._replace(probabilities=True))

        assert ("", None, "large-1", None) == (reply.finish_reason, reply.usage, reply.model, reply.probabilities)

    async def test_a_content_filter_is_a_finish_reason(self) -> None:
        """
        An answer that was cut by a filter is still an answer.
        """
        async with endpoint(says(answer(choice={"finish_reason": "content_filter"}))) as backend:
            assert "content_filter" == (await backend.chat(ASK)).finish_reason

    async def test_a_tool_call_needs_no_text(self) -> None:
        """
        A message that calls a tool is empty text with its reason.
        """
        message = {"content": None, "tool_calls": [{"id": "1"}]}
        async with endpoint(says(answer(choice={"message": message, "finish_reason": "tool_calls"}))) as backend:
            reply = await backend.chat(ASK)

        assert ("", "tool_calls") == (reply.text, reply.finish_reason)

    async def test_token_probabilities_are_summed_up(self) -> None:
        """
        Mean and minimum are of the chosen tokens, the margin is between the two likeliest.
        """

        def token(chosen: float, *tops: float) -> dict[str, Any]:
            return {"logprob": math.log(chosen), "top_logprobs": [{"logprob": math.log(top)} for top in tops]}

        content = [token(0.9, 0.9, 0.05), token(0.2, 0.6, 0.2), token(0.4)]
        async with endpoint(says(answer(choice={"logprobs": {"content": content}}))) as backend:
            found = (await backend.chat(ASK._replace(probabilities=True))).probabilities

        assert found is not None
        assert pytest.approx((0.5, 0.2, 0.625)) == tuple(found)

    async def test_probabilities_stay_within_bounds(self) -> None:
        """
        A log-probability above zero by rounding is certainty, minus infinity's stand-in is none, one choice has no margin.
        """
        content = [{"logprob": 1e-6}, {"logprob": -9999.0, "top_logprobs": None}]
        async with endpoint(says(answer(choice={"logprobs": {"content": content}}))) as backend:
            found = (await backend.chat(ASK._replace(probabilities=True))).probabilities

        assert (0.5, 0.0, None) == found


class TestTiming:
    async def test_a_call_is_split_by_station(self) -> None:
        """
        The first call connects, the next one reuses the connection, and both wait for the first byte.
        """

        async def handler(_: web.Request) -> web.Response:
            await anyio.sleep(0.05)
            return web.json_response(answer())

        async with endpoint(handler) as backend:
            first, second = (await backend.chat(ASK)).timing, (await backend.chat(ASK)).timing

        assert 0 < first.connect_us
        assert 0 == second.connect_us == second.queue_us
        assert 45_000 < min(first.first_byte_us, second.first_byte_us)

    async def test_waiting_for_a_slot_is_queueing(self) -> None:
        """
        With one connection the second of two calls waits as long as the first one takes, and is then answered as fast.
        """
        timings: list[Timing] = []

        async def handler(_: web.Request) -> web.Response:
            await anyio.sleep(0.1)
            return web.json_response(answer())

        async def call(backend: OpenAIBackend) -> None:
            timings.append((await backend.chat(ASK)).timing)

        async with endpoint(handler, connections=1) as backend, anyio.create_task_group() as tasks:
            tasks.start_soon(call, backend)
            tasks.start_soon(call, backend)

        assert timings[0].queue_us < 50_000 < timings[1].queue_us
        assert timings[1].first_byte_us < timings[1].queue_us + 100_000


class TestStatus:
    @pytest.mark.parametrize(
        ("status", "error_class"),
        [
            (429, "rate_limited"),
            (500, "overloaded"),
            (503, "overloaded"),
            (529, "overloaded"),
            (408, "overloaded"),
            (400, "refused_by_model"),
            (401, "refused_by_model"),
            (404, "refused_by_model"),
            (422, "refused_by_model"),
            (204, "refused_by_model"),
        ],
    )
    async def test_a_status_has_a_class_and_costs_nothing(self, status: int, error_class: str) -> None:
        """
        Every HTTP status but 200 is an error of a class that edges can choose by.
        """
        async with endpoint(says(text="", status=status)) as backend:
            error = await fails(backend)

        assert (error_class, False) == (error.error_class, error.billable)
        assert f"HTTP {status}" in str(error)

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_rejected_key_names_its_variable(self, status: int) -> None:
        """
        The remedy names the variable; the provider's words, which may hold a part of the key, are left out.
        """
        body = {"error": {"message": f"Incorrect API key provided: {KEY[:9]}****{KEY[-4:]}"}}
        async with endpoint(says(body, status=status)) as backend:
            error = await fails(backend)

        assert "check the key in LARGE_KEY" in str(error)
        assert KEY[:9] not in str(error)
        assert KEY[-4:] not in str(error)

    @pytest.mark.parametrize(
        "body",
        [
            {"error": {"message": f"no {KEY}\nplease"}},
            {"error": f"no {KEY} please"},
            f"no {KEY} please",
            {"detail": f"no {KEY} please"},
        ],
    )
    async def test_the_providers_words_are_quoted_without_the_key(self, body: Any) -> None:
        """
        An error says what the provider said, on one line, with the key blanked wherever it stands.
        """
        async with endpoint(says(body, status=400)) as backend:
            error = await fails(backend)

        assert "no [key] please" in str(error)

    async def test_long_words_are_cut_after_the_key_is_blanked(self) -> None:
        """
        At most 200 characters are quoted, and the cut does not leave a piece of the key.
        """
        async with endpoint(says({"error": {"message": "x" * 190 + KEY + "y" * 5000}}, status=400)) as backend:
            error = await fails(backend)

        assert len(str(error)) < 260
        assert "sk-" not in str(error)


class TestMalformed:
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ("not json", "it is not JSON"),
            ('{"choices": NaN}', "it is not JSON"),
            ("[]", "it has no choice with a message"),
            ('{"choices": []}', "it has no choice with a message"),
            ('{"choices": [{"message": "text"}]}', "it has no choice with a message"),
            ('{"error": {"message": "out of tokens"}}', "and says: out of tokens"),
            (json.dumps(answer(choice={"message": {"content": None}})), "its message has no text"),
            (json.dumps(answer(choice={"message": {"content": ["part"]}})), "its message has no text"),
            (json.dumps(answer(usage={"prompt_tokens": -1, "completion_tokens": 2})), "its usage is not in whole tokens"),
            (json.dumps(answer(usage=[1])), "its usage is not in whole tokens"),
            (json.dumps(answer(choice={"logprobs": {"content": [{"logprob": "x"}]}})), "log-probabilities are not numbers"),
            (json.dumps(answer(choice={"logprobs": {"content": [3]}})), "log-probabilities are not numbers"),
        ],
    )
    async def test_an_answer_that_cannot_be_read_may_have_cost(self, body: str, words: str) -> None:
        """
        Whatever stands in an answer of status 200, the error is ours, says why, and is billable.
        """
        async with endpoint(says(text=body)) as backend:
            error = await fails(backend, ASK._replace(probabilities=True))

        assert ("malformed", True) == (error.error_class, error.billable)
        assert words in str(error)

    async def test_another_content_type_is_no_answer(self) -> None:
        """
        A page from a proxy is not taken for an answer.
        """
        async with endpoint(says(text="<html>", content_type="text/html")) as backend:
            error = await fails(backend)

        assert "its content type is 'text/html' and not JSON" in str(error)

    async def test_a_models_refusal_is_a_refusal(self) -> None:
        """
        A message that holds a refusal instead of text has the class for it.
        """
        async with endpoint(says(answer(choice={"message": {"content": None, "refusal": "No."}}))) as backend:
            error = await fails(backend)

        assert ("refused_by_model", True) == (error.error_class, error.billable)

    async def test_an_endless_answer_is_cut_off(self) -> None:
        """
        Reading stops at the bound, and the connection is closed so that the server stops too.
        """
        stopped = anyio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            try:
                while True:
                    await response.write(b" " * (1 << 20))
            finally:
                stopped.set()

        async with endpoint(handler) as backend:
            error = await fails(backend)
            with anyio.fail_after(5):
                await stopped.wait()

        assert Malformed is type(error)
        assert f"longer than {RESPONSE_BYTES >> 20} MiB" in str(error)


class TestConnection:
    async def test_a_closed_port_is_unreachable_and_free(self) -> None:
        """
        Where no connection can be made, nothing was sent.
        """
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(SocketAttribute.local_port)
        backend = OpenAIBackend("large", "large-1", f"http://127.0.0.1:{port}/v1", key=KEY)
        error = await fails(backend)
        await backend.aclose()

        assert (Unreachable, False) == (type(error), error.billable)
        assert "backend 'large' cannot be reached: no connection could be made (Connection refused)" == str(error)

    async def test_a_name_without_an_address_is_unreachable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A host that cannot be resolved is said to be so.
        """

        def unknown(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        backend = OpenAIBackend("large", "large-1", "http://no-such-host.invalid/v1")
        error = await fails(backend)
        await backend.aclose()

        assert ("unreachable", False) == (error.error_class, error.billable)
        assert "cannot be resolved" in str(error)

    @pytest.mark.parametrize("url", ["http://127.0.0.1:99999/v1", "http://a..b/v1"])
    async def test_an_address_that_cannot_be_called_is_free(self, url: str) -> None:
        """
        Nothing was sent, so nothing is assumed to have been spent.
        """
        backend = OpenAIBackend("large", "large-1", url, key=KEY)
        error = await fails(backend)
        await backend.aclose()

        assert (Unreachable, False) == (type(error), error.billable)
        assert "backend 'large' cannot be reached: its address is none that can be called" == str(error)

    @pytest.mark.parametrize(
        ("sent", "words", "error_class"),
        [
            (b"", "it closed the connection without an answer", "unreachable"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
                "the connection broke in the middle of its answer",
                "unreachable",
            ),
            (b"SSH-2.0-OpenSSH\r\n\r\n", "it does not speak HTTP", "malformed"),
        ],
    )
    async def test_what_breaks_after_sending_may_have_cost(self, sent: bytes, words: str, error_class: str) -> None:
        """
        Once the request is on its way, the provider may have worked for it.
        """

        async def handle(stream: SocketStream) -> None:
            async with stream:
                await stream.receive()
                if sent:
                    await stream.send(sent)

        async with wire(handle) as backend:
            error = await fails(backend)

        assert (error_class, True) == (error.error_class, error.billable)
        assert words in str(error)

    @pytest.mark.parametrize(
        "head", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"]
    )
    async def test_cancellation_closes_the_connection_at_once(self, head: bytes) -> None:
        """
        A server sees the end of a call that nobody waits for any more, before or in the middle of its answer.
        """
        received, closed = anyio.Event(), anyio.Event()

        async def handle(stream: SocketStream) -> None:
            async with stream:
                await stream.receive()
                if head:
                    await stream.send(head)
                received.set()
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
                closed.set()

        async with wire(handle) as backend:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(backend.chat, ASK)
                await received.wait()
                tasks.cancel_scope.cancel()
            with anyio.fail_after(5):
                await closed.wait()

    async def test_it_closes_twice_and_opens_again(self) -> None:
        """
        Closing is no matter of order.
        """
        async with endpoint(says()) as backend:
            await backend.aclose()
            await backend.chat(ASK)
            await backend.aclose()
            await backend.aclose()

            assert "Four." == (await backend.chat(ASK)).text


class TestOpen:
    def spec(self, **changes: Any) -> OpenAISpec:
        return OpenAISpec(name="large", span=Span("g.yaml", 1, 1), model="large-1", **changes)

    async def test_address_and_key_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Names in the address are filled in, and the key is sent as it stands in its variable.
        """
        seen: list[str] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append(request.headers["Authorization"])
            return web.json_response(answer())

        async with endpoint(handler) as known:
            monkeypatch.setenv("LARGE_HOST", known._url.removesuffix("/v1/chat/completions"))
            monkeypatch.setenv("LARGE_KEY", KEY + "\n")
            backend = await open_backend(self.spec(base_url="${LARGE_HOST}/v1", key_env="LARGE_KEY"))
            await backend.chat(ASK)
            await backend.aclose()

        assert [f"Bearer {KEY}"] == seen

    @pytest.mark.parametrize(
        ("changes", "variable"),
        [({}, "OPENAI_BASE_URL"), ({"base_url": "${LARGE_URL}"}, "LARGE_URL"), ({"base_url": "http://x", "key_env": "K"}, "K")],
    )
    async def test_a_missing_variable_is_named(
        self, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], variable: str
    ) -> None:
        """
        The error says which variable to set; an empty one counts as missing.
        """
        monkeypatch.setenv(variable, " ")

        with pytest.raises(SetupError, match=f"backend 'large' needs the environment variable {variable}, which is not set"):
            await open_backend(self.spec(**changes))

    async def test_all_missing_variables_are_named_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Who sets one variable is not told of the next one only then.
        """
        monkeypatch.delenv("LARGE_URL", raising=False)
        monkeypatch.delenv("LARGE_KEY", raising=False)

        with pytest.raises(
            SetupError, match="needs the environment variables LARGE_URL, LARGE_KEY, which are not set; set them"
        ):
            await open_backend(self.spec(base_url="${LARGE_URL}", key_env="LARGE_KEY"))

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("http://user:hidden@127.0.0.1:1/v1", "has a user or a password in it"),
            ("http://hidden@127.0.0.1:1/v1", "has a user or a password in it"),
            ("http://127.0.0.1:99999/hidden", "has a host or a port that cannot be one"),
            ("http://127.0.0.1:0/hidden", "has a host or a port that cannot be one"),
            ("http://[::1/hidden", "has a host or a port that cannot be one"),
            ("http://:80/hidden", "has a host or a port that cannot be one"),
            ("http://a..b/hidden", "has a host or a port that cannot be one"),
        ],
    )
    async def test_an_address_that_cannot_be_called_does_not_open(
        self, monkeypatch: pytest.MonkeyPatch, url: str, words: str
    ) -> None:
        """
        What would fail at every call is refused before the first, and what the variable holds is not shown.
        """
        monkeypatch.setenv("LARGE_URL", url)

        with pytest.raises(SetupError, match=f"backend 'large': its base_url {words}") as caught:
            await open_backend(self.spec(base_url="${LARGE_URL}"))

        assert "hidden" not in str(caught.value)

    async def test_a_bad_address_is_not_repeated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        What came from the environment is named by its variable, what stands in the graph is quoted.
        """
        monkeypatch.setenv("LARGE_URL", "ftp://hidden")

        with pytest.raises(SetupError, match="is made of LARGE_URL from the environment") as caught:
            await open_backend(self.spec(base_url="${LARGE_URL}"))
        with pytest.raises(SetupError, match="'localhost:80'"):
            await open_backend(self.spec(base_url="localhost:80"))

        assert "hidden" not in str(caught.value)

    async def test_a_key_that_cannot_be_one_is_not_repeated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A variable that holds a sentence is refused by its name.
        """
        monkeypatch.setenv("LARGE_KEY", "two words")

        with pytest.raises(SetupError, match="what LARGE_KEY holds cannot be a key") as caught:
            await open_backend(self.spec(base_url="http://x", key_env="LARGE_KEY"))

        assert "two words" not in str(caught.value)
