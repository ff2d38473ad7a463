"""
Random graphs whose every edge some outcome takes, and walks of them whose calls do their worst.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from meshwalk.budgets import REQUEST, Need
from meshwalk.model import Value
from meshwalk.model.problems import ErrorClass
from meshwalk.plan import Plan
from meshwalk.trace import (
    Began,
    Call,
    Denied,
    Entry,
    Failed,
    Finish,
    Granted,
    Message,
    Replied,
    Request,
    Reserve,
    Settle,
    TimedOut,
    Wish,
)
from meshwalk.walk import Walk
from meshwalk.walk.admission import Admission
from meshwalk.walk.attempts import Attempts, Closed, Try
from tests.support.plans import plan_of
from tests.support.walks import OwnScope, need_of


REASONS = ("stop", "length", "other")
CLASSES: tuple[ErrorClass, ...] = ("overloaded", "timeout", "malformed")


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """
    Make a plan of up to six nodes and a refusal: forward edges with any fallback, or cycles that visits bound.
    """
    size, cyclic = draw(st.integers(1, 6)), draw(st.booleans())
    names = [f"n{position}" for position in range(size)]
    nodes: dict[str, Any] = {"sorry": {"role": "refusal", "reason": "no"}}
    for position, name in enumerate(names):
        later = [*names[position + 1 :], "sorry"]
        nodes[name] = draw(_nodes(later, names if cyclic else later, is_last=position == size - 1))
        if cyclic:
            nodes[name]["visits"] = draw(st.integers(2, 3))
            if "on_error" in nodes[name]:
                nodes[name]["on_error"] = "sorry"
    limits = {"input_bytes": draw(st.integers(20, 5000)), "hops": draw(st.integers(1, 12))}
    if draw(st.booleans()):
        limits["deadline"] = draw(st.integers(1, 30))
    backends = {name: draw(_backends()) for name in ("b0", "b1")}
    graph = {
        "meshwalk": 1,
        "name": "random",
        "start": "n0",
        "limits": {key: f"{value}s" if key == "deadline" else value for key, value in limits.items()},
        "backends": backends,
        "nodes": nodes,
    }
    if draw(st.booleans()):
        bounded = all({"usd_per_mtok", "context_tokens"} <= backend.keys() for backend in backends.values())
        caps = ["calls", "hops", "input_tokens", *(["cost_usd", "output_tokens"] if bounded else [])]
        budgets = draw(_budgets(caps))
        graph["budgets"] = budgets
        guarded = [edge for node in nodes.values() for edge in node.get("next", []) if "when" in edge]
        if draw(st.booleans()) and guarded:
            draw(st.sampled_from(guarded))["when"] += f" || budget.{draw(st.sampled_from(list(budgets)))}.pressure > 0"

    return plan_of(json.dumps(graph))


@st.composite
def _budgets(draw: st.DrawFn, caps: list[str]) -> dict[str, Any]:
    """
    Make budgets, each of some of *caps*, that any call fits.
    """
    budgets: dict[str, Any] = {}
    for scope in draw(st.lists(st.sampled_from(["session", "workflow", "tenant"]), min_size=1, unique=True)):
        capped = draw(st.lists(st.sampled_from(caps), min_size=1, unique=True))
        budgets[scope] = {key: draw(st.integers(10**5, 10**6)) for key in capped}
        if draw(st.booleans()):
            budgets[scope] |= {"window": f"{draw(st.integers(1, 10_000))}s", "pressure_from": draw(st.sampled_from([0, 0.5]))}

    return budgets


@st.composite
def _nodes(draw: st.DrawFn, later: list[str], targets: list[str], *, is_last: bool) -> dict[str, Any]:
    if not is_last and draw(st.integers(0, 3)) == 0:
        edges = [{"to": later[0], "when": "signals.complexity >= 0.5"}, {"to": draw(st.sampled_from(later))}]
        return {"role": "classifier", "use": "features", "next": edges}
    # The first edge leads on to the next node, so that each can be reached.
    edges = [{"to": later[0], "when": "output.finish_reason == 'stop'"}]
    if draw(st.booleans()):
        edges.append({"to": draw(st.sampled_from(targets)), "when": "output.finish_reason == 'length'"})
    edges.append({"to": draw(st.sampled_from([*targets, "done"]))})
    node: dict[str, Any] = {
        "role": draw(st.sampled_from(["answer", "primary"])),
        "backend": draw(st.sampled_from(["b0", "b1"])),
        "retries": draw(st.integers(0, 2)),
        "next": edges,
    }
    for key, values in (
        ("max_tokens", st.integers(1, 99)),
        ("deadline", st.just("3s")),
        ("attempt_timeout", st.just("2s")),
        ("hedge", st.just("1s")),
    ):
        if draw(st.booleans()):
            node[key] = draw(values)
    if draw(st.booleans()):
        node["on_error"] = draw(st.sampled_from(later))
    if draw(st.integers(0, 3)) == 0:
        node["prompt"] = "Well: {{ prompt }} {{ conversation }} {{ request.urgency }}"
    if draw(st.integers(0, 3)) == 0:
        node["confidence"] = {"from": "agreement", "samples": draw(st.integers(2, 32))}

    return node


@st.composite
def _backends(draw: st.DrawFn) -> dict[str, Any]:
    backend: dict[str, Any] = {"kind": "simulated"}
    if draw(st.integers(0, 4)):
        backend["usd_per_mtok"] = {"input": draw(st.integers(0, 9)), "output": draw(st.integers(0, 9))}
    if draw(st.booleans()):
        backend["context_tokens"] = draw(st.integers(10, 3000))

    return backend


@st.composite
def requests(draw: st.DrawFn, plan: Plan) -> Request:
    """
    Make a request that is as large as *plan* admits, or smaller, in one message or several.
    """
    most = plan.limits.input_bytes or 0
    count = draw(st.integers(1, 1 + (most - 20) // 16))
    left = most - 16 * (count - 1)
    size = draw(st.sampled_from([1, left]))

    return Request((Message("user", "x" * size), *[Message("assistant", "")] * (count - 1)))


class Worst:
    """
    Walk *plan* with a clock of its own; what a call does, and how much of its time and its money it uses, is drawn.
    """

    def __init__(self, plan: Plan, request: Request, data: st.DataObject) -> None:
        self._data = data
        self.plan = plan
        self.facts, limits = Admission(plan).admit(request)
        self.walk = Walk(plan)
        self.own = OwnScope(limits)
        self.at = 0
        self._need = Need()
        entry: Entry | None = Began(0, self.facts, limits, self.own.views())
        while entry is not None:
            wishes = self.walk.feed(entry)
            entry = None
            for wish in wishes:
                entry = self._obeyed(wish) or entry

    def _obeyed(self, wish: Wish) -> Entry | None:
        match wish:
            case Reserve():
                self._need = need_of(wish)
                if self._data.draw(st.integers(0, 9)) == 0:
                    return Denied(wish.hop, self.at, REQUEST, "no", self.own.views())
                self.own.reserve(self._need)
                return Granted(wish.hop, self.at, self.own.views())
            case Call():
                return self._called(wish)
            case Settle():
                self.own.settle(self._need.amount)
            case Finish():
                pass
            case _:
                raise AssertionError(wish)

        return None

    def _called(self, wish: Call) -> Entry:
        node = self.plan.node(wish.node)
        if not node.calls:
            return Replied(wish.hop, self.at, {"complexity": self._data.draw(st.sampled_from([0.0, 1.0]))})
        step = self._attempted(Attempts(node.node, wish.deadline_at_us))
        if step.error_class is None:
            outputs: dict[str, Value] = {"finish_reason": self._data.draw(st.sampled_from(REASONS)), "output_tokens": 1.0}
            return Replied(wish.hop, self.at, outputs)
        if step.error_class == "timeout":
            return TimedOut(wish.hop, self.at, step.message)

        return Failed(wish.hop, self.at, step.error_class, step.message)

    def _attempted(self, machine: Attempts) -> Closed:
        """
        Make every call a hop may make, each at its worst, until it is over.
        """
        step: Try | Closed | None = machine.start(self.at)
        under_way: dict[int, Try] = {}
        while not isinstance(step, Closed):
            if step is not None:
                self.at = max(self.at, step.not_before_us)
                if step.number:
                    self.own.settle(self._need.amount)
                    self.own.reserve(self._need)
                    step = machine.granted(step.number, self.at)
                    if not isinstance(step, Try):
                        continue
                under_way[step.number] = step
            number = self._data.draw(st.sampled_from(sorted(under_way)))
            if machine.hedge_at_us is not None and self._data.draw(st.booleans()):
                self.at = max(self.at, machine.hedge_at_us)
                step = machine.hedge(self.at)
                if step is not None:
                    continue
            left = max(0, under_way[number].deadline_at_us - self.at)
            # Whoever's time is up has ended by then.
            self.at += self._data.draw(st.sampled_from([0, min(1, left), left]))
            under_way.pop(number)
            failure = self._data.draw(st.sampled_from([None, None, *CLASSES]))
            step = self._ended(machine, number, failure)

        return step

    def _ended(self, machine: Attempts, number: int, failure: ErrorClass | None) -> Try | Closed | None:
        if failure is None:
            return machine.worked(number)
        asks = self._data.draw(st.sampled_from([None, 5_000_000]))

        return machine.failed(number, self.at, failure, "no", retry_after_us=asks, chance=1.0)
