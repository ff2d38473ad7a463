"""
The life of a server: it listens, serves, and stops without breaking off running calls.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, Protocol

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from meshwalk.mesh import Mesh, in_seconds
from meshwalk.model import DEFAULT_INPUT_BYTES
from meshwalk.model.problems import SetupError
from meshwalk.model.serving import Access
from meshwalk.records.metrics import Metrics
from meshwalk.records.store import TraceReader
from meshwalk.server.auth import OperatorKey
from meshwalk.server.budgets import Budgets
from meshwalk.server.certificates import Certificates
from meshwalk.server.figures import ServerFigures
from meshwalk.server.graphs import Graphs
from meshwalk.server.guard import Guard, RefusalCounts
from meshwalk.server.health import Health
from meshwalk.server.identity import IdentityBook
from meshwalk.server.in_flight import DEFAULT_WALKS_IN_FLIGHT, InFlightCounts, WalksInFlight
from meshwalk.server.lenient_decode import ServiceRegistrar
from meshwalk.server.listening import check_listening, private_socket
from meshwalk.server.readiness import Readiness, health_names
from meshwalk.server.receiving import Receiving
from meshwalk.server.registry import MeshRegistry
from meshwalk.server.routing import Routing
from meshwalk.server.traces import Traces
from meshwalk.server.transport import transport_options
from meshwalk.wire.address import socket_path
from meshwalk.wire.gen.meshwalk.v1beta1 import (
    budget_pb2,
    budget_pb2_grpc,
    graph_pb2,
    graph_pb2_grpc,
    routing_pb2,
    routing_pb2_grpc,
    trace_pb2,
    trace_pb2_grpc,
)


_log = logging.getLogger(__name__)

SERVICES = (
    routing_pb2.DESCRIPTOR.services_by_name["RoutingService"].full_name,
    trace_pb2.DESCRIPTOR.services_by_name["TraceService"].full_name,
    graph_pb2.DESCRIPTOR.services_by_name["GraphService"].full_name,
    budget_pb2.DESCRIPTOR.services_by_name["BudgetService"].full_name,
)

DEFAULT_GRACE_SECONDS = 30.0

# The time that calls have to end whose walks were cut off.
_CUT_SECONDS = 2.0

# The time between two looks at files that may have changed.
_WATCH_SECONDS = 1.0

# The time that records wait for others, so that a batch is encoded at once.  By then the reply is on its way.  Batching keeps
# the encoder in the processor's cache: a third less time per record under load.
_BATCH_SECONDS = 0.01


class _Entry(NamedTuple):
    """
    The way into a server.
    """

    port: int
    guard: Guard
    certificates: Certificates | None


class Server:
    """
    A running server, see `serve`.
    """

    def __init__(
        self,
        server: grpc.aio.Server,
        health: Health,
        routing: Routing,
        in_flight: WalksInFlight,
        served: MeshRegistry,
        entry: _Entry,
    ) -> None:
        self._server = server
        self._health = health
        self._routing = routing
        self._in_flight = in_flight
        self._served = served
        self._hasty = asyncio.Event()
        self._guard = entry.guard
        # None of a server without TLS.
        self.certificates = entry.certificates
        # 0 of a Unix socket.
        self.port = entry.port
        self._stopped = False

    def __repr__(self) -> str:
        return (
            f"<Server {f'on port {self.port}' if self.port else 'on a Unix socket'}: {'stopped' if self._stopped else 'open'}>"
        )

    @property
    def walk_counts(self) -> InFlightCounts:
        """
        Return how many walks are in flight, and how many were admitted and refused.
        """
        return self._in_flight.counts

    @property
    def refusals(self) -> RefusalCounts:
        """
        Return how many calls were refused for want of a good credential, and of a right.
        """
        return self._guard.counts

    async def wait(self) -> None:
        """
        Wait until the server has stopped.
        """
        await self._server.wait_for_termination()

    async def stop(self, grace: timedelta | float = DEFAULT_GRACE_SECONDS, lame_duck: timedelta | float = 0) -> None:
        """
        Take no more calls, wait up to *grace* for the walks that run, and cut off the rest; stopping twice is fine.

        A walk that is cut off is settled and recorded, and its caller gets `MeshClosed` with the id of its record.

        Args:
            grace: A `timedelta` or a number of seconds.
            lame_duck: The time in which health says NOT_SERVING and calls are still taken, so that callers can turn away first.
        """
        if self._stopped:
            return
        self._stopped = True
        in_flight = self._in_flight.counts.in_flight
        _log.info("the server stops, with %d walks in flight", in_flight, extra={"meshwalk.event": "draining"})
        await self._health.stop()
        await self._unless_hasty(asyncio.sleep(in_seconds(lame_duck)))
        self._routing.stop()
        grace_seconds = in_seconds(grace)
        began = asyncio.get_running_loop().time()
        # The port closes now; gRPC itself would end calls without a word at the end of its time.
        closing = asyncio.create_task(self._server.stop(grace_seconds + _CUT_SECONDS))
        await self._unless_hasty(asyncio.wait_for(self._in_flight.all_ended(), grace_seconds))
        left_seconds = began + grace_seconds - asyncio.get_running_loop().time()
        if left_seconds > 0:
            # Other calls, such as lists of records, may end in the rest of the time.
            await self._unless_hasty(asyncio.wait_for(asyncio.shield(closing), left_seconds))
        if cut := self._in_flight.counts.in_flight:
            _log.warning("the server stopped before these walks had ended, which were cut off: %d", cut)
        self._in_flight.cut()
        for mesh in self._served:
            mesh.cut()
        if not closing.done():
            # It was begun with more time than is left, if the stop is hasty.
            await self._server.stop(_CUT_SECONDS)
        await closing
        _log.info("the server has stopped", extra={"meshwalk.event": "stopped"})

    def hasten(self) -> None:
        """
        Cut off at once what a stop waits for.
        """
        self._hasty.set()

    async def _unless_hasty(self, waited_for: Awaitable[object]) -> None:
        """
        Await *waited_for* until it is over, its time is, or the stop is hastened.
        """
        waiting = asyncio.ensure_future(waited_for)
        hasty = asyncio.create_task(self._hasty.wait())
        try:
            await asyncio.wait([waiting, hasty], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            hasty.cancel()
            await asyncio.gather(waiting, hasty, return_exceptions=True)


@asynccontextmanager
async def serve(  # noqa: PLR0913 (the options of a server)
    meshes: Iterable[Mesh],
    *,
    listen: str = "127.0.0.1:0",
    traces: TraceReader | None = None,
    operator_key: OperatorKey | None = None,
    share_port: bool = False,
    grace: timedelta | float = DEFAULT_GRACE_SECONDS,
    lame_duck: timedelta | float = 0,
    walks_in_flight: int = DEFAULT_WALKS_IN_FLIGHT,
    access: Access = Access(),
    metrics: Metrics | None = None,
    losing: Callable[[], bool] = lambda: False,
) -> AsyncIterator[Server]:
    """
    Serve open *meshes* over gRPC until the context is left.

    Args:
        listen: `host:port`, or `unix:path`; port 0 takes a free one, see `Server.port`.
        traces: The store that TraceService reads; the caller closes it.
        operator_key: The key that sets budgets; None lets nobody set any.
        share_port: Let other processes listen at the same port and share its calls; see `workers`.
        grace: The time that running calls have to end when the context is left: a `timedelta` or a number of seconds.
        lame_duck: The time before that in which health says NOT_SERVING and calls are still taken.
        walks_in_flight: The most walks at a time; further requests are refused with `TooManyWalks`, before anything is spent.
        metrics: The registry that this server's readings are added to while it runs.
        losing: Tells whether records are being lost, as the health of `records` says.
        access: The callers, and the way they come in; by itself a server is for this machine alone.

    Raises:
        SetupError: If the address is none, is reached by others or cannot be listened at, or two graphs have one name.
    """
    warning = check_listening(listen, guarded=access.guarded, insecure=access.insecure)
    # The supervisor of several processes warns for all of them.
    if warning and not share_port:
        _log.warning(warning)
    served = MeshRegistry(meshes)
    in_flight = WalksInFlight(walks_in_flight)
    server = grpc.aio.server(options=_options(served, share_port))
    health, routing, receiving = Health(), Routing(served, in_flight), Receiving()
    operator = operator_key or OperatorKey()
    book = IdentityBook(access, operator, served.tenant) if access.identified else None
    guard = Guard(book)
    registrar: Any = ServiceRegistrar(guard.before(server), receiving)
    routing_pb2_grpc.add_RoutingServiceServicer_to_server(routing, registrar)
    trace_pb2_grpc.add_TraceServiceServicer_to_server(Traces(served, traces), registrar)
    graph_pb2_grpc.add_GraphServiceServicer_to_server(Graphs(served), registrar)
    budget_pb2_grpc.add_BudgetServiceServicer_to_server(Budgets(served, operator), registrar)
    plain: Any = ServiceRegistrar(guard.before(server), receiving, lenient=False, bounded=False)
    health_pb2_grpc.add_HealthServicer_to_server(health, plain)
    if access.reflection:
        names = (*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names), plain)
    certificates = None if access.tls is None else Certificates(access.tls)
    entry = _Entry(_bind(server, listen, certificates), guard, certificates)
    running = Server(server, health, routing, in_flight, served, entry)
    figures, registry = ServerFigures(served, in_flight, guard, certificates).readings, metrics or Metrics()
    await server.start()
    readiness = Readiness(health, served, losing)
    await health.start((*SERVICES, *health_names(served)))
    receiving.start()
    watching = [
        asyncio.create_task(_watch([files for files in (certificates, book) if files is not None])),
        asyncio.create_task(readiness.run()),
    ]
    registry.add(figures)
    try:
        for mesh in served:
            mesh.defer_records(partial(asyncio.get_running_loop().call_later, _BATCH_SECONDS))
        yield running
    finally:
        for watch in watching:
            watch.cancel()
        await running.stop(grace, lame_duck)
        registry.remove(figures)
        receiving.stop()
        for mesh in served:
            mesh.defer_records(None)


class _Files(Protocol):
    """
    Files that may change while a server runs.
    """

    def poll(self) -> None:
        """
        Read those that have changed.
        """


async def _watch(watched: Sequence[_Files]) -> None:
    while watched:
        await asyncio.sleep(_WATCH_SECONDS)
        for files in watched:
            try:
                files.poll()
            except Exception:  # noqa: BLE001 (the server goes on with what it has)
                _log.exception("files that may have changed cannot be looked at")


def _bind(server: grpc.aio.Server, listen: str, certificates: Certificates | None) -> int:
    try:
        with private_socket(listen):
            if certificates is None:
                port = server.add_insecure_port(listen)
            else:
                port = server.add_secure_port(listen, certificates.credentials())
    except RuntimeError as error:
        raise SetupError(
            f"cannot listen at {listen!r}: it is no address of this machine, or something listens there already"
        ) from error

    return 0 if socket_path(listen) is not None else port


def _options(served: MeshRegistry, share_port: bool) -> tuple[tuple[str, int], ...]:
    input_bytes = max(mesh.plan.limits.input_bytes or DEFAULT_INPUT_BYTES for mesh in served)

    return transport_options(input_bytes, share_port=share_port)
