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
from meshwalk.model.arguments import (
    calls_fault,
    checked_setup,
    fault_of,
    mapping_fault,
    path_fault,
    seconds_fault,
    text_fault,
)
from meshwalk.plan import Plan


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


_PLAN = "a meshwalk.Plan: meshwalk.load(path) makes a mesh of a graph's file"
_VAULT = "the address of a vault, such as sqlite:PATH, or an open vault"
_BACKENDS = "a mapping from names of backends to open backends"


def check_options(plan: object, **options: object) -> None:
    """
    Refuse options of a mesh that are not of their types, every one of them named.

    Raises:
        SetupError: If there are any.
    """
    optional = {name: value for name, value in options.items() if value is not None}
    vault = optional.get("vault", "")
    checked_setup(
        plan=fault_of(plan, (Plan,), _PLAN),
        outcomes=path_fault(optional.get("outcomes", ".")),
        backends=mapping_fault(optional.get("backends", {}), _BACKENDS),
        sinks=fault_of(options["sinks"], (list, tuple), "a list of sinks"),
        traces=path_fault(optional.get("traces", ".")),
        vault="" if isinstance(vault, str) or hasattr(vault, "exchange") else fault_of(vault, (), _VAULT),
        tenant=text_fault(options["tenant"]),
        retry_window=seconds_fault(options["retry_window"]),
        grace=seconds_fault(optional.get("grace", 0)),
        clock="" if hasattr(options["clock"], "monotonic_ns") else fault_of(options["clock"], (), "a meshwalk.Clock"),
        chance=calls_fault(options["chance"], "a function that draws numbers from 0 to below 1"),
    )


def in_seconds(time: timedelta | float) -> float:
    """
    Return *time*, a number of seconds or a `timedelta`, as seconds.
    """
    return time.total_seconds() if isinstance(time, timedelta) else float(time)
