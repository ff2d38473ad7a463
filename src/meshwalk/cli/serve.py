"""
`meshwalk serve`: graphs behind gRPC, until somebody says stop.

With several workers this process only supervises: each worker is this command again, with `--as-worker`.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from meshwalk.cli.options import ConfigFile, Json
from meshwalk.cli.output import OK, Misuse, complain, emit, say
from meshwalk.cli.server_flags import ServerFlags, server_settings, worker_words


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from meshwalk.mesh import Sink
    from meshwalk.model.serving import ServerSettings
    from meshwalk.plan import Plan
    from meshwalk.records.metrics import Metrics
    from meshwalk.records.store import TraceWriter
    from meshwalk.records.telemetry import Telemetry


_log = logging.getLogger(__name__)

# The time in which load balancers notice that a server stops, where its settings name none.
LAME_DUCK_SECONDS = 5.0

# A terminal that is closed sends SIGHUP, which would end a process without a word.
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeRun:
    """
    One run of the command: its settings, and the words that each worker's command line is made of.
    """

    settings: ServerSettings
    words: Sequence[str]
    config: str | None
    flags: ServerFlags
    json: bool


def serve(
    graphs: Annotated[tuple[str, ...], Parameter(name="GRAPH", negative="")] = (),
    /,
    *,
    config: ConfigFile = None,
    flags: ServerFlags = ServerFlags(),
    as_worker: Annotated[bool, Parameter(name="--as-worker", negative="", show=False)] = False,
    json: Json = False,
) -> int:
    """
    Serve graphs over gRPC until Ctrl-C, SIGTERM or SIGHUP; calls that run may end within --grace.

    One line says when it is ready, and on which port.  Spans are exported where the OTEL_* variables say so.

    Parameters
    ----------
    graphs
        The graphs' YAML files; with --config, in place of those that it names.
    config
        A file of settings: every flag below is a key of it, and wins over it.
    """
    from meshwalk.server.logs import logging_to_stderr

    settings = server_settings(graphs, config, flags)
    run = ServeRun(settings=settings, words=graphs, config=config, flags=flags, json=json)
    # Objects made during the start stay until the end, so a search of the collector finds nothing.
    gc.disable()
    try:
        with logging_to_stderr(settings.log, settings.log_level):
            return _run(run, as_worker)
    finally:
        gc.enable()


def _run(run: ServeRun, as_worker: bool) -> int:
    import anyio

    from meshwalk.loader import load_graph
    from meshwalk.plan import compile_plan

    settings = run.settings
    plans = [compile_plan(load_graph(path, trust=settings.trust)) for path in settings.graphs]
    if settings.tenants:
        _check_tenants(settings, plans)
    if settings.workers == 1 or as_worker:
        anyio.run(_serve, run, plans, as_worker)
        return OK
    _refuse_shared_memory(settings, plans)

    return anyio.run(_supervise, run, plans)


def _check_tenants(settings: ServerSettings, plans: Sequence[Plan]) -> None:
    # Most servers declare no tenants, and need not wait for what reads them.
    from meshwalk.loader.parts.server_access import unknown_graphs
    from meshwalk.model.problems import GraphError

    if problems := unknown_graphs(settings.tenants, {plan.name: plan for plan in plans}):
        raise GraphError(problems)


# ---- one process ----------------------------------------------------------------------------------------------------


async def _serve(run: ServeRun, plans: Sequence[Plan], as_worker: bool) -> None:
    import anyio

    from meshwalk.budgets.vaults import open_vault
    from meshwalk.mesh import Mesh, MeshOptions
    from meshwalk.records.store import TraceReader
    from meshwalk.server import OperatorKey
    from meshwalk.server import serve as listening
    from meshwalk.server.reuseport import take_turns
    from meshwalk.server.transport import raise_descriptor_limit
    from meshwalk.server.workers import lifeline
    from meshwalk.wire.address import with_port

    settings = run.settings
    raise_descriptor_limit()
    if as_worker:
        lifeline()
    key_env = settings.operator_key_env
    operator = None if key_env is None else OperatorKey.from_environment(key_env, os.environ)
    # Signals are received from here on, so that a stop that comes early is a graceful one, too.
    with anyio.open_signal_receiver(*_STOPPING) as signals:
        async with AsyncExitStack() as stack:
            outputs = _open_outputs(stack, settings)
            reader = None if settings.traces is None else stack.enter_context(TraceReader(settings.traces))
            vault = await open_vault(settings.vault)
            stack.push_async_callback(vault.aclose)
            options: MeshOptions = {
                "outcomes": settings.data,
                "sinks": outputs.sinks,
                "vault": vault,
                "tenant": settings.tenant,
                "retry_window": settings.retry_window_us / 1e6,
            }
            meshes = [await stack.enter_async_context(Mesh(plan, **options)) for plan in plans]
            server = await stack.enter_async_context(
                listening(
                    meshes,
                    listen=settings.listen,
                    traces=reader,
                    operator_key=operator,
                    share_port=as_worker,
                    grace=settings.grace_us / 1e6,
                    walks_in_flight=settings.walks_in_flight,
                    access=settings.access,
                    metrics=outputs.metrics,
                    losing=lambda: outputs.store is not None and outputs.store.losing,
                )
            )
            ready = _ready(settings, plans, with_port(settings.listen, server.port), [os.getpid()])
            told: dict[str, Any] = {
                "vault": vault.name,
                # The loss of a vault's last seconds matters to those who count money in it.
                "risks": list(vault.risks) if any(plan.graph.budgets for plan in plans) else [],
                "spans": outputs.telemetry.exporting,
            }
            if as_worker:
                told["turns"] = take_turns(server.port, settings.workers)
            _announce(run, ready | told, quietly=as_worker)
            _log.info("the server is ready at %s", ready["address"], extra={"meshwalk.event": "ready"})
            number = await anext(signals)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_on_each, signals, server.hasten)
                await server.stop(settings.grace_us / 1e6, lame_duck_seconds(settings, number))
                tasks.cancel_scope.cancel()


class _Outputs(NamedTuple):
    """
    The receivers of records, and the registry of their counts.
    """

    sinks: list[Sink]
    telemetry: Telemetry
    store: TraceWriter | None
    metrics: Metrics


def _open_outputs(stack: AsyncExitStack, settings: ServerSettings) -> _Outputs:
    from meshwalk.records.metrics import Metrics, WalkCounts
    from meshwalk.records.store import TraceWriter
    from meshwalk.records.telemetry import MetricsExport, Telemetry
    from meshwalk.records.walk_log import WalkLog

    telemetry = Telemetry.from_environment()
    stack.push_async_callback(telemetry.aclose)
    metrics, counts, walk_log = Metrics(), WalkCounts(), WalkLog(settings.tenant)
    stack.callback(walk_log.close)
    sinks: list[Sink] = [telemetry, counts, walk_log]
    metrics.add(counts.readings)
    metrics.add(telemetry.readings)
    store = None
    if settings.traces is not None:
        store = TraceWriter(settings.traces)
        metrics.add(store.readings)
        sinks.append(store)
    # The last readings are exported once the store has counted its last losses.
    stack.push_async_callback(MetricsExport.from_environment(metrics, os.environ).aclose)
    if store is not None:
        stack.push_async_callback(store.aclose)

    return _Outputs(sinks, telemetry, store, metrics)


def lame_duck_seconds(settings: ServerSettings, number: signal.Signals) -> float:
    """
    Return the time in which calls are still taken after the signal *number*.
    """
    from meshwalk.wire.address import is_local

    if settings.lame_duck_us is not None:
        return settings.lame_duck_us / 1e6

    # Load balancers are told by whoever sends SIGTERM; somebody at a terminal waits for the end.
    return LAME_DUCK_SECONDS if number == signal.SIGTERM and not is_local(settings.listen) else 0.0


async def _on_each(signals: AsyncIterator[signal.Signals], act: Callable[[], object]) -> None:
    """
    Do *act* at each further signal.
    """
    async for _ in signals:
        act()


# ---- several --------------------------------------------------------------------------------------------------------


def _refuse_shared_memory(settings: ServerSettings, plans: Sequence[Plan]) -> None:
    if settings.vault.strip() != "memory":
        return
    workers = settings.workers
    counting = [plan.name for plan in plans if plan.graph.budgets]
    if counting:
        raise Misuse(
            f"--workers {workers} with the vault in memory would count the budgets of {', '.join(counting)} "
            f"{workers} times over, once in each worker; name a vault that they share, such as --vault sqlite:vault.sqlite"
        )
    _warn(
        settings,
        f"each of {workers} workers remembers idempotency keys for itself, so a retry that reaches another is walked "
        "again; --vault sqlite:PATH shares them",
    )


def _warn(settings: ServerSettings, warning: str) -> None:
    # Text goes where the other warnings of the command go.
    if settings.log == "json":
        _log.warning(warning)
    else:
        complain(f"warning: {warning}")


async def _supervise(run: ServeRun, plans: Sequence[Plan]) -> int:
    import anyio

    from meshwalk.server.listening import check_listening
    from meshwalk.server.workers import WorkerFailed, reserved_port, worker_pool

    settings = run.settings
    if warning := check_listening(settings.listen, guarded=settings.access.guarded, insecure=settings.insecure):
        _warn(settings, warning)
    with anyio.open_signal_receiver(*_STOPPING) as signals, reserved_port(settings.listen) as address:
        try:
            async with worker_pool(
                [sys.executable, "-m", "meshwalk", "serve", *worker_words(run.words, run.config, run.flags, address)],
                settings.workers,
                report=lambda death: _warn(settings, death),
                grace=settings.grace_us / 1e6 + lame_duck_seconds(settings, signal.SIGTERM),
            ) as workers:
                told = {key: workers.ready[key] for key in ("vault", "risks", "spans", "turns")}
                _announce(run, _ready(settings, plans, address, workers.pids) | told)
                number = await anext(signals)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_on_each, signals, workers.hasten)
                    await workers.stop(number)
                    tasks.cancel_scope.cancel()
        except WorkerFailed as error:
            if run.json:
                say(error.stdout.rstrip("\n"))
            return error.code

    return OK


# ---- being ready ----------------------------------------------------------------------------------------------------


def _ready(settings: ServerSettings, plans: Sequence[Plan], address: str, pids: Sequence[int]) -> dict[str, Any]:
    from meshwalk.wire.address import socket_path

    return {
        "ready": True,
        "address": address,
        "port": None if socket_path(address) is not None else int(address.rpartition(":")[2]),
        "graphs": [plan.name for plan in plans],
        "traces": settings.traces,
        "tenant": settings.tenant,
        "tls": settings.tls is not None,
        "identified": settings.access.identified,
        "workers": len(pids),
        "pids": list(pids),
    }


def _announce(run: ServeRun, ready: dict[str, Any], *, quietly: bool = False) -> None:
    settings = run.settings
    if not quietly:
        for risk in ready["risks"]:
            _warn(settings, f"vault {ready['vault']}: {risk}")
    if run.json:
        emit(ready, on_one_line=True)
    else:
        way = f"{' over TLS' if ready['tls'] else ''}{' to known callers' if ready['identified'] else ''}"
        shared = f" with {ready['workers']} workers" if ready["workers"] > 1 else ""
        kept = f", traces in {settings.traces}" if settings.traces is not None else ""
        books = f", budgets in {ready['vault']}" if settings.vault != "memory" else ""
        spans = "spans are exported" if ready["spans"] else "no spans are exported"
        say(f"Serving {', '.join(ready['graphs'])} at {ready['address']}{way}{shared}{kept}{books}, {spans}; Ctrl-C stops.")
    # Python buffers a pipe, and a reader may wait for this line.
    sys.stdout.flush()
    # From now on there is something to collect; what is here already is not looked at again.
    gc.freeze()
    gc.enable()
