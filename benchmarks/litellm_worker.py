"""
LiteLLM's arms: its Router, its `acompletion`, and the bare HTTP client that both of them call through.

Run by `harness.Worker` in LiteLLM's own environment, with the address of the chat server.  Each line of its input names an
arm, how many calls and how many at a time; the answer is the CPU and the wall time of one, in nanoseconds.

Told to fetch no price list and to report to nobody; and so that a release which does so all the same is found out here, any
connection that would leave this machine is refused.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from worker import answer


# Read when litellm is imported.
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION", LITELLM_LOG="ERROR", DO_NOT_TRACK="1")

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
KEY = "sk-no-key"

Call = Callable[[], Awaitable[object]]


def stay_here() -> None:
    """
    Refuse every connection that would leave this machine.
    """
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in {"127.0.0.1", "::1"}:
            raise RuntimeError(f"LiteLLM wants to call {address[0]}, and this measurement stays on this machine")
        connect(self, address)

    socket.socket.connect = local  # type: ignore[method-assign, assignment]


def arms(base_url: str) -> dict[str, Call]:
    """
    Give each arm as a call, as LiteLLM's documentation has it, with no option that slows it down.
    """
    import litellm
    from litellm.llms.openai.common_utils import BaseOpenAILLM

    litellm.telemetry = False
    target = {"model": "openai/loopback-1", "api_base": base_url, "api_key": KEY}
    router = litellm.Router(model_list=[{"model_name": "small", "litellm_params": target}], num_retries=0)
    client = BaseOpenAILLM.get_async_http_client()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

    async def through_router() -> None:
        done = await router.acompletion("small", messages=MESSAGES, max_tokens=256)
        assert done.usage.completion_tokens == 5

    async def through_acompletion() -> None:
        done = await litellm.acompletion(messages=MESSAGES, max_tokens=256, num_retries=0, **target)
        assert done.usage.completion_tokens == 5

    async def bare() -> None:
        body = json.dumps({"model": "loopback-1", "messages": MESSAGES, "max_tokens": 256}).encode()
        response = await client.post(f"{base_url}/chat/completions", content=body, headers=headers)
        assert response.json()["usage"]["completion_tokens"] == 5

    return {"router": through_router, "acompletion": through_acompletion, "httpx": bare}


async def calls(call: Call, n: int) -> None:
    for _ in range(n):
        await call()


async def together(call: Call, n: int, in_flight: int) -> str:
    """
    Make *n* calls, *in_flight* at a time; return the CPU and the wall time of one.

    What is done for a call after its answer is there costs no time of the caller's, but it costs CPU.
    """
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    each = -(-n // in_flight)
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    await asyncio.gather(*(calls(call, each) for _ in range(in_flight)))
    wall = time.perf_counter_ns() - wall
    await GLOBAL_LOGGING_WORKER.flush()
    cpu = time.process_time_ns() - cpu

    return f"{cpu / each / in_flight} {wall / each / in_flight}"


def main() -> None:
    """
    Make calls as often as asked.
    """
    stay_here()
    with asyncio.Runner() as runner:

        async def opened() -> dict[str, Call]:
            return arms(sys.argv[1])

        found = runner.run(opened())

        def measured(line: str) -> str:
            name, n, in_flight = line.split()

            return runner.run(together(found[name], int(n), int(in_flight)))

        answer(measured)


if __name__ == "__main__":
    main()
