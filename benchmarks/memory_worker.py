"""
The server whose memory is measured: three hops behind gRPC, with its store on and its spans built.

Told a count, it walks until that many walks were made and answers with the bytes it then holds, everything recorded being
written and garbage collected.  Told `port`, it answers with its port.  Walks are stored as they are anywhere, and removed
from the file now and then, as an operator does who keeps the last days: a million would take gigabytes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from meshwalk.mesh import Mesh
from meshwalk.server import serve
from processes import rss_bytes
from three_hops import REQUEST, recorders


KEPT = 10_000


async def main(folder: Path) -> None:
    """
    Answer each line on standard input, until it ends.
    """
    async with recorders(folder) as (store, telemetry), mesh_of(store, telemetry) as mesh, serve([mesh]) as server:
        made = 0
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if line == "port":
                print(server.port, flush=True)
                continue
            while made < int(line):
                for _ in range(min(KEPT, int(line) - made)):
                    await mesh.walk(REQUEST)
                    made += 1
                    # A caller's own work would let the server's tasks run, too.
                    if made % 100 == 0: await asyncio.sleep(0)
