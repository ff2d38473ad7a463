"""
The row of a walk is the same, whichever way its record tells of it.
"""

from __future__ import annotations

from hypothesis import given, settings

from meshwalk.plan import Plan
from meshwalk.records.store.summary import summarise
from meshwalk.trace import FullTrace, Reply, Traversal
from tests.support.random_plans import plans
from tests.support.random_walks import SESSIONS, SEVERAL, walks_of


@settings(max_examples=60)
@given(plans(), SEVERAL, SESSIONS)
def test_a_compact_trace_has_the_row_of_a_full_one(plan: Plan, replies: list[Reply], sessions: list[str]) -> None:
    """
    The sums over compact hops are the sums over entries.
    """
    for record in walks_of(plan, replies, sessions):
        ids = record.traversal_id, record.trace_id, record.span_id, record.parent_span_id
        trace = FullTrace(record.path, record.steps, record.decisions)
        full = Traversal(record.source, *ids, record.sampled, record.began_unix_us, trace)

        assert summarise(full) == summarise(record)
