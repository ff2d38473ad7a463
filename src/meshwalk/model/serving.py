"""
The settings of a server, as its file and the flags of its command fill them.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    grace_us: int = 10_000_000
    walks_in_flight: int = 2_000
