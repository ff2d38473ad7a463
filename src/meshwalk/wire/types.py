"""
What a client is given: replies, records and graphs as plain data, as far as the wire tells of them.

A `Routed` is what `Mesh.route` gives in process, and a `Record` is a traversal put together as hops; the entries
themselves stay on the server.  Where the house has a word already (`Hop`, `Usage`, `Facts`, `Limits`, `Attribute`), it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from meshwalk.budgets import AccountReport, Need
from meshwalk.model import AwayPolicy, Caps, Limits, Price, Role, ScopeKind, Value, ValueType
from meshwalk.records.hops import Considered, Hop
from meshwalk.trace import Basis, Content, Facts, Outcome, Scopes, ToolCall, Usage


# How much of the record a reply carries: the answer and path alone, hops with decisions too, or everything.
Detail = Literal["NONE", "HOPS", "FULL"]


class PlanRef(NamedTuple):
    """
    Name the plan that decided.
    """

    graph: str
    version: str = ""
    shape_digest: str = ""
    plan_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """
    Hold the record of a walk as hops; see `Traversal` for the fields it shares with that.

    Args:
        cause: Why it failed: an error class, `contended`, `hops`, `visits` or `no_answer`; empty if it did not.
        budget_wait_us: How long it waited for others to settle, which is no part of *engine_us*.
        slack_nano_usd: What calls cost that were made while the vault was away: so much may be past a cap.
        prices: The version of the prices that its calls were settled at.
        facts: None below detail FULL, as for *limits*; *content* only where the graph records it, too.
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
        Return what all calls cost, in dollars.
        """
        return self.cost_nano_usd / 1e9


def _nothing() -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Routed:
    """
    Hold what a server gave for one request.

    Args:
        node: Whose reply was served; if the graph refused, the refusal node.
        reason: Why the graph refused; empty if it answered.
        simulated: Whether no model made the answer.
        tool_calls: The tools that the model wishes to call.
        repeated: Whether an earlier call with the same idempotency key made this walk.
        read: Reads the record off the message; most callers only want the answer, and need not wait for more.
    """

    traversal_id: str
    trace_id: str
    plan: PlanRef
    outcome: Outcome
    answer: str
    node: str
    finish_reason: str
    reason: str
    simulated: bool
    path: tuple[str, ...]
    usage: Usage
    cost_nano_usd: int
    basis: Basis
    latency_us: int
    engine_us: int
    tool_calls: tuple[ToolCall, ...] = ()
    repeated: bool = False
    read: Callable[[], Record | None] = field(default=_nothing, repr=False, compare=False)

    @cached_property
    def record(self) -> Record | None:
        """
        Return the record of the walk; None with detail NONE.

        Raises:
            MeshwalkError: If it holds a word that this version does not know.
        """
        return self.read()

    def __getstate__(self) -> dict[str, object]:
        # What reads a record holds the message, which goes to no other process; the record does.
        return {**vars(self), "record": self.record, "read": _nothing}

    @property
    def cost_usd(self) -> float:
        """
        Return what all calls cost, in dollars.
        """
        return self.cost_nano_usd / 1e9

    @property
    def hops(self) -> tuple[Hop, ...]:
        """
        Return every hop, if the request asked for them.
        """
        return self.record.hops if self.record is not None else ()


class HopStarted(NamedTuple):
    """
    Tell that a hop started.
    """

    hop: int
    node: str
    role: Role
    started_us: int


class HopFinished(NamedTuple):
    """
    Tell that a hop ended, and how it was left.
    """

    hop: Hop


class Committed(NamedTuple):
    """
    Tell that a hop's reply will be served, whatever its end is like: its pieces follow as they come.
    """

    hop: int


class AnswerDelta(NamedTuple):
    """
    Give a piece of the answer.
    """

    hop: int
    text: str


Event = HopStarted | HopFinished | Committed | AnswerDelta | Routed


# ---- decisions before the first call --------------------------------------------------------------------------------


class FreeHop(NamedTuple):
    """
    Show a hop that was made without calling a model, and how the walk went on (empty *edge* if it ended).
    """

    node: str
    outputs: Mapping[str, Value]
    edge: str
    considered: tuple[Considered, ...]


class PreviewEdge(NamedTuple):
    """
    Show an edge of the node that would be called first; a *verdict* of None waits for the signals in *needs*.
    """

    to: str
    guard: str
    needs: tuple[str, ...]
    verdict: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """
    Show where a request would go as far as that can be told without calling a model.

    Args:
        outcome: How the walk would end, if it would end without a call.
        next: The node that would be called first, or nothing.
    """

    plan: PlanRef
    path: tuple[str, ...]
    outcome: Outcome | None
    reason: str
    hops: tuple[FreeHop, ...]
    next: str
    need: Need | None
    edges: tuple[PreviewEdge, ...]


# ---- records in a list ----------------------------------------------------------------------------------------------


class Summary(NamedTuple):
    """
    Say of a record what a list says of it.
    """

    traversal_id: str
    trace_id: str
    plan: PlanRef
    scopes: Scopes
    outcome: Outcome
    cause: str
    path: tuple[str, ...]
    answer_node: str
    began_unix_us: int
    latency_us: int
    engine_us: int
    cost_nano_usd: int

    @property
    def cost_usd(self) -> float:
        """
        Return what all calls cost, in dollars.
        """
        return self.cost_nano_usd / 1e9


class Page(NamedTuple):
    """
    Hold a page of a list; an empty *next* says that it is the last.
    """

    traversals: tuple[Summary, ...]
    next: str


# ---- budgets --------------------------------------------------------------------------------------------------------


class AccountInfo(NamedTuple):
    """
    Show an account to its operator, with the tightest caps that the graphs of the server that shows it put there.
    """

    statement: AccountReport
    graph_caps: Caps = Caps()


class AccountPage(NamedTuple):
    """
    Hold a page of the accounts of *tenant*; an empty *next* says that it is the last.
    """

    tenant: str
    accounts: tuple[AccountInfo, ...]
    next: str


# ---- graphs ---------------------------------------------------------------------------------------------------------


class GraphInfo(NamedTuple):
    """
    Name a graph that a server serves.
    """

    plan: PlanRef
    description: str


class EdgeInfo(NamedTuple):
    """
    Describe an edge; empty texts are left out in the graph.
    """

    id: str
    to: str
    guard: str
    classes: tuple[str, ...]
    answer: str
    otherwise: str


class NodeInfo(NamedTuple):
    """
    Describe a node.
    """

    name: str
    role: Role
    backend: str
    description: str
    next: tuple[EdgeInfo, ...]
    on_error: tuple[EdgeInfo, ...]
    deadline_us: int | None
    retries: int
    visits: int
    stream: int | None = None
    hedge_us: int | None = None


class BackendInfo(NamedTuple):
    """
    Describe a backend; its endpoints have names where it declares them.
    """

    name: str
    kind: str
    model: str
    description: str
    price: Price | None
    context_tokens: int | None
    endpoints: tuple[str, ...] = ()


class AttributeInfo(NamedTuple):
    """
    Describe an attribute that callers may send.
    """

    name: str
    type: ValueType
    members: tuple[str, ...]
    range: tuple[float, float] | None
    default: Value | None
    description: str


class ThresholdInfo(NamedTuple):
    """
    Describe a threshold.
    """

    name: str
    value: float
    range: tuple[float, float] | None
    description: str


class BudgetInfo(NamedTuple):
    """
    Describe what the walks of a scope may use up together.
    """

    scope: ScopeKind
    caps: Caps
    window_us: int | None
    pressure_from: float
    required: bool
    away: AwayPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphDescription:
    """
    Describe a graph that a server serves.

    Args:
        params: The sampling parameters that callers may set.
        budgets: What many walks share.
        pressure_from: The used share of a walk's own limits from which `budget.request.pressure` rises above 0.
        prices: The version of its prices; empty if no backend has a price.
        canonical: The canonical plan as JSON text, which the plan digest is taken over.
        mermaid: The graph as a Mermaid flowchart.
    """

    plan: PlanRef
    description: str
    start: str
    nodes: tuple[NodeInfo, ...]
    backends: tuple[BackendInfo, ...]
    attributes: tuple[AttributeInfo, ...]
    thresholds: tuple[ThresholdInfo, ...]
    limits: Limits
    params: tuple[str, ...]
    canonical: bytes
    mermaid: str
    budgets: tuple[BudgetInfo, ...]
    pressure_from: float
    prices: str = ""
