"""
The settings of a server, read from a file.

Paths in it start at its folder, as those of a graph do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshwalk.loader.messages import server_faults
from meshwalk.loader.parts.fit import Part, fit, respelt
from meshwalk.loader.parts.server_access import read_access
from meshwalk.loader.schema.server import ServerShape, TlsShape
from meshwalk.loader.yaml.document import Document, Table, read_document
from meshwalk.model.problems import GraphError
from meshwalk.model.serving import ServerSettings


# The keys whose names and values are those of the settings.
_PLAIN = (
    "listen",
    "workers",
    "vault",
    "tenant",
    "operator_key_env",
    "walks_in_flight",
    "log",
    "log_level",
    "insecure",
    "reflection",
    "allow_files",
)

# The keys whose tables are read on their own.
_TABLES = ("tls", "identities", "tenants")

# Kinds of addresses that name a file.
_FILED = ("sqlite:", "unix:")


def is_settings(document: Document) -> bool:
    """
    Return whether *document* is a server's settings, and no graph.
    """
    return isinstance(document.root, Table) and "server" in document.root.entries and "nodes" not in document.root.entries


def build_settings(text: bytes, *, file: str, folder: str) -> ServerSettings:
    """
    Read the settings in *text*.

    Raises:
        GraphError: With every fault found, in file order.
    """
    document = read_document(text, file)
    problems = document.problems
    if not isinstance(document.root, Table):
        raise GraphError([*problems, server_faults.not_settings(document.root.span)])
    part = Part(document.root, "the server", document.root.span._replace(length=1))
    part = respelt(part, ServerShape.known_keys(), problems)
    tables: dict[str, Any] = {key: {} for key in _TABLES if isinstance(part.table.entries.get(key), Table)}
    shape = fit(ServerShape, part, problems, preset={**tables, **_tls_stand_in(tables)}).shape
    access = read_access(part, Path(folder), problems)
    if problems:
        raise GraphError(problems)

    return ServerSettings(**_settings(shape, part.table.entries, Path(folder)), **access)


def _tls_stand_in(tables: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"tls": TlsShape.stand_ins} if "tls" in tables else {}


def _settings(shape: ServerShape, written: Mapping[str, object], folder: Path) -> dict[str, Any]:
    # A key that is not written leaves what the settings have by themselves.
    settings = {key: getattr(shape, key) for key in _PLAIN if key in written}
    for key in ("vault", "listen"):
        if key in settings:
            settings[key] = _address_from(folder, settings[key])
    if shape.graphs is not None:
        settings["graphs"] = tuple(str(folder / graph) for graph in shape.graphs)
    for key in ("allow_functions", "allow_env"):
        if (beginnings := getattr(shape, key)) is not None:
            settings[key] = tuple(beginnings)
    for key in ("traces", "data"):
        if (path := getattr(shape, key)) is not None:
            settings[key] = str(folder / path)
    times_us = {"retry_window_us": shape.retry_window, "grace_us": shape.grace, "lame_duck_us": shape.lame_duck}

    return settings | {key: time_us for key, time_us in times_us.items() if time_us is not None}


def _address_from(folder: Path, address: str) -> str:
    kind = next((kind for kind in _FILED if address.startswith(kind)), "")
    path = address.removeprefix(kind)
    # A variable may hold a whole path.
    return address if not kind or path.startswith("${") else f"{kind}{folder / path}"
