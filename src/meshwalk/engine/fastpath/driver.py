"""
The driver of the fast path.

Most hops are granted at once, make one call, and are answered.  Those need nothing of what retries, hedges, limiters and
streams need, and a `FastWalk` decides them.  At anything else the full driver is handed what happened so far and goes on from
there, so that every failure is dealt with in one place.
"""

from __future__ import annotations

from collections.abc import Mapping

from anyio import get_cancelled_exc_class, move_on_after

from meshwalk.backends import roles
from meshwalk.backends.base import Backend, CallProgress, ChatRequest
from meshwalk.backends.labels import close_labels
from meshwalk.budgets import Need, Refusal, make_need
from meshwalk.engine.call_state import CallState
from meshwalk.engine.calls import Ended
from meshwalk.engine.context import WalkContext
from meshwalk.engine.deps import EngineDeps
from meshwalk.engine.driver import WalkDriver
from meshwalk.engine.fastpath.handover import NOTHING_HAPPENED, Deviation, Handover
from meshwalk.engine.fastpath.machine import FastPlan, FastWalk
from meshwalk.engine.fastpath.nodes import NodeRuntime, classifier_failed
from meshwalk.engine.limiter import CANCELLED, BackendLimiter, Lease
from meshwalk.engine.walk_budget import WalkBudget, open_budget
from meshwalk.model import Amount, Sampling
from meshwalk.model.problems import BackendError
from meshwalk.plan import Plan
from meshwalk.records.results import RouteResult
from meshwalk.trace import Content, Denied, Reply, ScopeView, Timing, make_compact_call


_NO_VIEWS: tuple[ScopeView, ...] = ()
_NO_ANSWERS: Mapping[str, str] = {}
_UNSET = Sampling()


class _TimeUp(Exception):
    """
    The end of a call's time.
    """


class _Mended(Exception):
    """
    The mark of a reply that had to be mended, so that its hop is recorded in full.
    """


