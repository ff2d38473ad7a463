"""
The options of a mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

from meshwalk.backends.base import Backend
from meshwalk.budgets.vaults import Vault
from meshwalk.mesh.clock import Clock
from meshwalk.mesh.relay import Sink


# The seconds that a walk is kept for requests that repeat its idempotency key, unless said otherwise.
RETRY_WINDOW = 600.0


class MeshOptions(TypedDict, total=False):
    """
    The options of a `Mesh`, which explains them.
    """

    outcomes: str | Path | None
    backends: Mapping[str, Backend] | None
    sinks: Sequence[Sink]
    traces: str | Path | None
    vault: Vault | str | None
    tenant: str
    retry_window: timedelta | float
    grace: timedelta | float | None
    clock: Clock
    chance: Callable[[], float]


def in_seconds(time: timedelta | float) -> float:
    """
    Return *time*, a number of seconds or a `timedelta`, as seconds.
    """
    return time.total_seconds() if isinstance(time, timedelta) else float(time)
