"""
The readiness of a server: whether walks can be answered now, and whether their records are stored.

A server that lives may be of no use: its budgets' vault is away, or every endpoint of a model is left alone.  Health tells that
apart from the server's life (the empty name), so that load balancers turn away and nobody restarts a server for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from meshwalk.mesh import Mesh
from meshwalk.server.health import Health


_log = logging.getLogger(__name__)

# The name by which health is asked whether any graph can be walked; `readiness/GRAPH` is about one.
READINESS = "readiness"
# The name by which health is asked whether records are stored.
RECORDS = "records"

CHECK_SECONDS = 1.0


def health_names(meshes: Iterable[Mesh]) -> tuple[str, ...]:
    """
    Return the names by which health is asked about *meshes* and their records.
    """
    return READINESS, RECORDS, *(_name(mesh) for mesh in meshes)


class Readiness:
    """
    The checks of one server, whose results *health* reports.

    Args:
        losing: Tells whether records are being lost.
    """

    def __init__(self, health: Health, meshes: Iterable[Mesh], losing: Callable[[], bool]) -> None:
        self._health = health
        self._meshes = tuple(meshes)
        self._losing = losing
        self._reasons: dict[str, str] = {}

    async def run(self) -> None:
        """
        Check again and again.
        """
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.check()

    async def check(self) -> None:
        """
        Report the state of this moment.
        """
        reasons = {_name(mesh): mesh.status.unready for mesh in self._meshes}
        for name, reason in reasons.items():
            await self._report(name, reason)
        # A server with one graph that can be walked is of use.
        await self._report(READINESS, "" if not all(reasons.values()) else "; ".join(dict.fromkeys(reasons.values())))
        await self._report(RECORDS, "records are being lost" if self._losing() else "")

    async def _report(self, name: str, reason: str) -> None:
        before = self._reasons.get(name, "")
        if bool(reason) == bool(before):
            return
        self._reasons[name] = reason
        await self._health.report(name, serving=not reason)
        if reason:
            _log.warning("health of %r is NOT_SERVING: %s", name, reason, extra={"meshwalk.event": "unready"})
        else:
            _log.warning("health of %r is SERVING again", name, extra={"meshwalk.event": "ready"})


def _name(mesh: Mesh) -> str:
    return f"{READINESS}/{mesh.plan.name}"
