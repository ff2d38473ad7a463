"""
What holds while a vault is away: each scope's own policy, and a memory of what the vault has to be told when it is back.

`closed` grants nothing, so that nothing can be overspent.  `open` grants everything.  `local` lets this server go on by what it
last saw of the account: each server can then overspend by what was left when it last looked, and by the cap where it never has.
If any scope of a hold is closed, the hold is refused.

Laws of this room:

1. What was spent while the vault was away is charged to it when it is back, once, before anything more is held in it.
2. A hold that may have been taken, though its answer never came, is given back unless it is granted here.
3. After the vault did not answer it is left alone for a while, and then one caller asks it: the others do not wait with it.
4. The memory is bounded: what falls out of it is counted and reported.
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


PAUSE_US = 500_000
MAX_MESSAGES = 50_000

T = TypeVar("T")

_log = logging.getLogger(__name__)


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


class _Charge(NamedTuple):
    id: str
    scopes: tuple[Scope, ...]
    spent: Amount
    place: SpendPath
    assumed: bool


class FallbackVault:
    """
    Stand by for *vault*, which may be away.

    Args:
        clock_us: Microseconds since the Unix epoch.
        pause_us: How long the vault is left alone after it did not answer.
        most_messages: How much is remembered for it.

    Attributes:
        dropped: How many settlements and charges fell out of the memory before the vault was back.
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
        self.look_again_s = vault.look_again_s
        self.room = vault.room
        self.name = vault.name
        self.risks = vault.risks
        self.dropped = 0
        self._vault = vault
        self._clock_us = clock_us
        self._pause_us = pause_us
        self._max_messages = max_messages
        # When it may be asked again; None while it answers.
        self._ask_at: int | None = None
        self._losses = 0
        self._messages: deque[Settlement | _Charge] = deque()
        self._telling = anyio.Lock()
        # What was granted here and is not settled yet, with the time its lease ends.
        self._granted: dict[tuple[str, str], tuple[Reservation, int]] = {}
        # What the vault granted and is not settled yet: when it is, what was seen of its accounts is seen without it.
        self._taken: dict[tuple[str, str], tuple[Reservation, int]] = {}
        self._seen = LastKnownBalances()

    async def look(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        """
        Show how *scopes* stand, or how they stood when last seen.
        """
        if self._may_ask():
            try:
                await self._tell()
                standings = await self._vault.look(scopes)
            except VaultUnavailable as error:
                self._lost(error)
            else:
                self._found(scopes, standings)
                return standings

        return self._standings(scopes)

    async def exchange(self, settlement: Settlement | None, hold: Reservation | None) -> Answer:
        """
        Settle one hold and take another; while the vault is away, as the policies of its scopes say.
        """
        if settlement is not None and (settlement.tenant, settlement.id) in self._granted:
            self._settle_here(settlement)
            settlement = None
        if self._may_ask():
            notes = self._seen.notes
            try:
                await self._tell()
                answer = await self._vault.exchange(settlement, hold)
            except VaultUnavailable as error:
                self._lost(error)
                self._settled_there(settlement, notes)
                self._remember(settlement)
                answer = self._answer_here(hold)
                if answer.refusal is not None:
                    self._give_back(hold)
                return answer
            except anyio.get_cancelled_exc_class():
                # Nobody will hear whether it was done.
                self._remember(settlement)
                self._give_back(hold)
                raise
            else:
                self._settled_there(settlement, notes)
                self._found(() if hold is None else hold.scopes, answer.standings)
                if hold is not None and hold.scopes and answer.refusal is None:
                    self._taken[hold.scopes[0].tenant, hold.id] = hold, self._clock_us() + hold.lease_us
                return answer
        self._settled_there(settlement, self._seen.notes)
        self._remember(settlement)

        return self._answer_here(hold)

    async def charge(
        self, id_: str, scopes: Sequence[Scope], spent: Amount, place: SpendPath, *, assumed: bool = False
    ) -> None:
        """
        Count what was spent, now or when the vault is back.
        """
        if scopes and (scopes[0].tenant, id_) in self._granted:
            self._settle_here(Settlement(scopes[0].tenant, id_, spent, assumed))
        else:
            self._seen.settle(scopes, Amount(), spent)
            self._remember(_Charge(id_, tuple(scopes), spent, place, assumed))
        await self.flush()

    async def statements(self, tenant: str, kind: ScopeKind | None = None, name: str | None = None) -> list[AccountReport]:
        """
        Show the accounts of *tenant* in the vault.
        """
        await self.flush()

        return await self._ask(lambda: self._vault.statements(tenant, kind, name))

    async def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Put *caps* in place of what graphs say, in the vault.
        """
        await self._ask(lambda: self._vault.set_caps(tenant, kind, name, caps))

    async def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        """
        Claim an idempotency key; nobody can while the vault is away.
        """
        return await self._ask(lambda: self._vault.claim(tenant, key, owner, fingerprint, lease_us))

    async def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        """
        Leave a result for retries, or give the key free.
        """
        await self._ask(lambda: self._vault.finish(tenant, key, owner, result, keep_us))

    async def flush(self) -> None:
        """
        Tell the vault what it has missed, if it answers; whoever owns this calls it now and then, for when nobody asks.
        """
        self._expire()
        if not self._messages or not self._may_ask():
            return
        try:
            await self._tell()
        except VaultUnavailable as error:
            self._lost(error)
        else:
            self._found((), ())

    async def aclose(self) -> None:
        """
        Tell the vault what it has missed, report what it cannot be told any more, and close it.
        """
        self._ask_at = None
        try:
            await self.flush()
        finally:
            # What was only to be given back runs out with its lease.
            if lost := sum(any(message.spent) for message in self._messages):
                self._report(lost, "this server ended before it was back")
            self._messages.clear()
            await self._vault.aclose()

    # ---- whether it answers ------------------------------------------------------------------------------------------

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        if not self._may_ask():
            raise VaultUnavailable(f"the vault {self.name} does not answer; try again")
        try:
            answer = await question()
        except VaultUnavailable as error:
            self._lost(error)
            raise
        self._found((), ())

        return answer

    def _may_ask(self) -> bool:
        if self._ask_at is None:
            return True
        now = self._clock_us()
        # A clock that was set back does not make the pause longer.
        if self._ask_at - self._pause_us <= now < self._ask_at:
            return False
        # Whoever comes while this one asks does not wait with it.
        self._ask_at = now + self._pause_us

        return True

    def _lost(self, error: VaultUnavailable) -> None:
        if self._ask_at is None:
            _log.warning("the vault %s does not answer: %s", self.name, error, extra={"meshwalk.vault": self.name})
        self._ask_at = self._clock_us() + self._pause_us
        self._losses += 1

    def _found(self, scopes: Sequence[Scope], standings: Sequence[Balance]) -> None:
        if self._ask_at is not None:
            self._ask_at = None
            _log.warning("the vault %s answers again", self.name, extra={"meshwalk.vault": self.name})
        self._seen.note(self._clock_us(), scopes, standings)

    # ---- what holds while it does not --------------------------------------------------------------------------------

    def _answer_here(self, hold: Reservation | None) -> Answer:
        if hold is None or not hold.scopes:
            return Answer(None, ())
        standings = self._standings(hold.scopes)
        if (hold.scopes[0].tenant, hold.id) in self._granted:
            return Answer(None, standings)
        refusal = self._refusal(hold, standings)
        if refusal is not None:
            return Answer(refusal, standings)
        self._granted[hold.scopes[0].tenant, hold.id] = hold, self._clock_us() + hold.lease_us
        self._seen.hold(hold.scopes, hold.need.amount)

        return Answer(None, self._standings(hold.scopes))

    def _refusal(self, hold: Reservation, standings: Sequence[Balance]) -> Refusal | None:
        for position, scope in enumerate(hold.scopes):
            if scope.away == "closed":
                named = f"{scope.kind} {scope.name!r}" if scope.name else f"the {scope.kind}"
                message = f"draws on {named}, which is closed while the vault {self.name} does not answer; try again"
                return Refusal(position, scope.kind, contended=True, message=message)
        judged = [
            standing._replace(caps=Caps()) if scope.away == "open" else standing
            for scope, standing in zip(hold.scopes, standings, strict=True)
        ]

        return refusal_of(hold.need, hold.scopes, judged)

    def _standings(self, scopes: Iterable[Scope]) -> tuple[Balance, ...]:
        now = self._clock_us()

        return tuple(self._seen.standing(now, scope) for scope in scopes)

    def _settled_there(self, settlement: Settlement | None, notes: int) -> None:
        hold, _ = self._taken.pop((settlement.tenant, settlement.id), (None, 0)) if settlement is not None else (None, 0)
        # What was seen since it was asked may show it settled already; seeing it held then only grants less.
        if hold is not None and settlement is not None and notes == self._seen.notes:
            self._seen.settled(hold.scopes, hold.need.amount, settlement.spent)

    def _settle_here(self, settlement: Settlement) -> None:
        hold, _ = self._granted.pop((settlement.tenant, settlement.id))
        self._seen.settle(hold.scopes, hold.need.amount, settlement.spent)
        self._remember(_Charge(hold.id, hold.scopes, settlement.spent, hold.place, settlement.assumed))

    def _expire(self) -> None:
        now = self._clock_us()
        for (tenant, id_), (hold, until) in list(self._granted.items()):
            if until <= now:
                self._settle_here(Settlement(tenant, id_, hold.need.amount, assumed=True))
        self._taken = {key: kept for key, kept in self._taken.items() if kept[1] > now}

    # ---- what it has to be told --------------------------------------------------------------------------------------

    def _remember(self, message: Settlement | _Charge | None) -> None:
        if message is None:
            return
        if len(self._messages) >= self._max_messages:
            self._forget(self._messages.popleft())
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:
                self._report(self.dropped, "more was spent while it was away than is remembered")
        self._messages.append(message)

    def _give_back(self, hold: Reservation | None) -> None:
        if hold is not None and hold.scopes:
            self._remember(Settlement(hold.scopes[0].tenant, hold.id, Amount()))

    async def _tell(self) -> None:
        """
        Tell the vault what it has missed, in order; what it was not told stays.
        """
        if not self._messages:
            return
        losses = self._losses
        async with self._telling:
            if losses != self._losses:
                # Who told it before found it away; not everybody in line has to.
                raise VaultUnavailable(f"the vault {self.name} does not answer; try again")
            while self._messages:
                message = self._messages[0]
                if isinstance(message, Settlement):
                    await self._vault.exchange(message, None)
                else:
                    id_, scopes, spent, place, assumed = message
                    await self._vault.charge(id_, scopes, spent, place, assumed=assumed)
                # One that was dropped meanwhile is gone already.
                if self._messages and self._messages[0] is message:
                    self._forget(self._messages.popleft())

    def _forget(self, message: Settlement | _Charge) -> None:
        if isinstance(message, _Charge):
            self._seen.told(message.scopes, message.spent)

    def _report(self, count: int, why: str) -> None:
        text = "settlements and charges are lost for the vault %s, %d in all: %s"
        _log.error(text, self.name, count, why, extra={"meshwalk.vault": self.name})
