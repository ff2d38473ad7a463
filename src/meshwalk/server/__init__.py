"""
The gRPC services, on top of `Mesh`: routing, traces, graphs, budgets, health and reflection.

A service turns messages into house words, asks a mesh, and turns what it gave back; nothing is decided here.  Laws of the room:

1. No input makes the server die, and no answer or prompt stands in an error or in the log.
2. A call's deadline is the walk's; a call that is cancelled cancels its walk, which is recorded as such.
3. What the graph decided is OK, a refusal too; what failed is an error that names the record.
"""

from __future__ import annotations

from meshwalk.server.auth import Operator
from meshwalk.server.serving import Server, serve


__all__ = ["Operator", "Server", "serve"]
