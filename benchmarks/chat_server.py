"""
The other end of every HTTP call that is measured: answers each request at once with the same bytes.

No HTTP library, so that what a call costs is the client's doing.  Prints its port, and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys


BODY = json.dumps(
    {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 1_800_000_000,
        "model": "loopback-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris, of course."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17},
    }
).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Answering(asyncio.Protocol):
    """
    Answer whatever request is whole, however it was cut into packets.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end:
            return
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        if len(body) >= length:
            assert self._transport is not None
            self._got = body[length:]
            self._transport.write(ANSWER)


async def main() -> None:
    """
    Serve until standard input ends.
    """
    async with await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        # Callers that still hold a connection are not waited for.
        if hasattr(server, "close_clients"):
            server.close_clients()


if __name__ == "__main__":
    asyncio.run(main())
