"""
The rules of prose and names, checked by machine: `python tests/support/prose.py src/meshwalk/engine`.

It prints `path:line: rule: text`, one line a fault.  The words are data: `[tool.meshwalk.prose]` in pyproject.toml.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple


ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "meshwalk"
STUBS = SRC / "wire" / "gen"
RULES: Mapping[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["meshwalk"]["prose"]

_OPENERS = re.compile(rf"(?:{'|'.join(RULES['openers'])})\b")
_METAPHORS = re.compile("|".join(RULES["metaphors"]), re.IGNORECASE)
_ORDERS = frozenset(RULES["orders"])
# Words that are orders and things: an order only where what it is given follows.
_DETERMINERS = frozenset(RULES["determiners"])
_BOTH = frozenset(RULES["orders_before_a_determiner"])
_PET_NAMES = frozenset(RULES["pet_names"])
_PET_WORDS = frozenset(RULES["pet_words"])

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_MARKER = re.compile(r"noqa|type:|pragma:|fmt:|mypy:")
_DECLARED = re.compile(r"(?:^|[{;])\s*(?:message|enum|service|rpc|oneof)\s+(\w+)|(\w+)\s*=\s*\d+\s*[;\[]")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_SUFFIXES = {".py", ".proto", ".lua", ".md"}


class Fault(NamedTuple):
    """
    One breach of a rule, at its place.
    """

    path: Path
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


def faults_below(path: Path) -> Iterator[Fault]:
    """
    Yield the faults of a file, or of every file of a folder.
    """
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if file.suffix in _SUFFIXES and STUBS not in file.parents and "__pycache__" not in file.parts:
            yield from faults_of(file, file.read_text(encoding="utf-8"))


def faults_of(path: Path, text: str) -> Iterator[Fault]:
    """
    Yield the faults of one file with this text, in order of lines.
    """
    found = [*_metaphors(text), *_file_name(path)]
    if path.suffix == ".py":
        tree = ast.parse(text)
        found += [*_docstrings(tree), *_comments(text), *_identifiers(tree)]
    elif path.suffix == ".proto":
        found += _proto_names(text)
    for line, rule, words in sorted(found):
        yield Fault(path, line, rule, words)


def _metaphors(text: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        for hit in _METAPHORS.finditer(line):
            yield number, "metaphor", hit[0]


def _file_name(path: Path) -> Iterator[tuple[int, str, str]]:
    if pet := path.stem if path.stem in RULES["pet_files"] else _pet(path.stem):
        yield 1, "pet name of a file", pet


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    for node in ast.walk(tree):
        docstring = ast.get_docstring(node) if isinstance(node, _DOCUMENTED) else None
        if not docstring:
            continue
        assert isinstance(node, _DOCUMENTED)
        line, first, words = node.body[0].lineno, docstring.splitlines()[0], docstring.split()
        if _OPENERS.match(docstring):
            yield line, "opener of a docstring", first
        elif isinstance(node, ast.ClassDef) and _is_an_order(words):
            yield line, "a class is no order", first


def _is_an_order(words: list[str]) -> bool:
    first = words[0].rstrip(",.:")

    return first in _ORDERS or (first in _BOTH and len(words) > 1 and words[1] in _DETERMINERS)


def _comments(text: str) -> Iterator[tuple[int, str, str]]:
    """
    Yield what opens badly, where a block of comments is one text.
    """
    before = -1
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        row = token.start[0]
        body = token.string.lstrip("#: ")
        alone = not token.line[: token.start[1]].strip()
        if not (alone and before == row - 1) and not _MARKER.match(body) and _OPENERS.match(body):
            yield row, "opener of a comment", body
        before = row if alone else -1


def _identifiers(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    for line, name in _public_names(tree):
        if pet := _pet(name):
            yield line, "pet name", f"{name} ({pet})" if pet != name else name


def _public_names(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[int, str]]:
    """
    Yield what a module or class declares and what its functions take, unless it begins with an underscore.
    """
    for node in tree.body:
        names: list[str] = []
        match node:
            case ast.ClassDef():
                names = [node.name]
                if not node.name.startswith("_"):
                    yield from _public_names(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                names = [node.name]
                if not node.name.startswith("_") or node.name == "__init__":
                    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                    names += [argument.arg for argument in every]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case ast.Assign():
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            case _:
                pass
        yield from ((node.lineno, name) for name in names if not name.startswith("_"))


def _proto_names(text: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        for hit in _DECLARED.finditer(line.partition("//")[0]):
            name = hit[1] or hit[2]
            if pet := _pet(name):
                yield number, "pet name of the wire", f"{name} ({pet})" if pet != name else name


def _pet(name: str) -> str | None:
    """
    Return the pet name that *name* is, or the pet word that it holds.
    """
    if name in _PET_NAMES:
        return name

    return next((word for part in _WORDS.findall(name) if (word := part.lower()) in _PET_WORDS), None)


def main() -> None:
    """
    Print the faults below the paths of the command line; exit with 1 if there are any.
    """
    found = [fault for argument in sys.argv[1:] or [str(SRC)] for fault in faults_below(Path(argument))]
    for fault in found:
        print(fault)
    print(f"{len(found)} faults", file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
