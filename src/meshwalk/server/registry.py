"""
The meshes that a server serves, by the names of their graphs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from meshwalk.mesh import Mesh
from meshwalk.model.problems import RequestError, SetupError, Violation, did_you_mean
from meshwalk.wire import convert
from meshwalk.wire.errors import NotFound


class ServedMesh(NamedTuple):
    """
    Hold a mesh, and what replies of walks over its plan have in common.
    """

    mesh: Mesh
    prototypes: convert.Prototypes


class MeshRegistry:
    """
    Find meshes by name.

    Raises:
        SetupError: If there is none, two graphs have one name, or they spend for different tenants.
    """

    def __init__(self, meshes: Iterable[Mesh]) -> None:
        self._seats: dict[str, ServedMesh] = {}
        for mesh in meshes:
            name = mesh.plan.name
            if name in self._seats:
                raise SetupError(f"two graphs are called '{name}', and requests name graphs; rename one or serve it elsewhere")
            self._seats[name] = ServedMesh(mesh, convert.Prototypes(mesh.plan))
        if not self._seats:
            raise SetupError("there is no graph to serve; name at least one")
        tenants = sorted({mesh.tenant for mesh in self})
        if len(tenants) > 1:
            raise SetupError(f"the graphs of one server spend for one tenant, and these do for {', '.join(tenants)}")
        self.tenant = tenants[0]

    def pick(self, name: str) -> ServedMesh:
        """
        Return the mesh called *name*, or the only one if no name is given.

        Raises:
            NotFound: If there is none of this name.
            RequestError: If there are several and no name is given.
        """
        seat = self._seats.get(name)
        if seat is not None:
            return seat
        if name:
            raise NotFound([Violation("graph", self._unknown(name))])
        if len(self._seats) > 1:
            raise RequestError([Violation("graph", f"must be said, because this server serves several: {self._names()}")])

        return next(iter(self._seats.values()))

    def _unknown(self, name: str) -> str:
        hint = did_you_mean(name, self._seats)

        return f"{name[:80]!r} is not served here; {hint + ' ' if hint else ''}this server serves: {self._names()}"

    def _names(self) -> str:
        return ", ".join(self._seats)

    def __iter__(self) -> Iterator[Mesh]:
        return (seat.mesh for seat in self._seats.values())
