"""
Names that a graph may not give its attributes, since a call's own arguments have them.

`Mesh.route` and `Client.route` take attributes by name as well (`task="formatting"`), so an attribute with the name of an
argument of either would mean one thing in process and another over the wire.
"""

from __future__ import annotations


RESERVED_ATTRIBUTES = frozenset({
    "attributes",
    "detail",
    "graph",
    "idempotency_key",
    "limits",
    "on_delta",
    "prompt",
    "response_format",
    "sampling",
    "self",
    "session",
    "timeout",
    "tool_choice",
    "tools",
    "traceparent",
    "workflow",
})  # fmt: skip
