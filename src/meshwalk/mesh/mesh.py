"""
A plan wired to its backends and sinks: meshwalk inside a process.

A mesh is opened and closed as an async context, since its backends hold connections and models.  What a walk leaves behind
is handed to the sinks as it ends: they put it into few words and where a thread of their own finds it, which takes less than
waking a task for it would; a server has that done once replies are on their way (`defer_records`).  Where a graph records
content, its redacting functions see every text first, and after the caller has its answer; content that one of them fails on is
not recorded.  Closing the mesh waits for the walks under way and until every record is handed over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup

from meshwalk.backends import open_backend
from meshwalk.backends.base import Backend
from meshwalk.backends.cache import CacheBackend
from meshwalk.backends.classifiers import Classifier, open_classifier, opens
from meshwalk.backends.token_counts import Tokenizer
from meshwalk.backends.tokenizer import open_tokenizer
from meshwalk.budgets.vaults import DEFAULT_TENANT, Vault, open_vault
from meshwalk.engine import Engine, OnDelta, OnEvent, limited, limiters
from meshwalk.engine.idempotency import IdempotentWalks
from meshwalk.loader import load_graph
from meshwalk.mesh.relay import RecordRelay, Schedule, Sink
from meshwalk.model import CacheSpec, Limits, Sampling, Value
from meshwalk.model.problems import SetupError
from meshwalk.plan import Plan, compile_plan
from meshwalk.records.previews import Preview
from meshwalk.records.results import RouteResult
from meshwalk.records.store import TraceWriter
from meshwalk.trace import Request, ResponseFormat, Tool
from meshwalk.trace.requests import Prompt, build_request, within


_log = logging.getLogger(__name__)

# How long a walk is kept for requests that repeat its idempotency key, if nobody says otherwise.
RETRY_WINDOW_US = 600_000_000

# How often a vault that was away is told what it missed, when nobody else asks it anything.
FLUSH_SECONDS = 1.0


class Mesh:
    """
    Route requests over *plan* in this process.

    Args:
        data: An outcomes file for `recorded` backends that name none.
        backends: Open backends to use in place of those the graph declares, by name; the caller closes them.
        sinks: Fed with every traversal; the caller closes them.
        traces: A folder to store traces in; the mesh opens and closes that store.
        vault: Where shared budgets are kept: an open vault, which the caller closes, or the address of one; None keeps them in
            this process.
        tenant: Whose walks these are.
        retry_window_us: How long a walk is kept for requests that repeat its idempotency key.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        data: str | Path | None = None,
        backends: Mapping[str, Backend] | None = None,
        sinks: Sequence[Sink] = (),
        traces: str | Path | None = None,
        vault: Vault | str | None = None,
        tenant: str = DEFAULT_TENANT,
        retry_window_us: int = RETRY_WINDOW_US,
    ) -> None:
        self.plan = plan
        self.tenant = tenant
        self._given_vault = vault
        self._vault: Vault | None = None
        self._retry_window_us = retry_window_us
        self._once: IdempotentWalks | None = None
        self._data = None if data is None else str(data)
        self._given = dict(backends or {})
        self._given_sinks = tuple(sinks)
        self._traces = traces
        self._own: list[Backend | Classifier] = []
        self._store: TraceWriter | None = None
        self._relay: RecordRelay | None = None
        self._schedule: Schedule | None = None
        self._under_way = 0
        # Rung when no walk is under way any more, by the last one; there while somebody waits for that.
        self._idle: anyio.Event | None = None
        self._tasks: TaskGroup | None = None
        self._engine: Engine | None = None

    async def __aenter__(self) -> Self:
        if self._engine is not None:
            raise SetupError(f"the mesh of graph '{self.plan.name}' is open already")
        # Redacting functions are looked for first, since nothing is to be closed yet if one is missing.
        relay = RecordRelay(self.plan)
        try:
            backends = await self._open_backends()
            classifiers = await self._open_classifiers()
            vault = self._vault = await self._open_vault()
            tokenizers = self._open_tokenizers()
            self._store = None if self._traces is None else TraceWriter(self._traces)
        except BaseException:
            await self._close_backends()
            await self._close_vault()
            raise
        relay.sinks = self._given_sinks if self._store is None else (*self._given_sinks, self._store)
        relay.defer(self._schedule)
        self._relay = relay
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(relay.run)
        self._once = IdempotentWalks(self.plan, vault, self._retry_window_us, self._spawn)
        if vault.waits:
            self._tasks.start_soon(self._mind, vault)
        clock_ns = time.perf_counter_ns
        before = limiters(self.plan.graph, backends.keys() & self.plan.graph.backends.keys(), clock_ns)
        for backend in self._own:
            if isinstance(backend, CacheBackend) and (gate := before.get(backend.of)) is not None:
                backend.enter_through(partial(limited, gate, clock_ns))
        self._engine = Engine(
            self.plan,
            backends,
            relay.record,
            vault=vault,
            tenant=self.tenant,
            tokenizers=tokenizers,
            limiters=before,
            classifiers=classifiers,
            clock_ns=clock_ns,
        )

        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        # No walk begins any more; those under way have deadlines, so waiting for them ends.
        self._engine = None
        try:
            if self._under_way:
                self._idle = anyio.Event()
                await self._idle.wait()
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)
        finally:
            with anyio.CancelScope(shield=True):
                self.flush_records()
                await self._close_backends()
                await self._close_vault()
                if self._store is not None:
                    await self._store.aclose()

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
        result = await self.send(request, None if on_delta is None else lambda _, text: on_delta(text))
        if on_delta is not None and result.answer and not result.streamed:
            on_delta(result.answer)

        return result

    async def send(self, request: Request, on_delta: OnDelta | None = None) -> RouteResult:
        """
        Route *request*, as `route` does.

        Args:
            on_delta: Called with the hop and the text of each piece of an answer that the graph streams, as it comes.
        """
        return (await self.walk(request, None, on_delta)).raised()

    async def walk(self, request: Request, on_event: OnEvent | None = None, on_delta: OnDelta | None = None) -> RouteResult:
        """
        Walk *request* and return its result, of a failed walk too.

        Args:
            on_event: Called with every entry, the wishes it led to and the walk that made them, as they come.
            on_delta: Called with the hop and the text of each piece of an answer that the graph streams, as it comes.

        Raises:
            RequestError: If the request cannot begin a walk.
        """
        engine = self._opened()
        if not request.idempotency_key:
            self._under_way += 1
            try:
                return await engine.walk(request, on_event, on_delta)
            finally:
                self._ended()
        limits = engine.admission.admit(request)[1]
        assert self._once is not None

        async def start() -> RouteResult:
            return await engine.walk(request, on_event, on_delta)

        self._under_way += 1
        try:
            return await self._once.walk(request, request.scopes.tenant or self.tenant, limits, start)
        finally:
            self._ended()

    @property
    def vault(self) -> Vault:
        """
        Return where shared budgets are kept, while the mesh is open.
        """
        self._opened()
        assert self._vault is not None

        return self._vault

    def _spawn(self, walk: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def counted() -> None:
            try:
                await walk()
            finally:
                self._ended()

        # From here on, and not only once it runs: a mesh that is being closed waits for it.
        self._under_way += 1
        assert self._tasks is not None
        self._tasks.start_soon(counted)

    def _ended(self) -> None:
        self._under_way -= 1
        if self._idle is not None and not self._under_way:
            self._idle.set()

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
        Return where a prompt would go, without calling a model.

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
        Return where *request* would go, as `decide` does.

        Raises:
            RequestError: If the request cannot begin a walk.
        """
        return await self._opened().decide(request)

    def _opened(self) -> Engine:
        if self._engine is None:
            raise SetupError(f"the mesh of graph '{self.plan.name}' is not open; use it inside `async with`")

        return self._engine

    async def _open_backends(self) -> dict[str, Backend]:
        used = {node.node.backend for node in self.plan.nodes if node.node.backend is not None}
        specs = {name: self.plan.graph.backends[name] for name in sorted(used - self._given.keys())}
        caches = {name: spec for name, spec in specs.items() if isinstance(spec, CacheSpec)}
        # What a cache keeps the replies of is opened before it, and once, whoever else calls it.
        specs |= {spec.of: self.plan.graph.backends[spec.of] for spec in caches.values() if spec.of not in self._given}
        backends = dict(self._given)
        lacking: list[SetupError] = []
        for name, spec in sorted(specs.items(), key=lambda named: (named[0] in caches, named[0])):
            inner = backends.get(spec.of) if isinstance(spec, CacheSpec) else None
            if name in caches and inner is None:
                continue  # what is lacking is said of the other backend
            try:
                backends[name] = own = await open_backend(spec, folder=self.plan.graph.folder, data=self._data, inner=inner)
            except SetupError as error:
                # What the others lack is told in the same run.
                lacking.append(error)
            else:
                self._own.append(own)
        if lacking:
            raise SetupError("; ".join(map(str, lacking))) from lacking[0]

        return backends

    async def _open_classifiers(self) -> dict[str, Classifier]:
        classifiers: dict[str, Classifier] = {}
        for node in self.plan.graph.nodes.values():
            if opens(node):
                classifiers[node.name] = own = await open_classifier(node, folder=self.plan.graph.folder)
                self._own.append(own)

        return classifiers

    async def _open_vault(self) -> Vault:
        given = self._given_vault
        if given is None or isinstance(given, str):
            return await open_vault(given or "memory")

        return given

    async def _mind(self, vault: Vault) -> None:
        while True:
            await anyio.sleep(FLUSH_SECONDS)
            try:
                await vault.flush()
            except Exception:  # noqa: BLE001 (a vault of the caller's own may raise anything, and walks go on)
                _log.exception("the vault %s could not be told what it missed", vault.name)

    def _open_tokenizers(self) -> dict[str, Tokenizer]:
        graph = self.plan.graph
        used = {node.node.backend for node in self.plan.nodes if node.node.backend is not None}
        files = {name: graph.backends[name].tokenizer for name in sorted(used)}
        paths = {name: Path(graph.folder) / file for name, file in files.items() if file is not None}
        # Backends that name one file share what it counts.
        opened = {path: open_tokenizer(path) for path in dict.fromkeys(paths.values())}

        return {name: opened[path] for name, path in paths.items()}

    async def _close_vault(self) -> None:
        vault, self._vault = self._vault, None
        if vault is not None and vault is not self._given_vault:
            await vault.aclose()

    async def _close_backends(self) -> None:
        while self._own:
            await self._own.pop().aclose()

    # ---- records ------------------------------------------------------------------------------------------------

    def defer_records(self, schedule: Schedule | None) -> None:
        """
        Hand records over in calls made by *schedule*, those together that have come by then; None does so at once.
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


def load(
    graph: str | Path,
    *,
    data: str | Path | None = None,
    sinks: Sequence[Sink] = (),
    traces: str | Path | None = None,
) -> Mesh:
    """
    Load, check and compile the graph in a file, ready to be opened with `async with`.

    Raises:
        GraphError: With every fault of the graph.
    """
    return Mesh(compile_plan(load_graph(graph)), data=data, sinks=sinks, traces=traces)
