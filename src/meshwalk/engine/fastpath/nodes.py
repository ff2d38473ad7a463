"""
The nodes of a plan as the fast driver needs them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from anyio import get_cancelled_exc_class

from meshwalk.backends import roles
from meshwalk.backends.base import Backend, is_foreign
from meshwalk.engine.answers import latest_texts, stated_patterns
from meshwalk.engine.charge import charge_at
from meshwalk.engine.classify import classify, failed
from meshwalk.engine.context import WalkContext
from meshwalk.engine.deps import EngineDeps
from meshwalk.engine.fastpath.handover import NOTHING_HAPPENED, Deviation
from meshwalk.engine.fastpath.machine import FastWalk
from meshwalk.engine.request_builder import BuildRequest, RequestBuilder
from meshwalk.model import Value
from meshwalk.plan import Bound, NodePlan, Plan
from meshwalk.trace import Facts, Replied, Reply


# The replies so far, by hop.
Replies = Mapping[int, Reply]

Classified = Mapping[str, Value] | Deviation
Classify = Callable[[WalkContext, FastWalk, Replies], Awaitable[Classified]]


class NodeRuntime:
    """
    The engine's parts of a node, prepared once for all walks.

    Args:
        usual: Whether it serves requests that ask for no sampling of their own and whose tokens nobody has counted.

    Attributes:
        backend: The backend to call; None if the node calls none, or cannot do so on the fast path.
        classify: Returns the outputs of a classifier or of a verifier that calls nobody; None if the node is neither.
        compares_samples: Whether several answers are compared.
        learns_from: The name by which the limiter is asked how long such calls need; empty where the node itself says so.
        limiter: The limiter of the backend, if it has one.
        min_us: With less time than this left, a call is not begun.
        quotes: Whether its prompt quotes answers of earlier nodes.
        sticky: The scope whose calls stay at one endpoint; None for none.
    """

    __slots__ = (
        "attempt_us",
        "backend",
        "backend_name",
        "bound",
        "build_request",
        "charge",
        "classify",
        "compares_samples",
        "foreign",
        "learns_from",
        "limiter",
        "min_us",
        "node",
        "quotes",
        "read",
        "spec",
        "sticky",
    )

    def __init__(self, node: NodePlan, plan: Plan, deps: EngineDeps, *, usual: bool) -> None:
        spec = node.node
        self.node = node
        self.spec = spec
        self.backend_name = spec.backend or ""
        eligible = spec.stream is None and spec.hedge_us is None
        self.limiter = deps.limiters.get(self.backend_name)
        traffic = plan.graph.backends[self.backend_name].traffic if node.calls else None
        self.sticky = None if traffic is None else traffic.sticky
        self.quotes = bool(spec.quotes)
        self.backend: Backend | None = deps.backends[self.backend_name] if node.calls and eligible else None
        self.foreign = is_foreign(self.backend)
        self.classify: Classify | None = _classify(node, plan, deps) if eligible and not node.calls else None
        self.bound: Bound = (node.need.usual if usual else None) or node.need
        builder = RequestBuilder(node)
        self.build_request: BuildRequest = builder.usual if usual and spec.prompt is None and spec.system is None else builder
        self.charge = charge_at(node.price)
        self.attempt_us = spec.attempt_timeout_us
        self.read = partial(roles.READERS.get(spec.role, roles.outputs_of), spec)
        self.compares_samples = spec.confidence is not None and spec.confidence.source == "agreement"
        self.min_us = max(1, spec.min_time_us)
        self.learns_from = "" if spec.min_time_us else node.name

    def stick_to(self, facts: Facts) -> str:
        """
        Return the id of the session or workflow that keeps calls at one endpoint; empty for none.
        """
        if self.sticky is None:
            return ""

        return facts.scopes.session if self.sticky == "session" else facts.scopes.workflow

    def answers(self, walk: FastWalk, replies: Replies) -> Mapping[str, str] | None:
        """
        Return the answers that its prompt quotes; None if one is missing.
        """
        texts = _texts(self.node, walk, replies)

        return texts if all(name in texts for name in self.spec.of) else None


# ---- nodes that call no backend -------------------------------------------------------------------------------------


def _classify(node: NodePlan, plan: Plan, deps: EngineDeps) -> Classify | None:
    """
    Return the function that gives the outputs of *node*, which calls no backend; None if it is no node with outputs.
    """
    name = node.name
    if node.role == "verifier":
        return _compare(node, plan)
    if node.role != "classifier":
        return None
    classifier = deps.classifiers.get(name)
    if classifier is None:

        async def features(context: WalkContext, _: FastWalk, __: Replies) -> Classified:
            try:
                return deps.features(context.request.messages)
            except Exception:  # noqa: BLE001 (the full driver computes them again, and reports the error)
                return NOTHING_HAPPENED

        return features

    async def classified_in_time(context: WalkContext, walk: FastWalk, _: Replies) -> Classified:
        entry = await classify(walk.hop, name, walk.deadline_at_us, classifier, context)

        return entry.outputs if isinstance(entry, Replied) else Deviation(entry)

    ask = classifier.classify

    # This is no coroutine, so that only the classifier's own is awaited.
    def classified(context: WalkContext, _: FastWalk, __: Replies) -> Awaitable[Classified]:
        return ask(context.request.messages, dict(context.facts.attributes), "")

    return classified_in_time if classifier.waits else classified


def _compare(node: NodePlan, plan: Plan) -> Classify:
    """
    Return the function that compares the answers of earlier nodes.
    """
    stated = stated_patterns(node, plan)

    async def compared(_: WalkContext, walk: FastWalk, replies: Replies) -> Classified:
        try:
            return roles.agreement(node.node, _texts(node, walk, replies), stated)
        except Exception:  # noqa: BLE001 (the full driver compares them again, and reports the error)
            return NOTHING_HAPPENED

    return compared


def _texts(node: NodePlan, walk: FastWalk, replies: Replies) -> dict[str, str]:
    return latest_texts(node, [(walk.hops[hop].node, reply) for hop, reply in replies.items()])


def classifier_failed(hop: int, node: str, error: BaseException, now: Callable[[], int], classifier: object) -> Deviation:
    """
    Return what *error* of a node that calls no backend leads to.
    """
    try:
        return Deviation(failed(hop, node, error, now, classifier))
    except get_cancelled_exc_class() as gone:
        return Deviation(raised=gone)
