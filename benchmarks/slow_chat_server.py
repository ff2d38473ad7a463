"""
A model server of a known capacity: so many answers at once, each after so many seconds; further requests wait inside.

Prints its port, and serves until its input ends; the arguments are the answers at once, and the most and the fewest seconds.
A GET is answered with the counts of requests that came, that were answered, and the most that were here at once.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

from chat_server import ANSWER


class Model:
    """
    The places of a model, and the counts of its calls.
    """

    def __init__(self, places: int, seconds: float, shortest: float) -> None:
        self.places = asyncio.Semaphore(places)
        self.seconds = shortest, seconds
        self.chance = random.Random(7)
        self.came = self.answered = self.here = self.peak = 0

    async def call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """
        Answer the requests of one connection.
        """
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    counts = json.dumps([self.came, self.answered, self.peak]).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(counts), counts))
                    continue
                lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(lengths[0]))
                await self.answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """
        Take a place for as long as an answer takes; the work goes on where the caller has gone, as a model's does.
        """
        self.came += 1
        self.here += 1
        self.peak = max(self.peak, self.here)
        try:
            async with self.places:
                # A model server drops what waits and has no caller any more.
                if not reader.at_eof():
                    await asyncio.sleep(self.chance.uniform(*self.seconds))
        finally:
            self.here -= 1
        self.answered += not reader.at_eof()
        writer.write(ANSWER)


async def main() -> None:
    """
    Serve until standard input ends.
    """
    model = Model(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
    async with await asyncio.start_server(model.call, "127.0.0.1", 0, backlog=4096) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        if hasattr(server, "close_clients"):
            server.close_clients()


if __name__ == "__main__":
    asyncio.run(main())