class FastDriver:
    """
    The fast driver of walks over *plan*.
    """

    def __init__(self, plan: Plan, deps: EngineDeps) -> None:
        self.plan = plan
        self.deps = deps
        self.source = deps.source
        self.record = deps.record
        self.fast_plan = FastPlan(plan)
        self.nodes = tuple(NodeRuntime(node, plan, deps, usual=False) for node in plan.nodes)
        self.usual_nodes = tuple(NodeRuntime(node, plan, deps, usual=True) for node in plan.nodes)
        # Otherwise only the walk's own limits count, and `FastWalk` knows those.
        self.uses_budget = bool(plan.graph.budgets) or plan.reads_budget
        self.records_content = plan.graph.recording.content

    async def walk(self, context: WalkContext) -> RouteResult:  # noqa: PLR0915 (each coroutine within another is paid for at each hop)
        """
        Walk the request of *context* to its end, on the fast path as far as that goes.
        """
        request, facts = context.request, context.facts
        views = shared_views = _NO_VIEWS
        walk_budget: WalkBudget | None = None
        reservation_id, reads_budget = 0, False
        if self.uses_budget:
            walk_budget, reads_budget = open_budget(self.plan, self.deps, context), self.plan.reads_budget
            if self.plan.reads_budget_first:
                await walk_budget.refresh()
            views = walk_budget.views() if reads_budget else _NO_VIEWS
        # The clock is read here as `context.now` reads it, and ids are taken as `context.call_span_id` takes them.
        clock_ns, began_ns, span_ids = context.clock_ns, context.began_ns, context.span_ids
        runtimes = self.usual_nodes if request.sampling == _UNSET and not facts.counted else self.nodes
        walk = FastWalk(self.fast_plan, facts, context.limits, views)
        replies: dict[int, Reply] = {}
        deviation = NOTHING_HAPPENED
        node = walk.node
        while node is not None:
            runtime = runtimes[node.index]
            backend = runtime.backend
            if backend is None:
                if runtime.classify is None:
                    break
                try:
                    outputs = await runtime.classify(context, walk, replies)
                except BaseException as error:  # noqa: BLE001 (one is told from the other in one place)
                    name = runtime.node.name
                    classifier = self.deps.classifiers.get(name)
                    outputs = classifier_failed(walk.hop, name, error, context.now, classifier)
                if isinstance(outputs, Deviation):
                    deviation = outputs
                    break
                node = node.leave(walk, (clock_ns() - began_ns) // 1000, outputs, None)
                continue
            answers = runtime.answers(walk, replies) if runtime.quotes else _NO_ANSWERS
            if answers is None:
                break
            cost, inputs, max_outputs = runtime.bound(facts)
            # Most calls need little of what is left.
            if (cost is None or cost > walk.cost_headroom_nano_usd) and not walk.affords(cost, inputs, max_outputs):
                break
            if walk_budget is not None:
                reserved = await _reserve(runtime, context, walk, walk_budget, make_need((cost, inputs, max_outputs, 1, 1)))
                if isinstance(reserved, Deviation):
                    deviation = reserved
                    break
                reservation_id, shared_views = reserved, walk_budget.shared
                if reads_budget:
                    walk.see(walk_budget.views())
            called_us = (clock_ns() - began_ns) // 1000
            left_us = walk.deadline_at_us - called_us
            if left_us < runtime.min_us:
                call = CallState(runtime.node, 0, reservation_id, Need(cost, inputs, max_outputs, 1, 1))
                deviation = Deviation(call=call, granted_us=called_us)
                break
            limiter, lease = runtime.limiter, None
            if limiter is not None:
                attempt_us = runtime.attempt_us
                lease = limiter.enter_now(
                    tokens=inputs + (max_outputs or 0),
                    stick_to=runtime.stick_to(facts),
                    node=runtime.learns_from,
                    left_us=left_us if attempt_us is None else min(left_us, attempt_us),
                )
                if lease is None:
                    call = CallState(runtime.node, 0, reservation_id, Need(cost, inputs, max_outputs, 1, 1))
                    deviation = Deviation(call=call, granted_us=called_us)
                    break
            span_id, waits = span_ids.pop() if span_ids else context.call_span_id(), backend.waits
            if waits:
                sent = runtime.build_request(request, facts, context.traceparent(span_id), CallProgress(), answers)
            else:
                sent = runtime.build_request(request, facts, "", None, answers)
            if lease is not None and lease.endpoint:
                sent = sent._replace(endpoint=lease.endpoint)
            reply = None
            try:
                reply = await (_in_time(runtime, backend, sent, left_us) if waits else backend.chat(sent))
                latency_us = (clock_ns() - began_ns) // 1000 - called_us
                if limiter is not None and lease is not None:
                    limiter.leave(lease, error_class=None, tokens=_used(reply, sent))
                    limiter.learn(runtime.node.name, lease, latency_us)
                if runtime.foreign:
                    close_labels(reply)
                # The reply as it came is charged, whichever of its samples is kept.
                settled_reply = roles.settled(runtime.spec, reply) if runtime.compares_samples else reply
                outputs = runtime.read(settled_reply)
                usage, cost_nano_usd, basis = runtime.charge(reply, sent)
                if reply.mended or usage[0] > inputs:
                    raise _Mended  # noqa: TRY301 (the full driver records such calls)
            except BaseException as error:  # noqa: BLE001 (the full driver tells one from the other)
                call = CallState(runtime.node, 0, reservation_id, Need(cost, inputs, max_outputs, 1, 1))
                call.begin(called_us, span_id, sent)
                if limiter is not None and lease is not None:
                    call.endpoint = lease.endpoint
                    if reply is None:
                        _leave_after(limiter, lease, error, sent)
                        if isinstance(error, _TimeUp):
                            limiter.learn(runtime.node.name, lease, (clock_ns() - began_ns) // 1000 - called_us, worked=False)
                deviation = Deviation(call=call, granted_us=called_us, ended=_ended(reply, error))
                break
            replies[len(walk.hops)] = settled_reply
            if walk_budget is not None:
                spent = Amount(cost_nano_usd, usage.input_tokens, usage.output_tokens, 1, 1)
                walk_budget.settle(reservation_id, spent, assumed=False)
                if reads_budget:
                    walk.see(walk_budget.views())
            made = make_compact_call((
                runtime.backend_name, called_us, latency_us, cost, inputs, max_outputs,
                _timing(reply, sent) if waits else reply.timing, usage, cost_nano_usd, basis, reply.model, reply.finish_reason,
                reply.simulated, reply.cache_age_us, span_id, shared_views, "" if lease is None else lease.endpoint,
            ))  # fmt: skip
            node = node.leave(walk, (clock_ns() - began_ns) // 1000, outputs, made)
        if walk.answer_hop is None and not walk.over:
            handover = Handover(walk.trace(), replies, walk_budget, deviation)
            return await WalkDriver(self.plan, self.deps, context, None, None).resume(handover)

        return self._finish(context, walk, replies, None if walk_budget is None else await _close(walk_budget))

    def _finish(
        self, context: WalkContext, walk: FastWalk, replies: Mapping[int, Reply], cut_short: BaseException | None
    ) -> RouteResult:
        """
        Record the walk, which is over, and return its result, unless it was *cut_short* by a cancellation.
        """
        served = None if walk.answer_hop is None else replies[walk.answer_hop]
        content = Content(context.request.messages, "" if served is None else served.text) if self.records_content else None
        traversal = context.record(self.source, walk.trace(), content)
        self.record(traversal)
        if cut_short is not None:
            raise cut_short
        if served is None:
            return RouteResult(traversal, self.plan)

        return RouteResult(
            traversal, self.plan, served.text, served.finish_reason, tool_calls=served.tool_calls, carried=served.carried
        )


# ---- hops that may leave the fast path ------------------------------------------------------------------------------


def _used(reply: Reply, sent: ChatRequest) -> int | None:
    """
    Return the tokens that a call used: 0 if nothing was sent for it, None if nobody knows.
    """
    if sent.progress is not None and not sent.progress.sent:
        return 0

    return None if reply.usage is None else reply.usage.input_tokens + reply.usage.output_tokens


def _leave_after(limiter: BackendLimiter, lease: Lease, error: BaseException, sent: ChatRequest) -> None:
    """
    Give the endpoint of a call back that *error* ended.
    """
    tokens = 0 if sent.progress is not None and not sent.progress.sent else None
    if isinstance(error, BackendError):
        limiter.leave(
            lease, error_class=error.error_class, retry_after_us=error.retry_after_us, tokens=tokens, at_fault=error.of_endpoint
        )
    else:
        limiter.leave(lease, error_class="timeout" if isinstance(error, _TimeUp) else CANCELLED, tokens=tokens)


async def _reserve(
    runtime: NodeRuntime, context: WalkContext, walk: FastWalk, walk_budget: WalkBudget, need: Need
) -> int | Deviation:
    """
    Reserve a call, and return the id of its reservation if it was granted without waiting.
    """
    deadline_at_us = walk.deadline_at_us
    try:
        # The walk itself has looked at its own limits.
        granted = await walk_budget.reserve_affordable(
            need, walk.path, deadline_at_us, deadline_at_us - runtime.spec.min_time_us
        )
    except BaseException as error:  # noqa: BLE001 (the full driver tells one from the other)
        return Deviation(raised=error)
    if isinstance(granted, Refusal):
        waited_us, views = walk_budget.waited_us, walk_budget.views()
        return Deviation(Denied(walk.hop, context.now(), granted.scope, granted.message, views, granted.contended, waited_us))
    if walk_budget.waited_us:
        return Deviation(call=CallState(runtime.node, 0, granted, need), granted_us=context.now())

    return granted


async def _in_time(runtime: NodeRuntime, backend: Backend, sent: ChatRequest, left_us: int) -> Reply:
    """
    Make a call that may wait.

    Raises:
        _TimeUp: If it was not answered in time.
    """
    attempt_us = runtime.attempt_us
    with move_on_after((left_us if attempt_us is None else min(left_us, attempt_us)) / 1e6):
        return await backend.chat(sent)

    raise _TimeUp


def _ended(reply: Reply | None, error: BaseException) -> Ended:
    """
    Return the end of a call after *error*: the error itself, a lack of time, or a *reply* that cannot be read.

    Raises:
        BaseException: *error* itself, if it is no `Exception`, such as a cancellation.
    """
    if reply is None:
        return Ended(error=None if isinstance(error, _TimeUp) else error)
    if not isinstance(error, Exception):
        raise error

    # The full driver reads the reply again, and reports the error.
    return Ended(reply)


async def _close(walk_budget: WalkBudget) -> BaseException | None:
    """
    Close *walk_budget*, and return the cancellation that cut this short, if one did.
    """
    try:
        await walk_budget.close()
    except get_cancelled_exc_class() as gone:
        # The walk itself is over: only the report to the vault was cut short.
        await walk_budget.close()
        return gone

    return None


def _timing(reply: Reply, sent: ChatRequest) -> Timing:
    progress = sent.progress
    if progress is not None and any(timing := progress.timing):
        return timing

    return reply.timing
