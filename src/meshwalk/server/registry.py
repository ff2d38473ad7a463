"""
The meshes that a server serves, by the names of their graphs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from meshwalk.mesh import Mesh
from meshwalk.model.problems import RequestError, SetupError, Violation
from meshwalk.model.spelling import did_you_mean
from meshwalk.server.identity.caller import ANYBODY, Caller
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

    def pick(self, name: str, caller: Caller = ANYBODY) -> ServedMesh:
        """
        Return the mesh called *name*, or the only one if no name is given; those that *caller* may not walk are not there.

        Raises:
            NotFound: If there is none of this name.
            RequestError: If there are several and no name is given.
        """
        served = self._by_name.get(name)
        if served is not None and caller.may_walk(name):
            return served
        names = self.names(caller)
        if name:
            raise NotFound([Violation("graph", _unknown(name, names))])
        if not names:
            raise NotFound([Violation("graph", "is not named, and this caller may walk none of those that are served here")])
        if len(names) > 1:
            why = f"must be said, because this server serves several: {', '.join(names)}"
            raise RequestError([Violation("graph", why)])

        return self._by_name[names[0]]

    def names(self, caller: Caller = ANYBODY) -> list[str]:
        """
        List the graphs that *caller* may walk.
        """
        return [name for name in self._by_name if caller.may_walk(name)]

    def __iter__(self) -> Iterator[Mesh]:
        return (served.mesh for served in self._by_name.values())


def _unknown(name: str, names: Sequence[str]) -> str:
    hint = did_you_mean(name, names)
    served = f"this server serves: {', '.join(names)}" if names else "this caller may walk none of those that are"

    return f"{name[:80]!r} is not served here; {hint + ' ' if hint else ''}{served}"
