from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from aiohttp import web
from anyio.abc import SocketAttribute, SocketStream

from meshwalk.backends.classifiers import http, open_classifier
from meshwalk.backends.classifiers.http import RESPONSE_BYTES, HttpClassifier
from meshwalk.model import Attribute, Node
from meshwalk.model.problems import BackendError, ErrorClass, Overloaded, SetupError, Span
from meshwalk.trace import Message
from tests.support.classifiers import GIVEN, Handler, service


pytestmark = pytest.mark.anyio

HERE = Span("graph.yaml", 1, 1)
KEY = "sk-very-secret-0123456789"
WRITES = {
    "topic": Attribute("topic", "string", HERE, enum=("prose", "proof")),
    "risk": Attribute("risk", "number", HERE, range=(0.0, 1.0)),
}
ASK = (Message("system", "Be brief."), Message("user", "Two and two?"))
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def node(url: str | None, key_env: str | None = None) -> Node:
    return Node(name="triage", role="classifier", span=HERE, use="http", url=url, key_env=key_env, writes=WRITES)


async def asked(handler: Handler, *, key: str = "") -> dict[str, Any]:
    async with service(handler) as url:
        classifier = HttpClassifier("triage", url, WRITES, key=key, key_env="TRIAGE_KEY" if key else "")
        try:
            return await classifier.classify(ASK, {"urgency": "batch", "size": 2.0}, TRACEPARENT)
        finally:
            await classifier.aclose()


async def failure(handler: Handler, *, key: str = "") -> BackendError:
    with pytest.raises(BackendError) as caught:
        await asked(handler, key=key)

    return caught.value


def answering(body: Any = None, *, status: int = 200, text: str | None = None) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=json.dumps(body) if text is None else text)

    return answer


