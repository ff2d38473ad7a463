"""
The connection of a client: its channel, and the ways of calling over it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import grpc.aio

from meshwalk.model.arguments import TEXT, checked_setup, fault_of, mapping_fault
from meshwalk.model.problems import SetupError
from meshwalk.trace.requests import seconds_of
from meshwalk.wire.address import checked_address, is_local
from meshwalk.wire.errors import unpack_error
from meshwalk.wire.gen.meshwalk.v1beta1 import budget_pb2_grpc, graph_pb2_grpc, routing_pb2_grpc, trace_pb2_grpc
from meshwalk.wire.keys import checked_key


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


class TlsOptions(NamedTuple):
    """
    The files of a connection with TLS, each in PEM.

    Args:
        ca: The authorities that the server's certificate is checked against; None takes those that gRPC comes with.
        certificate: The caller's own certificate, where the server asks for one, and its *key*.
    """

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """
        Read the files.

        Raises:
            SetupError: If one cannot be read, or a certificate and its key are not both there.
        """
        if (self.certificate is None) is not (self.key is None):
            raise SetupError("a caller's certificate and its key go together; name both files, or neither")

        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.certificate))


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
        self,
        target: str,
        *,
        tls: TlsOptions | None = None,
        api_key: str = "",
        token: Callable[[], str] | None = None,
        insecure: bool = False,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.target = checked_address(target, first_port=1)
        checked_setup(
            credentials="" if credentials is None else fault_of(credentials, (grpc.ChannelCredentials,), _CREDENTIALS),
            metadata="" if metadata is None else mapping_fault(metadata, _METADATA),
            tls="" if tls is None else fault_of(tls, (TlsOptions,), "meshwalk.TlsOptions, such as TlsOptions(ca='ca.pem')"),
            api_key=fault_of(api_key, TEXT, "text"),
            token="" if token is None or callable(token) else f"{fault_of(token, (), 'a function that returns a token')}",
        )
        self._credentials = credentials if tls is None else tls.credentials()
        if (api_key or token) and self._credentials is None and not insecure and not _is_local(target):
            raise SetupError(
                f"a credential is not sent to {target!r} in the clear; give `tls=TlsOptions()`, or say `insecure=True`"
            )
        if api_key and token:
            raise SetupError("an API key and tokens are two credentials, and a call has one; leave one of them out")
        self._plain_headers: _Metadata = tuple((metadata or {}).items())
        if api_key:
            self._plain_headers += (_bearer(api_key),)
        self._token = token
        self._stubs: _Stubs | None = None

    @property
    def _headers(self) -> _Metadata:
        return self._plain_headers if self._token is None else (*self._plain_headers, _bearer(self._token()))

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


def _bearer(credential: str) -> tuple[str, str]:
    return "authorization", f"Bearer {checked_key(credential)}"


def _is_local(target: str) -> bool:
    try:
        return is_local(target)
    except SetupError:
        return False


def _read(path: str | Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SetupError(f"the file {str(path)!r} of the connection's TLS cannot be read: {error.strerror or error}") from error
