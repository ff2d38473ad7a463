"""
A vault in a Redis server, shared by servers on many machines.

Each call is one FCALL of the library in `ledger.lua`, which Redis runs atomically.  One call settles a reservation and makes
the next, so N hops need N + 1 round trips.  The clock is the server's, because the clocks of its clients may disagree.  The
library decides by the same rule as `budgets`, and this module words the refusal; if the two disagree, nothing is granted.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from meshwalk.budgets import AccountReport, Answer, Balance, Refusal, Reservation, Scope, Settlement, SpendPath, refusal_of
from meshwalk.budgets.vaults.base import Claim
from meshwalk.budgets.vaults.fifo import FifoWaiters
from meshwalk.budgets.vaults.memory import sort_reports
from meshwalk.budgets.vaults.redis.codec import (
    encode_name,
    exchange_words,
    mark_key,
    name_words,
    parts_words,
    read_balances,
    read_report,
    scopes_words,
    settlement_words,
    spend_path_words,
)
from meshwalk.budgets.vaults.redis.epochs import EpochTracker
from meshwalk.budgets.vaults.redis.risks import SETTINGS, risks_of
from meshwalk.budgets.vaults.redis.server import TIMEOUT_S, Server
from meshwalk.model import Amount, Caps, ScopeKind
from meshwalk.model.problems import VaultUnavailable
from meshwalk.model.resource import AsyncResource


_log = logging.getLogger(__name__)

_FORGOT = (
    "the vault %s forgot what it had acknowledged: budgets of tenant %r count from what is left there, and caps that were set "
    "and idempotency keys may be gone; see its settings appendonly, appendfsync and maxmemory-policy"
)


class RedisVault(AsyncResource):
    """
    Budgets in Redis 7.0, Valkey 7.2, or newer.

    Attributes:
        losses: The number of data losses detected on the server.
    """

    waits = True
    poll_seconds = (0.02, 0.25)

    def __init__(self, server: Server, risks: tuple[str, ...], clock_us: Callable[[], int] | None) -> None:
        self.waiters = FifoWaiters()
        self.name = server.name
        self.risks = risks
        self.losses = 0
        self._server = server
        self._clock_us = clock_us
        self._epochs = EpochTracker()

    def __repr__(self) -> str:
        return f"<RedisVault {self.name}>"

    @classmethod
    async def open(cls, url: str, *, clock_us: Callable[[], int] | None = None, timeout_s: float = TIMEOUT_S) -> RedisVault:
        """
        Connect to the server at *url*, load the library, and read the settings that decide on durability.

        Args:
            clock_us: Microseconds since the Unix epoch; None stands for the server's clock.

        Raises:
            SetupError: If the URL is not one of Redis.
            VaultUnavailable: If the server does not answer, or lacks functions.
        """
        server = Server(url, timeout_s=timeout_s)
        try:
            await server.load()
            risks = risks_of(server.name, await server.config(*SETTINGS), await server.info("replication"))
        except BaseException:
            await server.aclose()
            raise

        return cls(server, risks, clock_us)

    async def balances(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        """
        Return the balances of *scopes*.
        """
        if not scopes:
            return ()
        now_us, answer = await self._call("balances", scopes[0].tenant, *scopes_words(scopes))

        return read_balances(now_us, scopes, answer)

    async def exchange(self, settlement: Settlement | None, reservation: Reservation | None) -> Answer:
        """
        Settle one reservation and make another, in one round trip unless they belong to two tenants.
        """
        if reservation is not None and not reservation.scopes:
            reservation = None
        if reservation is None:
            if settlement is not None:
                await self._call("settle", settlement.tenant, *settlement_words(settlement))
            return Answer(None, ())
        tenant = reservation.scopes[0].tenant
        if settlement is not None and settlement.tenant != tenant:
            await self.exchange(settlement, None)
            settlement = None
        try:
            now_us, (verdict, *words) = await self._call("exchange", tenant, *exchange_words(settlement, reservation))
        except VaultUnavailable as error:
            # There is no room for a reservation, and always for what was spent.
            if error.is_full and settlement is not None:
                await self._call("settle", tenant, *settlement_words(settlement))
            raise
        balances = read_balances(now_us, reservation.scopes, words)

        return Answer(self._refusal(reservation, balances, verdict) if verdict else None, balances)

    async def charge(
        self, id_: str, scopes: Sequence[Scope], spent: Amount, spend_path: SpendPath, *, assumed: bool = False
    ) -> None:
        """
        Add spending that has no reservation, once for each *id_*.
        """
        if not scopes:
            return
        words = [id_, parts_words(spent), "1" if assumed else "0", spend_path_words(spend_path), *scopes_words(scopes)]
        await self._call("charge", scopes[0].tenant, *words)

    async def reports(self, tenant: str, kind: ScopeKind | None = None, name: str | None = None) -> list[AccountReport]:
        """
        Report the accounts of *tenant*, read in pages of a hundred; each page is consistent by itself.
        """
        pattern = f"{kind or '*'}:{'*' if name is None else encode_name(name)}:*"
        found: dict[bytes, AccountReport] = {}
        cursor = b"0"
        while True:
            _, (cursor, *accounts) = await self._call("reports", tenant, cursor, pattern)
            # ZSCAN may return an element twice.
            found |= {words[0]: read_report(tenant, words, lines) for *words, lines in accounts}
            if cursor == b"0":
                return sort_reports(found.values(), kind, name)

    async def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Override the caps of graphs.
        """
        await self._call("set_caps", tenant, name_words(kind, name), "" if caps == Caps() else parts_words(caps))

    async def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        """
        Claim an idempotency key, or return the claim that exists.
        """
        try:
            _, (holder, known, result) = await self._call("claim", tenant, key, owner, fingerprint, str(lease_us))
        except VaultUnavailable as error:
            # There is no room for a new claim, and one that exists can be read.
            found = await self._server.fcall("read_claim", mark_key(tenant), self._now(), key) if error.is_full else None
            if not found:
                raise
            holder, known, result = found

        return Claim(holder.decode("utf-8", "surrogatepass"), known.decode("utf-8", "surrogatepass"), result)

    async def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        """
        Store a result for retries, or release the key.
        """
        if result is None:
            await self._call("release", tenant, key, owner)
        else:
            await self._call("finish", tenant, key, owner, str(keep_us), result)

    async def flush(self) -> None:
        """
        Do nothing: no message waits to be sent.
        """

    async def aclose(self) -> None:
        """
        Close the connections.
        """
        await self._server.aclose()

    async def _call(self, function: str, tenant: str, *words: str | bytes) -> tuple[int, list[Any]]:
        """
        Call the library, and return its time and the rest of its answer.
        """
        before = self._epochs.current(tenant)
        epoch, seq, answered, *rest = await self._server.fcall(
            function, mark_key(tenant), self._now(), secrets.token_hex(8), *words
        )
        if self._epochs.shows_loss(tenant, before, epoch, int(seq)):
            self.losses += 1
            _log.error(_FORGOT, self.name, tenant, extra={"meshwalk.vault": self.name, "meshwalk.tenant": tenant})

        return int(answered), rest

    def _now(self) -> str:
        """
        Return the time as the library takes it; empty stands for the server's.
        """
        return "" if self._clock_us is None else str(self._clock_us())

    def _refusal(self, reservation: Reservation, balances: tuple[Balance, ...], verdict: bytes) -> Refusal:
        refusal = refusal_of(reservation.need, reservation.scopes, balances)
        position, _, word = verdict.decode().split()
        if refusal is None or (refusal.position, refusal.contended) != (int(position), word == "contended"):
            raise VaultUnavailable(
                f"{self.name} judged a reservation as '{verdict.decode()}', which does not follow from how its accounts stand; "
                "does anything else write to keys 'meshwalk:*' there?"
            )

        return refusal
