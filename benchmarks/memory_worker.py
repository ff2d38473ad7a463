"""
The server whose memory is measured: three hops behind gRPC, with its store on and its spans built.

Told a count, it walks until so many walks were made, and answers with the bytes it then holds: what was recorded is on disk,
and garbage is collected.  Its first line is its port.

Walks are stored as anywhere, and removed from the file every now and then, as an operator does who keeps the last days: a
million of them would take gigabytes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from meshwalk.server import serve
from processes import rss_bytes
from three_hops import REQUEST, Recording, plan, recording


# How many walks the file holds at most.
KEPT = 20_000

# How many walks may wait to be written.  Walked as fast as this loop can, they would fill the queues, whose bounds are known
# (ten thousand rows, two thousand walks' spans: some megabytes each), and how full those once were would be all that is seen.
AHEAD = 1_000


async def walk(recorded: Recording, count: int) -> None:
    """
    Walk *count* times, and wait until all is written.
    """
    for number in range(count):
        await recorded.mesh.walk(REQUEST)
        if number % 100 == 0:
            # No node waits for anybody, so nobody else would ever run.
            await asyncio.sleep(0)
        if number % AHEAD == 0:
            await recorded.settle()
    await asyncio.sleep(0)
    await recorded.settle()


async def main(folder: Path) -> None:
    """
    Answer each line on standard input, until it ends.
    """
    async with recording(folder, plan()) as recorded, serve([recorded.mesh]) as server:
        print(server.port, flush=True)
        made = 0
        while line := await asyncio.to_thread(sys.stdin.readline):
            while made < int(line):
                some = min(KEPT, int(line) - made)
                await walk(recorded, some)
                made += some
                with closing(sqlite3.connect(folder / "traces.sqlite", timeout=60)) as file, file:
                    file.execute("DELETE FROM traversals")
            gc.collect()
            print(rss_bytes(os.getpid()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
