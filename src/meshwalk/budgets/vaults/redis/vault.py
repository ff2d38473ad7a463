"""
A vault in a Redis server, for replicas on many machines.

Each call is one FCALL of the library in `books.lua`, which Redis runs whole or not at all, with nothing between; settling one
hold and taking the next is one call, so N hops need N + 1 round trips.  Time is the server's, because replicas' clocks may
disagree.  What is refused is decided there, by the same rule as in `budgets`, and put in words here; should the two ever
disagree, nothing is granted.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from meshwalk.budgets import AccountReport, Answer, Balance, Refusal, Reservation, Scope, Settlement, SpendPath, refusal_of
from meshwalk.budgets.vaults.base import Claim
from meshwalk.budgets.vaults.fifo import FifoWaiters
from meshwalk.budgets.vaults.memory import in_order
from meshwalk.budgets.vaults.redis.epochs import EpochTracker
from meshwalk.budgets.vaults.redis.risks import SETTINGS, risks_of
from meshwalk.budgets.vaults.redis.server import TIMEOUT_S, Server
from meshwalk.budgets.vaults.redis.wording import (
    encoded,
    hold_words,
    mark_of,
    name_words,
    parts_words,
    place_words,
    read_standings,
    read_statement,
    scopes_words,
    settlement_words,
)
from meshwalk.model import Amount, Caps, ScopeKind
from meshwalk.model.problems import VaultUnavailable


_log = logging.getLogger(__name__)

_FORGOT = (
    "the vault %s forgot what it had acknowledged: budgets of tenant %r count from what is left there, and caps that were set "
    "and idempotency keys may be gone; see its settings appendonly, appendfsync and maxmemory-policy"
)


class RedisVault:
    """
    Keep budgets in Redis 7.0, Valkey 7.2, or newer.

    Attributes:
        losses: How often the server was found to have forgotten what it knew.
    """

    waits = True
    look_again_s = (0.02, 0.25)

    def __init__(self, server: Server, risks: tuple[str, ...], clock_us: Callable[[], int] | None) -> None:
        self.room = FifoWaiters()
        self.name = server.name
        self.risks = risks
        self.losses = 0
        self._server = server
        self._clock_us = clock_us
        self._memories = EpochTracker()

    def __repr__(self) -> str:
        return f"<RedisVault {self.name}>"

    @classmethod
    async def open(cls, url: str, *, clock_us: Callable[[], int] | None = None, timeout_s: float = TIMEOUT_S) -> RedisVault:
        """
        Connect to the server at *url*, load the library, and ask the server what it may forget.

        Args:
            clock_us: Microseconds since the Unix epoch; None is the server's own clock.

        Raises:
            SetupError: If the URL is not one of Redis.
            VaultUnavailable: If the server does not answer, or cannot keep books.
        """
        server = Server(url, timeout_s=timeout_s)
        try:
            await server.load()
            risks = risks_of(server.name, await server.config(*SETTINGS), await server.info("replication"))
        except BaseException:
            await server.aclose()
            raise

        return cls(server, risks, clock_us)

    async def look(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        """
        Show how *scopes* stand.
        """
        if not scopes:
            return ()
        now, answer = await self._call("look", scopes[0].tenant, *scopes_words(scopes))

        return read_standings(now, scopes, answer)

    async def exchange(self, settlement: Settlement | None, hold: Reservation | None) -> Answer:
        """
        Settle one hold and take another; only if they are of two tenants does it take two round trips.
        """
        if hold is not None and not hold.scopes:
            hold = None
        if hold is None:
            if settlement is not None:
                await self._call("exchange", settlement.tenant, *settlement_words(settlement), *hold_words(None))
            return Answer(None, ())
        tenant = hold.scopes[0].tenant
        if settlement is not None and settlement.tenant != tenant:
            await self.exchange(settlement, None)
            settlement = None
        now, (verdict, *words) = await self._call("exchange", tenant, *settlement_words(settlement), *hold_words(hold))
        standings = read_standings(now, hold.scopes, words)

        return Answer(self._refusal(hold, standings, verdict) if verdict else None, standings)

    async def charge(
        self, id_: str, scopes: Sequence[Scope], spent: Amount, place: SpendPath, *, assumed: bool = False
    ) -> None:
        """
        Count what was spent without a hold, once for each *id_*.
        """
        if not scopes:
            return
        words = [id_, parts_words(spent), "1" if assumed else "0", place_words(place), *scopes_words(scopes)]
        await self._call("charge", scopes[0].tenant, *words)

    async def statements(self, tenant: str, kind: ScopeKind | None = None, name: str | None = None) -> list[AccountReport]:
        """
        Show the accounts of *tenant*; of more than a hundred, each hundred as it stands when it is read.
        """
        pattern = f"{kind or '*'}:{'*' if name is None else encoded(name)}:*"
        found: dict[bytes, AccountReport] = {}
        cursor = b"0"
        while True:
            _, (cursor, *accounts) = await self._call("statements", tenant, cursor, pattern)
            # What moves while it is read may come twice.
            found |= {words[0]: read_statement(tenant, words, lines) for *words, lines in accounts}
            if cursor == b"0":
                return in_order(found.values(), kind, name)

    async def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Put *caps* in place of what graphs say.
        """
        await self._call("set_caps", tenant, name_words(kind, name), "" if caps == Caps() else parts_words(caps))

    async def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        """
        Claim an idempotency key, unless somebody has it.
        """
        _, (holder, known, result) = await self._call("claim", tenant, key, owner, fingerprint, str(lease_us))

        return Claim(holder.decode("utf-8", "surrogatepass"), known.decode("utf-8", "surrogatepass"), result)

    async def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        """
        Leave a result for retries, or give the key free.
        """
        given = ("0", b"") if result is None else ("1", result)
        await self._call("finish", tenant, key, owner, str(keep_us), *given)

    async def flush(self) -> None:
        """
        Do nothing: everything was told when it was said.
        """

    async def aclose(self) -> None:
        """
        Close the connections.
        """
        await self._server.aclose()

    async def _call(self, function: str, tenant: str, *words: str | bytes) -> tuple[int, list[Any]]:
        """
        Call the library, and return its time and what else it answers.
        """
        before = self._memories.of(tenant)
        now = "" if self._clock_us is None else str(self._clock_us())
        epoch, seq, answered, *rest = await self._server.fcall(function, mark_of(tenant), now, secrets.token_hex(8), *words)
        if self._memories.lost(tenant, before, epoch, int(seq)):
            self.losses += 1
            _log.error(_FORGOT, self.name, tenant, extra={"meshwalk.vault": self.name, "meshwalk.tenant": tenant})

        return int(answered), rest

    def _refusal(self, hold: Reservation, standings: tuple[Balance, ...], verdict: bytes) -> Refusal:
        refusal = refusal_of(hold.need, hold.scopes, standings)
        position, _, word = verdict.decode().split()
        if refusal is None or (refusal.position, refusal.contended) != (int(position), word == "contended"):
            raise VaultUnavailable(
                f"{self.name} judged a hold as '{verdict.decode()}', which does not follow from how its accounts stand; "
                "does anything else write to keys 'meshwalk:*' there?"
            )

        return refusal
