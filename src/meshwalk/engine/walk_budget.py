"""
The reservations of one walk against its own limits and the budgets that it shares.

A call's worst case is held in every scope at once, its own first.  Where others hold what is left, the walk waits for them to
settle, inside its hop's time; what it spent on the call before is settled in the same round trip that reserves the next.  On
every way out open reservations are settled, so that only those of a process that dies are left to their leases.  Each
reservation has an id, since a hedged hop has two calls under way.

Talking to a vault is not cut short by a caller that goes away: it is bounded by the vault's own time limits.  Where an answer
is lost all the same (the vault is away, or a task is cancelled past its shields), the walk takes it that nothing was granted,
and gives back what may have been.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import reduce

from anyio import CancelScope

from meshwalk.budgets import (
    REQUEST,
    Answer,
    Balance,
    Need,
    Refusal,
    Reservation,
    Scope,
    Settlement,
    SpendPath,
    make_balance,
    make_reservation,
    make_settlement,
    refusal_of,
)
from meshwalk.budgets.vaults.base import DEFAULT_TENANT, Vault
from meshwalk.engine.context import WalkContext
from meshwalk.engine.deps import EngineDeps
from meshwalk.model import Amount, Budget, Caps, Limits
from meshwalk.model.problems import VaultUnavailable
from meshwalk.model.rate_limited_log import RateLimitedLog
from meshwalk.plan import Plan
from meshwalk.trace import CompactCall, Scopes, ScopeView, make_view


_log = logging.getLogger(__name__)

# The lease of a reservation goes on this long past the hop's deadline: a call that is no later is still charged its real cost.
LEASE_GRACE_US = 2_000_000


# A walk waits so long in all for a vault that does not answer: longer than a server takes to start again, and shorter than a
# caller waits.  Then its hop fails with the class `budget`, while there is time for what an `on_error` edge leads to.
AWAY_WAIT_US = 5_000_000


# A reservation: its amount in the walk's own limits, and its form in the vault.
_Held = tuple[Amount, Reservation | None]

_NOTHING = Amount()
_NO_RESERVATIONS: Mapping[int, Amount] = {}


class WalkBudget:
    """
    The reservations of one walk, in its own limits and in the budgets that it shares.

    Args:
        walk_id: Names the walk's holds; no two walks share it.
        now: The walk's clock, in microseconds since it began.
        unsettled: The log of walks whose spending the vault does not learn.

    Attributes:
        waited_us: The time that the last reservation waited for others to settle, even if it was given up then.
    """

    __slots__ = (
        "_away_us",
        "_caps",
        "_changes",
        "_graph",
        "_held",
        "_made",
        "_now",
        "_pending",
        "_scopes",
        "_spent",
        "_unacknowledged",
        "_unsettled",
        "_vault",
        "_views",
        "_walk_id",
        "waited_us",
    )  # fmt: skip

    def __init__(
        self,
        graph: str,
        limits: Limits,
        scopes: tuple[Scope, ...],
        vault: Vault,
        walk_id: str,
        now: Callable[[], int],
        unsettled: RateLimitedLog | None = None,
    ) -> None:
        self._graph = graph
        self._scopes = scopes
        self._vault = vault
        self._walk_id = walk_id
        self._now = now
        self._unsettled = unsettled
        self._caps = Caps(limits.cost_nano_usd, limits.input_tokens, limits.output_tokens, limits.calls)
        self._held: dict[int, _Held] = {}
        self._spent = _NOTHING
        # The shared scopes as the vault last told of them, and what was spent since then, and in place of what.  Most walks
        # are not asked how they stand, so it is added up for those that are.
        self._views: tuple[ScopeView, ...] = ()
        self._changes: list[tuple[Amount, Amount]] = []
        # Settlements that the vault does not know yet, oldest first.
        self._pending: list[Settlement] = []
        # The reservation that was asked for and not answered.
        self._unacknowledged: Reservation | None = None
        self._made = 0
        # The time that was waited for a vault that does not answer.
        self._away_us = 0
        self.waited_us = 0

    async def refresh(self) -> None:
        """
        Learn how the shared scopes stand, for guards that are asked before anything is reserved.
        """
        if self._scopes:
            # Of a vault that is away guards know nothing; whether anything is granted, the first reservation tells.
            with suppress(VaultUnavailable):
                self._update(await self._vault.balances(self._scopes))

    @property
    def holds(self) -> bool:
        """
        Tell whether a call is reserved and not settled.
        """
        return bool(self._held)

    def views(self, spent: Mapping[int, Amount] = _NO_RESERVATIONS) -> tuple[ScopeView, ...]:
        """
        Show every scope as this walk knows it, with the amounts in *spent* in place of their reservations.
        """
        used = self._spent.plus(self._reserved()) if self._held else self._spent
        views = (make_view((REQUEST, self._caps, used, "")), *self.shared)

        return (
            _changed(views, [(amount, self._held[reservation_id][0]) for reservation_id, amount in spent.items()])
            if spent
            else views
        )

    @property
    def shared(self) -> tuple[ScopeView, ...]:
        """
        Show the shared scopes alone.
        """
        return _changed(self._views, self._changes)

    async def reserve(self, need: Need, path: Sequence[str], deadline_at_us: int, last_start_us: int) -> Refusal | int:
        """
        Reserve *need* in every scope, and return the reservation's id, or why it was not granted.

        Args:
            path: The nodes visited so far; the last is the one that spends.
            deadline_at: When the hop ends.
            last_start_us: Until when others are waited for.
        """
        self.waited_us = 0
        refusal = refusal_of(need, (REQUEST,), (self._own(),))
        if refusal is not None:
            return refusal

        return await self.reserve_affordable(need, path, deadline_at_us, last_start_us)

    async def reserve_affordable(
        self, need: Need, path: Sequence[str], deadline_at_us: int, last_start_us: int
    ) -> Refusal | int:
        """
        Hold *need*, which the walk's own limits were found to allow, as `reserve` does.
        """
        self.waited_us = 0
        self._made += 1
        if not self._scopes:
            return self._take(need, None)
        reservation = self._reservation_of(need, path, deadline_at_us)
        asked_at_us = self._now()
        answer = await self._ask(reservation)
        if answer.refusal is not None and answer.refusal.contended:
            answer = await self._wait(reservation, answer, asked_at_us, deadline_at_us, last_start_us)
        if answer.balances:
            self._update(answer.balances)

        return answer.refusal or self._take(need, reservation)

    def replay(self, calls: Iterable[CompactCall]) -> None:
        """
        Reserve and settle *calls*, which were made without this budget, in a walk without shared scopes.
        """
        for call in calls:
            self.settle(self.take(need_of(call)), call.spent, assumed=False)

    def take(self, need: Need) -> int:
        """
        Hold *need*, which was found to fit, in a walk without shared scopes.
        """
        self._made += 1

        return self._take(need, None)

    def _take(self, need: Need, reservation: Reservation | None) -> int:
        self._held[self._made] = (need.amount, reservation)

        return self._made

    def settle(self, reservation_id: int, spent: Amount, *, assumed: bool) -> None:
        """
        Put what was *spent* in place of a reservation; the vault learns of it with the next reservation, or by `close`.
        """
        amount, reservation = self._held.pop(reservation_id)
        self._spent = self._spent.plus(spent)
        if reservation is not None:
            self._changes.append((spent, amount))
            self._pending.append(make_settlement((reservation.scopes[0].tenant, reservation.id, spent, assumed)))

    async def close(self) -> None:
        """
        Send the vault all settlements it has not got yet; the reservation of a call that was never sent is released.
        """
        for reservation_id in tuple(self._held):
            self.settle(reservation_id, _NOTHING, assumed=False)
        if not self._pending and self._unacknowledged is None:
            return
        try:
            await self._exchange(None)
        except VaultUnavailable as error:
            # The walk is over all the same, and its record tells what it spent.
            message = f"what a walk spent is not settled, and will be charged at its worst: {error}"
            (self._unsettled or unsettled_log()).warning(message)

    def _own(self) -> Balance:
        """
        Return the balance of the walk's own limits.
        """
        return make_balance((self._caps, self._spent, self._reserved(), None, ""))

    def _reserved(self) -> Amount:
        amounts = [amount for amount, _ in self._held.values()]

        return reduce(Amount.plus, amounts) if amounts else _NOTHING

    # ---- shared scopes ------------------------------------------------------------------------------------------

    def _update(self, balances: Iterable[Balance]) -> None:
        """
        Put what the vault told of the shared scopes in place of what was known.
        """
        self._views = tuple(
            [
                make_view((scope.kind, caps, spent.plus(held), away))
                for scope, (caps, spent, held, _, away) in zip(self._scopes, balances, strict=True)
            ]
        )
        self._changes.clear()

    def _reservation_of(self, need: Need, path: Sequence[str], deadline_at_us: int) -> Reservation:
        lease_us = max(0, deadline_at_us - self._now()) + LEASE_GRACE_US
        spend_path = SpendPath(self._graph, " > ".join(path))

        return make_reservation((f"{self._walk_id}.{self._made}", self._scopes, need, lease_us, spend_path))

    async def _wait(
        self, reservation: Reservation, answer: Answer, asked_at_us: int, deadline_at_us: int, last_start_us: int
    ) -> Answer:
        vault, began = self._vault, self._now()
        pause, longest = vault.poll_seconds
        queue, called = self._queue_of(answer), False
        try:
            while queue is not None and (left := self._last_ask_us(answer, asked_at_us, last_start_us) - self._now()) > 0:
                # The pauses are spread, so that walks of several servers do not ask all at once.
                seconds = min(pause * random.uniform(0.5, 1.5), left / 1e6)  # noqa: S311 (no secret)
                called = await vault.waiters.wait(queue, seconds, first=called)
                pause = min(longest, 2 * pause)
                answer = await self._ask(reservation._replace(lease_us=max(0, deadline_at_us - self._now()) + LEASE_GRACE_US))
                left_queue, queue = queue, self._queue_of(answer)
                if queue != left_queue or self._now() >= last_start_us:
                    # A walk that leaves a queue may have been woken, and there may be more for the next in it.
                    vault.waiters.wake_next(left_queue)
                    called = False
        finally:
            self.waited_us = self._now() - began
        if _is_away(answer):
            self._away_us += self._now() - asked_at_us

        return answer

    def _last_ask_us(self, answer: Answer, asked_at_us: int, last_start_us: int) -> int:
        """
        Return until when to ask again after *answer*: of a vault that does not answer, as long as the walk may wait for it.
        """
        return min(last_start_us, asked_at_us + AWAY_WAIT_US - self._away_us) if _is_away(answer) else last_start_us

    def _queue_of(self, answer: Answer) -> tuple[str, str, str] | None:
        """
        Tell in which line to wait after *answer*, if waiting may help.
        """
        refusal = answer.refusal

        return None if refusal is None or not refusal.contended else _queue_name(self._scopes[refusal.position])

    async def _ask(self, reservation: Reservation) -> Answer:
        try:
            return await self._exchange(reservation)
        except VaultUnavailable as error:
            scope = self._scopes[0]
            message = f"draws on {scope.kind} {scope.name!r}, whose vault is away ({error}); try again"
            return Answer(Refusal(0, scope.kind, contended=True, message=message, away=True), ())

    async def _exchange(self, reservation: Reservation | None) -> Answer:
        vault, unacknowledged, pending = self._vault, self._unacknowledged, self._pending
        if unacknowledged is not None or len(pending) > 1:
            await self._catch_up(reservation)
        last = pending[0] if pending else None
        self._unacknowledged = reservation
        answer = await (self._shielded_exchange(last, reservation) if vault.waits else vault.exchange(last, reservation))
        self._unacknowledged = None
        if last is not None:
            # Others may have settled meanwhile.
            del pending[0]
        if vault.waiters.has_waiters and (last is not None or unacknowledged is not None):
            for scope in self._scopes:
                vault.waiters.wake_next(_queue_name(scope))

        return answer

    async def _catch_up(self, reservation: Reservation | None) -> None:
        """
        Send the settlements that must precede *reservation*, but for one, which goes with it.
        """
        unacknowledged = self._unacknowledged
        if unacknowledged is not None and (reservation is None or reservation.id != unacknowledged.id):
            # Nothing was sent for it.
            await self._shielded_exchange(Settlement(unacknowledged.scopes[0].tenant, unacknowledged.id, _NOTHING), None)
            self._unacknowledged = None
        while len(self._pending) > 1:
            await self._shielded_exchange(self._pending[0], None)
            del self._pending[0]

    async def _shielded_exchange(self, settlement: Settlement | None, reservation: Reservation | None) -> Answer:
        with CancelScope(shield=True):
            answer = await self._vault.exchange(settlement, reservation)

        return answer  # noqa: RET504 (to a type checker the scope may end early)


def _is_away(answer: Answer) -> bool:
    return answer.refusal is not None and answer.refusal.away


def _changed(views: tuple[ScopeView, ...], since: Iterable[tuple[Amount, Amount]]) -> tuple[ScopeView, ...]:
    """
    Show *views* with what was spent *since* in place of what was held for it.
    """
    for spent, held in since:
        change = spent.less(held)
        views = tuple([view.changed(change) for view in views])

    return views


def unsettled_log() -> RateLimitedLog:
    """
    Return a log of walks whose spending a vault does not learn, to be shared by the walks of an engine.
    """
    return RateLimitedLog(_log)


def need_of(call: CompactCall) -> Need:
    """
    Return the amount that *call* reserved.
    """
    return Need(call.cost_bound, call.input_bound, call.output_bound, calls=1, hops=1)


def open_budget(plan: Plan, deps: EngineDeps, context: WalkContext) -> WalkBudget:
    """
    Open the budget of the walk of *context*.
    """
    budgets = plan.graph.budgets
    scopes = shared_scopes(tuple(budgets.values()), context.facts.scopes) if budgets else ()

    return WalkBudget(plan.name, context.limits, scopes, deps.vault, context.traversal_id, context.now, deps.unsettled)


def shared_scopes(budgets: Sequence[Budget], scopes: Scopes) -> tuple[Scope, ...]:
    """
    Return the accounts that a request in *scopes* draws on, of those that *budgets* cap.
    """
    tenant = scopes.tenant or DEFAULT_TENANT
    names = {"session": scopes.session, "workflow": scopes.workflow, "tenant": tenant}

    return tuple(
        Scope(tenant, budget.scope, names[budget.scope], budget.window_us, budget.caps, budget.away)
        for budget in budgets
        if names[budget.scope]
    )


def _queue_name(scope: Scope) -> tuple[str, str, str]:
    return scope.tenant, scope.kind, scope.name
