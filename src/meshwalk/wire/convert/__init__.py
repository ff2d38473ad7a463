"""
Python values to protobuf and back: the only package that knows both.

`pack_…` makes a message of Python values, `unpack_…` reads one.  A message from outside is only read here, not judged: `Mesh`
decides which requests it takes, for every entry point alike.  A message that Python has no value for (an attribute without a
value, an unknown format) is a `RequestError` that names the field.
"""

from __future__ import annotations

from meshwalk.wire.convert.budgets import pack_account, unpack_accounts, unpack_scope_kind
from meshwalk.wire.convert.compact import write_compact
from meshwalk.wire.convert.enums import DETAILS, OUTCOMES, REASONS, ROLES, SCOPE_KINDS
from meshwalk.wire.convert.frames import pack_cancel, pack_item, pack_result
from meshwalk.wire.convert.graphs import pack_callable, pack_described, pack_graph_info, unpack_described, unpack_graph_info
from meshwalk.wire.convert.hops import Prototypes, pack_hop, unpack_hop
from meshwalk.wire.convert.previews import pack_preview, unpack_preview
from meshwalk.wire.convert.records import leave_out_content, pack_record, pack_summary, unpack_record, unpack_summary
from meshwalk.wire.convert.replies import (
    pack_committed,
    pack_delta,
    pack_deltas,
    pack_final,
    pack_finished,
    pack_reply,
    pack_started,
    unpack_event,
    unpack_reply,
)
from meshwalk.wire.convert.requests import pack_request, unpack_request
from meshwalk.wire.convert.values import (
    pack_caps,
    pack_plan,
    unpack_caps,
    unpack_plan,
)


__all__ = [
    "DETAILS",
    "OUTCOMES",
    "REASONS",
    "ROLES",
    "SCOPE_KINDS",
    "Prototypes",
    "leave_out_content",
    "pack_account",
    "pack_callable",
    "pack_cancel",
    "pack_caps",
    "pack_committed",
    "pack_delta",
    "pack_deltas",
    "pack_described",
    "pack_final",
    "pack_finished",
    "pack_graph_info",
    "pack_hop",
    "pack_item",
    "pack_plan",
    "pack_preview",
    "pack_record",
    "pack_reply",
    "pack_request",
    "pack_result",
    "pack_started",
    "pack_summary",
    "unpack_accounts",
    "unpack_caps",
    "unpack_described",
    "unpack_event",
    "unpack_graph_info",
    "unpack_hop",
    "unpack_plan",
    "unpack_preview",
    "unpack_record",
    "unpack_reply",
    "unpack_request",
    "unpack_scope_kind",
    "unpack_summary",
    "write_compact",
]
