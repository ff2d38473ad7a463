"""
`meshwalk decide`: the way of a prompt up to the first model call, without making it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Never

from cyclopts import Parameter

from meshwalk.cli.options import Json, TrustFlags, attribute_values
from meshwalk.cli.output import OK, emit, say_fitted, visible


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meshwalk.model import Value
    from meshwalk.plan import Plan
    from meshwalk.records.previews import FreeHop, Preview


def decide(
    graph: str,
    prompt: str,
    /,
    *,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    signals: Annotated[bool, Parameter(name="--signals", negative="")] = False,
    trust: TrustFlags = TrustFlags(),
    json: Json = False,
) -> int:
    """
    Show where a prompt would go up to the first model call, why, and what each edge behind that call would need.

    No model is called, so a model's address and key are not needed.

    Parameters
    ----------
    graph
        The graph's YAML file.
    prompt
        The prompt; one that begins with a dash goes behind `--`.
    set
        An attribute's value as NAME=VALUE; may be given several times.
    signals
        Show only the signals that the graph's classifiers give the prompt.
    """
    import anyio

    from meshwalk.loader import load_graph
    from meshwalk.model.signals import attributes
    from meshwalk.plan import compile_plan

    plan = compile_plan(load_graph(graph, trust=trust.trust))
    declared = attributes(plan.graph)
    types = {attribute.name: attribute.type for attribute in declared.values()}
    values = attribute_values(set, plan.name, types)
    preview = anyio.run(_preview, plan, prompt, values)
    defaults = {one.name: one.default for one in declared.values() if one.default is not None}
    document = _document(plan, preview, defaults | values)
    if json:
        emit({"signals": document["signals"]} if signals else document)
    else:
        say_fitted(visible("\n".join(_signal_lines(document["signals"]) if signals else _lines(document))))

    return OK


async def _preview(plan: Plan, prompt: str, values: Mapping[str, Value]) -> Preview:
    from meshwalk.mesh import Mesh

    async with Mesh(plan, backends=dict.fromkeys(plan.graph.backends, _NeverCalled())) as mesh:
        return await mesh.decide(prompt, attributes=values)


_VERDICTS = {"held": True, "not_held": False}


class _NeverCalled:
    """
    A stand-in for every backend: a preview stops before its first call.
    """

    waits = False

    async def chat(self, request: object) -> Never:
        raise AssertionError(request)

    async def aclose(self) -> None:
        pass


def _document(plan: Plan, preview: Preview, attributes: Mapping[str, Value]) -> dict[str, Any]:
    slots: dict[str, Value] = {f"request.{name}": value for name, value in attributes.items()}
    signals: dict[str, Value] = {}
    hops = []
    for hop in preview.hops:
        slots |= {f"hop.{hop.node}.{name}": value for name, value in hop.outputs.items()}
        if plan.node(hop.node).role == "classifier":
            signals |= hop.outputs
            slots |= {f"signals.{name}": value for name, value in hop.outputs.items()}
        hops.append({"node": hop.node, "to": hop.edge, "outputs": dict(hop.outputs), "edges": _edges(plan, hop, slots)})

    return {
        "graph": plan.name,
        "signals": signals,
        "path": list(preview.path),
        "hops": hops,
        "next": preview.next,
        "backend": plan.node(preview.next).node.backend or "" if preview.next else "",
        "max_cost_nano_usd": None if preview.need is None else preview.need.cost_nano_usd,
        "outcome": None if preview.outcome is None else preview.outcome.name.lower(),
        "reason": preview.reason,
        "edges": [{"to": edge.to, "guard": edge.guard, "needs": list(edge.needs)} for edge in preview.edges],
    }


def _edges(plan: Plan, hop: FreeHop, slots: Mapping[str, Value]) -> list[dict[str, Any]]:
    from meshwalk.guards.explain import explain

    edges = []
    for considered, edge in zip(hop.considered, plan.node(hop.node).next, strict=False):
        why = None if edge.checked is None else explain(edge.checked.tree, slots.get)
        # The clock, the budgets and the windows are the walk's; a guard that reads them is not explained here.
        if why is not None and why.verdict is not _VERDICTS.get(considered.verdict):
            why = None
        edges.append(
            {
                "to": considered.to,
                "guard": considered.guard,
                "verdict": considered.verdict,
                "why": "" if why is None else why.text,
                "distance": None if why is None else why.distance,
                "change": "" if why is None else why.change,
            }
        )

    return edges


def _signal_lines(signals: Mapping[str, Value]) -> list[str]:
    if not signals:
        return ["no classifier runs before the first call"]

    return [f"signals.{name} = {_shown(value)}" for name, value in signals.items()]


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield from _signal_lines(document["signals"])
    yield ""
    for hop in document["hops"]:
        yield f"{hop['node']} → {hop['to']}" if hop["to"] else hop["node"]
        yield from (f"    to {edge['to']}: {_reason(edge)}" for edge in hop["edges"])
    if not document["next"]:
        yield f"the walk would end: {document['outcome']}" + (f", {document['reason']}" if document["reason"] else "")
        return
    bound = document["max_cost_nano_usd"]
    cost = "" if bound is None else f", for at most {bound / 1e9:.6f} USD"
    backend = f" (backend {document['backend']})" if document["backend"] else ""
    yield f"{document['next']} would be called first{backend}{cost}; behind it"
    for edge in document["edges"]:
        needs = f", needs {', '.join(edge['needs'])}" if edge["needs"] else ""
        yield f"    to {edge['to']}: {edge['guard']}{needs}"


def _reason(edge: Mapping[str, Any]) -> str:
    if not edge["why"]:
        return str(edge["verdict"]).replace("_", " ")
    away = "" if edge["distance"] is None or not edge["change"] else f", {edge['distance']:.4g} away by {edge['change']}"

    return f"{edge['why']}{away}"


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.4g}" if isinstance(value, float) else str(value)
