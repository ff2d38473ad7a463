"""
The calls of one hop: made, put off, hedged, judged while they stream, and cut short.

`walk.attempts` decides when there is a call; this module makes it.  Calls are made in turn, or, if the node says `hedge:`, up
to two side by side; the first good reply cancels the other call.  Each call that was begun ends as a line in the record with a
cost, whatever ended it: its reply, its deadline, the walk's judgement of its beginning, or a caller that went away.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import anyio
from anyio import get_cancelled_exc_class, move_on_after
from anyio.abc import TaskGroup

from meshwalk.backends import roles
from meshwalk.backends.base import message_of
from meshwalk.backends.cancellation import cancel_requested
from meshwalk.backends.labels import close_labels
from meshwalk.budgets import Refusal
from meshwalk.engine.call_state import CallState
from meshwalk.engine.deps import EngineDeps, HopContext
from meshwalk.engine.walk_budget import WalkBudget
from meshwalk.model.private_text import joined
from meshwalk.model.problems import BackendError
from meshwalk.plan import NodePlan
from meshwalk.trace import Attempt, Commit, Piece, Reply
from meshwalk.walk.attempts import Attempts, Closed, Try


_log = logging.getLogger(__name__)


class _Begun(NamedTuple):
    """
    A further call that may begin.
    """

    call: CallState
    step: Try


class Ended(NamedTuple):
    """
    The end of a call that the fast path made: a reply, an error, or a timeout (neither set).
    """

    reply: Reply | None = None
    error: BaseException | None = None


class Calls:
    """
    The calls of a hop at *node*, made for *walk*.

    Attributes:
        states: Every call, in the order they were asked for.
        reply: What the hop came to, if it worked.
        refusal: Why a retry was not granted, if that is what ended the hop.
        committed: The call whose reply is passed on.
        stopped: Whether the walk did not want the call to go on.
    """

    def __init__(
        self,
        deps: EngineDeps,
        walk: HopContext,
        walk_budget: WalkBudget,
        path: Sequence[str],
        node: NodePlan,
        deadline_at_us: int,
    ) -> None:
        self._deps = deps
        self._walk = walk
        self._walk_budget = walk_budget
        self._path = path
        self._node = node
        self._deadline_at_us = deadline_at_us
        self._machine = Attempts(node.node, deadline_at_us)
        assert node.node.backend is not None
        self._name = node.node.backend
        self._backend = deps.backends[self._name]
        self._limiter = deps.limiters.get(self._name)
        self._tried: set[str] = set()
        self._prefix_unreadable = False
        self._ended: deque[CallState] = deque()
        self._call_ended = anyio.Event()
        self.states: list[CallState] = []
        self.reply: Reply | None = None
        self.refusal: Refusal | None = None
        self.committed: CallState | None = None
        self.stopped = False

    def attempts(self) -> tuple[Attempt, ...]:
        """
        Return the record of the calls so far.
        """
        return tuple([call.attempt for call in self.states if call.attempt is not None])

    async def make(self, first: CallState, ended: Ended | None = None) -> Closed:
        """
        Make calls until the hop is closed; *first* is reserved already, and made as well if *ended* tells how it ended.
        """
        self.states.append(first)
        step = self._machine.start(self._walk.now() if ended is None else first.started_us)
        if isinstance(step, Closed):
            return step
        if ended is not None:
            if self._limiter is not None:
                self._tried.add(first.endpoint)
            return await self._in_turn(first, step, ended)
        # A backend that answers at once needs no hedge.
        if self._machine.hedge_at_us is None or not (self._backend.waits or self._limiter):
            return await self._in_turn(first, step)

        return await self._side_by_side(first, step)

    # ---- in turn, and side by side ------------------------------------------------------------------------------

    async def _in_turn(self, call: CallState, step: Try, ended: Ended | None = None) -> Closed:
        while True:
            await self._call(call, step.deadline_at_us, ended)
            ended = None
            judged = self._judged(call)
            if not isinstance(judged, Try):
                assert judged is not None, "no other call is under way"
                return judged
            further = await self._further(judged)
            if not isinstance(further, _Begun):
                assert further is not None, "only a hedge is given up silently"
                return further
            call, step = further

    async def _side_by_side(self, call: CallState, step: Try) -> Closed:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._call_and_signal, call, step.deadline_at_us)
            closed: Closed | None = None
            while closed is None:
                closed = await self._next(tasks)
            tasks.cancel_scope.cancel()
        assert closed is not None, "a hop ends by being closed"

        return closed

    async def _next(self, tasks: TaskGroup) -> Closed | None:
        """
        Wait for what comes next, an end or the time for a hedge, and return how the hop is closed, if it is.
        """
        if not self._ended:
            hedge_at_us = self._machine.hedge_at_us
            if hedge_at_us is None or self.committed is not None:
                await self._call_ended.wait()
            else:
                with move_on_after(max(0, hedge_at_us - self._walk.now()) / 1e6):
                    await self._call_ended.wait()
            if not self._ended:
                step = self._machine.hedge(self._walk.now())
                return None if step is None else await self._go_on(tasks, step)
        judged = self._judged_next()

        return await self._go_on(tasks, judged) if isinstance(judged, Try) else judged

    async def _go_on(self, tasks: TaskGroup, step: Try) -> Closed | None:
        further = await self._further(step)
        if not isinstance(further, _Begun):
            return further
        tasks.start_soon(self._call_and_signal, further.call, further.step.deadline_at_us)

        return None

    def _judged_next(self) -> Try | Closed | None:
        call = self._ended.popleft()
        if not self._ended:
            self._call_ended = anyio.Event()

        return self._judged(call)

    async def _call_and_signal(self, call: CallState, deadline_at_us: int) -> None:
        await self._call(call, deadline_at_us)
        self._ended.append(call)
        self._call_ended.set()

    def _judged(self, call: CallState) -> Try | Closed | None:
        if call.reply is not None:
            self.reply = call.reply
            return self._machine.worked(call.number)
        if self.stopped or call is self.committed:
            return Closed(call.error_class, call.message)
        if self.committed is not None:
            # It was cancelled in favour of the one that is passed on.
            return None
        assert call.error_class is not None, "a call that nothing else ended has failed"
        elsewhere = self._limiter is not None and self._limiter.elsewhere(frozenset(self._tried), call.max_tokens)

        return self._machine.failed(
            call.number,
            self._walk.now(),
            call.error_class,
            call.message,
            retry_after_us=call.retry_after_us,
            elsewhere=elsewhere,
            chance=self._deps.chance(),
            # A call that a breaker or a limit turned away does not wait for it.
            final=call.final or (call.turned_away and call.error_class != "overloaded"),
            at_fault=call.at_fault,
        )

    async def _further(self, step: Try) -> _Begun | Closed | None:
        """
        Wait until *step* may begin, and reserve it; None gives up a hedge.
        """
        walk, node = self._walk, self._node
        since = walk.now()
        if step.not_before_us > since:
            await self._deps.sleep((step.not_before_us - since) / 1e6)
        put_off_us = walk.now() - since
        walk.settle()
        # The hop itself is reserved once, however many calls it makes.
        need = self.states[0].need._replace(hops=0)
        # A hedge is for speed: it does not wait for a budget.
        last_start_us = 0 if step.hedge else self._deadline_at_us - node.node.min_time_us
        given = await self._walk_budget.reserve(need, self._path, self._deadline_at_us, last_start_us)
        call = CallState(node, step.number, -1 if isinstance(given, Refusal) else given, need)
        call.hedge = step.hedge
        call.backoff_us = put_off_us if step.not_before_us > since else 0
        call.waited_us = 0 if step.hedge else self._walk_budget.waited_us
        if not isinstance(given, Refusal):
            walk.open(call)
        # The first call may have ended, or been committed to, while the vault was asked for its hedge.
        if self._ended and (closed := self._judged_next()) is not None:
            assert isinstance(closed, Closed), "no retry is asked for beside a hedge"
            return closed
        if self.committed is not None or self.stopped:
            return None
        if isinstance(given, Refusal):
            self.states.append(call)
            call.denied(walk.now(), given.message)
            if not step.hedge:
                self.refusal = given
            return self._machine.denied(step.number, f"node '{node.name}' {given.message}")
        granted = self._machine.granted(step.number, walk.now())
        if not isinstance(granted, Try):
            return granted
        self.states.append(call)

        return _Begun(call, granted)

    # ---- one call -----------------------------------------------------------------------------------------------

    async def _call(self, call: CallState, deadline_at_us: int, ended: Ended | None = None) -> None:
        """
        Make one call, unless it was made and has *ended*; however it ends, *call* then tells.
        """
        walk, node = self._walk, self._node
        if ended is None:
            call.span_id = walk.call_span_id()
            call.begin(walk.now(), call.span_id, walk.chat_request(call))
        assert call.request is not None, "a call has sent something"
        reply: Reply | None = None
        try:
            if ended is not None:
                reply = ended.reply
                if ended.error is not None:
                    raise ended.error  # noqa: TRY301 (what a call raised is told apart in one place)
            elif not (self._backend.waits or self._limiter or node.node.stream is not None):
                reply = await self._backend.chat(call.request)
            else:
                with move_on_after((deadline_at_us - call.started_us) / 1e6) as call.scope:
                    reply = await self._with_lease(call, deadline_at_us)
            if reply is not None:
                close_labels(reply)
        except BackendError as error:
            call.retry_after_us, call.final, call.at_fault = error.retry_after_us, error.final, error.of_endpoint
            message = joined(f"node '{node.name}': ", message_of(error, self._backend))
            call.failed(walk.now(), "failed", error.error_class, message, billable=error.billable)
        except get_cancelled_exc_class():
            if not cancel_requested():
                # A backend's own doing; nobody wants the walk to end.
                message = f"node '{node.name}': the backend gave up its call, which nobody had cancelled"
                call.failed(walk.now(), "failed", "malformed", message, billable=True)
                return
            # Either another call of the hop was faster, or the whole walk is cancelled.
            message = "another call of the hop was faster" if self._settled_by_another(call) else "the caller went away"
            call.failed(walk.now(), "cancelled", None, message, billable=True)
            raise
        except Exception as error:  # noqa: BLE001 (whatever a backend raises, the walk goes on and is recorded)
            log_unforeseen("a backend raised what is not a BackendError", node.name, error)
            message = f"node '{node.name}': the backend raised {type(error).__name__}"
            call.failed(walk.now(), "failed", "malformed", message, billable=True)
        else:
            if reply is not None:
                call.worked(walk.now(), reply)
            else:
                self._cut_off(call)

    def _cut_off(self, call: CallState) -> None:
        now, name = self._walk.now(), self._node.name
        if self.stopped:
            call.failed(now, "cancelled", None, "what was seen of its reply sent the walk elsewhere", billable=True)
        elif self._settled_by_another(call):
            call.failed(now, "cancelled", None, "another call of the hop was faster", billable=True)
        else:
            seconds = f"{(now - call.started_us) / 1e6:.3g} s"
            if call.stalled:
                message = f"node '{name}' {call.stalled}"
            elif call.progress.sent:
                message = f"node '{name}' did not answer within {seconds}"
            else:
                message = f"node '{name}' was not called: for {seconds} there was no place at backend '{self._name}'"
            call.failed(now, "timeout", "timeout", message, billable=True)

    def _settled_by_another(self, call: CallState) -> bool:
        return self.committed not in (None, call) or (self.reply is not None and call.reply is None)

    async def _with_lease(self, call: CallState, deadline_at_us: int) -> Reply:
        limiter = self._limiter
        if limiter is None:
            return await self._ask(call)
        since, node = self._walk.now(), self._node.node
        call.progress.sent = False
        try:
            lease = await limiter.enter(
                tokens=call.max_tokens,
                stick_to=self._walk.stick_to(self._name),
                avoid=frozenset(self._tried),
                until_us=self._deps.clock_ns() // 1000 + deadline_at_us - since,
                # A declared time stands in place of what is learned.
                node="" if node.min_time_us else node.name,
            )
        except BackendError:
            call.turned_away = True
            raise
        finally:
            # The wait counts, whether or not it led anywhere.
            call.progress.queue_us += self._walk.now() - since
        call.progress.sent = True
        call.endpoint = lease.endpoint
        self._tried.add(lease.endpoint)
        assert call.request is not None
        call.request = call.request._replace(endpoint=lease.endpoint)
        ended: str | None = "cancelled"
        rest_us: int | None = None
        at_fault = False
        tokens: int | None = None
        began_us = self._walk.now()
        try:
            reply = await self._ask(call)
            ended = None
            limiter.learn(node.name, lease, self._walk.now() - began_us)
            if reply.usage is not None:
                tokens = reply.usage.input_tokens + reply.usage.output_tokens
        except BackendError as error:
            ended, rest_us, at_fault = error.error_class, error.retry_after_us, error.of_endpoint
            raise
        finally:
            if ended == "cancelled" and call.scope.cancel_called and not (self.stopped or self._settled_by_another(call)):
                ended = "timeout"
                limiter.learn(node.name, lease, self._walk.now() - began_us, worked=False)
            if not call.progress.sent:
                tokens = 0
            limiter.leave(lease, error_class=ended, retry_after_us=rest_us, tokens=tokens, at_fault=at_fault)

        return reply

    async def _ask(self, call: CallState) -> Reply:
        assert call.request is not None
        stream = getattr(self._backend, "stream", None) if self._node.node.stream is not None else None
        if stream is None:
            return await self._backend.chat(call.request)
        if call.scope is not None:
            call.ends_at = call.scope.deadline
            self._bound_wait(call, "first_token", self._node.node.first_token_us)
        reply: Reply = await stream(call.request, partial(self._heard, call))

        return reply

    def _bound_wait(self, call: CallState, key: str, wait_us: int | None) -> None:
        """
        Give the stream of *call* until *wait_us* from now to bring its next token; None bounds it by the call's end alone.
        """
        until, words = call.ends_at, ""
        if wait_us is not None and not call.progress.ended:
            soon = anyio.current_time() + wait_us / 1e6
            if soon < until:
                until, words = soon, f"brought nothing for {wait_us / 1e6:.3g} s ({key})"
        call.scope.deadline, call.stalled = until, words

    # ---- while it streams ---------------------------------------------------------------------------------------

    def _heard(self, call: CallState, piece: Piece) -> None:
        if self.stopped or self.committed not in (None, call):
            return
        call.hear(piece)
        if call.stalled or self._node.node.between_tokens_us is not None:
            self._bound_wait(call, "between_tokens", self._node.node.between_tokens_us)
        if not piece.text and not piece.tokens:
            return
        if call is self.committed:
            self._walk.emit(piece.text)
        elif not self._prefix_unreadable and call.tokens >= max(1, self._node.node.stream or 0):
            self._judge_beginning(call)

    def _judge_beginning(self, call: CallState) -> None:
        try:
            outputs = roles.outputs_of(self._node.node, call.so_far())
        except Exception as error:  # noqa: BLE001 (a role is pure, but an author's pattern runs in it)
            # The reply is judged once it is whole, and the fault is reported then.
            log_unforeseen("the beginning of a reply could not be read", self._node.name, error)
            self._prefix_unreadable = True
            return
        # It has not ended for any reason yet.
        outputs.pop("finish_reason", None)
        if any(isinstance(wish, Commit) for wish in self._walk.judge_prefix(call, outputs)):
            self.committed = call
            self._walk.emit(call.text)
        else:
            self.stopped = True
        for other in self.states:
            if other.scope is not None and other is not self.committed:
                other.scope.cancel()


def log_unforeseen(what: str, node: str, error: Exception) -> None:
    """
    Log *error* by its type and its places, and not its words: an exception may quote the prompt.
    """
    places = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s: %s\n%s", what, type(error).__name__, places, extra={"meshwalk.node": node})
