from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import pytest
from aiohttp import http_writer, web
from anyio.abc import SocketAttribute, SocketStream

from meshwalk.backends.base import CallProgress
from meshwalk.backends.openai import OpenAIBackend, client
from meshwalk.backends.openai.faults import Faults
from meshwalk.backends.secrets import Secrets
from meshwalk.model.private_text import disclosed_error
from meshwalk.model.problems import Unreachable
from tests.backends.chat_endpoint import ASK, KEY, endpoint, fails, says, wire


pytestmark = pytest.mark.anyio


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
        assert f"HTTP {status}" in disclosed_error(error)

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_rejected_key_names_its_variable(self, status: int) -> None:
        """
        The remedy names the variable; the provider's words, which may hold a part of the key, are left out.
        """
        body = {"error": {"message": f"Incorrect API key provided: {KEY[:9]}****{KEY[-4:]}"}}
        async with endpoint(says(body, status=status)) as backend:
            error = await fails(backend)

        assert "check the key in LARGE_KEY" in disclosed_error(error)
        assert KEY[:9] not in disclosed_error(error)
        assert KEY[-4:] not in disclosed_error(error)

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

        assert "no [key] please" in disclosed_error(error)

    async def test_nor_the_address(self) -> None:
        """
        An address may come from the environment, so what a provider says of it is blanked as well.
        """
        place = "http://desk.internal:8443/v1"
        faults = Faults("large", "", "m", secrets=Secrets(addresses=[place]), key_env="")
        said = f'{{"error": "{place}/chat/completions at desk.internal:8443 is closed"}}'.encode()

        assert "[address]/chat/completions at [address] is closed" in disclosed_error(faults.refusal(400, {}, said))

    async def test_long_words_are_cut_after_the_key_is_blanked(self) -> None:
        """
        At most 200 characters are quoted, and the cut does not leave a piece of the key.
        """
        async with endpoint(says({"error": {"message": "x" * 190 + KEY + "y" * 5000}}, status=400)) as backend:
            error = await fails(backend)

        assert len(disclosed_error(error)) < 260
        assert "sk-" not in disclosed_error(error)


class TestRetryAfter:
    @pytest.mark.parametrize("status", [429, 503, 500])
    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({"Retry-After": "7"}, 7_000_000),
            ({"Retry-After": "0.25"}, 250_000),
            ({"Retry-After": "7", "Retry-After-Ms": "1500"}, 1_500_000),
            ({"Retry-After": "999999999"}, 86_400_000_000),
            ({"Date": "Tue, 03 Nov 2026 10:00:00 GMT", "Retry-After": "Tue, 03 Nov 2026 10:00:30 GMT"}, 30_000_000),
            ({"Date": "Tue, 03 Nov 2026 10:00:00 GMT", "Retry-After": "Tue, 03 Nov 2026 09:00:00 GMT"}, 0),
            ({"Date": "Tue, 03 Nov 2026 10:00:00 GMT", "Retry-After": "Tue, 03 Nov 2099 10:00:00 GMT"}, 86_400_000_000),
            ({"Retry-After": "soon"}, None),
            ({"Retry-After": "-3"}, None),
            ({"Retry-After": "1e9"}, None),
            ({"Retry-After": "\u0663"}, None),
            ({}, None),
        ],
    )
    async def test_it_is_read(self, status: int, headers: dict[str, str], expected: int | None) -> None:
        """
        Seconds and dates are understood, by the server's own clock; nothing lasts longer than a day, and nonsense is none.
        """

        async def handler(_: web.Request) -> web.Response:
            return web.Response(status=status, headers=headers)

        async with endpoint(handler) as backend:
            assert expected == (await fails(backend)).retry_after_us

    async def test_without_a_date_our_clock_tells(self) -> None:
        """
        A server that does not say what time it has is measured by ours.
        """
        until = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)

        async def handle(stream: SocketStream) -> None:
            async with stream:
                await stream.receive()
                head = f"HTTP/1.1 429 Slow down\r\nRetry-After: {until}\r\nContent-Length: 0\r\n\r\n"
                await stream.send(head.encode())

        async with wire(handle) as backend:
            left_us = (await fails(backend)).retry_after_us

        assert left_us is not None
        assert 3_500_000_000 < left_us <= 3_600_000_000

    async def test_nobody_waits_for_a_refused_request(self) -> None:
        """
        A request that will not be taken later either has no such time.
        """

        async def handler(_: web.Request) -> web.Response:
            return web.Response(status=400, headers={"Retry-After": "7"})

        async with endpoint(handler) as backend:
            assert (await fails(backend)).retry_after_us is None

    async def test_words_that_never_come_do_not_hide_the_status(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A server that refuses and drips is left at its status, as is one that breaks off.
        """
        monkeypatch.setattr(client, "_ERROR_BODY_SECONDS", 0.02)

        async def drip(stream: SocketStream) -> None:
            async with stream:
                await stream.receive()
                await stream.send(b"HTTP/1.1 429 Slow down\r\nRetry-After: 2\r\nContent-Length: 99\r\n\r\n{")
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()

        async def cut(stream: SocketStream) -> None:
            async with stream:
                await stream.receive()
                await stream.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 99\r\n\r\n{")

        async with wire(drip) as backend:
            dripping = await fails(backend)
        async with wire(cut) as backend:
            broken = await fails(backend)

        assert ("rate_limited", 2_000_000) == (dripping.error_class, dripping.retry_after_us)
        assert ("overloaded", False) == (broken.error_class, broken.billable)


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
        assert "backend 'large' cannot be reached: no connection could be made (Connection refused)" == disclosed_error(error)

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
        assert "cannot be resolved" in disclosed_error(error)

    @pytest.mark.parametrize("url", ["http://127.0.0.1:99999/v1", "http://a..b/v1"])
    async def test_an_address_that_cannot_be_called_is_free(self, url: str) -> None:
        """
        Nothing was sent, so nothing is assumed to have been spent.
        """
        backend = OpenAIBackend("large", "large-1", url, key=KEY)
        error = await fails(backend)
        await backend.aclose()

        assert (Unreachable, False) == (type(error), error.billable)
        assert "backend 'large' cannot be reached: its address is none that can be called" == disclosed_error(error)

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
        assert words in disclosed_error(error)

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

    async def test_a_connection_that_closed_meanwhile_costs_no_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A request that a closed connection did not take is sent on another one, and only what was sent may have cost.
        """
        async with endpoint(says()) as backend:
            await backend.chat(ASK)
            whole = http_writer.StreamWriter._write, http_writer.StreamWriter._writelines
            closed = iter([True] * 2)

            def write(self: http_writer.StreamWriter, chunk: bytes) -> None:
                if next(closed, False) and self._protocol.transport:
                    self._protocol.transport.close()
                whole[0](self, chunk)

            def writelines(self: http_writer.StreamWriter, chunks: Any) -> None:
                if next(closed, False) and self._protocol.transport:
                    self._protocol.transport.close()
                whole[1](self, chunks)

            monkeypatch.setattr(http_writer.StreamWriter, "_write", write)
            monkeypatch.setattr(http_writer.StreamWriter, "_writelines", writelines)

            assert "Four." == (await backend.chat(ASK)).text

            closed = iter([True] * 9)
            progress = CallProgress()
            error = await fails(backend, ASK._replace(progress=progress))

        assert (Unreachable, False, False) == (type(error), error.billable, progress.sent)

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
