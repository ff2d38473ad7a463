"""
The result of a walk: the answer, and the figures of its record.

In process a result computes its figures from the traversal on demand, since most callers want the answer only.  Over the wire
the figures come with the reply, and so does the record if the call asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from meshwalk.model import Limits
from meshwalk.model.private_text import disclosed, joined
from meshwalk.model.problems import (
    BudgetContended,
    BudgetExceeded,
    DeadlineExceeded,
    HopFailed,
    HopLimitExceeded,
    SetupError,
    WalkStopped,
)
from meshwalk.plan import Plan
from meshwalk.records.hops import Hop, hops_of
from meshwalk.trace import Basis, Content, Facts, Message, Outcome, Replied, ToolCall, Traversal, Usage, disclosed_record


_ERRORS: Mapping[str, type[WalkStopped]] = {
    "budget": BudgetExceeded,
    "contended": BudgetContended,
    "hops": HopLimitExceeded,
    "visits": HopLimitExceeded,
    "timeout": DeadlineExceeded,
    "not_started": DeadlineExceeded,
    "no_answer": WalkStopped,
}


class PlanRef(NamedTuple):
    """
    The names of the plan that decided.
    """

    graph: str
    version: str = ""
    shape_digest: str = ""
    plan_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """
    The record of a walk as hops; see `Traversal` for the fields they share.

    Args:
        cause: Why it failed: an error class, `contended`, `hops`, `visits` or `no_answer`; empty if it did not.
        budget_wait_us: The time spent waiting for others to settle, which is no part of *engine_us*.
        slack_nano_usd: The cost of calls made while the vault was away; at most this much lies past a cap.
        prices: The version of the prices that its calls were settled at.
        facts: None below detail FULL, as are *limits* and *content*; *content* is also None unless the graph records it.
    """

    traversal_id: str
    trace_id: str
    span_id: str
    parent_span_id: str
    plan: PlanRef
    began_unix_us: int
    outcome: Outcome
    cause: str
    message: str
    node: str
    scope: str
    path: tuple[str, ...]
    answer_hop: int | None
    hops: tuple[Hop, ...]
    usage: Usage
    cost_nano_usd: int
    basis: Basis
    latency_us: int
    engine_us: int
    budget_wait_us: int = 0
    slack_nano_usd: int = 0
    prices: str = ""
    facts: Facts | None = None
    limits: Limits | None = None
    content: Content | None = None

    @property
    def cost_usd(self) -> float:
        """
        Return the cost of all calls, in dollars.
        """
        return self.cost_nano_usd / 1e9


class Figures(NamedTuple):
    """
    The figures of a walk as a server's reply gives them.
    """

    traversal_id: str
    trace_id: str
    plan: PlanRef
    outcome: Outcome
    node: str
    reason: str
    simulated: bool
    path: tuple[str, ...]
    usage: Usage
    cost_nano_usd: int
    basis: Basis
    latency_us: int
    engine_us: int


def _no_record() -> Record | None:
    return None


class RouteResult:
    """
    The result of one request: its answer or refusal, and the figures of its walk.

    Args:
        walk: The traversal of a walk in this process; the figures that a server sent otherwise.
        plan: The plan of that traversal; None where it is not here, so that there are no hops.
        repeated: Whether an earlier request with the same idempotency key made this walk.
        tool_calls: The calls of tools that the model asks for.
        partial: The part of a broken answer that was passed on before it broke.
        streamed: Whether the answer was passed on as it came.
        read: Reads the record that came with a server's reply.
        carried: The opaque text that the answer's provider needs back with it.
    """

    __slots__ = (
        "_origin", "_walk", "answer", "carried", "finish_reason", "partial", "repeated", "streamed",
        "tool_calls",
    )  # fmt: skip

    def __init__(
        self,
        walk: Traversal | Figures,
        plan: Plan | None,
        answer: str = "",
        finish_reason: str = "",
        *,
        repeated: bool = False,
        tool_calls: tuple[ToolCall, ...] = (),
        partial: str = "",
        streamed: bool = False,
        read: Callable[[], Record | None] | None = None,
        carried: str = "",
    ) -> None:
        self._walk = walk
        # The record itself once it was made, and before that what it is made from.
        self._origin: Plan | Callable[[], Record | None] | Record | None = plan if read is None else read
        self.answer = answer
        self.finish_reason = finish_reason
        self.repeated = repeated
        self.tool_calls = tool_calls
        self.partial = partial
        self.streamed = streamed
        self.carried = carried

    @property
    def message(self) -> Message:
        """
        Return the answer as the assistant's message of a conversation that goes on.
        """
        return Message("assistant", self.answer, tool_calls=self.tool_calls, carried=self.carried)

    @property
    def traversal(self) -> Traversal:
        """
        Return the record with all its entries.

        Raises:
            SetupError: If a server made the walk, and keeps them.
        """
        if isinstance(self._walk, Figures):
            walk_id = self._walk.traversal_id
            raise SetupError(f"the entries of walk {walk_id} are on the server; ask with `detail=` and read `record`")

        return self._walk

    @property
    def traversal_id(self) -> str:
        """
        Return the id of the record.
        """
        return self._walk.traversal_id

    @property
    def trace_id(self) -> str:
        """
        Return the id of the trace that the walk belongs to.
        """
        return self._walk.trace_id

    @property
    def plan(self) -> PlanRef:
        """
        Return the names of the plan that decided.
        """
        return _plan_ref(self._walk) if isinstance(self._walk, Traversal) else self._walk.plan

    @property
    def outcome(self) -> Outcome:
        """
        Return the walk's outcome.
        """
        return self._walk.outcome

    @property
    def node(self) -> str:
        """
        Return the node whose reply was served; if there is none, the node that the walk ended at.
        """
        if isinstance(self._walk, Figures):
            return self._walk.node

        return self._walk.answer_node or self._walk.finish.node

    @property
    def reason(self) -> str:
        """
        Return why there is no answer; empty if there is one.
        """
        return disclosed(self._walk.finish.message) if isinstance(self._walk, Traversal) else self._walk.reason

    @property
    def simulated(self) -> bool:
        """
        Return True if no model made the answer.
        """
        return _simulated(self._walk) if isinstance(self._walk, Traversal) else self._walk.simulated

    @property
    def path(self) -> tuple[str, ...]:
        """
        Return the nodes visited, in order.
        """
        return tuple(self._walk.path)

    @property
    def usage(self) -> Usage:
        """
        Return the tokens of all calls.
        """
        return self._walk.usage

    @property
    def cost_nano_usd(self) -> int:
        """
        Return the cost of all calls.
        """
        return self._walk.cost_nano_usd

    @property
    def cost_usd(self) -> float:
        """
        Return the cost of all calls, in dollars.
        """
        return self._walk.cost_nano_usd / 1e9

    @property
    def basis(self) -> Basis:
        """
        Return the weakest basis any part of the cost has.
        """
        return self._walk.basis

    @property
    def latency_us(self) -> int:
        """
        Return the duration of the walk.
        """
        return self._walk.latency_us

    @property
    def engine_us(self) -> int:
        """
        Return the part of the latency spent neither in calls nor in waiting.
        """
        return self._walk.engine_us

    @property
    def record(self) -> Record | None:
        """
        Return the record of the walk; None with detail NONE, or if its plan is not here.

        Raises:
            MeshwalkError: If it holds a word that this version does not know.
        """
        origin = self._origin
        if origin is None or isinstance(origin, Record):
            return origin
        record = record_of(disclosed_record(self.traversal), origin) if isinstance(origin, Plan) else origin()
        self._origin = record

        return record

    @property
    def hops(self) -> tuple[Hop, ...]:
        """
        Return every hop; over the wire, if the request asked for them.
        """
        return self.record.hops if self.record is not None else ()

    def error(self) -> WalkStopped | None:
        """
        Return the error that a failed walk stands for, or None if it did not fail.
        """
        if isinstance(self._walk, Figures) or self._walk.outcome is not Outcome.FAILED:
            return None
        finish = self._walk.finish
        earlier = "; that is what an earlier request with this idempotency key came to" if self.repeated else ""

        return _ERRORS.get(finish.cause, HopFailed)(
            joined(finish.message, earlier),
            traversal_id=self.traversal_id,
            node=finish.node,
            error_class=finish.cause,
            scope=finish.scope,
            partial=self.partial,
            # No node is called after a reply was passed on, so the last hop made it.
            partial_hop=len(self.path) - 1 if self.partial else None,
        )

    def raised(self) -> Self:
        """
        Return this result, unless the walk failed.

        Raises:
            WalkStopped: If it did.
        """
        if error := self.error():
            raise error

        return self

    def figures(self) -> Figures:
        """
        Return the figures of the walk, in one value.
        """
        return Figures._make(getattr(self, name) for name in Figures._fields)

    def _compared(self) -> tuple[object, ...]:
        return *self.figures(), self.answer, self.finish_reason, self.tool_calls, self.partial, self.repeated

    def __eq__(self, other: object) -> bool:
        return self._compared() == other._compared() if isinstance(other, RouteResult) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.traversal_id)

    def __getstate__(self) -> dict[str, object]:
        # A plan holds compiled code and the reader a protobuf message.  Neither can be pickled, so the record is.
        names = "answer", "finish_reason", "partial", "repeated", "streamed", "tool_calls", "_walk"
        return {name: getattr(self, name) for name in names} | {"_origin": self.record}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        path = " > ".join(self.path)

        return f"<RouteResult {self.plan.graph}: {path}, {self.outcome.value}, {self.cost_usd:.6f} USD>"


def record_of(traversal: Traversal, plan: Plan) -> Record:
    """
    Return *traversal*, a walk over *plan*, as a record with everything in it.
    """
    finish, began = traversal.finish, traversal.began
    facts = began.facts

    return Record(
        traversal_id=traversal.traversal_id,
        trace_id=traversal.trace_id,
        span_id=traversal.span_id,
        parent_span_id=traversal.parent_span_id,
        plan=_plan_ref(traversal),
        began_unix_us=traversal.began_unix_us,
        outcome=finish.outcome,
        cause=finish.cause,
        message=finish.message,
        node=finish.node,
        scope=finish.scope,
        path=tuple(traversal.path),
        answer_hop=finish.answer_hop,
        hops=tuple(hops_of(traversal, plan)),
        usage=traversal.usage,
        cost_nano_usd=traversal.cost_nano_usd,
        basis=traversal.basis,
        latency_us=traversal.latency_us,
        engine_us=traversal.engine_us,
        budget_wait_us=traversal.budget_wait_us,
        slack_nano_usd=traversal.slack_nano_usd,
        prices=traversal.prices,
        # In the order of their names, which is the only one that a map on the wire has.
        facts=facts._replace(
            attributes=tuple(sorted(facts.attributes)),
            counted=tuple(sorted(facts.counted)),
            healthy=tuple(sorted(facts.healthy)),
        ),
        limits=began.limits,
        content=traversal.content,
    )


def _plan_ref(traversal: Traversal) -> PlanRef:
    return PlanRef(traversal.graph, traversal.version, traversal.shape_digest, traversal.plan_digest)


def _simulated(traversal: Traversal) -> bool:
    hop = traversal.finish.answer_hop
    if hop is None:
        return False
    # The last attempt of the hop is the one whose reply was served.
    replies = (entry for entry, _ in traversal.steps if isinstance(entry, Replied) and entry.hop == hop)

    return next(replies).attempts[-1].simulated
