"""
The JSON that commands print for walks: the same shape whether a walk was made here, by a server, or is read from a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from meshwalk.checks.bounds import Bounds
from meshwalk.guards.explain import Explanation
from meshwalk.model.problems import TraceError
from meshwalk.plan import Plan
from meshwalk.records.hops import Hop, hops_of
from meshwalk.records.results import RouteResult
from meshwalk.review.replay import explain_decision, legible
from meshwalk.trace import Traversal


_END_OF_CALENDAR_US = 253_402_300_800_000_000

# A document needs only the fields that a traversal and a server's reply have in common.
Walk = Traversal | RouteResult


def walk_document(
    walk: Walk, hops: Sequence[Hop], *, graph: str, plan_digest: str, answer: str | None, reason: str
) -> dict[str, Any]:
    """
    Return a walk with its hops.

    Args:
        answer: None where it was not kept.
        reason: Why there is no answer; empty if there is one.
    """
    return {
        "traversal_id": walk.traversal_id,
        "trace_id": walk.trace_id,
        "graph": graph,
        "plan_digest": plan_digest,
        "outcome": walk.outcome.value,
        "answer": answer,
        "reason": reason,
        "path": list(walk.path),
        "usage": walk.usage._asdict(),
        "cost_usd": walk.cost_usd,
        "cost_basis": walk.basis,
        "latency_us": walk.latency_us,
        "engine_us": walk.engine_us,
        "budget_wait_us": sum(hop.budget_wait_us for hop in hops),
        "hops": [hop_document(hop) for hop in hops],
    }


def record_document(traversal: Traversal, plan: Plan) -> dict[str, Any]:
    """
    Return a stored walk, with what it began from; its words where the graph records them.

    Raises:
        TraceError: If the record says what no walk says.
    """
    with legible(traversal):
        return _record_document(traversal, plan)


def _record_document(traversal: Traversal, plan: Plan) -> dict[str, Any]:
    began, finish, content = traversal.began, traversal.finish, traversal.content
    document = walk_document(
        traversal,
        hops_of(traversal, plan),
        graph=traversal.graph,
        plan_digest=traversal.plan_digest,
        answer=content.answer if content else None,
        reason=finish.message,
    )

    return document | {
        "began": wall_time(traversal.began_unix_us),
        "version": traversal.version,
        "prices": traversal.prices,
        "shape_digest": traversal.shape_digest,
        "session": began.facts.scopes.session,
        "workflow": began.facts.scopes.workflow,
        "tenant": began.facts.scopes.tenant,
        "slack_usd": traversal.slack_nano_usd / 1e9,
        "attributes": dict(began.facts.attributes),
        "limits": began.limits._asdict(),
        "cause": finish.cause,
        "messages": [message._asdict() for message in content.messages] if content else None,
    }


def explained_document(traversal: Traversal, plan: Plan) -> dict[str, Any]:
    """
    Return a stored walk with the reason of every verdict, null where an edge has no guard.

    A walk that its plan decides differently now has no reasons, and `unexplained` says so.
    """
    document = record_document(traversal, plan)
    try:
        explained = [explain_decision(traversal, plan, index) for index in range(len(document["hops"]))]
    except TraceError as error:
        return document | {"unexplained": str(error)}
    for hop, edges in zip(document["hops"], explained, strict=True):
        for considered, edge in zip(hop["considered"], edges, strict=True):
            considered["why"] = explanation_document(edge.why)

    return document


def explanation_document(why: Explanation | None) -> dict[str, Any] | None:
    """
    Return why a guard said what it said: its values, the leaf that decided, and how far that is from flipping.
    """
    if why is None:
        return None

    return {
        "verdict": why.verdict,
        "leaf": why.leaf,
        "values": why.values,
        "distance": why.distance,
        "change": why.change,
        "also": list(why.also),
        "text": why.text,
    }


def hop_document(hop: Hop) -> dict[str, Any]:
    """
    Return a hop: what it did, what it took, and how it was left.
    """
    return {
        "node": hop.node,
        "visit": hop.visit,
        "role": hop.role,
        "status": hop.status,
        "error_class": hop.error_class,
        "message": hop.message,
        "started_us": hop.started_us,
        "latency_us": hop.latency_us,
        "engine_us": hop.engine_us,
        "budget_wait_us": hop.budget_wait_us,
        "scope": hop.scope,
        **hop.timing._asdict(),
        "cost_usd": hop.cost_nano_usd / 1e9,
        "cost_basis": hop.basis,
        "usage": hop.usage._asdict(),
        "outputs": dict(hop.outputs),
        "attempts": [
            {
                "status": attempt.status,
                "backend": attempt.backend,
                "model": attempt.model,
                "simulated": attempt.simulated,
                "error_class": attempt.error_class,
                "latency_us": attempt.latency_us,
                "cost_usd": attempt.cost_nano_usd / 1e9,
                "cost_basis": attempt.basis,
                "usage": attempt.usage._asdict(),
                "cache_age_us": attempt.cache_age_us,
                "mended": list(attempt.mended),
            }
            for attempt in hop.attempts
        ],
        "edge": hop.edge,
        "considered": [{"to": edge.to, "guard": edge.guard, "verdict": edge.verdict} for edge in hop.considered],
    }


def bounds_document(bounds: Bounds) -> dict[str, Any]:
    """
    Return the worst that a walk can come to, null where nothing bounds it, each with the path that does it.
    """
    worst = {
        "hops": bounds.hops,
        "latency_ms": bounds.latency_us,
        "output_tokens": bounds.output_tokens,
        "cost_usd": bounds.cost_nano_usd,
    }

    return {
        "hops": bounds.hops.value,
        "latency_ms": _in_units(bounds.latency_us.value, 1e3),
        "output_tokens": bounds.output_tokens.value,
        "cost_usd": _in_units(bounds.cost_nano_usd.value, 1e9),
        "witness": {name: list(one.path) for name, one in worst.items()},
        "unbounded": {name: one.reason for name, one in worst.items() if one.value is None},
        "paths": [
            {
                "path": list(one.path),
                "cost_usd": _in_units(one.cost_nano_usd, 1e9),
                "output_tokens": one.output_tokens,
                "latency_ms": one.latency_us / 1e3,
            }
            for one in bounds.paths
        ],
    }


def _in_units(value: int | None, unit: float) -> float | None:
    return None if value is None else value / unit


def wall_time(unix_us: int) -> str:
    """
    Write a wall-clock time as RFC 3339 in UTC; one past the calendar, which only a damaged row has, as its number.
    """
    if not 0 <= unix_us < _END_OF_CALENDAR_US:
        return f"{unix_us} us"

    return datetime.fromtimestamp(unix_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
