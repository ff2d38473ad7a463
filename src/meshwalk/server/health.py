"""
Health as gRPC knows it, with watchers that do not hold up a stop.

The library's `Watch` runs until its caller goes away, and a graceful stop waits for every call: one watcher would make it last
the whole grace period.  Here a watcher is told NOT_SERVING and its call ends.  The library lacks `List`, which is added here.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio

from meshwalk.server.calls import Context


class Health(aio.HealthServicer):  # type: ignore[misc]  # the library ships no types
    """
    The health of the whole server and of each service.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stopping = False
        self._statuses: dict[str, Any] = {}

    async def start(self, services: tuple[str, ...]) -> None:
        """
        Report the server and each of *services* as serving.
        """
        for service in ("", *services):
            await self.report(service, serving=True)

    async def report(self, service: str, *, serving: bool) -> None:
        """
        Report *service* as serving or not; of a server that stops nothing is serving any more.
        """
        response = health_pb2.HealthCheckResponse
        self._statuses[service] = response.SERVING if serving else response.NOT_SERVING
        await self.set(service, self._statuses[service])

    @property
    def statuses(self) -> dict[str, Any]:
        """
        Return the status of every service by its name.
        """
        response = health_pb2.HealthCheckResponse

        return dict.fromkeys(self._statuses, response.NOT_SERVING) if self.stopping else dict(self._statuses)

    async def stop(self) -> None:
        """
        Report everything as not serving, and end the calls of watchers.
        """
        self.stopping = True
        await self.enter_graceful_shutdown()

    async def List(self, request: health_pb2.HealthListRequest, context: Context) -> health_pb2.HealthListResponse:  # noqa: N802
        """
        Return the health of every service; the empty name is the whole server.
        """
        del request, context
        response = health_pb2.HealthCheckResponse
        statuses = {service: response(status=status) for service, status in self.statuses.items()}

        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802
        """
        Report each change until the caller, or the server, stops.
        """
        with suppress(_LastChange):
            await super().Watch(request, _Watcher(context, self))


class _LastChange(Exception):
    """
    The end of a watch: its last change is written.
    """


class _Watcher:
    """
    A call's context that raises `_LastChange` once the server's stop is written to it.
    """

    def __init__(self, context: Context, health: Health) -> None:
        self._context = context
        self._health = health

    async def write(self, change: Any) -> None:
        await self._context.write(change)
        # A stop may begin while an earlier change is on its way; that change is not the last.
        if self._health.stopping and change.status != health_pb2.HealthCheckResponse.SERVING:
            raise _LastChange
