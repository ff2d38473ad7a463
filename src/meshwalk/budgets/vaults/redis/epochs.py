"""
Whether a server still knows what it knew.

Every answer names the epoch of a tenant's books, drawn at random when they were begun, and counts the calls on them.  A server
that answers with another epoch, or with a count lower than one already seen when the call was sent, has forgotten something.
"""

from __future__ import annotations

from typing import NamedTuple


class Epoch(NamedTuple):
    """
    Say how far a server had come; each loss begins a new *generation*.
    """

    epoch: bytes
    seq: int
    generation: int = 0


class EpochTracker:
    """
    Remember how far the server has come, for each tenant.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Epoch] = {}

    def of(self, tenant: str) -> Epoch | None:
        """
        Return what is known now; keep it while a call is under way, and give it to `lost`.
        """
        return self._seen.get(tenant)

    def lost(self, tenant: str, before: Epoch | None, epoch: bytes, seq: int) -> bool:
        """
        Take in an answer, and tell whether it shows a loss that no other answer has shown.
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
