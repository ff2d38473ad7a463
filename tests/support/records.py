"""
Finished traversals to store, show and replay: real walks over a small real plan, scripted.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from meshwalk.model import Amount, Caps
from meshwalk.plan import Plan
from meshwalk.records.hops import Hop
from meshwalk.trace import (
    Attempt,
    Cancelled,
    Denied,
    Failed,
    Granted,
    Replied,
    Scopes,
    ScopeView,
    TimedOut,
    Timing,
    Traversal,
    Usage,
)
from tests.support.plans import plan_of
from tests.support.walks import NO_LIMITS, WalkPair, began, traversal_of


TRIAGE = """
meshwalk: 1
name: triage
start: classify
request:
  task: {type: string, default: any}
thresholds:
  complex: {value: 0.6, range: [0, 1]}
  confident: {value: 0.8, range: [0, 1]}
backends:
  small: {kind: simulated, usd_per_mtok: {input: 0.1, output: 0.2}}
  large: {kind: simulated, usd_per_mtok: {input: 5, output: 15}}
nodes:
  classify:
    role: classifier
    use: features
    next:
      - {to: sorry, when: "request.task == 'forbidden'"}
      - {to: large, when: signals.complexity >= thresholds.complex}
      - {to: small}
  small:
    role: answer
    backend: small
    max_tokens: 100
    confidence: {from: stated, pattern: "CONF: ([0-9.]+)"}
    next:
      - {to: done, when: output.confidence >= thresholds.confident}
      - {to: large}
    on_error:
      - {class: [overloaded, unreachable], to: large}
  large:
    role: primary
    backend: large
    max_tokens: 1000
    retries: 1
    next: done
    on_error: [{class: budget, to: done, answer: small, else: sorry}]
  sorry: {role: refusal, reason: this is not for us}
