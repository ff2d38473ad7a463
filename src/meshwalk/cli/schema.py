"""
`meshwalk schema`: what an editor needs to complete and check a graph while it is written.
"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from meshwalk.cli.options import Json
from meshwalk.cli.output import OK, emit


def schema(*, cases: Annotated[bool, Parameter(name="--cases", negative="")] = False, json: Json = False) -> int:  # noqa: ARG001 (it is JSON either way)
    """
    Print the JSON Schema of graphs, or of the cases that test them.

    Kept beside a graph, it gives an editor completion: `# yaml-language-server: $schema=./meshwalk.schema.json`.

    Parameters
    ----------
    cases
        Print the schema of files of cases.
    """
    from meshwalk.loader.schema.export import cases_schema, json_schema

    emit(cases_schema() if cases else json_schema())

    return OK
