"""
The times at which a call passed each stage, taken from aiohttp's trace hooks and kept in the request's `CallProgress`.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Literal

import aiohttp

from meshwalk.backends.base import CallProgress
from meshwalk.trace import Timing


_Stage = Literal["", "queue", "connect", "answer"]


class Progress:
    """
    The stages of a call, whose times are added to *progress*; the time that its limiter added before stays.
    """

    __slots__ = ("_since_ns", "_stage", "progress")

    def __init__(self, progress: CallProgress | None) -> None:
        self.progress = CallProgress() if progress is None else progress
        self.progress.sent = False
        self._stage: _Stage = ""
        self._since_ns = time.perf_counter_ns()

    def enter(self, stage: _Stage) -> None:
        """
        Begin *stage*, and count the time of the one before.
        """
        now = time.perf_counter_ns()
        took_us = (now - self._since_ns) // 1000
        if self._stage == "queue":
            self.progress.queue_us += took_us
        elif self._stage == "connect":
            self.progress.connect_us += took_us
        self._stage, self._since_ns = stage, now

    def answered(self) -> None:
        """
        Note that the answer begins; only the first time counts.
        """
        if self._stage == "answer":
            self.progress.first_byte_us = (time.perf_counter_ns() - self._since_ns) // 1000
            self._stage = ""

    def stop(self) -> Timing:
        """
        Give the split; a call that ends while it waits for a connection has spent its time there.
        """
        self.enter("")

        return self.progress.timing


def tracing() -> aiohttp.TraceConfig:
    """
    Make the hooks that fill in the `Progress` which a request brings along.
    """
    config = aiohttp.TraceConfig()

    async def queued(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        context.trace_request_ctx.enter("queue")

    async def connecting(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        context.trace_request_ctx.enter("connect")

    async def ready(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        context.trace_request_ctx.enter("answer")

    async def sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        context.trace_request_ctx.progress.sent = True

    config.on_connection_queued_start.append(queued)
    config.on_connection_queued_end.append(ready)
    config.on_connection_create_start.append(connecting)
    config.on_connection_create_end.append(ready)
    config.on_connection_reuseconn.append(ready)
    config.on_request_headers_sent.append(sent)

    return config
