"""
The guard of every call: a caller is known, and has the right, before its request is read.

It stands before the handlers of all services, and knows each method by name; one that it does not know is refused.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import grpc
import grpc.aio
from grpc_status import rpc_status

from meshwalk.model.serving import Right
from meshwalk.server.calls import Context, failure_of
from meshwalk.server.identity.book import IdentityBook
from meshwalk.server.identity.caller import set_caller
from meshwalk.wire import errors
from meshwalk.wire.errors import PermissionDenied, Unauthenticated
from meshwalk.wire.gen.meshwalk.v1beta1 import error_pb2


_log = logging.getLogger(__name__)

# The log hears of refusals at most once in so many seconds.
_LOG_SECONDS = 10.0

_MESHWALK = "/meshwalk.v1beta1."
_ANY: frozenset[Right] = frozenset()

# The rights of each method, of which a caller needs one; with none it needs to be known alone.  A method that is None here is
# for everybody: a balancer has no credential, and health says nothing but whether there is any.
RIGHTS_OF: Mapping[str, frozenset[Right] | None] = {
    f"{_MESHWALK}RoutingService/Route": frozenset({"route"}),
    f"{_MESHWALK}RoutingService/RouteStream": frozenset({"route"}),
    f"{_MESHWALK}RoutingService/RouteMany": frozenset({"route"}),
    f"{_MESHWALK}RoutingService/Decide": frozenset({"route"}),
    f"{_MESHWALK}TraceService/GetTraversal": frozenset({"read"}),
    f"{_MESHWALK}TraceService/ListTraversals": frozenset({"read"}),
    f"{_MESHWALK}GraphService/ListGraphs": frozenset({"route", "read"}),
    f"{_MESHWALK}GraphService/DescribeGraph": frozenset({"route", "read"}),
    f"{_MESHWALK}BudgetService/ListAccounts": frozenset({"read"}),
    f"{_MESHWALK}BudgetService/SetBudget": frozenset({"operate"}),
    "/grpc.health.v1.Health/Check": None,
    "/grpc.health.v1.Health/List": None,
    "/grpc.health.v1.Health/Watch": None,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ANY,
}


class RefusalCounts(NamedTuple):
    """
    The calls that were refused since the start, for want of a good credential and for want of a right.
    """

    unauthenticated: int
    permission_denied: int


class Guard:
    """
    The guard of a server's methods; None for *book* lets everybody in.
    """

    def __init__(self, book: IdentityBook | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._book = book
        self._clock = clock
        self._unauthenticated = self._denied = self._unlogged = 0
        self._log_after = 0.0

    @property
    def counts(self) -> RefusalCounts:
        """
        Return how many calls were refused.
        """
        return RefusalCounts(self._unauthenticated, self._denied)

    def before(self, server: grpc.aio.Server) -> Any:
        """
        Return the part of *server* that handlers are added to, with this guard before each of them.
        """
        return server if self._book is None else _GuardedServer(server, self)

    def admit(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """
        Let the caller with *metadata* call *method*, and note it as the caller of what follows in this task.

        Raises:
            Unauthenticated: If its credential is none of this server's.
            PermissionDenied: If it lacks the right.
        """
        assert self._book is not None
        needed = RIGHTS_OF.get(method, _UNKNOWN)
        if needed is None:
            return
        try:
            caller = self._book.identify(metadata)
        except Unauthenticated as error:
            self._unauthenticated += 1
            self._note(str(error))
            raise
        if needed and not needed & caller.rights:
            self._denied += 1
            message = f"{method.rpartition('/')[2]} takes the right {' or '.join(sorted(needed))}, which this caller has not"
            self._note(f"{message} ({caller.name} of {caller.tenant})")
            raise PermissionDenied(message)
        set_caller(caller)

    def _note(self, reason: str) -> None:
        self._unlogged += 1
        now = self._clock()
        if now >= self._log_after:
            _log.warning("callers are refused (%d since the last such line): %s", self._unlogged, reason)
            self._unlogged, self._log_after = 0, now + _LOG_SECONDS


# A right that no caller has.
_UNKNOWN: Any = frozenset({"unknown"})


class _GuardedServer:
    """
    A server that puts *guard* before what is added to it.
    """

    def __init__(self, server: grpc.aio.Server, guard: Guard) -> None:
        self._server = server
        self._guard = guard

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self._server.add_generic_rpc_handlers(tuple(_GuardedHandlers(inner, self._guard) for inner in handlers))


class _GuardedHandlers(grpc.GenericRpcHandler):
    """
    The handlers of *inner*, behind *guard*.

    gRPC looks a handler up in the task that then runs it, before it reads the request.
    """

    def __init__(self, inner: grpc.GenericRpcHandler, guard: Guard) -> None:
        self._inner = inner
        self._guard = guard

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """
        Return the handler of a call, or one that refuses it.
        """
        handler: Any = self._inner.service(details)
        if handler is None:
            return None
        try:
            self._guard.admit(details.method, details.invocation_metadata or ())
        except Exception as error:  # noqa: BLE001 (a fault in here lets nobody in)
            return _refusing(handler, failure_of(details.method, error))

        return handler


_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def _refusing(handler: Any, failure: error_pb2.Failure) -> Any:
    status = rpc_status.to_status(errors.pack_status(failure))

    async def refuse(_: object, context: Context) -> None:
        await context.abort(status.code, status.details, status.trailing_metadata)

    kind = next(kind for kind in _KINDS if getattr(handler, kind) is not None)

    # The body stays as it came: nobody reads what a stranger wrote.
    return handler._replace(request_deserializer=None, response_serializer=None, **{kind: refuse})
