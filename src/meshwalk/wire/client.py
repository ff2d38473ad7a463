"""
The typed client: a `Router` over gRPC, as `Mesh` is one in process.

It takes and returns the same types, and raises the same errors: a `RequestError` that names the fields, a child of
`WalkStopped` with the id of the record.  A fault of the transport alone is a `RpcError`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta

import grpc.aio

from meshwalk.model import Caps, Limits, Sampling, ScopeKind, Value
from meshwalk.model.arguments import checked_request, count_fault, fault_of, text_fault
from meshwalk.records.events import AnswerDelta, Committed, Event, HopFinished, HopStarted
from meshwalk.records.previews import Preview
from meshwalk.records.results import Record, RouteResult
from meshwalk.trace import Outcome, Request, ResponseFormat, Tool
from meshwalk.trace.requests import Prompt, build_request, seconds_of, with_messages
from meshwalk.wire import convert
from meshwalk.wire.connection import Connection, TlsOptions
from meshwalk.wire.errors import NotFound, PermissionDenied, RpcError, TooManyRequests, Unauthenticated, unpack_error
from meshwalk.wire.gen.meshwalk.v1beta1 import (
    budget_pb2,
    common_pb2,
    graph_pb2,
    routing_pb2,
    trace_pb2,
)
from meshwalk.wire.keys import checked_key
from meshwalk.wire.many import IN_FLIGHT, LARGEST, Many
from meshwalk.wire.types import (
    AccountInfo,
    AccountPage,
    Detail,
    GraphDescription,
    GraphInfo,
    Page,
    Summary,
    detail_fault,
    scope_fault,
)


# Everything a user of the client needs stands here, so that nobody looks for it in three packages.
__all__ = [
    "AccountInfo",
    "AccountPage",
    "AnswerDelta",
    "Client",
    "Committed",
    "Detail",
    "Event",
    "GraphDescription",
    "GraphInfo",
    "HopFinished",
    "HopStarted",
    "Many",
    "NotFound",
    "Page",
    "PermissionDenied",
    "Preview",
    "Record",
    "RouteResult",
    "RpcError",
    "Summary",
    "TlsOptions",
    "TooManyRequests",
    "Unauthenticated",
]


# The most that a server gives at a time.
_PAGE = 1_000


class Client(Connection):
    """
    A connection to the meshwalk server at *target* (`host:port`), inside `async with`.

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

    # ---- routing ------------------------------------------------------------------------------------------------

    async def route(
        self,
        /,
        prompt: Prompt,
        *,
        attributes: Mapping[str, Value] = {},
        graph: str = "",
        session: str = "",
        workflow: str = "",
        limits: Limits = Limits(),
        sampling: Sampling = Sampling(),
        tools: Sequence[Tool] = (),
        tool_choice: str = "",
        response_format: ResponseFormat | None = None,
        traceparent: str = "",
        idempotency_key: str = "",
        timeout: timedelta | float | None = None,
        detail: Detail = "NONE",
        **more_attributes: Value,
    ) -> RouteResult:
        """
        Route one prompt, or one conversation, to its answer or its declared refusal.

        Args:
            graph: May be left out where the server serves just one.
            idempotency_key: Names this request among its retries; a second one with it is given the first one's reply.
            attributes: Values for the graph's attributes; those given as keywords are added to them.
            tool_choice: `auto`, `none`, `required`, or the name of a tool; empty leaves it to the provider.
            timeout: Seconds until nobody waits any more; the server plans with them.

        Raises:
            RequestError: If the request cannot begin a walk; each field is named.
            WalkStopped: If the walk failed; its children say of what.
            RpcError: If there is no server, or it failed.
        """
        request = build_request(
            prompt,
            attributes=attributes,
            named=more_attributes,
            session=session,
            workflow=workflow,
            limits=limits,
            sampling=sampling,
            tools=tools,
            tool_choice=tool_choice,
            response_format=response_format,
            traceparent=traceparent,
            idempotency_key=idempotency_key,
        )

        return await self.send(request, graph=graph, timeout=timeout, detail=detail)

    async def send(
        self,
        request: Request,
        *,
        graph: str = "",
        timeout: timedelta | float | None = None,
        detail: Detail = "NONE",
    ) -> RouteResult:
        """
        Route *request*, as `route` does.
        """
        request = with_messages(request)
        checked_request(graph=text_fault(graph), detail=detail_fault(detail))
        message = convert.pack_request(request, graph, detail)
        metadata = self._metadata(request.traceparent)

        return convert.unpack_reply(await self._call(self._routing.Route, message, timeout, metadata))

    async def stream(
        self,
        /,
        prompt: Prompt,
        *,
        attributes: Mapping[str, Value] = {},
        graph: str = "",
        session: str = "",
        workflow: str = "",
        limits: Limits = Limits(),
        sampling: Sampling = Sampling(),
        tools: Sequence[Tool] = (),
        tool_choice: str = "",
        response_format: ResponseFormat | None = None,
        traceparent: str = "",
        idempotency_key: str = "",
        timeout: timedelta | float | None = None,
        detail: Detail = "NONE",
        **more_attributes: Value,
    ) -> AsyncGenerator[Event, None]:
        """
        Route as `route` does, and tell of each hop as it starts and ends; the last event is the reply.

        Where the graph streams an answer it is committed to first, and its pieces come as the model makes them.  A stream that
        breaks off after that ends in an error that holds what had come.

        Leaving the loop early cancels the walk once the iterator is closed (`contextlib.aclosing` does that at once).
        """
        request = build_request(
            prompt,
            attributes=attributes,
            named=more_attributes,
            session=session,
            workflow=workflow,
            limits=limits,
            sampling=sampling,
            tools=tools,
            tool_choice=tool_choice,
            response_format=response_format,
            traceparent=traceparent,
            idempotency_key=idempotency_key,
        )
        checked_request(graph=text_fault(graph), detail=detail_fault(detail))
        message = routing_pb2.RouteStreamRequest(request=convert.pack_request(request, graph, detail))
        call = self._routing.RouteStream(message, timeout=seconds_of(timeout), metadata=self._metadata(request.traceparent))
        try:
            async for said in call:
                if (event := convert.unpack_event(said)) is not None:
                    yield event
        except grpc.aio.AioRpcError as error:
            raise unpack_error(error, self.target) from error
        finally:
            call.cancel()

    def many(self, *, linger: float = 0.0, largest: int = LARGEST, in_flight: int = IN_FLIGHT) -> Many:
        """
        Open a stream for many requests at a time, inside `async with`; each costs a fraction of a call of its own.

        Args:
            linger: Seconds that a request waits for others to share its frame; with 0 those share one that come while the frame
                before them is written.
            largest: How many requests a frame holds at most.
            in_flight: How many requests are under way at most; more wait for their turn.

        Raises:
            SetupError: If one of them is out of its range.
        """
        return Many(
            self._opened().channel,
            self.target,
            headers=lambda: self._headers,
            linger=linger,
            largest=largest,
            in_flight=in_flight,
        )

    async def decide(
        self,
        /,
        prompt: Prompt,
        *,
        attributes: Mapping[str, Value] = {},
        graph: str = "",
        session: str = "",
        workflow: str = "",
        limits: Limits = Limits(),
        sampling: Sampling = Sampling(),
        tools: Sequence[Tool] = (),
        tool_choice: str = "",
        response_format: ResponseFormat | None = None,
        timeout: timedelta | float | None = None,
        **more_attributes: Value,
    ) -> Preview:
        """
        Ask where a prompt would go, without calling a model.
        """
        request = build_request(
            prompt,
            attributes=attributes,
            named=more_attributes,
            session=session,
            workflow=workflow,
            limits=limits,
            sampling=sampling,
            tools=tools,
            tool_choice=tool_choice,
            response_format=response_format,
        )
        checked_request(graph=text_fault(graph))
        message = routing_pb2.DecideRequest(request=convert.pack_request(request, graph))

        return convert.unpack_preview(await self._call(self._routing.Decide, message, timeout))

    # ---- looking back -------------------------------------------------------------------------------------------

    async def traversal(self, traversal_id: str, *, timeout: timedelta | float | None = None) -> Record:
        """
        Fetch one record.

        Raises:
            NotFound: If there is none of this id.
            SetupError: If the server keeps no records.
        """
        checked_request(traversal_id=text_fault(traversal_id))
        message = trace_pb2.GetTraversalRequest(traversal_id=traversal_id)
        reply = await self._call(self._traces.GetTraversal, message, timeout)

        return convert.unpack_record(reply.traversal)

    async def traversals(
        self,
        *,
        graph: str = "",
        session: str = "",
        workflow: str = "",
        outcome: Outcome | None = None,
        size: int = 0,
        page: str = "",
        timeout: timedelta | float | None = None,
    ) -> Page:
        """
        List records, newest first; 0 leaves the page's size to the server.

        Args:
            page: The `next` of the page before.
        """
        checked_request(
            graph=text_fault(graph),
            session=text_fault(session),
            workflow=text_fault(workflow),
            outcome="" if outcome is None else fault_of(outcome, (Outcome,), "a meshwalk.Outcome"),
            size=count_fault(size),
            page=text_fault(page),
        )
        message = trace_pb2.ListTraversalsRequest(
            graph=graph,
            session=session,
            workflow=workflow,
            outcome=common_pb2.OUTCOME_UNSPECIFIED if outcome is None else convert.OUTCOMES.number[outcome],
            page_size=size,
            page_token=page,
        )
        reply = await self._call(self._traces.ListTraversals, message, timeout)

        return Page(tuple(convert.unpack_summary(summary) for summary in reply.traversals), reply.next_page_token)

    # ---- graphs -------------------------------------------------------------------------------------------------

    async def graphs(self, *, timeout: timedelta | float | None = None) -> tuple[GraphInfo, ...]:
        """
        List the graphs that the server serves.
        """
        graphs: list[GraphInfo] = []
        token = ""
        while True:
            message = graph_pb2.ListGraphsRequest(page_size=_PAGE, page_token=token)
            page = await self._call(self._graphs.ListGraphs, message, timeout)
            graphs += map(convert.unpack_graph_info, page.graphs)
            token = page.next_page_token
            if not token:
                return tuple(graphs)

    async def describe(self, graph: str = "", *, timeout: timedelta | float | None = None) -> GraphDescription:
        """
        Fetch all that a caller may know of a graph.
        """
        checked_request(graph=text_fault(graph))
        message = graph_pb2.DescribeGraphRequest(graph=graph)

        return convert.unpack_described(await self._call(self._graphs.DescribeGraph, message, timeout))

    # ---- budgets ------------------------------------------------------------------------------------------------

    async def budgets(
        self,
        *,
        scope: ScopeKind | None = None,
        name: str = "",
        graph: str = "",
        size: int = 0,
        page: str = "",
        timeout: timedelta | float | None = None,
    ) -> AccountPage:
        """
        List the accounts of shared budgets, by scope, name and window; 0 leaves the page's size to the server.

        Args:
            graph: Only those that walks over this graph spent from, with that graph's lines.
            page: The `next` of the page before.
        """
        checked_request(
            scope="" if scope is None else scope_fault(scope),
            name=text_fault(name),
            graph=text_fault(graph),
            size=count_fault(size),
            page=text_fault(page),
        )
        message = budget_pb2.ListAccountsRequest(
            scope=common_pb2.SCOPE_KIND_UNSPECIFIED if scope is None else convert.SCOPE_KINDS.number[scope],
            name=name,
            graph=graph,
            page_size=size,
            page_token=page,
        )

        return convert.unpack_accounts(await self._call(self._budgets.ListAccounts, message, timeout))

    async def set_budget(
        self, scope: ScopeKind, name: str, caps: Caps, *, key: str = "", timeout: timedelta | float | None = None
    ) -> None:
        """
        Put *caps* in place of all that was set before; None leaves a part to the graphs.

        Args:
            key: The operator's, in place of the client's own credential.

        Raises:
            Unauthenticated: If it is not.
            PermissionDenied: If the client's own credential lacks the right.
            SetupError: If the server was given none, or no header can hold *key*.
        """
        checked_request(
            scope=scope_fault(scope),
            name=text_fault(name),
            caps=fault_of(caps, (Caps,), "a meshwalk.Caps, as in meshwalk.Caps(calls=100)"),
            key=text_fault(key),
        )
        kind = convert.SCOPE_KINDS.number[scope]
        message = budget_pb2.SetBudgetRequest(scope=kind, name=name, caps=convert.pack_caps(caps))
        metadata = self._headers
        if key or not any(header == "authorization" for header, _ in metadata):
            # None at all is the server's to refuse, which says how to give it one.
            others = [header for header in metadata if header[0] != "authorization"]
            metadata = (*others, ("authorization", f"Bearer {key and checked_key(key)}"))
        await self._call(self._budgets.SetBudget, message, timeout, metadata)
