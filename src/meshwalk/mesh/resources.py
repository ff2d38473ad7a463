"""
The resources of a mesh: what its plan needs opened, and closed again whatever happens.

Each resource is pushed on an exit stack as it opens.  A failure on the way in closes those that are open already, and a failing
or hanging close of one keeps no other open.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import anyio

from meshwalk.backends import open_backend
from meshwalk.backends.base import Backend
from meshwalk.backends.classifiers import Classifier, open_classifier, opens
from meshwalk.backends.token_counts import Tokenizer
from meshwalk.backends.tokenizer import open_tokenizer
from meshwalk.budgets.vaults import MemoryVault, Vault, open_vault
from meshwalk.mesh.clock import Clock
from meshwalk.model import CacheSpec
from meshwalk.model.problems import SetupError
from meshwalk.plan import Plan
from meshwalk.records.store import TraceWriter


_log = logging.getLogger(__name__)

# The seconds between two tries to send an unreachable vault the settlements it missed.
FLUSH_SECONDS = 1.0

# The longest that closing one resource may take.
CLOSE_SECONDS = 30.0


class Resources(NamedTuple):
    """
    The open resources of a mesh.

    Args:
        backends: By name, those of the caller too.
        classifiers: By the node that asks each.
        tokenizers: By the backend whose calls they count.
        store: The trace store, if there is one.
    """

    backends: Mapping[str, Backend]
    classifiers: Mapping[str, Classifier]
    tokenizers: Mapping[str, Tokenizer]
    vault: Vault
    store: TraceWriter | None


async def open_resources(
    plan: Plan,
    stack: AsyncExitStack,
    clock: Clock,
    *,
    outcomes: str | None,
    backends: Mapping[str, Backend],
    vault: Vault | str | None,
    traces: str | Path | None,
) -> Resources:
    """
    Open everything that walks over *plan* need, and push it on *stack*.

    Args:
        backends: Open ones, which the caller closes, as an open *vault*.

    Raises:
        SetupError: If something is missing: a package, a file, an environment variable.
        VaultUnavailable: If the vault does not answer.
    """
    store = None if traces is None else TraceWriter(traces)
    if store is not None:
        _push(stack, f"the trace store in {traces}", store.aclose)

    return Resources(
        await _open_backends(plan, stack, clock, backends, outcomes),
        await _open_classifiers(plan, stack),
        _open_tokenizers(plan),
        await _open_vault(stack, clock, vault),
        store,
    )


def _push(stack: AsyncExitStack, what: str, aclose: Callable[[], Awaitable[None]]) -> None:
    async def close() -> None:
        with anyio.move_on_after(CLOSE_SECONDS, shield=True) as limit:
            await aclose()
        if limit.cancelled_caught:
            _log.warning("%s was not closed within %g seconds, and is left as it is", what, CLOSE_SECONDS)

    stack.push_async_callback(close)


async def _open_backends(
    plan: Plan, stack: AsyncExitStack, clock: Clock, given: Mapping[str, Backend], outcomes: str | None
) -> dict[str, Backend]:
    graph = plan.graph
    used = {node.node.backend for node in plan.nodes if node.node.backend is not None}
    specs = {name: graph.backends[name] for name in sorted(used - given.keys())}
    caches = {name: spec for name, spec in specs.items() if isinstance(spec, CacheSpec)}
    # The backend behind a cache is opened before it, and once, whoever else calls it.
    specs |= {spec.of: graph.backends[spec.of] for spec in caches.values() if spec.of not in given}
    backends = dict(given)
    missing: list[SetupError] = []
    for name, spec in sorted(specs.items(), key=lambda named: (named[0] in caches, named[0])):
        inner = backends.get(spec.of) if isinstance(spec, CacheSpec) else None
        if name in caches and inner is None:
            continue  # the error is the other backend's
        try:
            opened = await open_backend(spec, folder=graph.folder, data=outcomes, inner=inner, clock_ns=clock.monotonic_ns)
        except SetupError as error:
            # The faults of all backends are reported in one run.
            missing.append(error)
        else:
            backends[name] = opened
            _push(stack, f"backend '{name}'", opened.aclose)
    if missing:
        raise SetupError("; ".join(dict.fromkeys(map(str, missing)))) from missing[0]

    return backends


async def _open_classifiers(plan: Plan, stack: AsyncExitStack) -> dict[str, Classifier]:
    classifiers: dict[str, Classifier] = {}
    for node in plan.graph.nodes.values():
        if opens(node):
            classifiers[node.name] = opened = await open_classifier(node, folder=plan.graph.folder)
            _push(stack, f"the classifier of node '{node.name}'", opened.aclose)

    return classifiers


def _open_tokenizers(plan: Plan) -> dict[str, Tokenizer]:
    graph = plan.graph
    used = {node.node.backend for node in plan.nodes if node.node.backend is not None}
    files = {name: graph.backends[name].tokenizer for name in sorted(used)}
    paths = {name: Path(graph.folder) / file for name, file in files.items() if file is not None}
    # Backends that name the same file share a tokenizer.
    opened = {path: open_tokenizer(path) for path in dict.fromkeys(paths.values())}

    return {name: opened[path] for name, path in paths.items()}


async def _open_vault(stack: AsyncExitStack, clock: Clock, vault: Vault | str | None) -> Vault:
    if vault is None:
        return MemoryVault(lambda: clock.unix_ns() // 1000)
    if not isinstance(vault, str):
        return vault
    opened = await open_vault(vault)
    _push(stack, f"the vault {opened.name}", opened.aclose)

    return opened


async def flush_loop(vault: Vault) -> None:
    """
    Send *vault* what it missed, again and again.
    """
    while True:
        await anyio.sleep(FLUSH_SECONDS)
        try:
            await vault.flush()
        except Exception:  # noqa: BLE001 (a vault of the caller's own may raise anything, and walks go on)
            _log.exception("the vault %s could not be sent what it missed", vault.name)
