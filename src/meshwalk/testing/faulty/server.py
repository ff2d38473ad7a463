"""
A real chat server on loopback whose next answers are scripted, and most of them wrong; it keeps its own books.

A provider bills the tokens that it says it counted.  It bills an answer that never got through, too, and tells nobody.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import anyio
from anyio.abc import SocketAttribute, SocketStream

from meshwalk.testing.faulty.answers import GONE, Exchange, answer
from meshwalk.testing.faulty.script import Seen, script


class FaultyServer:
    """
    A server that answers by its script, and logs every request.

    Attributes:
        base_url: Its address, once it serves.
        seen: The requests, in order.
        unforeseen: The number of requests that came when the script had no answer left.
        opened: The number of connections that were made; *open* is the number that still are.
        called: Set once a request has come.
        all_closed: Set while no connection is open.
    """

    def __init__(self, line: str = "", *, name: str = "model") -> None:
        self.name = name
        self.base_url = ""
        self.seen: list[Seen] = []
        self.opened = 0
        self.open = 0
        self.unforeseen = 0
        self.called = anyio.Event()
        self.all_closed = anyio.Event()
        self.all_closed.set()
        self._acts = script(line) if line else []
        self._events: dict[str, anyio.Event] = {}

    def __repr__(self) -> str:
        return f"<FaultyServer {self.name} at {self.base_url or 'no address'}: {len(self.seen)} requests>"

    def event(self, name: str) -> anyio.Event:
        """
        Return the event that `hold NAME` waits for.
        """
        return self._events.setdefault(name, anyio.Event())

    @property
    def unused(self) -> list[str]:
        """
        Return the verbs of answers that no request came for.
        """
        return [act.verb for act in self._acts]

    async def serve(self, stream: SocketStream) -> None:
        """
        Answer the requests of one connection.
        """
        self.opened += 1
        self.open += 1
        self.all_closed = anyio.Event() if self.all_closed.is_set() else self.all_closed
        try:
            async with stream:
                if self._acts and self._acts[0].verb == "slam":
                    self._slam()
                    return
                while await self._answer(stream):
                    pass
        except GONE:
            pass  # the client is gone
        finally:
            self.open -= 1
            if not self.open:
                self.all_closed.set()

    def _slam(self) -> None:
        slammed = Seen(self._acts.pop(0), {}, {})
        slammed.ended = "broken"
        self.seen.append(slammed)

    async def _answer(self, stream: SocketStream) -> bool:
        """
        Answer one request; return whether there may be another.
        """
        head, body = await _request(stream)
        _, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if not self._acts:
            self.unforeseen += 1
            self.called.set()
            return False
        act = self._acts.pop(0)
        seen = Seen(act, json.loads(body), headers)
        self.seen.append(seen)
        self.called.set()
        exchange = Exchange(stream, seen)
        try:
            if act.hold:
                await exchange.unless_left(self.event(act.hold).wait)
            await answer(exchange)
        except GONE:
            seen.ended = seen.ended or "left"
            raise

        return not exchange.over


async def _request(stream: SocketStream) -> tuple[bytes, bytes]:
    got = b""
    while b"\r\n\r\n" not in got:
        got += await stream.receive()
    head, _, body = got.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        body += await stream.receive()

    return head, body


@asynccontextmanager
async def faulty_servers(**lines: str) -> AsyncIterator[dict[str, FaultyServer]]:
    """
    Serve a script under each name, on free loopback ports, until the context is left.
    """
    servers = {name: FaultyServer(line, name=name) for name, line in lines.items()}
    async with AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(await anyio.create_tcp_listener(local_host="127.0.0.1")) for _ in servers]
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for server, listener in zip(servers.values(), listeners, strict=True):
            port = listener.extra(SocketAttribute.local_port)  # noqa: S610 (anyio's, not Django's)
            server.base_url = f"http://127.0.0.1:{port}/v1"
            tasks.start_soon(partial(listener.serve, server.serve))
        try:
            yield servers
        finally:
            tasks.cancel_scope.cancel()
