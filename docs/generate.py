"""
Write the pages of docs/reference that the code knows: keys of a graph, signals, errors, commands.

`python docs/generate.py` writes them; with `--check` it compares instead, and exits with 1 where one is not current.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from meshwalk.cli.commands import app
from meshwalk.loader import load_graph
from meshwalk.loader.schema.export import json_schema, settings_schema
from meshwalk.model import problems, signals
from meshwalk.model.problems import GraphError, MeshwalkError, Problem
from meshwalk.plan import examine
from meshwalk.wire import errors


HERE = Path(__file__).resolve().parent
REFERENCE = HERE / "reference"
BROKEN = HERE.parent / "tests" / "graphs" / "bad"

NOTE = "<!-- Written by docs/generate.py. -->\n"


def cell(text: object) -> str:
    """
    Return *text* as it can stand in a cell of a Markdown table.
    """
    return " ".join(str(text).split()).replace("|", "\\|").replace("{{", "&#123;&#123;")


def relative(text: str) -> str:
    """
    Return *text* without the folder that the broken graphs are in.
    """
    return text.replace(f"{BROKEN}/", "").replace(str(BROKEN), "graphs")


def type_of(key: Mapping[str, Any]) -> str:
    """
    Return what a key's value is, in words.
    """
    if "const" in key:
        return f"`{key['const']}`"
    if "enum" in key:
        return " or ".join(f"`{value}`" for value in key["enum"])
    if "$ref" in key:
        name = key["$ref"].rpartition("/")[2].removesuffix("Shape")
        return f"[{name}](#{name.lower()})"
    if "anyOf" in key:
        return ", or ".join(dict.fromkeys(type_of(one) for one in key["anyOf"]))
    if key.get("type") == "array":
        return f"a list of {type_of(key.get('items', {}))}"
    if key.get("type") == "object":
        inner = next(iter(key.get("patternProperties", {}).values()), None)
        return "a table" if inner is None else f"a table of {type_of(inner)}"
    if "examples" in key:
        return f"for example `{key['examples'][0]}`"
    kind = key.get("type", "anything")

    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def bounds_of(key: Mapping[str, Any]) -> str:
    """
    Return the range of a number and the default of a key, in words.
    """
    low = key.get("minimum", key.get("exclusiveMinimum"))
    high = key.get("maximum", key.get("exclusiveMaximum"))
    words = [] if low is None and high is None else [f"{'' if low is None else low} to {'' if high is None else high}"]
    if "default" in key and key["default"] is not None:
        words.append(f"default `{key['default']}`")

    return "; ".join(words)


def words_of(key: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """
    Return what a key is for: its own words, or those of the part that it takes.
    """
    named = key.get("$ref", "").rpartition("/")[2]

    return str(key.get("description", parts.get(named, {}).get("description", "")))


def table_of(shape: Mapping[str, Any], parts: Mapping[str, Any]) -> Iterator[str]:
    """
    Write the keys of *shape*; *parts* are the shapes that keys refer to.
    """
    needed = shape.get("required", ())
    yield "| key | what it takes | range and default | what it says |"
    yield "|---|---|---|---|"
    for name, key in shape.get("properties", {}).items():
        shown = f"`{name}`" + (" (required)" if name in needed else "")
        yield f"| {shown} | {cell(type_of(key))} | {cell(bounds_of(key))} | {cell(words_of(key, parts))} |"
    yield ""


def keys_page(title: str, command: str, schema: Mapping[str, Any]) -> str:
    """
    Write every key that a file of *schema* can have.
    """
    parts = schema.get("$defs", {})
    lines = [
        NOTE,
        f"# {title}",
        "",
        f"`{command}` prints the same as a JSON Schema, for completion in an editor.",
        "",
        "## The file",
        "",
        *table_of(schema, parts),
    ]
    for name, shape in parts.items():
        lines += [f"## {name.removesuffix('Shape')}", ""]
        if "description" in shape:
            lines += [str(shape["description"]), ""]
        lines += table_of(shape, parts)

    return "\n".join(lines)


def graph_page() -> str:
    """
    Write every key that a graph can have.
    """
    return keys_page("Keys of a graph", "meshwalk schema", json_schema())


def server_page() -> str:
    """
    Write every key that a server's settings can have.
    """
    return keys_page("Keys of a server", "meshwalk schema --server", settings_schema())


def signals_page() -> str:
    """
    Write every signal that a guard can read in a graph that declares everything.
    """
    graph = load_graph(HERE.parent / "tests" / "graphs" / "good" / "support-desk.yaml")
    lines = [
        NOTE,
        "# Signals",
        "",
        "A guard reads signals, thresholds and literals. These are the signals of the tests' support desk: `output.*` of the",
        "node that is left, `hop.<node>.*` of earlier nodes, and the others everywhere.",
        "",
        "| signal | type | range or members |",
        "|---|---|---|",
    ]
    seen: dict[str, signals.Signal] = {}
    for node in graph.nodes.values():
        seen |= signals.visible(graph, node)
    for name, signal in sorted(seen.items()):
        members = " ".join(f"`{member}`" for member in signal.members)
        low, high = signal.range or (float("-inf"), float("inf"))
        span = "" if signal.range is None else f"{low:g} to {'' if high == float('inf') else f'{high:g}'}"
        lines.append(f"| `{name}` | {signal.kind.name.lower()} | {members or span} |")

    return "\n".join([*lines, ""])


def problems_of(path: Path) -> tuple[Problem, ...]:
    """
    Return what `check` says of the graph in *path*.
    """
    try:
        graph = load_graph(path)
    except GraphError as error:
        return tuple(error.problems)

    return tuple(examine(graph)[1])


def errors_page() -> str:
    """
    Write every problem of a graph with an example, and every error of a request or a walk.
    """
    examples: dict[str, Problem] = {}
    for path in sorted(BROKEN.glob("*.yaml")):
        for problem in problems_of(path):
            examples.setdefault(problem.code, problem)
    lines = [
        NOTE,
        "# Errors",
        "",
        "## Problems of a graph",
        "",
        "`meshwalk check` names each problem by a code that stays the same; the sentence is an example.",
        "",
        "| code | severity | example | remedy |",
        "|---|---|---|---|",
    ]
    for code, problem in sorted(examples.items()):
        lines.append(f"| `{code}` | {problem.severity} | {cell(relative(problem.message))} | {cell(relative(problem.help))} |")
    lines += [
        "",
        "## Errors of requests and walks",
        "",
        "Python raises these classes. Over gRPC each has its status code, with the details that [the wire](wire.md) describes.",
        "",
        "| class | parent | gRPC status | meaning |",
        "|---|---|---|---|",
    ]
    classes = [
        one
        for module in (problems, errors)
        for one in vars(module).values()
        if inspect.isclass(one) and issubclass(one, MeshwalkError) and one.__module__ == module.__name__
    ]
    for one in classes:
        first = (inspect.getdoc(one) or "").partition("\n\n")[0]
        hint = getattr(one, "hint", "")
        lines.append(f"| `{one.__name__}` | `{one.__bases__[0].__name__}` | {f'`{hint}`' if hint else ''} | {cell(first)} |")

    return "\n".join([*lines, ""])


def cli_page() -> str:
    """
    Write every command with its parameters.
    """
    text = app([]).generate_docs(output_format="markdown")
    # A usage of our own names its command, which the generator has put before it already.
    text = re.sub(r"^(meshwalk( [a-z-]+)+?)\2 ", r"\1 ", text, flags=re.MULTILINE)
    body = text.partition("**Commands**:")[2].partition("\n## ")[2]

    return f"{NOTE}\n# Commands\n\nEvery command takes `--json`. Exit codes: 0 yes, 1 no, 2 wrong use.\n\n## {body.rstrip()}\n"


PAGES = {
    "graph.md": graph_page,
    "server.md": server_page,
    "signals.md": signals_page,
    "errors.md": errors_page,
    "cli.md": cli_page,
}


def main() -> int:
    """
    Write the pages, or compare them.
    """
    check = "--check" in sys.argv[1:]
    stale = []
    for name, page in PAGES.items():
        path, text = REFERENCE / name, page()
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"not current: {', '.join(stale)}; run `python docs/generate.py`\n")

    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
