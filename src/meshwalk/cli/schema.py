"""
`meshwalk schema`: what an editor needs to complete and check a graph while it is written.
"""

from __future__ import annotations

from meshwalk.cli.options import Json
from meshwalk.cli.output import OK, emit


def schema(*, json: Json = False) -> int:  # noqa: ARG001 (it is JSON either way)
    """
    Print the JSON Schema of graphs.

    Kept beside a graph, it gives an editor completion: `# yaml-language-server: $schema=./meshwalk.schema.json`.
    """
    from meshwalk.loader import json_schema

    emit(json_schema())

    return OK
