"""
What a client is given: replies, records and graphs as plain data, as far as the wire tells of them.

Results, previews and events are the same as in process, see `records`; the entries of a walk stay on the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from meshwalk.budgets import AccountReport
from meshwalk.model import AwayPolicy, Caps, Limits, Price, Role, ScopeKind, Value, ValueType
from meshwalk.records.results import PlanRef
from meshwalk.trace import Outcome, Scopes


# How much of the record a reply carries: the answer and path alone, hops with decisions too, or everything.
Detail = Literal["NONE", "HOPS", "FULL"]


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
