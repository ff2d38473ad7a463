"""
Detection of data loss in a server, by epochs.

Every answer carries the epoch of a tenant's ledger, a random value drawn when the ledger was created, and the number of calls
on it.  A server that answers with another epoch, or with a lower count than was known when the call was sent, has lost data.
"""

from __future__ import annotations

from typing import NamedTuple


class Epoch(NamedTuple):
    """
    The state of a tenant's ledger on the server; each loss begins a new *generation*.
    """

    epoch: bytes
    seq: int
    generation: int = 0


class EpochTracker:
    """
    The newest epoch and count of each tenant.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Epoch] = {}

    def current(self, tenant: str) -> Epoch | None:
        """
        Return the newest state; the caller keeps it during a call and passes it to `shows_loss`.
        """
        return self._seen.get(tenant)

    def shows_loss(self, tenant: str, before: Epoch | None, epoch: bytes, seq: int) -> bool:
        """
        Record an answer, and return whether it shows a loss that no other answer has shown.
        """
        seen = self._seen.get(tenant)
        if before is None or seen is None:
            if seen is None:
                self._seen[tenant] = Epoch(epoch, seq)
            return False
        if epoch == before.epoch and seq > before.seq:
            if epoch == seen.epoch and seq > seen.seq:
                self._seen[tenant] = seen._replace(seq=seq)
            return False
        if seen.generation != before.generation:
            return False
        self._seen[tenant] = Epoch(epoch, seq, seen.generation + 1)

        return True
