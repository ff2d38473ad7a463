"""
`meshwalk schema`: what an editor needs to complete and check a graph while it is written.
"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from meshwalk.cli.options import Json
from meshwalk.cli.output import OK, Misuse, emit


def schema(
    *,
    cases: Annotated[bool, Parameter(name="--cases", negative="")] = False,
    server: Annotated[bool, Parameter(name="--server", negative="")] = False,
    json: Json = False,  # noqa: ARG001 (it is JSON either way)
) -> int:
    """
    Print the JSON Schema of graphs, of the cases that test them, or of a server's settings.

    Kept beside a graph, it gives an editor completion: `# yaml-language-server: $schema=./meshwalk.schema.json`.

    Parameters
    ----------
    cases
        Print the schema of files of cases.
    server
        Print the schema of files of a server's settings.
    """
    from meshwalk.loader.schema.export import cases_schema, json_schema, settings_schema

    if cases and server:
        raise Misuse("--cases and --server print a schema each; name one of them")
    emit(cases_schema() if cases else settings_schema() if server else json_schema())

    return OK
