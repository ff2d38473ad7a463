"""
`meshwalk draw`: a graph as a picture.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Literal

from cyclopts import Parameter

from meshwalk.cli.options import Json
from meshwalk.cli.output import OK, Misuse, complain, emit, say, write_lines


Format = Literal["mermaid", "dot"]

_BY_SUFFIX: dict[str, Format] = {".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot"}


def draw(
    graph: str,
    /,
    *,
    output: Annotated[str | None, Parameter(name=["--output", "-o"])] = None,
    format: Annotated[Format | None, Parameter(name="--format")] = None,
    json: Json = False,
) -> int:
    """
    Draw a graph as a Mermaid flowchart, or in Graphviz' DOT.

    Parameters
    ----------
    graph
        The graph's YAML file; one with faults is drawn as far as it can be read.
    output
        The file to write, `.mmd` or `.dot`; the terminal without it.
    format
        The language; without it the file's ending says so, and else it is Mermaid.
    """
    from meshwalk import draw as drawing
    from meshwalk.loader import load_graph
    from meshwalk.plan import examine

    language = format or _language(output)
    drawn = load_graph(graph)
    plan, problems = examine(drawn)
    text = drawing.dot(drawn) if language == "dot" else drawing.mermaid(drawn)
    if output is not None:
        write_lines(output, text.splitlines())
    if plan is None:
        errors = sum(problem.severity == "error" for problem in problems)
        complain(f"note: the graph has errors ({errors}); `meshwalk check {graph}` shows them")
    if json:
        emit({"graph": drawn.name, "format": language, "file": output, "text": text, "ok": plan is not None})
    elif output is None:
        say(text.rstrip("\n"))
    else:
        say(f"{output}: graph '{drawn.name}' as {language}")

    return OK


def _language(output: str | None) -> Format:
    if output is None:
        return "mermaid"
    suffix = PurePath(output).suffix
    if suffix not in _BY_SUFFIX:
        raise Misuse(
            f"cannot tell from '{output}' what to draw; end it in .mmd or .dot, or say --format mermaid or --format dot"
        )

    return _BY_SUFFIX[suffix]
