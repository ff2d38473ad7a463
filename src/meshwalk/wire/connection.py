"""
The connection of a client: its channel, and the ways of calling over it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Self, TypeVar

import grpc.aio

from meshwalk.model.arguments import checked_setup, fault_of, mapping_fault
from meshwalk.model.problems import SetupError
from meshwalk.trace.requests import seconds_of
from meshwalk.wire.address import checked_address
from meshwalk.wire.errors import unpack_error
from meshwalk.wire.gen.meshwalk.v1beta1 import budget_pb2_grpc, graph_pb2_grpc, routing_pb2_grpc, trace_pb2_grpc


_Result = TypeVar("_Result")

_Metadata = tuple[tuple[str, str], ...]

_OPTIONS = (
    # Each client has a connection of its own, so that the workers behind one port share the load of several.
    ("grpc.use_local_subchannel_pool", 1),
    # A reply may be as long as a model makes it; the server bounds what it takes.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A connection that broke without a word is noticed before the next request needs it.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)

_CREDENTIALS = "channel credentials, as grpc.ssl_channel_credentials() makes them"
_METADATA = "a mapping from names of headers to texts"


class _Stubs:
    """
    An open channel, and the services behind it.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.routing = routing_pb2_grpc.RoutingServiceStub(channel)
        self.traces = trace_pb2_grpc.TraceServiceStub(channel)
        self.graphs = graph_pb2_grpc.GraphServiceStub(channel)
        self.budgets = budget_pb2_grpc.BudgetServiceStub(channel)


class Connection:
    """
    A channel to the server at *target*, inside `async with`; see `Client`.
    """

    def __init__(
        self, target: str, *, credentials: grpc.ChannelCredentials | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        self.target = checked_address(target, first_port=1)
        checked_setup(
            credentials="" if credentials is None else fault_of(credentials, (grpc.ChannelCredentials,), _CREDENTIALS),
            metadata="" if metadata is None else mapping_fault(metadata, _METADATA),
        )
        self._credentials = credentials
        self._headers: _Metadata = tuple((metadata or {}).items())
        self._stubs: _Stubs | None = None

    async def __aenter__(self) -> Self:
        if self._stubs is not None:
            raise SetupError(f"the client of {self.target} is open already")
        if self._credentials is None:
            channel = grpc.aio.insecure_channel(self.target, options=_OPTIONS)
        else:
            channel = grpc.aio.secure_channel(self.target, self._credentials, options=_OPTIONS)
        self._stubs = _Stubs(channel)

        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stubs, self._stubs = self._stubs, None
        if stubs is not None:
            await stubs.channel.close()

    def __repr__(self) -> str:
        return f"<Client of {self.target}: {'open' if self._stubs is not None else 'closed'}>"

    def _metadata(self, traceparent: str) -> _Metadata:
        return (*self._headers, ("traceparent", traceparent)) if traceparent else self._headers

    def _opened(self) -> _Stubs:
        if self._stubs is None:
            raise SetupError(f"the client of {self.target} is not open; use it inside `async with`")

        return self._stubs

    @property
    def _routing(self) -> routing_pb2_grpc.RoutingServiceAsyncStub:
        return self._opened().routing

    @property
    def _traces(self) -> trace_pb2_grpc.TraceServiceAsyncStub:
        return self._opened().traces

    @property
    def _graphs(self) -> graph_pb2_grpc.GraphServiceAsyncStub:
        return self._opened().graphs

    @property
    def _budgets(self) -> budget_pb2_grpc.BudgetServiceAsyncStub:
        return self._opened().budgets

    async def _call(
        self,
        rpc: Callable[..., Awaitable[_Result]],
        message: object,
        timeout: timedelta | float | None,
        metadata: _Metadata | None = None,
    ) -> _Result:
        headers = self._headers if metadata is None else metadata
        try:
            return await rpc(message, timeout=seconds_of(timeout), metadata=headers)
        except grpc.aio.AioRpcError as error:
            raise unpack_error(error, self.target) from error
