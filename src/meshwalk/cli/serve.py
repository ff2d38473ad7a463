"""
`meshwalk serve`: graphs behind gRPC, until somebody says stop.

With several workers this process only supervises: each worker is this command again, with `--as-worker`.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from meshwalk.cli.options import DataFile, Json, NewTraces, OperatorKeyEnv, Tenant, VaultAddress, Whole, duration_us
from meshwalk.cli.output import OK, Misuse, complain, emit, say


if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshwalk.plan import Plan


# A terminal that is closed sends SIGHUP, which would end a process without a word.
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """
    The settings of a server, as the command line gives them.
    """

    graphs: Sequence[str]
    listen: str
    workers: int
    traces: str | None
    data: str | None
    vault: str
    tenant: str
    operator_key_env: str | None
    retry_window: str
    grace: str
    walks_in_flight: int
    json: bool


def serve(
    graphs: Annotated[list[str], Parameter(name="GRAPH", negative="")],
    /,
    *,
    listen: Annotated[str, Parameter(name="--listen")] = "127.0.0.1:50051",
    workers: Annotated[int, Whole] = 1,
    traces: NewTraces = None,
    data: DataFile = None,
    vault: VaultAddress = "memory",
    tenant: Tenant = "default",
    operator_key_env: OperatorKeyEnv = None,
    # Led by a hyphen it is no duration either, and told so.
    retry_window: Annotated[str, Parameter(allow_leading_hyphen=True)] = "10m",
    grace: Annotated[str, Parameter(allow_leading_hyphen=True)] = "10s",
    walks_in_flight: Annotated[int, Whole] = 2000,
    as_worker: Annotated[bool, Parameter(name="--as-worker", negative="", show=False)] = False,
    json: Json = False,
) -> int:
    """
    Serve graphs over gRPC until Ctrl-C, SIGTERM or SIGHUP; calls that run may end within --grace.

    One line says when it is ready, and on which port.  Spans are exported where the OTEL_* variables say so.

    Parameters
    ----------
    graphs
        The graphs' YAML files.
    listen
        HOST:PORT to listen at; port 0 takes a free one.
    workers
        How many processes share the port; one that dies is replaced.
    traces
        A folder to store every walk in.
    data
        The outcomes file of `recorded` backends that name none.
    vault
        Where shared budgets are kept: memory, sqlite:PATH or redis://HOST:PORT; ${NAME} stands for what the environment holds.
    tenant
        Whose budgets the walks draw on.
    operator_key_env
        The environment variable that holds the key for setting budgets; without it nobody sets any.
    retry_window
        How long a walk is kept for requests that repeat its idempotency key.
    grace
        How long running calls may take to end once the server is told to stop; the others are cancelled.
    walks_in_flight
        How many walks each process has at once; further requests are refused with RESOURCE_EXHAUSTED, before anything is spent.
    """
    setup = Setup(
        graphs=graphs,
        listen=listen,
        workers=workers,
        traces=traces,
        data=data,
        vault=vault,
        tenant=tenant,
        operator_key_env=operator_key_env,
        retry_window=retry_window,
        grace=grace,
        walks_in_flight=walks_in_flight,
        json=json,
    )
    # Objects made during the start stay until the end, so a search of the collector finds nothing.
    gc.disable()
    try:
        return _run(setup, as_worker)
    finally:
        gc.enable()


def _run(setup: Setup, as_worker: bool) -> int:
    import anyio

    from meshwalk.loader import load_graph
    from meshwalk.plan import compile_plan

    plans = [compile_plan(load_graph(path)) for path in setup.graphs]
    if not duration_us("--retry-window", setup.retry_window):
        raise Misuse(f"--retry-window takes a duration of more than 0, such as 10m, and {setup.retry_window!r} is none")
    duration_us("--grace", setup.grace)
    if setup.workers == 1 or as_worker:
        anyio.run(_serve, setup, plans, as_worker)
        return OK
    _refuse_shared_memory(setup, plans)

    return anyio.run(_supervise, setup, plans)


# ---- one process ----------------------------------------------------------------------------------------------------


async def _serve(setup: Setup, plans: Sequence[Plan], as_worker: bool) -> None:
    import anyio

    from meshwalk.budgets.vaults import open_vault
    from meshwalk.mesh import Mesh, Sink
    from meshwalk.records.store import TraceReader, TraceWriter
    from meshwalk.records.telemetry import Telemetry
    from meshwalk.server import OperatorKey
    from meshwalk.server import serve as listening
    from meshwalk.server.reuseport import take_turns
    from meshwalk.server.workers import lifeline

    if as_worker:
        lifeline()
    key_env = setup.operator_key_env
    operator = None if key_env is None else OperatorKey.from_environment(key_env, os.environ)
    # Signals are received from here on, so that a stop that comes early is a graceful one, too.
    with anyio.open_signal_receiver(*_STOPPING) as signals:
        async with AsyncExitStack() as stack:
            telemetry = Telemetry.from_environment()
            stack.push_async_callback(telemetry.aclose)
            sinks: list[Sink] = [telemetry]
            reader = None
            if setup.traces is not None:
                store = TraceWriter(setup.traces)
                stack.push_async_callback(store.aclose)
                sinks.append(store)
                reader = stack.enter_context(TraceReader(setup.traces))
            vault = await open_vault(setup.vault)
            stack.push_async_callback(vault.aclose)
            window_us = duration_us("--retry-window", setup.retry_window)
            meshes = [
                await stack.enter_async_context(
                    Mesh(plan, outcomes=setup.data, sinks=sinks, vault=vault, tenant=setup.tenant, retry_window=window_us / 1e6)
                )
                for plan in plans
            ]
            server = await stack.enter_async_context(
                listening(
                    meshes,
                    listen=setup.listen,
                    traces=reader,
                    operator_key=operator,
                    share_port=as_worker,
                    grace=duration_us("--grace", setup.grace) / 1e6,
                    walks_in_flight=setup.walks_in_flight,
                )
            )
            ready = _ready(setup, plans, f"{setup.listen.rpartition(':')[0]}:{server.port}", [os.getpid()])
            told: dict[str, Any] = {
                "vault": vault.name,
                # The loss of a vault's last seconds matters to those who count money in it.
                "risks": list(vault.risks) if any(plan.graph.budgets for plan in plans) else [],
                "spans": telemetry.exporting,
            }
            if as_worker:
                told["turns"] = take_turns(server.port, setup.workers)
            _announce(setup, ready | told, quietly=as_worker)
            async for _ in signals:
                break


# ---- several --------------------------------------------------------------------------------------------------------


def _refuse_shared_memory(setup: Setup, plans: Sequence[Plan]) -> None:
    if setup.vault.strip() != "memory":
        return
    workers = setup.workers
    counting = [plan.name for plan in plans if plan.graph.budgets]
    if counting:
        raise Misuse(
            f"--workers {workers} with the vault in memory would count the budgets of {', '.join(counting)} "
            f"{workers} times over, once in each worker; name a vault that they share, such as --vault sqlite:vault.sqlite"
        )
    complain(
        f"warning: each of {workers} workers remembers idempotency keys for itself, so a retry that reaches another is walked "
        "again; --vault sqlite:PATH shares them"
    )


async def _supervise(setup: Setup, plans: Sequence[Plan]) -> int:
    import anyio

    from meshwalk.server.workers import WorkerFailed, reserved_port, worker_pool

    with anyio.open_signal_receiver(*_STOPPING) as signals, reserved_port(setup.listen) as address:
        try:
            async with worker_pool(
                _command(setup, address),
                setup.workers,
                report=lambda death: complain(f"warning: {death}"),
                grace=duration_us("--grace", setup.grace) / 1e6,
            ) as workers:
                told = {key: workers.ready[key] for key in ("vault", "risks", "spans", "turns")}
                _announce(setup, _ready(setup, plans, address, workers.pids) | told)
                async for _ in signals:
                    break
        except WorkerFailed as error:
            if setup.json:
                say(error.stdout.rstrip("\n"))
            return error.code

    return OK


def _command(setup: Setup, address: str) -> list[str]:
    words = [sys.executable, "-m", "meshwalk", "serve", *setup.graphs, "--as-worker", "--json", "--listen", address]
    named = {
        "--workers": setup.workers,
        "--traces": setup.traces,
        "--data": setup.data,
        "--vault": setup.vault,
        "--tenant": setup.tenant,
        "--operator-key-env": setup.operator_key_env,
        "--retry-window": setup.retry_window,
        "--grace": setup.grace,
        "--walks-in-flight": setup.walks_in_flight,
    }

    return [*words, *(f"{name}={value}" for name, value in named.items() if value is not None)]


# ---- being ready ----------------------------------------------------------------------------------------------------


def _ready(setup: Setup, plans: Sequence[Plan], address: str, pids: Sequence[int]) -> dict[str, Any]:
    return {
        "ready": True,
        "address": address,
        "port": int(address.rpartition(":")[2]),
        "graphs": [plan.name for plan in plans],
        "traces": setup.traces,
        "tenant": setup.tenant,
        "workers": len(pids),
        "pids": list(pids),
    }


def _announce(setup: Setup, ready: dict[str, Any], *, quietly: bool = False) -> None:
    if not quietly:
        for risk in ready["risks"]:
            complain(f"warning: vault {ready['vault']}: {risk}")
    if setup.json:
        emit(ready, on_one_line=True)
    else:
        shared = f" with {ready['workers']} workers" if ready["workers"] > 1 else ""
        kept = f", traces in {setup.traces}" if setup.traces is not None else ""
        books = f", budgets in {ready['vault']}" if setup.vault != "memory" else ""
        spans = "spans are exported" if ready["spans"] else "no spans are exported"
        say(f"Serving {', '.join(ready['graphs'])} at {ready['address']}{shared}{kept}{books}, {spans}; Ctrl-C stops.")
    # Python buffers a pipe, and a reader may wait for this line.
    sys.stdout.flush()
    # From now on there is something to collect; what is here already is not looked at again.
    gc.freeze()
    gc.enable()
