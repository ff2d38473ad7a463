"""
The meshes that a server serves, by the names of their graphs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from meshwalk.mesh import Mesh
from meshwalk.model.problems import RequestError, SetupError, Violation
from meshwalk.model.spelling import did_you_mean
from meshwalk.wire import convert
from meshwalk.wire.errors import NotFound


class ServedMesh(NamedTuple):
    """
    A mesh, and the prototypes of replies about walks over its plan.
    """

    mesh: Mesh
    prototypes: convert.Prototypes


class MeshRegistry:
    """
    The meshes of a server, by name.

    Raises:
        SetupError: If there is none, two graphs have one name, or they spend for different tenants.
    """

    def __init__(self, meshes: Iterable[Mesh]) -> None:
        self._by_name: dict[str, ServedMesh] = {}
        for mesh in meshes:
            name = mesh.plan.name
            if name in self._by_name:
                raise SetupError(f"two graphs are called '{name}', and requests name graphs; rename one or serve it elsewhere")
            self._by_name[name] = ServedMesh(mesh, convert.Prototypes(mesh.plan))
        if not self._by_name:
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
        served = self._by_name.get(name)
        if served is not None:
            return served
        if name:
            raise NotFound([Violation("graph", self._unknown(name))])
        if len(self._by_name) > 1:
            raise RequestError([Violation("graph", f"must be said, because this server serves several: {self._names()}")])

        return next(iter(self._by_name.values()))

    def _unknown(self, name: str) -> str:
        hint = did_you_mean(name, self._by_name)

        return f"{name[:80]!r} is not served here; {hint + ' ' if hint else ''}this server serves: {self._names()}"

    def _names(self) -> str:
        return ", ".join(self._by_name)

    def __iter__(self) -> Iterator[Mesh]:
        return (served.mesh for served in self._by_name.values())
