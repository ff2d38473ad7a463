"""
A vault that keeps working while its primary vault is unavailable, by the policy of each scope.

`closed` grants nothing, so nothing can be overspent.  `open` grants everything.  `local` lets this server continue on the last
known balances: each server can then overspend by the amount left at its last read, or by the whole cap if it never read any.
If any scope of a reservation is closed, the reservation is refused.

Invariants:

1. Spending during an outage is charged to the primary once, when it is back, before any new reservation there.
2. A reservation whose answer was lost is released in the primary, unless it is granted locally.
3. After a failed call the primary is not called for a pause, and then by one caller only, so that no other waits with it.
4. The queue of unsent messages is bounded; dropped messages are counted and logged.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import anyio

from meshwalk.budgets import AccountReport, Answer, Balance, Refusal, Reservation, Scope, Settlement, SpendPath, refusal_of
from meshwalk.budgets.vaults.base import Claim, Vault
from meshwalk.budgets.vaults.last_known import LastKnownBalances
from meshwalk.model import Amount, Caps, ScopeKind
from meshwalk.model.problems import VaultUnavailable
from meshwalk.model.rate_limited_log import RateLimitedLog
from meshwalk.model.resource import AsyncResource


PAUSE_US = 500_000
MAX_MESSAGES = 50_000

_SILENT = "does not answer"

T = TypeVar("T")

_log = logging.getLogger(__name__)


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


class _Charge(NamedTuple):
    id: str
    scopes: tuple[Scope, ...]
    spent: Amount
    spend_path: SpendPath
    assumed: bool


class FallbackVault(AsyncResource):
    """
    The vault *vault*, with local decisions while it is unavailable.

    Args:
        clock_us: Microseconds since the Unix epoch.
        pause_us: The pause after a failed call.
        max_messages: The bound on unsent messages.

    Attributes:
        dropped: The number of settlements and charges lost because the queue was full.
    """

    def __init__(
        self,
        vault: Vault,
        *,
        clock_us: Callable[[], int] = _wall_clock_us,
        pause_us: int = PAUSE_US,
        max_messages: int = MAX_MESSAGES,
    ) -> None:
        self.waits = vault.waits
        self.poll_seconds = vault.poll_seconds
        self.waiters = vault.waiters
        self.name = vault.name
        self.risks = vault.risks
        self.dropped = 0
        self._vault = vault
        self._clock_us = clock_us
        self._pause_us = pause_us
        self._max_messages = max_messages
        # When the vault may be called again; None while it answers.
        self._retry_at_us: int | None = None
        self._outages = 0
        self._messages: deque[Settlement | _Charge] = deque()
        self._sending = anyio.Lock()
        # Local reservations that are not settled yet, with the end of their leases.
        self._local_granted: dict[tuple[str, str], tuple[Reservation, int]] = {}
        # Unsettled reservations in the vault.  On settlement they are subtracted from the last known balances.
        self._vault_granted: dict[tuple[str, str], tuple[Reservation, int]] = {}
        self._last_known = LastKnownBalances()
        self._full = RateLimitedLog(_log)

    def __repr__(self) -> str:
        state = "available" if self._retry_at_us is None else "unavailable"

        return f"<FallbackVault {self.name}: {state}, {len(self._messages)} unsent>"

    @property
    def answers(self) -> bool:
        """
        Tell whether the vault answered when it was last called, or nobody knows that it would not.
        """
        # Nobody else would call it again: what waits to be sent is tried each second.
        return self._retry_at_us is None or (not self._messages and self._clock_us() >= self._retry_at_us)

    async def balances(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        """
        Return the balances of *scopes*, or the last known ones.
        """
        if self._may_call():
            try:
                await self._send_messages()
                balances = await self._vault.balances(scopes)
            except VaultUnavailable as error:
                self._mark_unavailable(error)
            else:
                self._mark_available(scopes, balances)
                return balances

        return self._known_balances(scopes)

    async def exchange(self, settlement: Settlement | None, reservation: Reservation | None) -> Answer:
        """
        Settle one reservation and make another; during an outage, by the policies of its scopes.
        """
        if settlement is not None and (settlement.tenant, settlement.id) in self._local_granted:
            self._settle_locally(settlement)
            settlement = None
        if self._may_call():
            revision = self._last_known.revision
            try:
                await self._send_messages()
                answer = await self._vault.exchange(settlement, reservation)
            except VaultUnavailable as error:
                self._mark_unavailable(error)
                self._settle_in_vault(settlement, revision)
                self._queue_message(settlement)
                answer = self._answer_locally(reservation, "has no room left" if error.is_full else _SILENT)
                if answer.refusal is not None:
                    self._release(reservation)
                return answer
            except anyio.get_cancelled_exc_class():
                # The vault may have executed the call or not.
                self._queue_message(settlement)
                self._release(reservation)
                raise
            else:
                self._settle_in_vault(settlement, revision)
                self._mark_available(() if reservation is None else reservation.scopes, answer.balances)
                if reservation is not None and reservation.scopes and answer.refusal is None:
                    self._vault_granted[reservation.scopes[0].tenant, reservation.id] = (
                        reservation,
                        self._clock_us() + reservation.lease_us,
                    )
                return answer
        self._settle_in_vault(settlement, self._last_known.revision)
        self._queue_message(settlement)

        return self._answer_locally(reservation)

    async def charge(
        self, id_: str, scopes: Sequence[Scope], spent: Amount, spend_path: SpendPath, *, assumed: bool = False
    ) -> None:
        """
        Add spending, now or when the vault is back.
        """
        if scopes and (scopes[0].tenant, id_) in self._local_granted:
            self._settle_locally(Settlement(scopes[0].tenant, id_, spent, assumed))
        else:
            self._last_known.settle(scopes, Amount(), spent)
            self._queue_message(_Charge(id_, tuple(scopes), spent, spend_path, assumed))
        await self.flush()

    async def reports(self, tenant: str, kind: ScopeKind | None = None, name: str | None = None) -> list[AccountReport]:
        """
        Report the accounts of *tenant* in the vault.
        """
        await self.flush()

        return await self._call(lambda: self._vault.reports(tenant, kind, name))

    async def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Override the caps of graphs, in the vault.
        """
        await self._call(lambda: self._vault.set_caps(tenant, kind, name, caps))

    async def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        """
        Claim an idempotency key, which is impossible during an outage.
        """
        return await self._call(lambda: self._vault.claim(tenant, key, owner, fingerprint, lease_us))

    async def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        """
        Store a result for retries, or release the key.
        """
        await self._call(lambda: self._vault.finish(tenant, key, owner, result, keep_us))

    async def flush(self) -> None:
        """
        Send queued messages if the vault answers; called periodically, in case no walk calls the vault.
        """
        self._expire()
        if not self._messages or not self._may_call():
            return
        try:
            await self._send_messages()
        except VaultUnavailable as error:
            self._mark_unavailable(error)
        else:
            self._mark_available((), ())

    async def aclose(self) -> None:
        """
        Send queued messages, log those that cannot be sent, and close the vault.
        """
        self._retry_at_us = None
        try:
            await self.flush()
        finally:
            # Reservations to be released expire with their leases.
            if lost := sum(any(message.spent) for message in self._messages):
                self._log_loss(lost, "this server ended before it was back")
            self._messages.clear()
            await self._vault.aclose()

    # ---- availability of the vault ---------------------------------------------------------------------------------------

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        if not self._may_call():
            raise VaultUnavailable(f"the vault {self.name} does not answer; try again")
        try:
            answer = await call()
        except VaultUnavailable as error:
            self._mark_unavailable(error)
            raise
        self._mark_available((), ())

        return answer

    def _may_call(self) -> bool:
        if self._retry_at_us is None:
            return True
        now_us = self._clock_us()
        # A clock that was set back does not extend the pause.
        if self._retry_at_us - self._pause_us <= now_us < self._retry_at_us:
            return False
        # Other callers do not wait for this attempt.
        self._retry_at_us = now_us + self._pause_us

        return True

    def _mark_unavailable(self, error: VaultUnavailable) -> None:
        if error.is_full:
            # It answers, and what gives room back must reach it.
            self._full.warning(f"the vault {self.name} takes no reservations: {error}")
            return
        if self._retry_at_us is None:
            _log.warning("the vault %s does not answer: %s", self.name, error, extra={"meshwalk.vault": self.name})
        self._retry_at_us = self._clock_us() + self._pause_us
        self._outages += 1

    def _mark_available(self, scopes: Sequence[Scope], balances: Sequence[Balance]) -> None:
        if self._retry_at_us is not None:
            self._retry_at_us = None
            _log.warning("the vault %s answers again", self.name, extra={"meshwalk.vault": self.name})
        self._last_known.record(self._clock_us(), scopes, balances)

    # ---- local decisions -------------------------------------------------------------------------------------------------

    def _answer_locally(self, reservation: Reservation | None, why: str = _SILENT) -> Answer:
        if reservation is None or not reservation.scopes:
            return Answer(None, ())
        balances = self._known_balances(reservation.scopes)
        if (reservation.scopes[0].tenant, reservation.id) in self._local_granted:
            return Answer(None, balances)
        refusal = self._refusal(reservation, balances, why)
        if refusal is not None:
            return Answer(refusal, balances)
        self._local_granted[reservation.scopes[0].tenant, reservation.id] = reservation, self._clock_us() + reservation.lease_us
        self._last_known.reserve(reservation.scopes, reservation.need.amount)

        return Answer(None, self._known_balances(reservation.scopes))

    def _refusal(self, reservation: Reservation, balances: Sequence[Balance], why: str) -> Refusal | None:
        for position, scope in enumerate(reservation.scopes):
            if scope.away == "closed":
                scope_name = f"{scope.kind} {scope.name!r}" if scope.name else f"the {scope.kind}"
                message = f"draws on {scope_name}, which is closed while the vault {self.name} {why}; try again"
                return Refusal(position, scope.kind, contended=True, message=message, away=True)
        judged = [
            balance._replace(caps=Caps()) if scope.away == "open" else balance
            for scope, balance in zip(reservation.scopes, balances, strict=True)
        ]

        return refusal_of(reservation.need, reservation.scopes, judged)

    def _known_balances(self, scopes: Iterable[Scope]) -> tuple[Balance, ...]:
        now_us = self._clock_us()

        return tuple(self._last_known.balance(now_us, scope) for scope in scopes)

    def _settle_in_vault(self, settlement: Settlement | None, revision: int) -> None:
        reservation, _ = (
            self._vault_granted.pop((settlement.tenant, settlement.id), (None, 0)) if settlement is not None else (None, 0)
        )
        # Balances read since the call may include the settlement already; counting the reservation then only grants less.
        if reservation is not None and settlement is not None and revision == self._last_known.revision:
            self._last_known.settle_known(reservation.scopes, reservation.need.amount, settlement.spent)

    def _settle_locally(self, settlement: Settlement) -> None:
        reservation, _ = self._local_granted.pop((settlement.tenant, settlement.id))
        self._last_known.settle(reservation.scopes, reservation.need.amount, settlement.spent)
        self._queue_message(
            _Charge(reservation.id, reservation.scopes, settlement.spent, reservation.spend_path, settlement.assumed)
        )

    def _expire(self) -> None:
        now_us = self._clock_us()
        for (tenant, id_), (reservation, until) in list(self._local_granted.items()):
            if until <= now_us:
                self._settle_locally(Settlement(tenant, id_, reservation.need.amount, assumed=True))
        self._vault_granted = {key: kept for key, kept in self._vault_granted.items() if kept[1] > now_us}

    # ---- unsent messages -------------------------------------------------------------------------------------------------

    def _queue_message(self, message: Settlement | _Charge | None) -> None:
        if message is None:
            return
        if len(self._messages) >= self._max_messages:
            self._discard(self._messages.popleft())
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:
                self._log_loss(self.dropped, "more was spent while it was away than is remembered")
        self._messages.append(message)

    def _release(self, reservation: Reservation | None) -> None:
        if reservation is not None and reservation.scopes:
            self._queue_message(Settlement(reservation.scopes[0].tenant, reservation.id, Amount()))

    async def _send_messages(self) -> None:
        """
        Send queued messages in order; unsent ones stay in the queue.
        """
        if not self._messages:
            return
        outages = self._outages
        async with self._sending:
            if outages != self._outages:
                # The previous sender found the vault unavailable; the tasks behind it need not try.
                raise VaultUnavailable(f"the vault {self.name} does not answer; try again")
            while self._messages:
                message = self._messages[0]
                if isinstance(message, Settlement):
                    await self._vault.exchange(message, None)
                else:
                    id_, scopes, spent, spend_path, assumed = message
                    await self._vault.charge(id_, scopes, spent, spend_path, assumed=assumed)
                # The message may have been dropped in the meantime.
                if self._messages and self._messages[0] is message:
                    self._discard(self._messages.popleft())

    def _discard(self, message: Settlement | _Charge) -> None:
        if isinstance(message, _Charge):
            self._last_known.acknowledge(message.scopes, message.spent)

    def _log_loss(self, count: int, why: str) -> None:
        text = "settlements and charges are lost for the vault %s, %d in all: %s"
        _log.error(text, self.name, count, why, extra={"meshwalk.vault": self.name})


def answers(vault: Vault) -> bool:
    """
    Tell whether *vault* answered when it was last called, as far as that is known.
    """
    return not isinstance(vault, FallbackVault) or vault.answers
