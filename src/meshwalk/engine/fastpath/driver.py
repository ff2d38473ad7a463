"""
Drive walks for as long as nothing but the usual happens.

Most hops are granted at once, make one call, and are answered.  Those need nothing of what retries, hedges, gates and streams
need, and a `FastWalk` tells it where to go.  Whatever else happens (a refusal, an error, a deadline, a caller that
goes away, or a node that is not plain) is the ordinary drive's: it is handed what happened so far and goes on from there, so
that there is one place for everything that can go wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from anyio import get_cancelled_exc_class, move_on_after

from meshwalk.backends import roles
from meshwalk.backends.base import Backend, CallProgress, ChatRequest, Classifier
from meshwalk.budgets import Need, Refusal, make_need
from meshwalk.engine.call_state import CallState
from meshwalk.engine.calls import Ended
from meshwalk.engine.charge import charge
from meshwalk.engine.classify import classify, failed
from meshwalk.engine.context import WalkContext
from meshwalk.engine.deps import EngineDeps
from meshwalk.engine.driver import WalkDriver
from meshwalk.engine.fastpath.handover import Handover
from meshwalk.engine.fastpath.machine import FastPlan, FastWalk
from meshwalk.engine.request_builder import Ask, RequestBuilder
from meshwalk.engine.walk_budget import WalkBudget, open_budget
from meshwalk.model import Amount, Sampling
from meshwalk.plan import Bound, NodePlan, Plan
from meshwalk.records.results import RouteResult
from meshwalk.trace import Content, Denied, Replied, Reply, Timing, View, make_compact_call


_NO_VIEWS: tuple[View, ...] = ()
_UNSET = Sampling()


class NodeRuntime:
    """
    Hold what the engine needs at a node that straight walks may come to.

    Args:
        plainly: Whether it is for requests that ask for no sampling of their own and whose tokens nobody has counted.

    Attributes:
        backend: What is called, if that can go straight.
        classifier: What is asked in its place, where somebody is.
        looks: Whether it is the house that looks at the messages.
    """

    __slots__ = (
        "ask",
        "attempt_us",
        "backend",
        "backend_name",
        "bound",
        "classifier",
        "compares",
        "looks",
        "min_us",
        "node",
        "own",
        "price",
        "read",
    )

    def __init__(self, node: NodePlan, deps: EngineDeps, *, plainly: bool) -> None:
        own = node.node
        self.node = node
        self.own = own
        self.backend_name = own.backend or ""
        straight = own.stream is None and own.hedge_us is None and not own.quotes and self.backend_name not in deps.limiters
        self.backend: Backend | None = deps.backends[self.backend_name] if node.calls and straight else None
        # A verifier without a backend looks at what others said, and a refusal is nobody's to call.
        judges = straight and not node.calls and node.role == "classifier"
        self.classifier: Classifier | None = deps.classifiers.get(node.name) if judges else None
        self.looks = judges and self.classifier is None
        self.bound: Bound = (node.need.usual if plainly else None) or node.need
        asker = RequestBuilder(node)
        self.ask: Ask = asker.usually if plainly and own.prompt is None else asker
        self.price = node.price
        self.attempt_us = own.attempt_timeout_us
        self.read = partial(roles.READERS.get(own.role, roles.outputs_of), own)
        # Whether several answers are compared.
        self.compares = own.confidence is not None and own.confidence.source == "agreement"
        # With less time than this a call is not begun.
        self.min_us = max(1, own.min_time_us)


class FastDriver:
    """
    Drive straight walks over *plan*.
    """

    def __init__(self, plan: Plan, deps: EngineDeps) -> None:
        self.plan = plan
        self.deps = deps
        self.source = deps.source
        self.record = deps.record
        self.course = FastPlan(plan)
        self.posts = tuple(NodeRuntime(node, deps, plainly=False) for node in plan.nodes)
        self.plain_posts = tuple(NodeRuntime(node, deps, plainly=True) for node in plan.nodes)
        # Where more counts than the walk's own limits, or guards read how those stand, a purse keeps the books.
        self.keeps_books = bool(plan.graph.budgets) or plan.reads_budget
        self.keeps_words = plan.graph.recording.content

    async def walk(self, context: WalkContext) -> RouteResult:  # noqa: PLR0915 (what is awaited within another function is paid for at each hop)
        """
        Walk the request of *trip* to its end, straight as far as that goes.
        """
        ticket = 0
        views = shared = _NO_VIEWS
        walk_budget: WalkBudget | None = None
        unread: Reply | None = None
        raised: BaseException | None = None
        request, facts, reads_budget = context.request, context.facts, self.plan.reads_budget
        if self.keeps_books:
            walk_budget = open_budget(self.plan, self.deps, context)
            # Guards that are asked before the first reservation see the budgets as they stand now.
            if self.plan.reads_budget_first:
                await walk_budget.look()
            if reads_budget:
                views = walk_budget.views()
        # The clock is read here as `context.now` reads it.
        clock_ns, began_ns = context.clock_ns, context.began_ns
        posts = self.plain_posts if request.sampling == _UNSET and not facts.counted else self.posts
        walk = FastWalk(self.course, facts, context.limits, views)
        replies: dict[int, Reply] = {}
        stop = walk.stop
        while stop is not None:
            post = posts[stop.index]
            backend = post.backend
            if backend is None:
                classifier = post.classifier
                if classifier is None or classifier.waits:
                    judged = await self._judged(post, context, walk)
                    if not isinstance(judged, Replied):
                        return await self._resume(context, Handover(walk.told(), replies, walk_budget, **judged))
                    stop = stop.leave(walk, judged.at, judged.outputs, None)
                    continue
                try:
                    outputs = await classifier.classify(request.messages, dict(facts.attributes), "")
                except BaseException as error:  # noqa: BLE001 (one is told from the other in one place)
                    raised = error
                else:
                    stop = stop.leave(walk, (clock_ns() - began_ns) // 1000, outputs, None)
                    continue
                how = _misjudged(walk.hop, post.node.name, raised, context.now)
                return await self._resume(context, Handover(walk.told(), replies, walk_budget, **how))
            cost, inputs, max_outputs = post.bound(facts)
            # Most calls need little of what is left.
            if (cost is None or cost > walk.sure_nano_usd) and not walk.affords(cost, inputs, max_outputs):
                break
            if walk_budget is not None:
                given = await self._reserved(post, context, walk, walk_budget, make_need((cost, inputs, max_outputs, 1, 1)))
                if not isinstance(given, int):
                    return await self._resume(context, Handover(walk.told(), replies, walk_budget, **given))
                ticket, shared = given, walk_budget.shared
                if reads_budget:
                    walk.see(walk_budget.views())
            called_at = (clock_ns() - began_ns) // 1000
            if walk.deadline_at - called_at < post.min_us:
                line = CallState(post.node, 0, ticket, Need(cost, inputs, max_outputs, 1, 1))
                return await self._resume(context, Handover(walk.told(), replies, walk_budget, line=line, granted_at=called_at))
            span_id, waits = context.call_span_id(), backend.waits
            if waits:
                asked = post.ask(request, facts, context.traceparent(span_id), CallProgress())
            else:
                asked = post.ask(request, facts, "", None)
            try:
                reply = await (_in_time(post, backend, asked, walk.deadline_at - called_at) if waits else backend.chat(asked))
            except BaseException as error:  # noqa: BLE001 (the ordinary drive tells one from the other)
                reply, raised = None, error
            if reply is not None:
                latency_us = (clock_ns() - began_ns) // 1000 - called_at
                try:
                    # The reply as it came is what is charged, whichever of its answers is kept.
                    kept = roles.settled(post.own, reply) if post.compares else reply
                    said = post.read(kept)
                except Exception:  # noqa: BLE001 (it will once more where that is dealt with; an author's pattern runs in it)
                    reply, unread = None, reply
            if reply is None:
                line = CallState(post.node, 0, ticket, Need(cost, inputs, max_outputs, 1, 1))
                line.begin(called_at, span_id, asked)
                how = {"line": line, "granted_at": called_at, "ended": Ended(unread, raised)}
                return await self._resume(context, Handover(walk.told(), replies, walk_budget, **how))
            replies[len(walk.legs)] = kept
            usage, cost_nano_usd, basis = charge(post.price, reply, asked.messages)
            if walk_budget is not None:
                spent = Amount(cost_nano_usd, usage.input_tokens, usage.output_tokens, 1, 1)
                walk_budget.settle(ticket, spent, assumed=False)
                if reads_budget:
                    walk.see(walk_budget.views())
            called = make_compact_call((
                post.backend_name, called_at, latency_us, cost, inputs, max_outputs,
                _timing(reply, asked) if waits else reply.timing, usage, cost_nano_usd, basis, reply.model, reply.finish_reason,
                reply.simulated, reply.cache_age_us, span_id, shared,
            ))  # fmt: skip
            stop = stop.leave(walk, (clock_ns() - began_ns) // 1000, said, called)
        hop = walk.answer_hop
        if hop is not None:
            served: Reply | None = replies[hop]
        elif walk.over:
            served = None
        else:
            return await self._resume(context, Handover(walk.told(), replies, walk_budget))
        if walk_budget is not None:
            raised = await _closed(walk_budget)
        content = Content(request.messages, "" if served is None else served.text) if self.keeps_words else None
        traversal = context.record(self.source, walk.told(), content)
        self.record(traversal)
        if raised is not None:
            raise raised
        if served is None:
            return RouteResult(traversal, self.plan)

        return RouteResult(traversal, self.plan, served.text, served.finish_reason, tool_calls=served.tool_calls)

    async def _resume(self, context: WalkContext, handover: Handover) -> RouteResult:
        return await WalkDriver(self.plan, self.deps, context, None, None).resume(handover)

    # ---- hops that may end it, with what the detour is to know then -----------------------------------------------

    async def _judged(self, post: NodeRuntime, context: WalkContext, walk: FastWalk) -> Replied | dict[str, Any]:
        """
        Say what the classifier of *post* says, where that waits or is the house's own.
        """
        if post.classifier is None:
            if not post.looks:
                return {}
            try:
                outputs = self.deps.features(context.request.messages)
            except Exception:  # noqa: BLE001 (it will once more where that is dealt with; an evaluation brings its own)
                return {}
            return Replied(walk.hop, context.now(), outputs)
        try:
            entry = await classify(walk.hop, post.node.name, walk.deadline_at, post.classifier, context)
        except get_cancelled_exc_class() as gone:
            return {"raised": gone}

        return entry if isinstance(entry, Replied) else {"entry": entry}

    async def _reserved(
        self, post: NodeRuntime, context: WalkContext, walk: FastWalk, walk_budget: WalkBudget, need: Need
    ) -> int | dict[str, Any]:
        """
        Reserve a call at *post* and return its ticket, if that goes without waiting.
        """
        deadline_at = walk.deadline_at
        try:
            # The walk itself has looked at its own limits.
            given = await walk_budget.reserve_affordable(need, walk.path, deadline_at, deadline_at - post.own.min_time_us)
        except BaseException as error:  # noqa: BLE001 (the ordinary drive tells one from the other)
            return {"raised": error}
        if isinstance(given, Refusal):
            waited_us, views = walk_budget.waited_us, walk_budget.views()
            return {"entry": Denied(walk.hop, context.now(), given.scope, given.message, views, given.contended, waited_us)}
        if walk_budget.waited_us:
            return {"line": CallState(post.node, 0, given, need), "granted_at": context.now()}

        return given


async def _in_time(post: NodeRuntime, backend: Backend, asked: ChatRequest, left_us: int) -> Reply | None:
    """
    Make a call that may wait; None if its time is up before it is answered.
    """
    own_us = post.attempt_us
    with move_on_after((left_us if own_us is None else min(left_us, own_us)) / 1e6):
        return await backend.chat(asked)

    return None


async def _closed(walk_budget: WalkBudget) -> BaseException | None:
    """
    Close *purse*, and return by what that was cut short, if it was.
    """
    try:
        await walk_budget.close()
    except get_cancelled_exc_class() as gone:
        # Only telling the vault was cut short.
        await walk_budget.close()
        return gone

    return None


def _misjudged(hop: int, node: str, error: BaseException, now: Callable[[], int]) -> dict[str, Any]:
    try:
        return {"entry": failed(hop, node, error, now)}
    except get_cancelled_exc_class() as gone:
        return {"raised": gone}


def _timing(reply: Reply, asked: ChatRequest) -> Timing:
    progress = asked.progress
    if progress is not None and any(timing := progress.timing):
        return timing

    return reply.timing
