"""
The client for programs without an event loop.

A thread of its own runs the loop and the asynchronous client; each method waits for the one of the same name there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import ExitStack
from functools import partial, wraps
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar, cast

import grpc
from anyio.from_thread import BlockingPortal, start_blocking_portal

from meshwalk.model.problems import SetupError
from meshwalk.records.events import Event
from meshwalk.wire.client import Client
from meshwalk.wire.connection import TlsOptions


_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


def _waiting(
    method: Callable[Concatenate[Client, _Params], Awaitable[_Result]],
) -> Callable[Concatenate[BlockingClient, _Params], _Result]:
    def call(self: BlockingClient, /, *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        client, portal = self._opened()
        return portal.call(partial(method, client, *args, **kwargs))

    return cast("Callable[Concatenate[BlockingClient, _Params], _Result]", wraps(method)(call))


def _iterating(
    method: Callable[Concatenate[Client, _Params], AsyncGenerator[Event, None]],
) -> Callable[Concatenate[BlockingClient, _Params], Generator[Event, None, None]]:
    def call(self: BlockingClient, /, *args: _Params.args, **kwargs: _Params.kwargs) -> Generator[Event, None, None]:
        client, portal = self._opened()
        events = method(client, *args, **kwargs)
        try:
            while (event := portal.call(_next, events)) is not None:
                yield event
        finally:
            portal.call(events.aclose)

    return cast("Callable[Concatenate[BlockingClient, _Params], Generator[Event, None, None]]", wraps(method)(call))


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)


class BlockingClient:
    """
    A `Client` for programs without an event loop, inside `with`.

    Threads may share it.  A stream that is left early is cancelled once its iterator is closed (`contextlib.closing`).

    Args:
        tls: The files of a connection with TLS; None sends in the clear.
        api_key: The key of a server that asks who calls.
        token: In place of a key: called for each call, it returns a token (JWT), so that one may be renewed.
        insecure: Whether a credential may be sent in the clear to another machine.
        credentials: In place of *tls*: the credentials of a secure channel, as gRPC makes them.
        metadata: Headers for every call, by their lower-case names.

    Raises:
        SetupError: If *target* is no address.
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
        self._client = Client(
            target, tls=tls, api_key=api_key, token=token, insecure=insecure, credentials=credentials, metadata=metadata
        )
        self._portal: BlockingPortal | None = None
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        if self._portal is not None:
            raise SetupError(f"the client of {self._client.target} is open already")
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal("asyncio"))
            stack.enter_context(portal.wrap_async_context_manager(self._client))
            self._portal = portal
            self._exit = stack.pop_all()

        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._portal = None
        self._exit.__exit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"<BlockingClient of {self.target}: {'open' if self._portal is not None else 'closed'}>"

    @property
    def target(self) -> str:
        """
        Return the server's address.
        """
        return self._client.target

    route = _waiting(Client.route)
    send = _waiting(Client.send)
    stream = _iterating(Client.stream)
    decide = _waiting(Client.decide)
    traversal = _waiting(Client.traversal)
    traversals = _waiting(Client.traversals)
    graphs = _waiting(Client.graphs)
    describe = _waiting(Client.describe)
    budgets = _waiting(Client.budgets)
    set_budget = _waiting(Client.set_budget)

    def _opened(self) -> tuple[Client, BlockingPortal]:
        if self._portal is None:
            raise SetupError(f"the client of {self._client.target} is not open; use it inside `with`")

        return self._client, self._portal
