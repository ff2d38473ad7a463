"""
Graphs and their cases out of files and texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from meshwalk.loader.parts.graph import build
from meshwalk.loader.yaml.document import MAX_BYTES, decode, read_document, split_lines
from meshwalk.model import Graph
from meshwalk.model.arguments import path_fault
from meshwalk.model.files import open_plain
from meshwalk.model.problems import GraphError, Problem, SetupError
from meshwalk.model.trust import USUAL_TRUST, GraphFiles, Trust


if TYPE_CHECKING:
    from meshwalk.loader.casebook import Case
    from meshwalk.model.serving import ServerSettings


# The text at the places of these faults may be a secret.
_SECRET = ("secret-in-graph", "bad-variable", "bad-hash")


def load_graph(path: str | Path, *, trust: Trust = USUAL_TRUST) -> Graph:
    """
    Read the graph in the file at *path*, with the hashes of the files it names.

    Args:
        trust: What the graph may name.

    Raises:
        GraphError: If nothing in it can be read; any other fault is among the graph's problems.
        SetupError: If there is no such file, or it cannot be read.
    """
    return read_graph(_bytes(path), file=str(path), folder=str(Path(path).parent), trust=trust)


def read_graph(
    text: bytes, *, file: str, folder: str = ".", hashes: Mapping[str, str] | None = None, trust: Trust = USUAL_TRUST
) -> Graph:
    """
    Read the graph in *text*.

    Args:
        file: The name that places are given with.
        folder: Where relative paths start.
        hashes: The hashes of the files that the graph names; None computes them.
        trust: What the graph may name.

    Raises:
        GraphError: If nothing in it can be read; any other fault is among the graph's problems.
    """
    # Hashes come with a stored plan, which may be of a graph that no author wrote as text.
    document = read_document(text, file, any_text=hashes is not None)

    return build(document, file=file, files=GraphFiles(folder, trust), hashes=hashes)


def cases_path(graph: str | Path) -> Path:
    """
    Return the path of the cases of the graph at *graph*: beside it, as `<name>.cases.yaml`.
    """
    return Path(graph).with_suffix(".cases.yaml")


def load_cases(graph: Graph) -> tuple[Case, ...]:
    """
    Read the cases that stand beside *graph*, which has no errors.

    Raises:
        GraphError: With every fault of the cases, in file order.
        SetupError: If there is no such file, or it cannot be read.
    """
    path = cases_path(graph.file)

    return read_cases(_bytes(path, f"the cases of '{graph.file}' in"), graph, file=str(path))


def read_cases(text: bytes, graph: Graph, *, file: str) -> tuple[Case, ...]:
    """
    Read the cases in *text*, which are about *graph*.

    Raises:
        GraphError: With every fault found, in file order.
    """
    # Most who read a graph read no cases.
    from meshwalk.loader.parts.cases import build_cases  # noqa: PLC0415

    return build_cases(text, graph, file=file)


def load_settings(path: str | Path) -> ServerSettings:
    """
    Read the settings of a server in the file at *path*.

    Raises:
        GraphError: With every fault of the settings, in file order.
        SetupError: If there is no such file, or it cannot be read.
    """
    # Most who read a graph read no settings.
    from meshwalk.loader.parts.server import build_settings  # noqa: PLC0415

    return build_settings(_bytes(path, "the server's settings in"), file=str(path), folder=str(Path(path).parent))


def holds_settings(path: str | Path) -> bool:
    """
    Return whether the file at *path* holds a server's settings; one that cannot be read holds none.
    """
    from meshwalk.loader.parts.server import is_settings  # noqa: PLC0415

    try:
        return is_settings(read_document(_bytes(path), str(path)))
    except (GraphError, SetupError):
        return False


def source_lines(path: str | Path, problems: Sequence[Problem] = ()) -> list[str]:
    """
    Return the lines of the graph at *path*, for `problems.render`; a secret that *problems* point at is blotted out.

    Raises:
        GraphError: If it is no text.
        SetupError: If there is no such file, or it cannot be read.
    """
    lines = split_lines(decode(_bytes(path), str(path)))
    for problem in problems:
        if problem.code in _SECRET and 0 < problem.span.line <= len(lines):
            line, start = lines[problem.span.line - 1], problem.span.column - 1
            stop = start + problem.span.length
            lines[problem.span.line - 1] = line[:start] + "*" * len(line[start:stop]) + line[stop:]

    return lines


def _bytes(path: str | Path, what: str = "the graph") -> bytes:
    try:
        if fault := path_fault(path):
            raise SetupError(f"{what} cannot be read: its path {fault}")
        with open_plain(path) as file:
            # One byte beyond the limit shows that the file is too large.
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SetupError(f"{what} '{path}' cannot be read: {why}") from error
