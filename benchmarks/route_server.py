"""
The server that is measured: three hops behind `Route`, with its store on and its spans built.

Prints its port, and serves until its input ends; the first argument is the folder for its traces.  Further ones: `budgets` lets
the walks share budgets, and `export` sends every span where the environment says.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from meshwalk.records.telemetry import Telemetry
from meshwalk.server import serve
from three_hops import plan, recording


async def main() -> None:
    """
    Serve until standard input ends.
    """
    walked = plan(budgets="budgets" in sys.argv[2:])
    telemetry = Telemetry.from_environment() if "export" in sys.argv[2:] else None
    async with recording(Path(sys.argv[1]), walked, telemetry=telemetry) as opened, serve([opened.mesh]) as server:
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
