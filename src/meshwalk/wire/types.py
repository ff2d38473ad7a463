"""
The plain data that only a client sees: lists of records, accounts, and descriptions of graphs.

Results, previews and events are those of a walk in process, see `records`.  The entries of a walk stay on the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from meshwalk.budgets import AccountReport
from meshwalk.model import AwayPolicy, Caps, Limits, Price, Role, ScopeKind, Value, ValueType
from meshwalk.model.arguments import described
from meshwalk.records.results import PlanRef
from meshwalk.trace import Outcome, Scopes


# The part of the record that a reply carries: answer and path alone, hops with decisions too, or everything.
Detail = Literal["NONE", "HOPS", "FULL"]


def detail_fault(value: object) -> str:
    """
    Return what is wrong with *value*, which is to be a `Detail`.
    """
    return "" if value in ("NONE", "HOPS", "FULL") else f"is {_quoted(value)}, and takes 'NONE', 'HOPS' or 'FULL'"


def scope_fault(value: object) -> str:
    """
    Return what is wrong with *value*, which is to be a kind of scope.
    """
    kinds = get_args(ScopeKind)

    return "" if value in kinds else f"is {_quoted(value)}, and takes one of {', '.join(map(repr, kinds))}"


def _quoted(value: object) -> str:
    return repr(value) if isinstance(value, str) else described(value)


# ---- records in a list ----------------------------------------------------------------------------------------------


class Summary(NamedTuple):
    """
    The line of a record in a list.
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
        Return the cost of all calls, in dollars.
        """
        return self.cost_nano_usd / 1e9


class Page(NamedTuple):
    """
    A page of a list of records; *next* is empty on the last page.
    """

    traversals: tuple[Summary, ...]
    next: str


# ---- budgets --------------------------------------------------------------------------------------------------------


class AccountInfo(NamedTuple):
    """
    An account as its operator sees it, with the tightest caps of all graphs of the server.
    """

    statement: AccountReport
    graph_caps: Caps = Caps()


class AccountPage(NamedTuple):
    """
    A page of the accounts of *tenant*; *next* is empty on the last page.
    """

    tenant: str
    accounts: tuple[AccountInfo, ...]
    next: str


# ---- graphs ---------------------------------------------------------------------------------------------------------


class GraphInfo(NamedTuple):
    """
    The names of a graph that a server serves.
    """

    plan: PlanRef
    description: str


class EdgeInfo(NamedTuple):
    """
    An edge; a text is empty where the graph leaves it out.
    """

    id: str
    to: str
    guard: str
    classes: tuple[str, ...]
    answer: str
    otherwise: str


class NodeInfo(NamedTuple):
    """
    A node.
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
    A backend; *endpoints* is empty where it declares none.
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
    An attribute that callers may send.
    """

    name: str
    type: ValueType
    members: tuple[str, ...]
    range: tuple[float, float] | None
    default: Value | None
    description: str


class ThresholdInfo(NamedTuple):
    """
    A threshold of a graph.
    """

    name: str
    value: float
    range: tuple[float, float] | None
    description: str


class BudgetInfo(NamedTuple):
    """
    The caps that all walks of a scope share.
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
    A graph that a server serves.

    Args:
        params: The sampling parameters that callers may set.
        budgets: The caps that many walks share.
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
