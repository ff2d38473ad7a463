"""
The settings of a server, as its file and the flags of its command fill them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """
    The callers of a server, and the way they come in.

    Args:
        insecure: Whether others than this machine's users may reach a server that knows nobody.
        reflection: Whether the server describes its services to callers.
    """

    insecure: bool = False
    reflection: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """
    The settings of one server; the fields are named as the flags and the keys of `server.yaml`.
    """

    graphs: tuple[str, ...] = ()
    listen: str = "127.0.0.1:50051"
    workers: int = 1
    traces: str | None = None
    data: str | None = None
    vault: str = "memory"
    tenant: str = "default"
    operator_key_env: str | None = None
    retry_window_us: int = 600_000_000
    grace_us: int = 30_000_000
    lame_duck_us: int = 0
    walks_in_flight: int = 2_000
    insecure: bool = False
    reflection: bool = True

    @property
    def access(self) -> Access:
        """
        Return the part of the settings that says who comes in.
        """
        return Access(insecure=self.insecure, reflection=self.reflection)
