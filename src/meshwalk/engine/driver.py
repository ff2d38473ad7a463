"""
The full driver of one walk: it makes the calls, keeps the budget and makes the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from anyio import get_cancelled_exc_class

from meshwalk.backends import roles
from meshwalk.backends.base import ChatRequest
from meshwalk.budgets import Need, Refusal
from meshwalk.engine.answers import latest_texts, stated_patterns
from meshwalk.engine.call_state import CallState
from meshwalk.engine.calls import Calls, Ended, log_unforeseen
from meshwalk.engine.classify import classify
from meshwalk.engine.context import WalkContext
from meshwalk.engine.deps import EngineDeps, OnDelta
from meshwalk.engine.fastpath.handover import Handover
from meshwalk.engine.request_builder import RequestBuilder
from meshwalk.engine.walk_budget import open_budget
from meshwalk.model import Value
from meshwalk.model.private_text import joined
from meshwalk.model.problems import BackendError
from meshwalk.plan import NodePlan, Plan
from meshwalk.records.results import RouteResult
from meshwalk.trace import (
    Attempt,
    Began,
    Call,
    Cancelled,
    Content,
    Denied,
    Entry,
    Failed,
    Finish,
    FullTrace,
    Granted,
    Outcome,
    PrefixJudged,
    Replied,
    Reply,
    Reserve,
    ScopeView,
    Settle,
    Step,
    Stopped,
    TimedOut,
    Wish,
)
from meshwalk.walk import Phase, Walk
from meshwalk.walk.attempts import Closed


# Called with each entry, the wishes it led to, and the walk that made them.
OnEvent = Callable[[Entry, tuple[Wish, ...], Walk], None]


class WalkDriver:
    """
    The full driver of one walk.

    Args:
        on_delta: Called with each piece of an answer that is passed on as it comes.
    """

    def __init__(
        self, plan: Plan, deps: EngineDeps, context: WalkContext, on_event: OnEvent | None, on_delta: OnDelta | None
    ) -> None:
        self._plan = plan
        self._deps = deps
        self._context = context
        self._facts = context.facts
        self._request = context.request
        self._on_event = on_event
        self._on_delta = on_delta
        self._walk = Walk(plan)
        self._replies: dict[int, Reply] = {}
        self._steps: list[Step] = []
        # The calls that are reserved and not settled, by the id of their reservation.
        self._open: dict[int, CallState] = {}
        # The reservation of the hop under way, and the calls it makes.
        self._first: CallState | None = None
        self._calls: Calls | None = None
        self.now = context.now
        self.call_span_id = context.call_span_id
        self._walk_budget = open_budget(plan, deps, context)

    async def run(self) -> RouteResult:
        """
        Walk to the end.
        """
        # Guards that are asked before the first reservation see the budgets as they stand now.
        if self._plan.reads_budget_first:
            await self._walk_budget.refresh()

        return await self._go_on(Began(0, self._facts, self._context.limits, self._walk_budget.views()))

    async def resume(self, handover: Handover) -> RouteResult:
        """
        Go on to the end from where a walk left the fast path.
        """
        trace, deviation = handover.trace, handover.deviation
        call = deviation.call
        self._replies = dict(handover.replies)
        if handover.walk_budget is not None:
            self._walk_budget = handover.walk_budget
        else:
            self._walk_budget.replay(trace.calls)
        entries = list(trace.entries())
        if call is not None:
            if handover.walk_budget is None:
                call.reservation_id = self._walk_budget.take(call.need)
            self._first = call
            self.open(call)
            views, waited_us = self._walk_budget.views(), self._walk_budget.waited_us
            entries.append(Granted(len(trace.hops), deviation.granted_us, views, waited_us))
        if deviation.entry is not None:
            entries.append(deviation.entry)
        *earlier, last = entries
        for entry in earlier:
            self._feed(entry)

        return await self._go_on(last, deviation.ended, deviation.raised)

    async def _go_on(self, entry: Entry, ended: Ended | None = None, raised: BaseException | None = None) -> RouteResult:
        try:
            while True:
                wishes = self._feed(entry)
                if raised is not None:
                    raise raised  # noqa: TRY301 (what ends a walk is dealt with in one place)
                for wish in wishes:
                    if type(wish) is Call:
                        entry, ended = await self._call(wish, ended), None
                    elif type(wish) is Reserve:
                        entry = await self._reserve(wish)
                    elif type(wish) is Settle:
                        self.settle()
                    elif type(wish) is Finish:
                        await self._walk_budget.close()
                        return self._finished(wish)
        except get_cancelled_exc_class():
            await self._cancel()
            raise
        except Exception:
            # The reservations of a broken walk are not left to their leases.
            self.settle()
            await self._walk_budget.close()
            raise

    def _feed(self, entry: Entry) -> tuple[Wish, ...]:
        wishes = self._walk.feed(entry)
        self._steps.append((entry, wishes))
        if self._on_event is not None:
            self._on_event(entry, wishes, self._walk)

        return wishes

    async def _cancel(self) -> None:
        if self._walk.phase is Phase.OVER:
            # The walk itself is over: only the report to the vault was cut short.
            await self._walk_budget.close()
            finish = self._steps[-1][1][-1]
            assert isinstance(finish, Finish)
            self._finished(finish)
            return
        hop = len(self._walk.path) - 1
        # A reservation that is held by now was waited for before, and its wait is recorded.
        waited_us = 0 if self._walk_budget.holds else self._walk_budget.waited_us
        for wish in self._feed(Cancelled(hop, self.now(), self._attempts(), waited_us)):
            if isinstance(wish, Settle):
                self.settle()
            elif isinstance(wish, Finish):
                await self._walk_budget.close()
                self._finished(wish)

    # ---- what a hop's calls ask of the walk ---------------------------------------------------------------------

    def open(self, call: CallState) -> None:
        """
        Register *call*, which has a reservation now.
        """
        self._open[call.reservation_id] = call

    def settle(self) -> None:
        """
        Settle all calls that are not under way.
        """
        for call in [call for call in self._open.values() if not call.under_way]:
            del self._open[call.reservation_id]
            spent, assumed = call.spent
            self._walk_budget.settle(call.reservation_id, spent, assumed=assumed)

    def stick_to(self, backend: str) -> str:
        """
        Return the key that keeps calls to *backend* at one endpoint, or nothing.
        """
        traffic = self._plan.graph.backends[backend].traffic
        if traffic is None or traffic.sticky is None:
            return ""
        scopes = self._facts.scopes

        return scopes.session if traffic.sticky == "session" else scopes.workflow

    def chat_request(self, call: CallState) -> ChatRequest:
        """
        Return the request to send for *call*.
        """
        answers = self._texts(call.node) if call.node.node.quotes else {}

        traceparent = self._context.traceparent(call.span_id)

        return RequestBuilder(call.node)(self._request, self._facts, traceparent, call.progress, answers)

    def judge_prefix(self, call: CallState, outputs: Mapping[str, Value]) -> tuple[Wish, ...]:
        """
        Let the walk judge what was seen of a reply.
        """
        return self._feed(PrefixJudged(len(self._walk.path) - 1, self.now(), outputs, call.tokens))

    def emit(self, text: str) -> None:
        """
        Pass a piece of the answer on.
        """
        if self._on_delta is not None and text:
            self._on_delta(len(self._walk.path) - 1, text)

    # ---- hops ---------------------------------------------------------------------------------------------------

    async def _reserve(self, wish: Reserve) -> Granted | Denied:
        self._calls = self._first = None
        need = Need(wish.cost_nano_usd, wish.input_tokens, wish.output_tokens, wish.calls, wish.hops)
        node = self._plan.node(wish.node)
        reservation = await self._walk_budget.reserve(
            need, self._walk.path, wish.deadline_at_us, wish.deadline_at_us - node.node.min_time_us
        )
        waited_us, views = self._walk_budget.waited_us, self._walk_budget.views()
        if isinstance(reservation, Refusal):
            return Denied(wish.hop, self.now(), reservation.scope, reservation.message, views, reservation.contended, waited_us)
        self._first = CallState(node, 0, reservation, need)
        self.open(self._first)

        return Granted(wish.hop, self.now(), views, waited_us)

    async def _call(self, wish: Call, ended: Ended | None) -> Entry:
        node = self._plan.node(wish.node)
        if not node.calls:
            self._calls = None
            classifier = self._deps.classifiers.get(node.name)
            if classifier is None:
                return self._free(wish.hop, node)
            return await classify(wish.hop, node.name, wish.deadline_at_us, classifier, self._context)
        assert self._first is not None
        if node.node.quotes and (lacking := [name for name in node.node.of if name not in self._texts(node)]):
            self._calls = None
            message = f"node '{node.name}' judges the answer of '{lacking[0]}', which gave none"
            return Failed(wish.hop, self.now(), "not_started", message, (), self._views())
        calls = Calls(self._deps, self, self._walk_budget, self._walk.path, node, wish.deadline_at_us)
        self._calls = calls

        return self._closing(wish.hop, node, calls, await calls.make(self._first, ended))

    def _views(self) -> tuple[ScopeView, ...]:
        """
        Show the budgets with what the hop spent in place of what it holds.
        """
        return self._walk_budget.views({reservation_id: call.spent[0] for reservation_id, call in self._open.items()})

    def _attempts(self) -> tuple[Attempt, ...]:
        return () if self._calls is None else self._calls.attempts()

    def _closing(self, hop: int, node: NodePlan, calls: Calls, closed: Closed) -> Entry:
        attempts, reply = calls.attempts(), calls.reply
        views = self._views()
        if calls.stopped:
            return Stopped(hop, self.now(), attempts, views)
        if closed.error_class == "timeout":
            return TimedOut(hop, self.now(), closed.message, attempts, views)
        if closed.error_class is not None or reply is None:
            refusal = calls.refusal
            scope, contended = ("", False) if refusal is None else (refusal.scope, refusal.contended)
            error_class = closed.error_class or "malformed"
            return Failed(hop, self.now(), error_class, closed.message, attempts, views, scope, contended)
        try:
            reply = roles.settled(node.node, reply)
            outputs = roles.outputs_of(node.node, reply)
        except BackendError as error:
            message = joined(f"node '{node.name}': ", *error.args)
            return Failed(hop, self.now(), error.error_class, message, attempts, views)
        except Exception as error:  # noqa: BLE001 (a role is pure, but an author's pattern runs in it)
            log_unforeseen("the outputs of a reply could not be read", node.name, error)
            message = f"the reply of node '{node.name}' could not be read ({type(error).__name__})"
            return Failed(hop, self.now(), "malformed", message, attempts, views)
        self._replies[hop] = reply

        return Replied(hop, self.now(), outputs, attempts, views)

    def _free(self, hop: int, node: NodePlan) -> Replied | Failed:
        try:
            if node.role == "classifier":
                outputs = self._deps.features(self._request.messages)
            else:
                outputs = roles.agreement(node.node, self._texts(node), stated_patterns(node, self._plan))
        except Exception as error:  # noqa: BLE001 (pure as well, and an evaluation brings its own features)
            log_unforeseen("a node without a backend raised", node.name, error)
            return Failed(hop, self.now(), "malformed", f"node '{node.name}' raised {type(error).__name__}")

        return Replied(hop, self.now(), outputs)

    def _texts(self, node: NodePlan) -> dict[str, str]:
        path = self._walk.path

        return latest_texts(node, [(path[hop], reply) for hop, reply in self._replies.items()])

    # ---- the record ---------------------------------------------------------------------------------------------

    def _finished(self, finish: Finish) -> RouteResult:
        served = self._replies[finish.answer_hop] if finish.answer_hop is not None else None
        answer = served.text if served else ""
        content = Content(self._request.messages, answer) if self._plan.graph.recording.content else None
        walk = self._walk
        traversal = self._context.record(self._deps.source, FullTrace(walk.path, self._steps, walk.decisions), content)
        self._deps.record(traversal)
        committed = None if self._calls is None else self._calls.committed
        partial = committed.text if committed is not None and finish.outcome is not Outcome.ANSWERED else ""

        return RouteResult(
            traversal,
            self._plan,
            answer,
            served.finish_reason if served else "",
            tool_calls=served.tool_calls if served else (),
            partial=partial,
            streamed=committed is not None,
            carried=served.carried if served else "",
        )
