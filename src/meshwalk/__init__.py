"""
Walk inference requests over a declared graph of models.

This is the front door: public names and nothing else.  They are imported when they are first used, so that
`meshwalk --help` does not wait for a CEL checker.  Replay is a room of its own, `meshwalk.review.replay`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from meshwalk.backends.base import Backend, ChatRequest
    from meshwalk.backends.simulated import SimulatedBackend
    from meshwalk.loader import load_graph
    from meshwalk.mesh import Mesh, Sink, load
    from meshwalk.model import Graph, Limits, Sampling
    from meshwalk.model.problems import (
        BackendError,
        GraphError,
        MeshwalkError,
        Problem,
        ProtocolError,
        RequestError,
        SetupError,
        TraceError,
        WalkStopped,
    )
    from meshwalk.plan import Plan, compile_plan
    from meshwalk.records.hops import Hop, hops_of
    from meshwalk.records.previews import Preview
    from meshwalk.records.results import RouteResult
    from meshwalk.records.store import TraceReader, TraceWriter
    from meshwalk.records.telemetry import Telemetry
    from meshwalk.trace import Form, Message, Outcome, Reply, Request, ResponseFormat, Tool, ToolCall, Traversal
    from meshwalk.walk import Walk

    __version__: str

_HOMES = {
    "backends.base": ("Backend", "ChatRequest"),
    "backends.simulated": ("SimulatedBackend",),
    "records.previews": ("Preview",),
    "records.results": ("RouteResult",),
    "records.hops": ("Hop", "hops_of"),
    "loader": ("load_graph",),
    "mesh": ("Mesh", "Sink", "load"),
    "model": ("Graph", "Limits", "Sampling"),
    "plan": ("Plan", "compile_plan"),
    "model.problems": (
        "BackendError",
        "GraphError",
        "MeshwalkError",
        "ProtocolError",
        "Problem",
        "RequestError",
        "SetupError",
        "TraceError",
        "WalkStopped",
    ),
    "records.store": ("TraceReader", "TraceWriter"),
    "records.telemetry": ("Telemetry",),
    "trace": ("Form", "Message", "Outcome", "Reply", "Request", "ResponseFormat", "Tool", "ToolCall", "Traversal"),
    "walk": ("Walk",),
}


# mypy must not see it, or every misspelt name would be an object to it.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        value = _value_of(name)
        globals()[name] = value

        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _value_of(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 (it reads e-mail headers, and takes as long to import as all of this)

        return version("meshwalk")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"meshwalk.{home}"), name)

    raise AttributeError(f"module 'meshwalk' has no attribute {name!r}")


__all__ = [
    "Backend",
    "BackendError",
    "ChatRequest",
    "Form",
    "Graph",
    "GraphError",
    "Hop",
    "Limits",
    "Mesh",
    "MeshwalkError",
    "Message",
    "Outcome",
    "Plan",
    "Preview",
    "Problem",
    "ProtocolError",
    "Reply",
    "Request",
    "RequestError",
    "ResponseFormat",
    "RouteResult",
    "Sampling",
    "SetupError",
    "SimulatedBackend",
    "Sink",
    "Telemetry",
    "Tool",
    "ToolCall",
    "TraceError",
    "TraceReader",
    "TraceWriter",
    "Traversal",
    "Walk",
    "WalkStopped",
    "__version__",
    "compile_plan",
    "hops_of",
    "load",
    "load_graph",
]
