"""
Losses of acknowledged data that the settings of a Redis server allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping


SETTINGS = ("appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy")


def risks_of(name: str, config: Mapping[str, str] | None, replication: Mapping[str, str]) -> tuple[str, ...]:
    """
    Describe, in one sentence each, what the server *name* may forget.

    Args:
        config: Its answer for `SETTINGS`; None if it refuses.
        replication: Its INFO on replication.
    """
    risks = [f"{name} does not tell its settings, so it cannot be told whether it keeps what it acknowledged"]
    if config is not None:
        risks = [*_of_restarts(name, config), *_of_memory(name, config)]

    return (*risks, *_of_failover(name, replication))


def _of_restarts(name: str, config: Mapping[str, str]) -> Iterator[str]:
    if config.get("appendonly") != "yes":
        if config.get("save"):
            yield f"{name} keeps no append-only file, so it may forget all since its last snapshot; set appendonly to yes"
        else:
            yield f"{name} keeps neither append-only file nor snapshots, so it forgets everything when it restarts"
    elif config.get("appendfsync") == "everysec":
        yield f"{name} writes to disk once a second, so a crash may take the last second; set appendfsync to always"
    elif config.get("appendfsync") != "always":
        yield f"{name} leaves it to the system when to write to disk, so a crash may take minutes; set appendfsync to always"


def _of_memory(name: str, config: Mapping[str, str]) -> Iterator[str]:
    policy = config.get("maxmemory-policy", "noeviction")
    if config.get("maxmemory", "0") != "0" and policy != "noeviction":
        yield f"{name} may throw accounts away when its memory is full ({policy}); set maxmemory-policy to noeviction"


def _of_failover(name: str, replication: Mapping[str, str]) -> Iterator[str]:
    count = replication.get("connected_slaves", "0")
    if count != "0":
        yield f"{name} does not wait for its {count} replica(s), so a failover may forget what was acknowledged just before"
