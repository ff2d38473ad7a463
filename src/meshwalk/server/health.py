"""
Health as gRPC knows it, with watchers that do not hold up a stop.

The library's `Watch` runs until its caller goes away, and a graceful stop waits for every call; a watcher alone would make
it last the whole grace period.  So a watcher is told NOT_SERVING and then let go.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio

from meshwalk.server.calls import Context


class Health(aio.HealthServicer):  # type: ignore[misc]  # the library ships no types
    """
    Tell how the server is, for the whole of it and for each service.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stopping = False

    async def start(self, services: tuple[str, ...]) -> None:
        """
        Say that the server and each of *services* serve.
        """
        for service in ("", *services):
            await self.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """
        Say that nothing serves any more, and let the watchers go.
        """
        self.stopping = True
        await self.enter_graceful_shutdown()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802
        """
        Tell each change until the caller, or the server, stops.
        """
        with suppress(_LetGo):
            await super().Watch(request, _Watcher(context, self))


class _LetGo(Exception):
    pass


class _Watcher:
    """
    Write to *context*, until the last change is told.
    """

    def __init__(self, context: Context, health: Health) -> None:
        self._context = context
        self._health = health

    async def write(self, change: Any) -> None:
        await self._context.write(change)
        # A stop may begin while an earlier change is on its way; that one is not the last.
        if self._health.stopping and change.status != health_pb2.HealthCheckResponse.SERVING:
            raise _LetGo
