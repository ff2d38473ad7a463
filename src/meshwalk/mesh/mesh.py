"""
The entry point to meshwalk inside a process: requests in, results out.

A mesh is opened and closed as an async context, since its backends hold connections and models.  Leaving the context waits for
the walks under way, `grace` seconds at most if it is given, and until every record has reached the sinks.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

import anyio

from meshwalk.backends.base import Backend
from meshwalk.backends.cache import CacheBackend
from meshwalk.budgets.vaults import DEFAULT_TENANT, Vault
from meshwalk.engine import Engine, OnDelta, OnEvent, limited, limiters
from meshwalk.engine.idempotency import IdempotentWalks
from meshwalk.loader import load_graph
from meshwalk.mesh.clock import Clock, SystemClock
from meshwalk.mesh.options import RETRY_WINDOW, MeshOptions, check_options, in_seconds
from meshwalk.mesh.relay import RecordRelay, Schedule, Sink
from meshwalk.mesh.resources import Resources, flush_loop, open_resources
from meshwalk.mesh.status import MeshStatus, mesh_status
from meshwalk.mesh.under_way import StreamedWalk, WalksUnderWay
from meshwalk.model import Limits, Sampling, Value
from meshwalk.model.arguments import calls_fault, checked_request
from meshwalk.model.problems import SetupError
from meshwalk.model.trust import USUAL_TRUST, Trust
from meshwalk.plan import Plan, compile_plan
from meshwalk.records.events import Event, answer_deltas
from meshwalk.records.previews import Preview
from meshwalk.records.results import RouteResult
from meshwalk.trace import Request, ResponseFormat, Tool
from meshwalk.trace.requests import Prompt, build_request, with_messages, within


_SYSTEM_CLOCK = SystemClock()


class Mesh:
    """
    A plan that is ready to route requests in this process, inside `async with`.

    Args:
        outcomes: The outcomes file for `recorded` backends that name none.
        backends: Open backends to use in place of those the graph declares, by name; the caller closes them.
        sinks: Receivers of every traversal; the caller closes them.
        traces: A folder to store traces in; the mesh opens and closes that store.
        vault: The store of shared budgets: an open vault, which the caller closes, or the address of one; None keeps them in
            this process.
        tenant: The tenant whose walks these are.
        retry_window: Seconds that a walk is kept for requests that repeat its idempotency key.
        grace: Seconds that leaving the mesh waits for walks under way before it cancels them; None waits for their deadlines.
        clock: The clock of walks, limits and caches.
        chance: Draws numbers from 0 to below 1: for the pauses between retries, and for the choice of an endpoint.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        outcomes: str | Path | None = None,
        backends: Mapping[str, Backend] | None = None,
        sinks: Sequence[Sink] = (),
        traces: str | Path | None = None,
        vault: Vault | str | None = None,
        tenant: str = DEFAULT_TENANT,
        retry_window: timedelta | float = RETRY_WINDOW,
        grace: timedelta | float | None = None,
        clock: Clock = _SYSTEM_CLOCK,
        chance: Callable[[], float] = random.random,
    ) -> None:
        places = {"outcomes": outcomes, "sinks": sinks, "traces": traces, "vault": vault}
        check_options(
            plan, **places, backends=backends, tenant=tenant, retry_window=retry_window, grace=grace, clock=clock, chance=chance
        )
        self.plan = plan
        self.tenant = tenant
        self._outcomes = None if outcomes is None else str(outcomes)
        self._backends = dict(backends or {})
        self._sinks = tuple(sinks)
        self._traces = traces
        self._given_vault = vault
        self._retry_window_us = round(in_seconds(retry_window) * 1e6)
        self._grace = None if grace is None else in_seconds(grace)
        self._clock = clock
        self._chance = chance
        self._schedule: Schedule | None = None
        self._exit: AsyncExitStack | None = None
        self._vault: Vault | None = None
        self._relay: RecordRelay | None = None
        self._under_way: WalksUnderWay | None = None
        self._idempotent: IdempotentWalks | None = None
        self._engine: Engine | None = None

    @classmethod
    def from_file(cls, path: str | Path, *, trust: Trust = USUAL_TRUST, **options: Unpack[MeshOptions]) -> Self:
        """
        Load, check and compile the graph in a file, ready to be opened with `async with`; *trust* says what it may name.

        Raises:
            GraphError: With every fault of the graph.
        """
        return cls(compile_plan(load_graph(path, trust=trust)), **options)

    async def __aenter__(self) -> Self:
        if self._exit is not None:
            raise SetupError(f"the mesh of graph '{self.plan.name}' is open already")
        # A missing redacting function is found first, while there is nothing to close.
        relay = RecordRelay(self.plan)
        async with AsyncExitStack() as stack:
            resources = await open_resources(
                self.plan,
                stack,
                self._clock,
                outcomes=self._outcomes,
                backends=self._backends,
                vault=self._given_vault,
                traces=self._traces,
            )
            stack.callback(relay.flush)
            relay.sinks = self._sinks if resources.store is None else (*self._sinks, resources.store)
            relay.hide(resources.backends.values())
            relay.defer(self._schedule)
            engine = self._engine_with(resources, relay)
            # Last, since a task group makes a group of an error that passes through it.
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            under_way = self._under_way = WalksUnderWay(self.plan.name, self._grace, tasks)
            stack.push_async_callback(under_way.end)
            tasks.start_soon(relay.run)
            if resources.vault.waits:
                tasks.start_soon(flush_loop, resources.vault)
            self._idempotent = IdempotentWalks(self.plan, resources.vault, self._retry_window_us, under_way.spawn)
            self._vault, self._relay, self._engine = resources.vault, relay, engine
            self._exit = stack.pop_all()

        return self

    def _engine_with(self, resources: Resources, relay: RecordRelay) -> Engine:
        clock_ns = self._clock.monotonic_ns
        specs = self.plan.graph.backends
        # Nobody waits for a backend of the caller's own that answers at once.
        names = [name for name, backend in resources.backends.items() if name in specs and (backend.waits or specs[name].gated)]
        before = limiters(self.plan.graph, names, clock_ns, self._chance)
        for name, backend in resources.backends.items():
            if name not in self._backends and isinstance(backend, CacheBackend):
                limiter = before.get(backend.of)
                if limiter is not None:
                    backend.enter_through(partial(limited, limiter, clock_ns))

        return Engine(
            self.plan,
            resources.backends,
            relay.record,
            vault=resources.vault,
            tenant=self.tenant,
            tokenizers=resources.tokenizers,
            limiters=before,
            classifiers=resources.classifiers,
            clock_ns=clock_ns,
            unix_ns=self._clock.unix_ns,
            sleep=self._clock.sleep,
            chance=self._chance,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # No walk begins any more.
        self._engine = None
        stack, self._exit = self._exit, None
        if stack is not None:
            await stack.aclose()
        self._vault = self._relay = self._idempotent = self._under_way = None

    # ---- routing ------------------------------------------------------------------------------------------------

    async def route(
        self,
        prompt: Prompt,
        *,
        attributes: Mapping[str, Value] = {},
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
        on_delta: Callable[[str], None] | None = None,
        **more_attributes: Value,
    ) -> RouteResult:
        """
        Walk one prompt, or one conversation, to its answer or its declared refusal.

        Args:
            attributes: Values for the graph's attributes; those given as keywords are added to them.
            tool_choice: `auto`, `none`, `required`, or the name of a tool; empty leaves it to the provider.
            timeout: Seconds that the walk may take; it only tightens `limits` and the graph's own deadline.
            on_delta: Called with each piece of the answer, in order: as it comes where the graph streams it, else at the end.

        Raises:
            RequestError: If the request cannot begin a walk; each field is named.
            WalkStopped: If the walk failed; its children say of what.
        """
        request = build_request(
            prompt,
            attributes=attributes,
            named=more_attributes,
            session=session,
            workflow=workflow,
            limits=limits if timeout is None else within(limits, timeout),
            sampling=sampling,
            tools=tools,
            tool_choice=tool_choice,
            response_format=response_format,
            traceparent=traceparent,
            idempotency_key=idempotency_key,
        )
        if on_delta is not None:
            checked_request(on_delta=calls_fault(on_delta, "a function of a text"))
        # Not by `send`: one coroutine less to await.
        result = (await self.walk(request, None, None if on_delta is None else lambda _, text: on_delta(text))).raised()
        if on_delta is not None and result.answer and not result.streamed:
            on_delta(result.answer)

        return result

    async def send(self, request: Request, on_delta: OnDelta | None = None) -> RouteResult:
        """
        Route *request*, as `route` does.

        Args:
            on_delta: Called with the hop and the text of each piece of an answer that the graph streams, as it comes.
        """
        return (await self.walk(with_messages(request), None, on_delta)).raised()

    async def stream(
        self,
        prompt: Prompt,
        *,
        attributes: Mapping[str, Value] = {},
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
        **more_attributes: Value,
    ) -> AsyncGenerator[Event, None]:
        """
        Route as `route` does, and yield each hop as it starts and ends; the last event is the result.

        Where the graph streams an answer it is committed to first, and its pieces come as the model makes them.

        Leaving the loop early cancels the walk once the iterator is closed (`contextlib.aclosing` does that at once).
        """
        request = build_request(
            prompt,
            attributes=attributes,
            named=more_attributes,
            session=session,
            workflow=workflow,
            limits=limits if timeout is None else within(limits, timeout),
            sampling=sampling,
            tools=tools,
            tool_choice=tool_choice,
            response_format=response_format,
            traceparent=traceparent,
            idempotency_key=idempotency_key,
        )
        engine = self._opened()
        assert self._under_way is not None
        walk = StreamedWalk(self.plan, lambda feed: self._walk(engine, request, feed, feed.delta))
        # A task of the mesh, since no task group may stay open across a `yield`.
        self._under_way.spawn(walk.run)
        try:
            while (event := await walk.next()) is not None:
                yield event
        finally:
            await walk.stop()
        result = walk.result().raised()
        if (hop := result.traversal.finish.answer_hop) is not None and not walk.feed.streamed:
            for delta in answer_deltas(hop, result.answer):
                yield delta
        yield result

    async def walk(self, request: Request, on_event: OnEvent | None = None, on_delta: OnDelta | None = None) -> RouteResult:
        """
        Walk *request* and return its result, of a failed walk too.

        Args:
            on_event: Called with every entry, the wishes it led to and the walk that made them, as they come.
            on_delta: Called with the hop and the text of each piece of an answer that the graph streams, as it comes.

        Raises:
            RequestError: If the request cannot begin a walk.
            MeshClosed: If the mesh was closed before the walk had ended.
        """
        if type(request) is not Request:
            request = with_messages(request)
        engine, under_way = self._engine, self._under_way
        if engine is None or under_way is None:
            raise self._not_open()
        under_way.count += 1
        try:
            if under_way.cancellable:
                return await under_way.run(lambda: self._walk(engine, request, on_event, on_delta))
            if not request.idempotency_key:
                return await engine.walk(request, on_event, on_delta)
            return await self._walk(engine, request, on_event, on_delta)
        finally:
            under_way.count -= 1
            if under_way.idle is not None:
                under_way.wake()

    def cut(self) -> None:
        """
        Cancel the walks that go on without their callers; each is settled and recorded.
        """
        if self._under_way is not None:
            self._under_way.cut()

    async def _walk(self, engine: Engine, request: Request, on_event: OnEvent | None, on_delta: OnDelta | None) -> RouteResult:
        if not request.idempotency_key:
            return await engine.walk(request, on_event, on_delta)
        limits = engine.admission.admit(request)[1]
        assert self._idempotent is not None

        async def start() -> RouteResult:
            return await engine.walk(request, on_event, on_delta)

        return await self._idempotent.walk(request, request.scopes.tenant or self.tenant, limits, start)

    @property
    def vault(self) -> Vault:
        """
        Return the store of shared budgets, while the mesh is open.
        """
        self._opened()
        assert self._vault is not None

        return self._vault

    async def decide(
        self,
        prompt: Prompt,
        *,
        attributes: Mapping[str, Value] = {},
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
        Return the way that a prompt would go, without calling a model.

        Raises:
            RequestError: If the request cannot begin a walk.
        """
        return await self.preview(
            build_request(
                prompt,
                attributes=attributes,
                named=more_attributes,
                session=session,
                workflow=workflow,
                limits=limits if timeout is None else within(limits, timeout),
                sampling=sampling,
                tools=tools,
                tool_choice=tool_choice,
                response_format=response_format,
            )
        )

    async def preview(self, request: Request) -> Preview:
        """
        Return the way that *request* would go, as `decide` does.

        Raises:
            RequestError: If the request cannot begin a walk.
        """
        return await self._opened().decide(with_messages(request))

    @property
    def status(self) -> MeshStatus:
        """
        Return the state of its backends and its vault, while it is open.
        """
        return mesh_status(self._opened(), self.vault)

    def _opened(self) -> Engine:
        if self._engine is None:
            raise self._not_open()

        return self._engine

    def _not_open(self) -> SetupError:
        return SetupError(f"the mesh of graph '{self.plan.name}' is not open; use it inside `async with`")

    # ---- records ------------------------------------------------------------------------------------------------

    def defer_records(self, schedule: Schedule | None) -> None:
        """
        Hand records over in calls made by *schedule*, each with all that have come by then; None does so at once.
        """
        self._schedule = schedule
        if self._relay is not None:
            self._relay.defer(schedule)

    def flush_records(self) -> None:
        """
        Hand the sinks all waiting records now.
        """
        if self._relay is not None:
            self._relay.flush()

    def __repr__(self) -> str:
        return f"<Mesh {self.plan.name}: {'closed' if self._under_way is None else f'open, {self._under_way.count} under way'}>"


def load(graph: str | Path, *, trust: Trust = USUAL_TRUST, **options: Unpack[MeshOptions]) -> Mesh:
    """
    Load the graph in a file, as `Mesh.from_file` does.

    Raises:
        GraphError: With every fault of the graph.
    """
    return Mesh.from_file(graph, trust=trust, **options)
