"""
The world's side of one walk: its clock, its purse, its calls and its record.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence

from anyio import get_cancelled_exc_class, move_on_after

from meshwalk import prompts, roles
from meshwalk.attempts import Attempts, Closed, Try
from meshwalk.backends.base import Backend, ChatRequest, Classifier
from meshwalk.budgets import Need, Refusal
from meshwalk.engine.classify import classify
from meshwalk.engine.context import random_hex, trace_context
from meshwalk.engine.purse import Purse, shared_scopes
from meshwalk.engine.results import Walked
from meshwalk.model import Amount, Limits, Sampling, Value
from meshwalk.plan import NodePlan, Plan
from meshwalk.problems import BackendError, ErrorClass
from meshwalk.trace import (
    Attempt,
    AttemptStatus,
    Basis,
    Began,
    Call,
    Cancelled,
    Content,
    Denied,
    Entry,
    Facts,
    Failed,
    Finish,
    Granted,
    Message,
    Replied,
    Reply,
    Request,
    Reserve,
    Settle,
    TimedOut,
    Timing,
    Traversal,
    Usage,
    View,
    Wish,
)
from meshwalk.vaults.base import Vault
from meshwalk.walk import Phase, Walk


_log = logging.getLogger(__name__)

# Told of each entry, the wishes it led to, and the walk that made them.
Observer = Callable[[Entry, tuple[Wish, ...], Walk], None]

# What a classifier makes of messages, and what time it is, in nanoseconds.
Features = Callable[[Sequence[Message]], dict[str, Value]]
Clock = Callable[[], int]

_REPORTED: Basis = "reported"
_UNSET = Sampling()
_FROM_PROBABILITIES = frozenset({"mean_token_probability", "min_token_probability", "margin"})


class Drive:
    """
    Hold the world's side of one walk.
    """

    def __init__(
        self,
        plan: Plan,
        backends: Mapping[str, Backend],
        record: Callable[[Traversal], None],
        request: Request,
        facts: Facts,
        limits: Limits,
        observe: Observer | None,
        *,
        classifiers: Mapping[str, Classifier],
        features: Features,
        clock_ns: Clock,
        vault: Vault,
    ) -> None:
        self._classifiers = classifiers
        self._features = features
        self._clock_ns = clock_ns
        self._plan = plan
        self._backends = backends
        self._record = record
        self._facts = facts
        self._request = request
        self._observe = observe
        self._walk = Walk(plan)
        self._replies: dict[int, Reply] = {}
        self._steps: list[tuple[Entry, tuple[Wish, ...]]] = []
        self._attempts: list[Attempt] = []
        self._sent_at: int | None = None
        self._span_id = ""
        self._need = Need()
        # From where on attempts are not settled.
        self._unsettled = 0
        self._refusal: Refusal | None = None
        self._limits = limits
        self._began_ns = clock_ns()
        self._began_unix_us = time.time_ns() // 1000
        self._context = trace_context(request.traceparent)
        self._traversal_id = f"{self._began_unix_us // 1000:012x}{random_hex(80)}"
        scopes = shared_scopes(tuple(plan.graph.budgets.values()), facts.scopes) if plan.graph.budgets else ()
        self._purse = Purse(plan.name, limits, scopes, vault, self._traversal_id, self._now)

    def _now(self) -> int:
        return (self._clock_ns() - self._began_ns) // 1000

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
                        self._settle()
                    elif type(wish) is Finish:
                        await self._purse.close()
                        return self._finished(wish)
        except get_cancelled_exc_class():
            await self._cancel()
            raise
        except Exception:
            # Whatever broke the walk, what it holds is not left to its lease.
            self._settle()
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
        if self._sent_at is not None:
            node = self._plan.node(self._walk.path[hop])
            self._note(node, "cancelled", message="the caller went away", cost=self._reserved, basis="assumed")
        for wish in self._feed(Cancelled(hop, self._now(), tuple(self._attempts), waited_us)):
            if isinstance(wish, Settle):
                self._settle()
            elif isinstance(wish, Finish):
                await self._purse.close()
                self._finished(wish)

    # ---- money --------------------------------------------------------------------------------------------------

    async def _reserve(self, wish: Reserve) -> Granted | Denied:
        self._attempts, self._unsettled, self._refusal = [], 0, None
        need = Need(wish.cost_nano_usd, wish.input_tokens, wish.output_tokens, wish.calls, wish.hops)
        refusal = await self._purse.reserve(need, self._walk.path, wish.deadline_at, self._last_start(wish))
        waited_us, views = self._purse.waited_us, self._purse.views()
        if refusal is not None:
            return Denied(wish.hop, self._now(), refusal.scope, refusal.message, views, refusal.contended, waited_us)
        self._need = need

        return Granted(wish.hop, self._now(), views, waited_us)

    def _last_start(self, wish: Reserve) -> int:
        return wish.deadline_at - self._plan.node(wish.node).node.min_time_us

    @property
    def _reserved(self) -> int:
        return self._need.cost_nano_usd or 0

    def _settle(self) -> None:
        # A hop whose retry was denied has been settled before the retry asked.
        if self._purse.holds:
            spent, assumed = self._spent()
            self._purse.settle(spent, assumed=assumed)

    def _spent(self) -> tuple[Amount, bool]:
        """
        Return what the last call spent, and whether that is assumed.
        """
        hops = self._need.hops or 0
        if len(self._attempts) == self._unsettled:
            return Amount(hops=hops), False
        last = self._attempts[-1]
        # What was sent and never answered is charged at its worst, tokens too.
        if last.basis == "assumed":
            return self._need.amount._replace(cost_nano_usd=last.cost_nano_usd), True

        usage = last.usage
        return Amount(last.cost_nano_usd, usage.input_tokens, usage.output_tokens, calls=1, hops=hops), False

    def _views(self) -> tuple[View, ...]:
        """
        Show the budgets with what the hop spent in place of what it holds.
        """
        return self._purse.views(self._spent()[0])

    # ---- calls --------------------------------------------------------------------------------------------------

    async def _call(self, wish: Call) -> Entry:
        node = self._plan.node(wish.node)
        if not node.calls:
            classifier = self._classifiers.get(node.name)
            if classifier is None:
                return self._free(wish.hop, node)
            traceparent = self._context.traceparent(random_hex(64))
            return await classify(wish, classifier, self._request, self._facts, traceparent, self._now)
        machine = Attempts(node.node, wish.deadline_at)
        step: Try | Closed = machine.start(self._now())
        reply: Reply | None = None
        while isinstance(step, Try):
            if step.number:
                step = await self._reserve_again(wish, node, machine)
                if isinstance(step, Closed):
                    break
            reply, error_class, message = await self._attempt(node, step)
            step = machine.failed(self._now(), error_class, message) if error_class else machine.worked()

        return self._closing(wish.hop, node, reply, step)

    async def _reserve_again(self, wish: Call, node: NodePlan, machine: Attempts) -> Try | Closed:
        self._settle()
        # The hop itself is reserved once, however many calls it makes.
        self._need = self._need._replace(hops=0)
        last_start_at = wish.deadline_at - node.node.min_time_us
        self._refusal = await self._purse.reserve(self._need, self._walk.path, wish.deadline_at, last_start_at)
        if self._refusal is None:
            self._unsettled = len(self._attempts)
            return machine.granted(self._now())
        self._note(node, "denied", message=self._refusal.message)

        return machine.denied(f"node '{node.name}' {self._refusal.message}")

    def _closing(self, hop: int, node: NodePlan, reply: Reply | None, closed: Closed) -> Entry:
        attempts = tuple(self._attempts)
        if closed.error_class == "timeout":
            return TimedOut(hop, self._now(), closed.message, attempts, self._views())
        if closed.error_class is not None or reply is None:
            refusal = self._refusal
            scope, contended = ("", False) if refusal is None else (refusal.scope, refusal.contended)
            error_class = closed.error_class or "malformed"
            return Failed(hop, self._now(), error_class, closed.message, attempts, self._views(), scope, contended)
        try:
            outputs = roles.outputs_of(node.node, reply)
        except BackendError as error:
            message = f"node '{node.name}': {error}"
            return Failed(hop, self._now(), error.error_class, message, attempts, self._views())
        except Exception as error:  # noqa: BLE001 (a role is pure, but an author's pattern runs in it)
            return self._unreadable(hop, node, error)
        self._replies[hop] = reply

        return Replied(hop, self._now(), outputs, attempts, self._views())

    def _unreadable(self, hop: int, node: NodePlan, error: Exception) -> Failed:
        _log_unforeseen("the outputs of a reply could not be read", node, error)
        message = f"the reply of node '{node.name}' could not be read ({type(error).__name__})"

        return Failed(hop, self._now(), "malformed", message, tuple(self._attempts), self._views())

    def _free(self, hop: int, node: NodePlan) -> Replied | Failed:
        try:
            if node.role == "classifier":
                outputs = self._features(self._request.messages)
            else:
                outputs = roles.agreement(node.node, self._texts(node), self._stated_in(node))
        except Exception as error:  # noqa: BLE001 (pure as well, and an evaluation brings its own features)
            _log_unforeseen("a node without a backend raised", node, error)
            return Failed(hop, self._now(), "malformed", f"node '{node.name}' raised {type(error).__name__}")

        return Replied(hop, self._now(), outputs)

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

    async def _attempt(self, node: NodePlan, step: Try) -> tuple[Reply | None, ErrorClass | None, str]:
        assert node.node.backend is not None
        backend = self._backends[node.node.backend]
        self._span_id = random_hex(64)
        request = self._chat_request(node)
        self._sent_at = self._now()
        try:
            if not backend.waits:
                reply = await backend.chat(request)
            else:
                with move_on_after((step.deadline_at - self._sent_at) / 1e6) as scope:
                    reply = await backend.chat(request)
                if scope.cancelled_caught:
                    message = f"node '{node.name}' did not answer within {(self._now() - self._sent_at) / 1e6:.3g} s"
                    self._note(node, "timeout", "timeout", message, cost=self._reserved, basis="assumed")
                    return None, "timeout", message
        except BackendError as error:
            message = f"node '{node.name}': {error}"
            if error.billable:
                self._note(node, "failed", error.error_class, message, cost=self._reserved, basis="assumed")
            else:
                self._note(node, "failed", error.error_class, message)
            return None, error.error_class, message
        except Exception as error:  # noqa: BLE001 (whatever a backend raises, the walk goes on and is recorded)
            _log_unforeseen("a backend raised what is not a BackendError", node, error)
            message = f"node '{node.name}': the backend raised {type(error).__name__}"
            self._note(node, "failed", "malformed", message, cost=self._reserved, basis="assumed")
            return None, "malformed", message
        self._note_reply(node, reply)

        return reply, None, ""

    def _chat_request(self, node: NodePlan) -> ChatRequest:
        messages = self._request.messages
        own = node.node
        if own.prompt is not None:
            messages = prompts.render(own.prompt, messages, dict(self._facts.attributes))
        asked = self._request.sampling
        sampling = own.sampling
        if asked != _UNSET:
            merged = (theirs if mine is None else mine for mine, theirs in zip(sampling, asked, strict=True))
            sampling = Sampling._make(merged)._replace(max_tokens=node.max_tokens(asked.max_tokens))
        wants = own.confidence is not None and own.confidence.source in _FROM_PROBABILITIES

        return ChatRequest(messages, sampling, wants, self._context.traceparent(self._span_id))

    # ---- the record ---------------------------------------------------------------------------------------------

    def _note_reply(self, node: NodePlan, reply: Reply) -> None:
        usage = self._estimated(reply) if reply.usage is None else reply.usage
        cost, basis = reply.cost_nano_usd, _REPORTED
        if cost is None:
            cost = 0 if node.price is None else node.price.cost(usage.input_tokens, usage.output_tokens)
            basis = "none" if node.price is None else "reported" if reply.usage is not None else "estimated"
        self._note(node, "ok", reply=reply, usage=usage, cost=cost, basis=basis)

    def _estimated(self, reply: Reply) -> Usage:
        incoming = sum(roles.estimate_tokens(message.content) for message in self._request.messages)

        return Usage(incoming, roles.estimate_tokens(reply.text))

    def _note(
        self,
        node: NodePlan,
        status: AttemptStatus,
        error_class: str = "",
        message: str = "",
        *,
        reply: Reply | None = None,
        usage: Usage = Usage(),
        cost: int = 0,
        basis: Basis = "none",
    ) -> None:
        now = self._now()
        started = now if self._sent_at is None else self._sent_at
        self._sent_at = None
        self._attempts.append(
            Attempt(
                started_at=started,
                latency_us=now - started,
                status=status,
                timing=reply.timing if reply else Timing(),
                error_class="budget" if status == "denied" else error_class,
                message=message,
                usage=usage,
                reserved_nano_usd=0 if status == "denied" else self._reserved,
                cost_nano_usd=cost,
                basis=basis,
                backend=node.node.backend or "",
                model=reply.model if reply else "",
                finish_reason=reply.finish_reason if reply else "",
                simulated=reply.simulated if reply else False,
                span_id="" if status == "denied" else self._span_id,
                waited_us=self._purse.waited_us if self._attempts else 0,
            )
        )

    def _finished(self, finish: Finish) -> Walked:
        plan, context = self._plan, self._context
        served = self._replies[finish.answer_hop] if finish.answer_hop is not None else None
        answer = served.text if served else ""
        traversal = Traversal(
            traversal_id=self._traversal_id,
            trace_id=context.trace_id,
            span_id=random_hex(64),
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
        )
        self._record(traversal)

        return Walked(traversal, answer, served.finish_reason if served else "")


def _log_unforeseen(what: str, node: NodePlan, error: Exception) -> None:
    # Its type and its places, and not its words: an exception may quote the prompt.
    places = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s: %s\n%s", what, type(error).__name__, places, extra={"meshwalk.node": node.name})