class TestCall:
    async def test_what_is_sent_and_what_comes_back(self) -> None:
        """
        The messages and the attributes go out as JSON with the key and the trace context; the declared signals come back.
        """
        seen: dict[str, Any] = {}

        async def handler(request: web.Request) -> web.StreamResponse:
            seen.update(await request.json(), headers=dict(request.headers))
            return web.json_response(GIVEN["a theorem"])

        assert {"topic": "proof", "risk": 1.0} == await asked(handler, key=KEY)
        assert [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Two and two?"}] == seen["messages"]
        assert {"urgency": "batch", "size": 2.0} == seen["attributes"]
        assert f"Bearer {KEY}" == seen["headers"]["Authorization"]
        assert TRACEPARENT == seen["headers"]["traceparent"]

    async def test_connections_are_used_again(self) -> None:
        """
        Two calls share a connection, and closing twice is fine.
        """
        ports: list[Any] = []

        async def handler(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            ports.append(request.transport.get_extra_info("peername"))
            return web.json_response(GIVEN["a poem"])

        async with service(handler) as url:
            classifier = HttpClassifier("triage", url, WRITES)
            for _ in range(2):
                await classifier.classify(ASK, {}, "")
            await classifier.aclose()
            await classifier.aclose()

        assert [ports[0]] * 2 == ports


class TestFailures:
    @pytest.mark.parametrize(
        ("status", "error_class"),
        [
            (429, "rate_limited"), (408, "overloaded"), (500, "overloaded"), (503, "overloaded"), (400, "refused_by_model"),
            (401, "refused_by_model"), (404, "refused_by_model"), (302, "refused_by_model"), (204, "refused_by_model"),
        ],
    )  # fmt: skip
    async def test_statuses(self, status: int, error_class: ErrorClass) -> None:
        """
        Each status has its class, and the service's own words stay out of the error.
        """
        error = await failure(answering(text=f"the key {KEY} and the prompt" if status != 204 else "", status=status), key=KEY)

        assert (error_class, False) == (error.error_class, error.billable)
        assert KEY not in str(error)
        assert "prompt" not in str(error)

    @pytest.mark.parametrize("name", [name for name in GIVEN if not name.startswith("a ")] + ["a lie"])
    async def test_signals_that_are_not_as_declared(self, name: str) -> None:
        """
        An answer without a declared signal, or with one of another kind, is malformed, and names the signal.
        """
        error = await failure(answering(GIVEN[name]))

        assert "malformed" == error.error_class
        assert "triage" in str(error)

    @pytest.mark.parametrize("text", ["", "<html>", "{", "1", '"prose"', "[" * 100_000, "x" * (RESPONSE_BYTES + 1)])
    async def test_what_is_no_answer(self, text: str) -> None:
        """
        What is no JSON object, or too long for one, is malformed.
        """
        assert "malformed" == (await failure(answering(text=text))).error_class

    async def test_no_address_in_errors(self, free_tcp_port: int) -> None:
        """
        Where nobody listens the error says so, without the address that may be a secret.
        """
        classifier = HttpClassifier("triage", f"http://127.0.0.1:{free_tcp_port}/secret-path", WRITES)
        with pytest.raises(BackendError) as caught:
            await classifier.classify(ASK, {}, "")
        await classifier.aclose()

        assert "unreachable" == caught.value.error_class
        assert "secret-path" not in str(caught.value)
        assert str(free_tcp_port) not in str(caught.value)

    async def test_a_connection_that_breaks(self) -> None:
        """
        A service that hangs up is unreachable, before its answer and in the middle of it.
        """

        async def before(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.close()
            return web.Response()

        async def within(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b"{")
            assert request.transport is not None
            request.transport.close()
            return response

        assert ["unreachable"] * 2 == [(await failure(handler)).error_class for handler in (before, within)]

    async def test_its_line_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        As many calls wait as may, the next is refused at once, and those who wait get their turn.
        """
        monkeypatch.setattr(http, "CONNECTIONS", 2)
        monkeypatch.setattr(http, "QUEUE_LENGTH", 3)
        released, came, errors = anyio.Event(), [0], list[BackendError]()

        async def hold(_: web.Request) -> web.StreamResponse:
            came[0] += 1
            await released.wait()
            return web.json_response({"topic": "prose", "risk": 0.5})

        async with service(hold) as url:
            classifier = HttpClassifier("triage", url, WRITES)

            async def ask() -> None:
                try:
                    await classifier.classify(ASK, {}, "")
                except BackendError as error:
                    errors.append(error)

            async with anyio.create_task_group() as tasks:
                for _ in range(8):
                    tasks.start_soon(ask)
                while came[0] < 2 or len(errors) < 3:
                    await anyio.lowlevel.checkpoint()
                before = came[0]
                released.set()
            await classifier.aclose()

        assert (2, 5) == (before, came[0])
        assert ["overloaded"] * 3 == [error.error_class for error in errors]

    async def test_nobody_waits_there_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A call that got no place in time is refused, and leaves none taken.
        """
        monkeypatch.setattr(http, "CONNECTIONS", 0)
        monkeypatch.setattr(http, "QUEUE_WAIT_SECONDS", 0.01)
        classifier = HttpClassifier("triage", "http://127.0.0.1:1/", WRITES)
        with pytest.raises(Overloaded, match=r"had no place within 0\.01 s"):
            await classifier.classify(ASK, {}, "")
        await classifier.aclose()

    async def test_cancellation_closes_the_connection(self) -> None:
        """
        A call that is cancelled lets go at once, so that the service sees that nobody waits any more.
        """
        here, gone = anyio.Event(), anyio.Event()

        async def handle(stream: SocketStream) -> None:
            async with stream:
                async for _ in stream:
                    here.set()
            gone.set()

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(SocketAttribute.local_port)
        classifier = HttpClassifier("triage", f"http://127.0.0.1:{port}/", WRITES)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, handle)
            async with anyio.create_task_group() as calls:
                calls.start_soon(classifier.classify, ASK, {}, "")
                await here.wait()
                calls.cancel_scope.cancel()
            with anyio.fail_after(10):
                await gone.wait()
            tasks.cancel_scope.cancel()
        await classifier.aclose()


class TestOpening:
    async def test_address_and_key_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Variables in the address are filled in, and the key is read, when the classifier opens.
        """
        monkeypatch.setenv("TRIAGE_HOST", "127.0.0.1")
        monkeypatch.setenv("TRIAGE_KEY", KEY)
        opened = await open_classifier(node("http://${TRIAGE_HOST}/x", "TRIAGE_KEY"))

        assert isinstance(opened, HttpClassifier)
        assert "http://127.0.0.1/x" == opened.url

    @pytest.mark.parametrize(
        ("url", "host", "expected"),
        [
            ("${TRIAGE_URL}", "", "needs the environment variable TRIAGE_URL"),
            (
                "${TRIAGE_URL}",
                "ftp://x/",
                "its url is no http:// or https:// address without a user and a password; it is",
            ),
            ("${TRIAGE_URL}", "http://me:secret@x/", "its url is no http:// or https:// address"),
            ("http://[::1/", "", "its url is no http:// or https:// address"),
            (None, "", "names no 'url:', which a plan kept in a store does not hold"),
        ],
    )
    async def test_what_cannot_be_opened(
        self, monkeypatch: pytest.MonkeyPatch, url: str | None, host: str, expected: str
    ) -> None:
        """
        An address that is none is refused when the mesh opens, and never quoted.
        """
        monkeypatch.setenv("TRIAGE_URL", host)
        with pytest.raises(SetupError) as caught:
            await open_classifier(node(url))

        assert f"classifier 'triage'{'' if expected.startswith('n') else ':'} {expected}" in str(caught.value)
        assert "secret" not in str(caught.value)

    async def test_a_key_that_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A key with a space in it is refused before it is sent.
        """
        monkeypatch.setenv("TRIAGE_KEY", "two words")
        with pytest.raises(SetupError, match="what TRIAGE_KEY holds cannot be a key"):
            await open_classifier(node("http://127.0.0.1/", "TRIAGE_KEY"))
