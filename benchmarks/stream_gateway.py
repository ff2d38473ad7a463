"""
The gateway that is measured: one node that streams live from an OpenAI-compatible endpoint.

Prints its port, and serves until its input ends; the arguments are the endpoint's port and the folder for its traces.
"""

from __future__ import annotations

import asyncio
import sys

from meshwalk.loader import read_graph
from meshwalk.mesh import Mesh
from meshwalk.plan import compile_plan
from meshwalk.server import serve


GRAPH = """
meshwalk: 1
name: live
start: primary
backends:
  large:
    kind: openai
    model: m
    base_url: "http://127.0.0.1:{port}/v1"
    context_tokens: 8000
    usd_per_mtok: {{input: 1, output: 2}}
nodes:
  primary: {{role: primary, backend: large, max_tokens: 100, stream: live, next: done}}
"""


async def main() -> None:
    """
    Serve until standard input ends.
    """
    plan = compile_plan(read_graph(GRAPH.format(port=sys.argv[1]).encode(), file="live.yaml"))
    async with Mesh(plan, traces=sys.argv[2]) as mesh, serve([mesh]) as server:
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
