"""
The metrics of a server, read from the parts that count.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshwalk.mesh import Mesh
from meshwalk.model.problems import SetupError
from meshwalk.records import metrics
from meshwalk.records.metrics import Reading
from meshwalk.server.certificates import Certificates
from meshwalk.server.guard import Guard
from meshwalk.server.in_flight import WalksInFlight
from meshwalk.server.registry import MeshRegistry


class ServerFigures:
    """
    The readings of one server.
    """

    def __init__(self, served: MeshRegistry, in_flight: WalksInFlight, guard: Guard, certificates: Certificates | None) -> None:
        self._served = served
        self._in_flight = in_flight
        self._guard = guard
        self._certificates = certificates

    def readings(self) -> Iterator[Reading]:
        """
        Return the readings of this moment.
        """
        counts, refused = self._in_flight.counts, self._guard.counts
        yield Reading(metrics.IN_FLIGHT, counts.in_flight)
        yield Reading(metrics.ADMITTED, counts.admitted)
        reasons = {
            "too_many_walks": counts.refused_by_server,
            "too_many_walks_of_tenant": counts.refused_by_tenant,
            "unauthenticated": refused.unauthenticated,
            "permission_denied": refused.permission_denied,
        }
        for reason, count in reasons.items():
            yield Reading(metrics.REFUSALS, count, {"reason": reason})
        if self._certificates is not None:
            yield Reading(metrics.CERTIFICATE_EXPIRY, self._certificates.expires_unix)
            for outcome, count in self._certificates.counts._asdict().items():
                yield Reading(metrics.CERTIFICATE_ROTATIONS, count, {"outcome": outcome})
        for mesh in self._served:
            yield from _of_mesh(mesh)


def _of_mesh(mesh: Mesh) -> Iterator[Reading]:
    graph = {"graph": mesh.plan.name}
    try:
        status = mesh.status
    except SetupError:
        # A mesh that is closed has no state any more.
        yield Reading(metrics.READY, 0, graph)
        return
    yield Reading(metrics.READY, int(not status.unready), graph)
    yield Reading(metrics.VAULT_AWAY, int(not status.vault_answers), graph)
    for name, backend in status.backends.items():
        labels = {**graph, "backend": name}
        yield Reading(metrics.ENDPOINTS, backend.well, labels | {"state": "well"})
        yield Reading(metrics.ENDPOINTS, backend.endpoints - backend.well, labels | {"state": "left_alone"})
        yield Reading(metrics.CALLS_IN_FLIGHT, backend.in_flight, labels)
        yield Reading(metrics.CALLS_WAITING, backend.waiting, labels)
