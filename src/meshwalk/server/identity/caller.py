"""
The caller of the call that is under way.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import NamedTuple

from meshwalk.model.serving import RIGHTS, Right, TenantRules
from meshwalk.wire.errors import Unauthenticated


class Caller(NamedTuple):
    """
    A known caller.

    Args:
        name: The credential it came with, as the log may name it.
        tenant: The tenant that it acts for, and no other.
        rules: The rules for all callers of the tenant.
        expires_unix: The second from which on its credential is refused.
    """

    name: str
    tenant: str
    rights: frozenset[Right]
    rules: TenantRules
    expires_unix: float = float("inf")

    def may_walk(self, graph: str) -> bool:
        """
        Return whether its tenant may walk the graph of this name.
        """
        return self.rules.graphs is None or graph in self.rules.graphs

    def check_unexpired(self) -> None:
        """
        Check that its credential still holds: a stream may outlast it.

        Raises:
            Unauthenticated: If it does not.
        """
        if self.expires_unix <= time.time():
            raise Unauthenticated("the credential of this call has expired; send a new one")


# Everybody, at a server that asks nobody: the server's own tenant, by no name.
ANYBODY = Caller("", "", frozenset(RIGHTS), TenantRules())

_CALLER: ContextVar[Caller] = ContextVar("meshwalk_caller", default=ANYBODY)

caller = _CALLER.get
set_caller = _CALLER.set
