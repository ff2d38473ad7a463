"""
The gateway that a replayed load goes through: short prompts to a small model, long ones by a draft to a large one.

No model runs, and what pretends to be one takes the time that one would.  Prints its port, and serves until its input ends;
the arguments are the folder for its traces, the number of tokens from which a prompt is long, and p50 and p99 of the small
model's latency in milliseconds; the large one takes twice as long.
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
name: load
start: intake
thresholds:
  long: {long}
  confident: {{value: 0.8, range: [0, 1]}}
limits: {{hops: 6, deadline: 30s, cost_usd: 0.5}}
backends:
  little: {{kind: simulated, context_tokens: 32000, {small}, confidence: 0.9}}
  hasty: {{kind: simulated, context_tokens: 32000, {small}, confidence: 0.3}}
  great: {{kind: simulated, context_tokens: 32000, {large}}}
nodes:
  intake:
    role: classifier
    use: features
    next: [{{to: draft, when: signals.tokens >= thresholds.long}}, {{to: small}}]
  small: {{role: answer, backend: little, {answers}}}
  draft: {{role: answer, backend: hasty, {answers}}}
  large: {{role: primary, backend: great, max_tokens: 512, deadline: 10s, next: done}}
"""
ANSWERS = """max_tokens: 256, deadline: 10s, confidence: {from: recorded, missing: 0},
    next: [{to: done, when: output.confidence >= thresholds.confident}, {to: large}]"""


def graph(long: float, p50_ms: float, p99_ms: float) -> bytes:
    """
    Write the graph for what counts as a long prompt and how long a small model takes.
    """
    small, large = (
        f"usd_per_mtok: {{input: {usd}, output: {4 * usd}}}, latency: {{p50: {p50:.0f}ms, p99: {p99:.0f}ms}}"
        for usd, p50, p99 in ((0.1, p50_ms, p99_ms), (3, 2 * p50_ms, 2 * p99_ms))
    )

    return GRAPH.format(long=f"{long:.0f}", small=small, large=large, answers=ANSWERS).encode()


async def main() -> None:
    """
    Serve until standard input ends.
    """
    folder, *figures = sys.argv[1:]
    plan = compile_plan(read_graph(graph(*map(float, figures)), file="load.yaml"))
    async with Mesh(plan, traces=folder) as mesh, serve([mesh]) as server:
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
