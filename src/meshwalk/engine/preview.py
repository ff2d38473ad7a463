"""
Look ahead: walk as far as the first call, and say what each edge behind it would need.

Classifiers that wait for nobody (features, trained weights) run; a service or a function is a call, where a preview stops.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshwalk import guards
from meshwalk.backends import roles
from meshwalk.backends.base import Classifier, message_of
from meshwalk.engine.deps import EngineDeps
from meshwalk.model import Limits, Value
from meshwalk.model.private_text import joined
from meshwalk.model.problems import BackendError
from meshwalk.plan import EdgePlan, NodePlan, Plan
from meshwalk.records.hops import considered, need_of
from meshwalk.records.previews import FreeHop, Preview, PreviewEdge
from meshwalk.records.results import PlanRef
from meshwalk.trace import Began, Call, Entry, Facts, Failed, Finish, Granted, Replied, Request, Reserve, ScopeView
from meshwalk.walk import Walk


async def preview(
    plan: Plan, deps: EngineDeps, request: Request, facts: Facts, limits: Limits, views: tuple[ScopeView, ...]
) -> Preview:
    """
    Walk *request* without its calls, seeing the budgets in *views*; no time passes on the way.

    A classifier that may wait, since it asks somebody, is a call too.
    """
    walk = Walk(plan)
    outputs: dict[str, Mapping[str, Value]] = {}
    entry: Entry = Began(0, facts, limits, views)
    while not isinstance(wish := walk.feed(entry)[-1], Finish):
        if isinstance(wish, Reserve):
            if wish.calls:
                break
            # A hop that calls nothing is only counted, which a preview is not.
            entry = Granted(wish.hop, 0, views)
            continue
        assert isinstance(wish, Call)
        node = plan.node(wish.node)
        classifier = deps.classifiers.get(node.name)
        if classifier is not None and classifier.waits:
            break
        try:
            free_outputs = await _outputs_without_a_call(deps, node, classifier, request, facts)
        except BackendError as error:
            entry = Failed(wish.hop, 0, error.error_class, joined(f"node '{node.name}': ", message_of(error, classifier)))
            continue
        outputs[wish.node] = free_outputs
        entry = Replied(wish.hop, 0, free_outputs)
    finish = wish if isinstance(wish, Finish) else None
    pending = wish if isinstance(wish, Reserve) else None
    next = wish.node if isinstance(wish, Reserve | Call) else ""

    return Preview(
        plan=PlanRef(plan.name, plan.graph.version, plan.shape_digest, plan.plan_digest),
        path=tuple(walk.path),
        outcome=finish.outcome if finish else None,
        reason=finish.message if finish else "",
        hops=tuple(_free_hop(plan, walk, hop, outputs) for hop, node in enumerate(walk.path) if node != next),
        next=next,
        need=None if pending is None else need_of(pending),
        edges=tuple(_edge(walk, next, edge) for edge in plan.node(next).next) if next else (),
    )


async def _outputs_without_a_call(
    deps: EngineDeps, node: NodePlan, classifier: Classifier | None, request: Request, facts: Facts
) -> Mapping[str, Value]:
    if classifier is not None:
        return await classifier.classify(request.messages, dict(facts.attributes), "")
    # Before the first call there is no reply that a verifier could look at.
    return deps.features(request.messages) if node.role == "classifier" else roles.agreement(node.node, {})


def _free_hop(plan: Plan, walk: Walk, hop: int, outputs: Mapping[str, Mapping[str, Value]]) -> FreeHop:
    node = walk.path[hop]
    decision = next((decision for decision in walk.decisions if decision.hop == hop), None)
    if decision is None:
        return FreeHop(node, outputs.get(node, {}))
    edges = considered(decision, plan.node(node))

    return FreeHop(node, outputs.get(node, {}), decision.to, edges, decision.section, decision.edge)


def _edge(walk: Walk, name: str, edge: EdgePlan) -> PreviewEdge:
    if edge.checked is None:
        return PreviewEdge(edge.edge.to, "otherwise", (), True)
    # Compiled guards trust that a node which was left has free_outputs its outputs; this one was never classifier.
    verdict = guards.evaluate(edge.checked.tree, walk.value)
    unknown = [slot for slot in edge.checked.reads if walk.value(slot) is None] if verdict is None else []
    needs = tuple(sorted(slot.replace(f"hop.{name}.", "output.", 1) for slot in unknown))

    return PreviewEdge(edge.edge.to, edge.checked.text, needs, None if verdict is None else bool(verdict))
