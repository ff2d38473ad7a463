"""
`meshwalk draw`: a graph as a picture.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from meshwalk.cli.options import Json, TrustFlags
from meshwalk.cli.output import OK, Misuse, complain, emit, say, write_lines


if TYPE_CHECKING:
    from meshwalk.plan import Plan
    from meshwalk.trace import Traversal


Format = Literal["mermaid", "dot", "svg"]

_BY_SUFFIX: dict[str, Format] = {".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot", ".svg": "svg"}


def draw(
    graph: str,
    /,
    *,
    output: Annotated[str | None, Parameter(name=["--output", "-o"])] = None,
    format: Annotated[Format | None, Parameter(name="--format")] = None,
    traces: Annotated[str | None, Parameter(name="--traces")] = None,
    traversal: Annotated[str | None, Parameter(name="--traversal")] = None,
    trust: TrustFlags = TrustFlags(),
    json: Json = False,
) -> int:
    """
    Draw a graph as SVG, as a Mermaid flowchart, or in Graphviz' DOT.

    Parameters
    ----------
    graph
        The graph's YAML file; one with faults is drawn as far as it can be read.
    output
        The file to write, `.svg`, `.mmd` or `.dot`; the terminal without it.
    format
        The language; without it the file's ending says so, and else it is Mermaid.
    traces
        The folder that traces are kept in, for --traversal.
    traversal
        A walk over this graph, whose path is drawn over the rest (SVG only): its id, a beginning that no
        other has, or `last` for the newest.
    """
    from meshwalk import draw as drawing
    from meshwalk.loader import load_graph
    from meshwalk.plan import examine

    language = format or _language(output)
    if traversal is not None and language != "svg":
        raise Misuse(f"a walk is drawn in SVG only, and this is {language}; end the file in .svg, or say --format svg")
    drawn = load_graph(graph, trust=trust.trust)
    plan, problems = examine(drawn)
    walked = _walked(graph, plan, traces, traversal)
    if language == "svg":
        text = drawing.svg(drawn, walked, bounds=plan.bounds if plan else None)
    else:
        text = drawing.dot(drawn) if language == "dot" else drawing.mermaid(drawn)
    if output is not None:
        if Path(output).exists() and Path(output).samefile(graph):
            raise Misuse(f"'{output}' is the graph itself, which a picture would write over; name another file")
        write_lines(output, text.splitlines())
    if plan is None:
        errors = sum(problem.severity == "error" for problem in problems)
        complain(f"note: the graph has errors ({errors}); `meshwalk check {graph}` shows them")
    if json:
        emit({"graph": drawn.name, "format": language, "file": output, "text": text, "ok": plan is not None})
    elif output is None:
        say(text.rstrip("\n"))
    else:
        say(f"{output}: graph '{drawn.name}' as {language}{f', walk {walked.traversal_id}' if walked else ''}")

    return OK


def _language(output: str | None) -> Format:
    if output is None:
        return "mermaid"
    suffix = PurePath(output).suffix
    if suffix not in _BY_SUFFIX:
        raise Misuse(
            f"cannot tell from '{output}' what to draw; end it in .svg, .mmd or .dot, or say --format svg, mermaid or dot"
        )

    return _BY_SUFFIX[suffix]


def _walked(graph: str, plan: Plan | None, traces: str | None, traversal_id: str | None) -> Traversal | None:
    if traces is None and traversal_id is None:
        return None
    if traces is None or traversal_id is None:
        raise Misuse("--traces names the folder and --traversal the walk in it; a path needs both")
    from meshwalk.cli.traces import find
    from meshwalk.records.store import TraceReader

    with TraceReader(traces) as reader:
        found = find(reader, traversal_id)
    # Thresholds may have been tuned since: the edges are the same, and so is the path.
    if plan is None or plan.shape_digest != found.shape_digest:
        raise Misuse(
            f"walk {found.traversal_id} was over graph '{found.graph}' of shape {found.shape_digest[:12]}, and '{graph}' "
            f"{f'has shape {plan.shape_digest[:12]}' if plan else 'has errors'}; draw the graph as it was then"
        )

    return found
