"""
The gRPC services, on top of `Mesh`: routing, traces, graphs, budgets, health and reflection.

A service reads messages, asks a mesh, and packs the result; nothing is decided here.  Invariants of the package:

1. No input makes the server die, and no answer or prompt stands in an error or in the log.
2. A call's deadline is the walk's.  A cancelled call cancels its walk, which is recorded as cancelled.
3. A decision of the graph is OK, a refusal included.  A failed walk is an error that names the record.
"""

from __future__ import annotations

from meshwalk.model.serving import Access
from meshwalk.server.auth import OperatorKey
from meshwalk.server.serving import Server, serve


__all__ = ["Access", "OperatorKey", "Server", "serve"]
