"""
Spend from a budget in a file until it denies a call, and say on standard output what was spent: one process of several.

    python spender.py FILE TAG TASKS CAP LEASE_US KEPT

First KEPT calls are begun that never end, and "ready" is said.  When a line is read, each of TASKS tasks calls again and again;
after a few calls "spending" is said, and at the end how much was spent.
"""

from __future__ import annotations

import json
import sys

import anyio
from anyio import to_thread

from meshwalk.budgets import Need, Reservation, Scope, Settlement, SpendPath
from meshwalk.budgets.vaults.sqlite import SqliteVault
from meshwalk.model import Amount, Caps


# A call's worst case; it really costs 1, 2 or 3.
WORST = 3
A_FEW = 40


def account(cap: int) -> Scope:
    """
    Name the account from which all spend.
    """
    return Scope("ada", "session", "s", None, Caps(cost_nano_usd=cap))


class Spender:
    def __init__(self, vault: SqliteVault, tag: str, scope: Scope, lease_us: int) -> None:
        self.vault = vault
        self.tag = tag
        self.scope = scope
        self.lease_us = lease_us
        self.spent = 0
        self.calls = 0

    def call(self) -> Reservation:
        self.calls += 1
        if self.calls == A_FEW:
            print("spending", flush=True)

        return Reservation(
            f"{self.tag}.{self.calls}", (self.scope,), Need(WORST, calls=1), self.lease_us, SpendPath("g", self.tag)
        )

    async def begin(self) -> None:
        """
        Reserve for a call that nobody will settle.
        """
        answer = await self.vault.exchange(None, self.call())

        assert answer.refusal is None

    async def spend(self) -> None:
        """
        Call until a call is denied, and wait while it is contended.
        """
        settlement, reservation = None, self.call()
        pause, longest = self.vault.poll_seconds
        while True:
            answer = await self.vault.exchange(settlement, reservation)
            if settlement is not None:
                self.spent += settlement.spent.cost_nano_usd
                self.vault.waiters.wake_next("s")
            if answer.refusal is None:
                settlement = Settlement("ada", reservation.id, Amount(1 + self.calls % WORST, calls=1))
                reservation = self.call()
                pause = self.vault.poll_seconds[0]
                continue
            settlement = None
            if not answer.refusal.contended:
                return
            await self.vault.waiters.wait("s", pause)
            pause = min(longest, 2 * pause)


async def main(path: str, tag: str, tasks: int, cap: int, lease_us: int, kept: int) -> None:
    vault = await SqliteVault.open(path)
    spender = Spender(vault, tag, account(cap), lease_us)
    for _ in range(kept):
        await spender.begin()
    print("ready", flush=True)
    await to_thread.run_sync(sys.stdin.readline)
    async with anyio.create_task_group() as group:
        for _ in range(tasks):
            group.start_soon(spender.spend)
    await vault.aclose()
    print(json.dumps({"spent": spender.spent}), flush=True)


if __name__ == "__main__":
    file, tag, *numbers = sys.argv[1:]
    tasks, cap, lease_us, kept = map(int, numbers)
    anyio.run(main, file, tag, tasks, cap, lease_us, kept)
