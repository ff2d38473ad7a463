"""
The world's side of one walk: its clock, its purse and its record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from anyio import get_cancelled_exc_class

from meshwalk import prompts, roles
from meshwalk.attempts import Closed
from meshwalk.backends.base import ChatRequest
from meshwalk.budgets import Need, Refusal
from meshwalk.engine.calls import Calls, log_unforeseen
from meshwalk.engine.classify import classify
from meshwalk.engine.context import random_hex, trace_context
from meshwalk.engine.line import Line
from meshwalk.engine.purse import Purse, shared_scopes
from meshwalk.engine.results import Walked
from meshwalk.engine.workshop import Tell, Workshop
from meshwalk.model import Limits, Sampling, Value
from meshwalk.plan import NodePlan, Plan
from meshwalk.problems import BackendError
from meshwalk.trace import (
    Attempt,
    Began,
    Call,
    Cancelled,
    Content,
    Denied,
    Entry,
    Facts,
    Failed,
    Finish,
    Form,
    Glimpsed,
    Granted,
    Outcome,
    Replied,
    Reply,
    Request,
    Reserve,
    Settle,
    Stopped,
    TimedOut,
    Traversal,
    View,
    Wish,
)
from meshwalk.walk import Phase, Walk


# Told of each entry, the wishes it led to, and the walk that made them.
Observer = Callable[[Entry, tuple[Wish, ...], Walk], None]

_UNSET = Sampling()
_NO_FORM = Form()
_FROM_PROBABILITIES = frozenset({"mean_token_probability", "min_token_probability", "margin"})


class Drive:
    """
    Hold the world's side of one walk.

    Args:
        tell: Told of each piece of an answer that is passed on as it comes.
    """

    def __init__(
        self,
        plan: Plan,
        shop: Workshop,
        request: Request,
        facts: Facts,
        limits: Limits,
        observe: Observer | None,
        tell: Tell | None,
    ) -> None:
        self._plan = plan
        self._shop = shop
        self._facts = facts
        self._request = request
        self._observe = observe
        self._tell = tell
        self._walk = Walk(plan)
        self._replies: dict[int, Reply] = {}
        self._steps: list[tuple[Entry, tuple[Wish, ...]]] = []
        # What is reserved and not settled, by ticket.
        self._open: dict[int, Line] = {}
        # What the hop under way has reserved, and the calls it makes.
        self._first: Line | None = None
        self._calls: Calls | None = None
        self._limits = limits
        self._clock_ns = shop.clock_ns
        self._began_ns = shop.clock_ns()
        self._began_unix_us = time.time_ns() // 1000
        self._context = trace_context(request.traceparent)
        self._span_id = random_hex(64)
        self._traversal_id = f"{self._began_unix_us // 1000:012x}{random_hex(80)}"
        scopes = shared_scopes(tuple(plan.graph.budgets.values()), facts.scopes) if plan.graph.budgets else ()
        self._purse = Purse(plan.name, limits, scopes, shop.vault, self._traversal_id, self.now)

    async def run(self) -> Walked:
        """
        Walk to the end.
        """
        # Guards that are asked before the first reservation see the budgets as they stand now.
        if self._plan.looks_first:
            await self._purse.look()
        entry: Entry = Began(0, self._facts, self._limits, self._purse.views())
        try:
            while True:
                for wish in self._feed(entry):
                    if type(wish) is Call:
                        entry = await self._call(wish)
                    elif type(wish) is Reserve:
                        entry = await self._reserve(wish)
                    elif type(wish) is Settle:
                        self.settle()
                    elif type(wish) is Finish:
                        await self._purse.close()
                        return self._finished(wish)
        except get_cancelled_exc_class():
            await self._cancel()
            raise
        except Exception:
            # Whatever broke the walk, what it holds is not left to its lease.
            self.settle()
            await self._purse.close()
            raise

    def _feed(self, entry: Entry) -> tuple[Wish, ...]:
        wishes = self._walk.feed(entry)
        self._steps.append((entry, wishes))
        if self._observe is not None:
            self._observe(entry, wishes, self._walk)

        return wishes

    async def _cancel(self) -> None:
        if self._walk.phase is Phase.OVER:
            # Only telling the vault was cut short.
            await self._purse.close()
            finish = self._steps[-1][1][-1]
            assert isinstance(finish, Finish)
            self._finished(finish)
            return
        hop = len(self._walk.path) - 1
        # What is held by now was waited for before, and is told.
        waited_us = 0 if self._purse.holds else self._purse.waited_us
        for wish in self._feed(Cancelled(hop, self.now(), self._attempts(), waited_us)):
            if isinstance(wish, Settle):
                self.settle()
            elif isinstance(wish, Finish):
                await self._purse.close()
                self._finished(wish)

    # ---- what a hop's calls ask of the walk ---------------------------------------------------------------------

    def now(self) -> int:
        """
        Return the time since the walk began, in microseconds.
        """
        return (self._clock_ns() - self._began_ns) // 1000

    def open(self, line: Line) -> None:
        """
        Take that something is reserved for *line*.
        """
        self._open[line.ticket] = line

    def settle(self) -> None:
        """
        Settle whatever is not under way.
        """
        for line in [line for line in self._open.values() if not line.under_way]:
            del self._open[line.ticket]
            spent, assumed = line.spent
            self._purse.settle(line.ticket, spent, assumed=assumed)

    def stick_to(self, backend: str) -> str:
        """
        Return what keeps calls to *backend* at one endpoint, or nothing.
        """
        traffic = self._plan.graph.backends[backend].traffic
        if traffic is None or traffic.sticky is None:
            return ""
        scopes = self._facts.scopes

        return scopes.session if traffic.sticky == "session" else scopes.workflow

    def chat_request(self, line: Line) -> ChatRequest:
        """
        Return what is sent for *line*.
        """
        node, own = line.node, line.node.node
        messages, form = self._request.messages, self._request.form
        if own.prompt is not None:
            # What a node asks of its own needs none of the caller's tools and formats.
            answers = self._texts(node) if own.quotes else {}
            messages = prompts.render(own.prompt, messages, dict(self._facts.attributes), answers, own.quotes)
            form = _NO_FORM
        asked = self._request.sampling
        sampling = own.sampling
        if asked != _UNSET:
            merged = (theirs if mine is None else mine for mine, theirs in zip(sampling, asked, strict=True))
            sampling = Sampling._make(merged)._replace(max_tokens=node.max_tokens(asked.max_tokens))
        confidence = own.confidence

        return ChatRequest(
            messages,
            sampling,
            confidence is not None and confidence.source in _FROM_PROBABILITIES,
            self._context.traceparent(line.span_id),
            form=form,
            samples=1 if confidence is None else confidence.samples,
            tenant=self._facts.scopes.tenant,
            stations=line.stations,
        )

    def glimpse(self, line: Line, outputs: Mapping[str, Value]) -> tuple[Wish, ...]:
        """
        Let the walk judge what was seen of a reply.
        """
        return self._feed(Glimpsed(len(self._walk.path) - 1, self.now(), outputs, line.tokens))

    def tell(self, text: str) -> None:
        """
        Pass a piece of the answer on.
        """
        if self._tell is not None and text:
            self._tell(len(self._walk.path) - 1, text)

    # ---- hops ---------------------------------------------------------------------------------------------------

    async def _reserve(self, wish: Reserve) -> Granted | Denied:
        self._calls = self._first = None
        need = Need(wish.cost_nano_usd, wish.input_tokens, wish.output_tokens, wish.calls, wish.hops)
        node = self._plan.node(wish.node)
        given = await self._purse.reserve(need, self._walk.path, wish.deadline_at, wish.deadline_at - node.node.min_time_us)
        waited_us, views = self._purse.waited_us, self._purse.views()
        if isinstance(given, Refusal):
            return Denied(wish.hop, self.now(), given.scope, given.message, views, given.contended, waited_us)
        self._first = Line(node, 0, given, need)
        self.open(self._first)

        return Granted(wish.hop, self.now(), views, waited_us)

    async def _call(self, wish: Call) -> Entry:
        node = self._plan.node(wish.node)
        if not node.calls:
            self._calls = None
            asked = self._shop.classifiers.get(node.name)
            if asked is None:
                return self._free(wish.hop, node)
            # It has no span of its own, so what it asks hangs under the walk's.
            traceparent = self._context.traceparent(self._span_id)
            return await classify(wish, asked, self._request, self._facts, traceparent, self.now)
        assert self._first is not None
        if node.node.quotes and (lacking := [name for name in node.node.of if name not in self._texts(node)]):
            self._calls = None
            message = f"node '{node.name}' judges the answer of '{lacking[0]}', which gave none"
            return Failed(wish.hop, self.now(), "not_started", message, (), self._views())
        calls = Calls(self._shop, self, self._purse, self._walk.path, node, wish.deadline_at)
        self._calls = calls

        return self._closing(wish.hop, node, calls, await calls.make(self._first))

    def _views(self) -> tuple[View, ...]:
        """
        Show the budgets with what the hop spent in place of what it holds.
        """
        return self._purse.views({ticket: line.spent[0] for ticket, line in self._open.items()})

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
            message = f"node '{node.name}': {error}"
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
                outputs = self._shop.features(self._request.messages)
            else:
                outputs = roles.agreement(node.node, self._texts(node), self._stated_in(node))
        except Exception as error:  # noqa: BLE001 (pure as well, and an evaluation brings its own features)
            log_unforeseen("a node without a backend raised", node.name, error)
            return Failed(hop, self.now(), "malformed", f"node '{node.name}' raised {type(error).__name__}")

        return Replied(hop, self.now(), outputs)

    def _texts(self, node: NodePlan) -> dict[str, str]:
        """
        Return the latest reply's text of each node a verifier looks at, if it gave one.
        """
        path = self._walk.path

        return {path[hop]: reply.text for hop, reply in self._replies.items() if path[hop] in node.node.of}

    def _stated_in(self, node: NodePlan) -> dict[str, str]:
        """
        Return how each node a verifier looks at states its confidence, so that it is not taken for its answer.
        """
        confidences = {name: self._plan.node(name).node.confidence for name in node.node.of}

        return {name: stated.pattern for name, stated in confidences.items() if stated is not None and stated.pattern}

    # ---- the record ---------------------------------------------------------------------------------------------

    def _finished(self, finish: Finish) -> Walked:
        plan, context = self._plan, self._context
        served = self._replies[finish.answer_hop] if finish.answer_hop is not None else None
        answer = served.text if served else ""
        traversal = Traversal(
            traversal_id=self._traversal_id,
            trace_id=context.trace_id,
            span_id=self._span_id,
            parent_span_id=context.parent_span_id,
            sampled=context.sampled,
            graph=plan.name,
            version=plan.graph.version,
            plan_digest=plan.plan_digest,
            shape_digest=plan.shape_digest,
            began_unix_us=self._began_unix_us,
            path=self._walk.path,
            steps=self._steps,
            decisions=self._walk.decisions,
            content=Content(self._request.messages, answer) if plan.graph.recording.content else None,
            prices=plan.graph.prices,
        )
        self._shop.record(traversal)
        committed = None if self._calls is None else self._calls.committed
        partial = committed.text if committed is not None and finish.outcome is not Outcome.ANSWERED else ""

        return Walked(
            traversal,
            answer,
            served.finish_reason if served else "",
            tool_calls=served.tool_calls if served else (),
            partial=partial,
            streamed=committed is not None,
        )
