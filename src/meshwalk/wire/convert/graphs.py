"""
Descriptions of graphs, to the wire and from it.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshwalk.model import (
    AnyBackendSpec,
    Attribute,
    Budget,
    CacheSpec,
    Edge,
    LocalSpec,
    Node,
    OpenAISpec,
    Price,
    PythonSpec,
    RecordedSpec,
    SimulatedSpec,
    Threshold,
    signals,
)
from meshwalk.plan import Plan
from meshwalk.wire.convert.budgets import unpack_scope_kind
from meshwalk.wire.convert.enums import AWAY_POLICIES, BACKEND_KINDS, ERROR_CLASSES, ROLES, SCOPE_KINDS, VALUE_TYPES
from meshwalk.wire.convert.values import (
    pack_caps,
    pack_limits,
    pack_plan,
    pack_value,
    unpack_caps,
    unpack_limits,
    unpack_plan,
    unpack_value,
)
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2 as common
from meshwalk.wire.gen.meshwalk.v1beta1 import graph_pb2 as wire
from meshwalk.wire.types import (
    AttributeInfo,
    BackendInfo,
    BudgetInfo,
    EdgeInfo,
    GraphDescription,
    GraphInfo,
    NodeInfo,
    ThresholdInfo,
)


def pack_graph_info(plan: Plan) -> wire.GraphSummary:
    """
    Make a message of *plan* in a list.
    """
    return wire.GraphSummary(plan=pack_plan(plan), description=plan.graph.description)


def unpack_graph_info(message: wire.GraphSummary) -> GraphInfo:
    """
    Read a graph in a list.
    """
    return GraphInfo(unpack_plan(message.plan), message.description)


def pack_described(plan: Plan, mermaid: str) -> wire.DescribeGraphResponse:
    """
    Make a message of the parts of *plan* that callers may see, with its drawing.
    """
    graph = plan.graph

    return wire.DescribeGraphResponse(
        plan=pack_plan(plan),
        description=graph.description,
        start=graph.start,
        nodes=[_pack_node(node) for node in graph.nodes.values()],
        backends=[_pack_backend(backend) for backend in graph.backends.values()],
        attributes=[_pack_attribute(attribute) for attribute in signals.attributes(graph).values()],
        thresholds=[_pack_threshold(threshold) for threshold in graph.thresholds.values()],
        limits=pack_limits(graph.limits),
        allowed_sampling=graph.allowed_sampling,
        canonical=plan.canonical,
        mermaid=mermaid,
        budgets=[_pack_budget(budget) for budget in graph.budgets.values()],
        pressure_from=graph.pressure_from,
        prices=graph.prices,
    )


def pack_callable(plan: Plan) -> wire.DescribeGraphResponse:
    """
    Make a message of the parts of *plan* that a caller needs who only sends requests.
    """
    graph = plan.graph

    return wire.DescribeGraphResponse(
        plan=pack_plan(plan),
        description=graph.description,
        attributes=[_pack_attribute(attribute) for attribute in signals.attributes(graph).values()],
        limits=pack_limits(graph.limits),
        allowed_sampling=graph.allowed_sampling,
    )


def unpack_described(message: wire.DescribeGraphResponse) -> GraphDescription:
    """
    Read the description of a graph.
    """
    return GraphDescription(
        plan=unpack_plan(message.plan),
        description=message.description,
        start=message.start,
        nodes=tuple(_unpack_node(node) for node in message.nodes),
        backends=tuple(_unpack_backend(backend) for backend in message.backends),
        attributes=tuple(_unpack_attribute(attribute) for attribute in message.attributes),
        thresholds=tuple(_unpack_threshold(threshold) for threshold in message.thresholds),
        limits=unpack_limits(message.limits),
        params=tuple(message.allowed_sampling),
        canonical=message.canonical,
        mermaid=message.mermaid,
        budgets=tuple(_unpack_budget(budget) for budget in message.budgets),
        pressure_from=message.pressure_from,
        prices=message.prices,
    )


def _pack_budget(budget: Budget) -> wire.Budget:
    return wire.Budget(
        scope=SCOPE_KINDS.number[budget.scope],
        caps=pack_caps(budget.caps),
        window_us=budget.window_us,
        pressure_from=budget.pressure_from,
        scope_required=budget.required,
        away=AWAY_POLICIES.number[budget.away],
    )


def _unpack_budget(message: wire.Budget) -> BudgetInfo:
    return BudgetInfo(
        unpack_scope_kind(message.scope),
        unpack_caps(message.caps),
        message.window_us if message.HasField("window_us") else None,
        message.pressure_from,
        message.scope_required,
        AWAY_POLICIES.word(message.away),
    )


def _pack_node(node: Node) -> wire.Node:
    return wire.Node(
        name=node.name,
        role=ROLES.number[node.role],
        backend=node.backend or "",
        description=node.description,
        next=[_pack_edge(edge) for edge in node.next],
        on_error=[_pack_edge(edge) for edge in node.on_error],
        deadline_us=node.deadline_us,
        retries=node.retries,
        stream=node.stream,
        visits=node.visits,
        hedge_us=node.hedge_us,
    )


def _unpack_node(message: wire.Node) -> NodeInfo:
    return NodeInfo(
        message.name,
        ROLES.word(message.role),
        message.backend,
        message.description,
        _unpack_edges(message.next),
        _unpack_edges(message.on_error),
        message.deadline_us if message.HasField("deadline_us") else None,
        message.retries,
        message.visits,
        message.stream if message.HasField("stream") else None,
        message.hedge_us if message.HasField("hedge_us") else None,
    )


def _pack_edge(edge: Edge) -> wire.Edge:
    return wire.Edge(
        id=edge.id or "",
        to=edge.to,
        guard=edge.when or "",
        classes=[ERROR_CLASSES.number[error_class] for error_class in edge.classes],
        answer=edge.answer or "",
        otherwise=edge.otherwise or "",
    )


def _unpack_edges(messages: Iterable[wire.Edge]) -> tuple[EdgeInfo, ...]:
    return tuple(
        EdgeInfo(edge.id, edge.to, edge.guard, _unpack_classes(edge.classes), edge.answer, edge.otherwise) for edge in messages
    )


def _unpack_classes(numbers: Iterable[common.ErrorClass.ValueType]) -> tuple[str, ...]:
    return tuple(ERROR_CLASSES.word(number) for number in numbers)


def _pack_backend(spec: AnyBackendSpec) -> wire.Backend:
    kind, model = _kind(spec)

    return wire.Backend(
        name=spec.name,
        kind=BACKEND_KINDS.number[kind],
        model=model,
        description=spec.description,
        price=None if spec.price is None else _pack_price(spec.price),
        context_tokens=spec.context_tokens,
        endpoints=[endpoint.name for endpoint in spec.endpoints] if isinstance(spec, OpenAISpec) else (),
    )


def _kind(spec: AnyBackendSpec) -> tuple[str, str]:
    """
    Return a backend's kind, in the graph's word, and its model.  Addresses and functions stay with the server.
    """
    match spec:
        case OpenAISpec():
            return "openai", spec.model
        case LocalSpec():
            return "local", spec.model or ""
        case RecordedSpec():
            return "recorded", spec.model
        case SimulatedSpec():
            return "simulated", ""
        case PythonSpec():
            return "python", ""
        case CacheSpec():
            return "cache", ""


def _pack_price(price: Price) -> wire.Price:
    return wire.Price(
        input_nano_usd_per_mtok=price.input_nano_per_mtok,
        output_nano_usd_per_mtok=price.output_nano_per_mtok,
        cached_input_nano_usd_per_mtok=price.cached_nano_per_mtok,
        reasoning_nano_usd_per_mtok=price.reasoning_nano_per_mtok,
    )


def _unpack_price(message: wire.Price) -> Price:
    return Price(
        message.input_nano_usd_per_mtok,
        message.output_nano_usd_per_mtok,
        message.cached_input_nano_usd_per_mtok if message.HasField("cached_input_nano_usd_per_mtok") else None,
        message.reasoning_nano_usd_per_mtok if message.HasField("reasoning_nano_usd_per_mtok") else None,
    )


def _unpack_backend(message: wire.Backend) -> BackendInfo:
    return BackendInfo(
        message.name,
        BACKEND_KINDS.word(message.kind),
        message.model,
        message.description,
        _unpack_price(message.price) if message.HasField("price") else None,
        message.context_tokens if message.HasField("context_tokens") else None,
        tuple(message.endpoints),
    )


def _pack_attribute(attribute: Attribute) -> wire.Attribute:
    return wire.Attribute(
        name=attribute.name,
        value_type=VALUE_TYPES.number[attribute.type],
        members=attribute.enum,
        range=_pack_range(attribute.range),
        default_value=None if attribute.default is None else pack_value(attribute.default),
        description=attribute.description,
    )


def _unpack_attribute(message: wire.Attribute) -> AttributeInfo:
    return AttributeInfo(
        message.name,
        VALUE_TYPES.word(message.value_type),
        tuple(message.members),
        (message.range.low, message.range.high) if message.HasField("range") else None,
        unpack_value(message.default_value) if message.HasField("default_value") else None,
        message.description,
    )


def _pack_threshold(threshold: Threshold) -> wire.Threshold:
    return wire.Threshold(
        name=threshold.name,
        value=threshold.value,
        range=_pack_range(threshold.range),
        description=threshold.description,
    )


def _unpack_threshold(message: wire.Threshold) -> ThresholdInfo:
    return ThresholdInfo(
        message.name,
        message.value,
        (message.range.low, message.range.high) if message.HasField("range") else None,
        message.description,
    )


def _pack_range(bounds: tuple[float, float] | None) -> wire.Range | None:
    return None if bounds is None else wire.Range(low=bounds[0], high=bounds[1])
