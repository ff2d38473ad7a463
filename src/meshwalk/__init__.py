"""
Walk inference requests over a declared graph of models.

Public names by audience: this package holds those for code that routes requests, `meshwalk.backends` those for code that adds
backends, classifiers or vaults, and `meshwalk.testing` those for tests.  A name is imported when it is first used, so that
`meshwalk --help` does not wait for a CEL checker or for gRPC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from meshwalk.loader import load_graph
    from meshwalk.mesh import Clock, Mesh, Router, Sink, load
    from meshwalk.model import Caps, Graph, Limits, Sampling, Value
    from meshwalk.model.problems import (
        BackendError,
        BudgetContended,
        BudgetExceeded,
        DeadlineExceeded,
        DeadlineExpired,
        GraphError,
        HopFailed,
        HopLimitExceeded,
        InputTooLarge,
        Malformed,
        MeshClosed,
        MeshwalkError,
        NotStarted,
        Overloaded,
        Problem,
        ProtocolError,
        RateLimited,
        RefusedByModel,
        ReplyUnread,
        RequestError,
        RequestInProgress,
        SetupError,
        TooLong,
        TooManyWalks,
        TraceError,
        Unreachable,
        VaultUnavailable,
        Violation,
        WalkStopped,
    )
    from meshwalk.model.trust import Trust
    from meshwalk.plan import Plan, compile_plan
    from meshwalk.records.events import AnswerDelta, Committed, Event, HopFinished, HopStarted
    from meshwalk.records.hops import Considered, Hop, hops_of
    from meshwalk.records.previews import Preview
    from meshwalk.records.results import PlanRef, Record, RouteResult
    from meshwalk.records.store import TraceReader, TraceWriter
    from meshwalk.records.telemetry import Telemetry
    from meshwalk.review.replay import replay
    from meshwalk.server import serve
    from meshwalk.trace import Message, Outcome, Request, ResponseFormat, Scopes, Tool, ToolCall, Traversal, Usage
    from meshwalk.wire.blocking import BlockingClient
    from meshwalk.wire.client import Client
    from meshwalk.wire.connection import TlsOptions
    from meshwalk.wire.errors import NotFound, PermissionDenied, RpcError, TooManyRequests, Unauthenticated

    __version__: str

_HOMES = {
    "loader": ("load_graph",),
    "mesh": ("Clock", "Mesh", "Router", "Sink", "load"),
    "model": ("Caps", "Graph", "Limits", "Sampling", "Value"),
    "model.problems": (
        "BackendError",
        "BudgetContended",
        "BudgetExceeded",
        "DeadlineExceeded",
        "DeadlineExpired",
        "GraphError",
        "HopFailed",
        "HopLimitExceeded",
        "InputTooLarge",
        "Malformed",
        "MeshClosed",
        "MeshwalkError",
        "NotStarted",
        "Overloaded",
        "Problem",
        "ProtocolError",
        "RateLimited",
        "RefusedByModel",
        "RequestError",
        "RequestInProgress",
        "SetupError",
        "TooLong",
        "ReplyUnread",
        "TooManyWalks",
        "TraceError",
        "Unreachable",
        "VaultUnavailable",
        "Violation",
        "WalkStopped",
    ),
    "model.trust": ("Trust",),
    "plan": ("Plan", "compile_plan"),
    "records.events": ("AnswerDelta", "Committed", "Event", "HopFinished", "HopStarted"),
    "records.hops": ("Considered", "Hop", "hops_of"),
    "records.previews": ("Preview",),
    "records.results": ("PlanRef", "Record", "RouteResult"),
    "records.store": ("TraceReader", "TraceWriter"),
    "records.telemetry": ("Telemetry",),
    "review.replay": ("replay",),
    "server": ("serve",),
    "trace": ("Message", "Outcome", "Request", "ResponseFormat", "Scopes", "Tool", "ToolCall", "Traversal", "Usage"),
    "wire.blocking": ("BlockingClient",),
    "wire.client": ("Client",),
    "wire.connection": ("TlsOptions",),
    "wire.errors": ("NotFound", "PermissionDenied", "RpcError", "TooManyRequests", "Unauthenticated"),
}


# Hidden from type checkers, which would take any name for public.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415 (it takes as long to import as all of this)

            value: object = version("meshwalk")
        else:
            home = next((home for home, names in _HOMES.items() if name in names), None)
            if home is None:
                raise AttributeError(f"module 'meshwalk' has no attribute {name!r}")
            value = getattr(import_module(f"meshwalk.{home}"), name)
        # The next look-up finds it without this function.
        globals()[name] = value

        return value


def __dir__() -> list[str]:
    return list(__all__)


__all__ = [
    "AnswerDelta",
    "BackendError",
    "BlockingClient",
    "BudgetContended",
    "BudgetExceeded",
    "Caps",
    "Client",
    "Clock",
    "Committed",
    "Considered",
    "DeadlineExceeded",
    "DeadlineExpired",
    "Event",
    "Graph",
    "GraphError",
    "Hop",
    "HopFailed",
    "HopFinished",
    "HopLimitExceeded",
    "HopStarted",
    "InputTooLarge",
    "Limits",
    "Malformed",
    "Mesh",
    "MeshClosed",
    "MeshwalkError",
    "Message",
    "NotFound",
    "NotStarted",
    "Outcome",
    "Overloaded",
    "PermissionDenied",
    "Plan",
    "PlanRef",
    "Preview",
    "Problem",
    "ProtocolError",
    "RateLimited",
    "Record",
    "RefusedByModel",
    "ReplyUnread",
    "Request",
    "RequestError",
    "RequestInProgress",
    "ResponseFormat",
    "RouteResult",
    "Router",
    "RpcError",
    "Sampling",
    "Scopes",
    "SetupError",
    "Sink",
    "Telemetry",
    "TlsOptions",
    "TooLong",
    "TooManyRequests",
    "TooManyWalks",
    "Tool",
    "ToolCall",
    "TraceError",
    "TraceReader",
    "TraceWriter",
    "Traversal",
    "Trust",
    "Unauthenticated",
    "Unreachable",
    "Usage",
    "Value",
    "VaultUnavailable",
    "Violation",
    "WalkStopped",
    "__version__",
    "compile_plan",
    "hops_of",
    "load",
    "load_graph",
    "replay",
    "serve",
]