"""

Script = Callable[[WalkPair], object]

SPAN_IDS = ("a" * 16, "b" * 16, "c" * 16)


def triage() -> Plan:
    """
    Compile the plan that these traversals walk.
    """
    return plan_of(TRIAGE)


def attempt(at: int, latency_us: int = 400, **changes: Any) -> Attempt:
    """
    Make a call that worked, begun at *at*.
    """
    worked = Attempt(
        started_us=at,
        latency_us=latency_us,
        status="ok",
        timing=Timing(10, 20, 30),
        usage=Usage(40, 8),
        reserved_nano_usd=90_000,
        cost_nano_usd=5_600,
        basis="reported",
        backend="small",
        model="small-1b",
        finish_reason="stop",
        span_id=SPAN_IDS[0],
    )

    return worked._replace(**changes)


def classified(pair: WalkPair, complexity: float = 0.2) -> None:
    """
    Let the classifier speak at 100 µs.
    """
    outputs = {"tokens": 12.0, "depth": 1.0, "ambiguity": 0.1, "complexity": complexity}
    pair.feed(Replied(0, 100, outputs))


def granted(pair: WalkPair, at: int) -> None:
    """
    Grant what the walk asks for, with a view that says so.
    """
    pair.feed(Granted(pair.hop, at, (ScopeView("request", Caps(1_000_000_000), Amount(90_000)),)))


def answered(pair: WalkPair) -> None:
    """
    Go classify > small > done.
    """
    classified(pair)
    granted(pair, 120)
    pair.feed(Replied(1, 600, {"confidence": 0.9, "finish_reason": "stop", "output_tokens": 8.0}, (attempt(150),)))


def climbed(pair: WalkPair) -> None:
    """
    Go classify > small > large > done, where large needs a second attempt.
    """
    classified(pair)
    granted(pair, 120)
    pair.feed(Replied(1, 600, {"confidence": 0.3, "finish_reason": "stop", "output_tokens": 8.0}, (attempt(150),)))
    granted(pair, 620)
    attempts = (
        attempt(
            640,
            300,
            status="failed",
            error_class="overloaded",
            message="the backend is busy",
            usage=Usage(),
            cost_nano_usd=0,
            basis="none",
            backend="large",
            model="",
            finish_reason="",
            span_id=SPAN_IDS[1],
        ),
        attempt(950, 1_000, backend="large", model="large-70b", cost_nano_usd=320_000, span_id=SPAN_IDS[2]),
    )
    pair.feed(Replied(2, 2_000, {"finish_reason": "stop", "output_tokens": 8.0}, attempts))


def refused(pair: WalkPair) -> None:
    """
    Go classify > sorry; the request must have the task `forbidden`.
    """
    classified(pair)


def failed(pair: WalkPair) -> None:
    """
    Go classify > large, which does not answer in time.
    """
    classified(pair, complexity=0.7)
    granted(pair, 120)
    message = "node 'large' did not answer within 1 s"
    late = attempt(
        150, 1_000_000, status="timeout", error_class="timeout", message=message, cost_nano_usd=90_000, basis="assumed",
        usage=Usage(), backend="large", model="", finish_reason="",
    )  # fmt: skip
    pair.feed(TimedOut(1, 1_000_200, message, (late,)))


def cancelled(pair: WalkPair) -> None:
    """
    Go classify > small, and the caller goes away.
    """
    classified(pair)
    granted(pair, 120)
    away = attempt(
        150, 50, status="cancelled", usage=Usage(), cost_nano_usd=90_000, basis="assumed", model="", finish_reason=""
    )
    pair.feed(Cancelled(1, 210, (away,)))


def denied(pair: WalkPair) -> None:
    """
    Go classify > small > large > sorry: large is denied, and small has an answer that is served.
    """
    classified(pair)
    granted(pair, 120)
    pair.feed(Replied(1, 600, {"confidence": 0.3, "finish_reason": "stop", "output_tokens": 8.0}, (attempt(150),)))
    views = (ScopeView("request", Caps(10_000_000), Amount(5_600)),)
    pair.feed(Denied(2, 620, "request", "may cost up to 0.02 USD and 0.01 are left", views))


def retry_denied(pair: WalkPair) -> None:
    """
    Go classify > large > sorry: the first attempt fails and the ledger does not grant a second.
    """
    classified(pair, complexity=0.7)
    granted(pair, 120)
    first = attempt(
        150, 300, status="failed", error_class="overloaded", message="busy", usage=Usage(), backend="large", model="",
        finish_reason="",
    )  # fmt: skip
    second = Attempt(460, 0, "denied", error_class="budget", message="may cost up to 0.02 USD", backend="large")
    pair.feed(Failed(1, 470, "budget", "node 'large' may cost up to 0.02 USD", (first, second)))


def walked(
    script: Script = answered,
    *,
    plan: Plan | None = None,
    number: int = 0,
    session: str = "",
    workflow: str = "",
    task: str = "any",
) -> Traversal:
    """
    Walk *script*, and return the record as number *number*.
    """
    plan = plan or triage()
    pair = WalkPair(plan)
    start = began(NO_LIMITS, task=task)
    pair.feed(start._replace(facts=start.facts._replace(scopes=Scopes(session, workflow))))
    script(pair)
    record = traversal_of(pair.steps, pair.live)
    record.source = record.source._replace(version="4")

    return numbered(record, number)


def numbered(traversal: Traversal, number: int) -> Traversal:
    """
    Copy *traversal* under another id.
    """
    twin = copy(traversal)
    twin.traversal_id = f"{number:032x}"

    return twin


def number_of(traversal_id: str) -> int:
    """
    Return the number that *traversal_id* was made from.
    """
    return int(traversal_id, 16)


# All that a hop says, whether it is kept or put together when it is asked for.
HOP_FIELDS = tuple(slot.removeprefix("_") for slot in Hop.__slots__ if slot != "_source")


def words_of(hop: Hop) -> dict[str, object]:
    """
    Return all that *hop* says, to compare it with another.
    """
    return {
        name: [(edge.to, edge.guard, edge.verdict) for edge in hop.considered] if name == "considered" else getattr(hop, name)
        for name in HOP_FIELDS
    }
