"""
`meshwalk serve`: graphs behind gRPC, until somebody says stop.
"""

from __future__ import annotations

import signal
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from meshwalk.cli.options import DataFile, Json, NewTraces
from meshwalk.cli.output import OK, emit, say


if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshwalk.plan import Plan


def serve(
    graphs: Annotated[list[str], Parameter(name="GRAPH", negative="")],
    /,
    *,
    listen: Annotated[str, Parameter(name="--listen")] = "127.0.0.1:50051",
    traces: NewTraces = None,
    data: DataFile = None,
    json: Json = False,
) -> int:
    """
    Serve graphs over gRPC until Ctrl-C or SIGTERM; calls that run may end.

    One line says when it is ready, and on which port.  Spans are exported where the OTEL_* variables say so.

    Parameters
    ----------
    graphs
        The graphs' YAML files.
    listen
        HOST:PORT to listen at; port 0 takes a free one.
    traces
        A folder to store every walk in.
    data
        The outcomes file of `recorded` backends that name none.
    """
    import anyio

    from meshwalk.loader import load_graph
    from meshwalk.plan import compile_plan

    plans = [compile_plan(load_graph(path)) for path in graphs]
    anyio.run(_serve, plans, listen, traces, data, json)

    return OK


async def _serve(plans: Sequence[Plan], listen: str, traces: str | None, data: str | None, as_json: bool) -> None:
    import anyio

    from meshwalk.mesh import Mesh, Sink
    from meshwalk.server import serve as listening
    from meshwalk.store import Shelf, TraceStore
    from meshwalk.telemetry import Telemetry

    # Signals are received from here on, so that a stop that comes early is a graceful one, too.
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with AsyncExitStack() as stack:
            telemetry = Telemetry.from_environment()
            stack.push_async_callback(telemetry.aclose)
            sinks: list[Sink] = [telemetry]
            shelf = None
            if traces is not None:
                store = TraceStore(traces)
                stack.push_async_callback(store.aclose)
                sinks.append(store)
                shelf = stack.enter_context(Shelf(traces))
            meshes = [await stack.enter_async_context(Mesh(plan, data=data, sinks=sinks)) for plan in plans]
            server = await stack.enter_async_context(listening(meshes, listen=listen, shelf=shelf))
            _announce(plans, f"{listen.rpartition(':')[0]}:{server.port}", server.port, traces, as_json)
            async for _ in signals:
                break


def _announce(plans: Sequence[Plan], address: str, port: int, traces: str | None, as_json: bool) -> None:
    names = [plan.name for plan in plans]
    if as_json:
        emit({"ready": True, "address": address, "port": port, "graphs": names, "traces": traces}, on_one_line=True)
    else:
        kept = f", traces in {traces}" if traces is not None else ""
        say(f"Serving {', '.join(names)} at {address}{kept}; Ctrl-C stops.")
    # Whoever waits for this line may read it through a pipe, which Python would hold back.
    sys.stdout.flush()
