"""
The rows that trained weights have seen.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from meshwalk.model import Graph
from meshwalk.model.files import sha256_of


def trained_on(graph: Graph, data: str | Path) -> tuple[str, ...]:
    """
    Return the nodes of *graph* whose weights were trained on the very file *data*.
    """
    digest = sha256_of(data)
    seen = []
    for node in graph.nodes.values():
        if node.weights is not None:
            # The mesh has read the file as weights already.
            source = orjson.loads((Path(graph.folder) / node.weights).read_bytes()).get("trained_on")
            if isinstance(source, dict) and source.get("sha256") == digest:
                seen.append(node.name)

    return tuple(seen)
