"""
Fast constructors take every field of their class, wherever they are called.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

import meshwalk
from meshwalk.model.constructors import fast_constructor


SOURCES = Path(meshwalk.__file__).parent


class Pair(NamedTuple):
    left: int
    right: int = 0


class Made(NamedTuple):
    """
    A module-level name that a fast constructor is assigned to.
    """

    module: str
    name: str
    cls: str


@cache
def trees() -> tuple[tuple[str, ast.Module], ...]:
    """
    Parse the modules of the package that know of fast constructors.
    """
    return tuple(_parsed())


def _parsed() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCES.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "fast_constructor" in text or "make_" in text:
            yield ".".join(path.relative_to(SOURCES.parent).with_suffix("").parts), ast.parse(text)


def constructors() -> Iterator[Made]:
    """
    Find the fast constructors of the package.
    """
    for module, tree in trees():
        for node in tree.body:
            target = (
                node.targets[0] if isinstance(node, ast.Assign) else node.target if isinstance(node, ast.AnnAssign) else None
            )
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if isinstance(value, ast.Call) and ast.unparse(value.func) == "fast_constructor":
                assert isinstance(target, ast.Name)
                yield Made(module, target.id, ast.unparse(value.args[0]))


def calls(tree: ast.Module, name: str) -> Iterator[ast.Tuple]:
    """
    Find the tuples that *name* is called with, as far as they are written out.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            (argument,) = node.args
            if isinstance(argument, ast.Tuple) and not any(isinstance(item, ast.Starred) for item in argument.elts):
                yield argument


ALL = list(constructors())


@pytest.mark.parametrize("made", ALL, ids=lambda made: made.name)
def test_every_call_has_every_field(made: Made) -> None:
    """
    A tuple that a fast constructor is called with is as long as its class has fields, since nothing looks at that later.
    """
    fields = getattr(import_module(made.module), made.cls)._fields
    # Private ones of the same name in two modules are two.
    found = [
        (module, len(argument.elts))
        for module, tree in trees()
        if module == made.module or not made.name.startswith("_")
        for argument in calls(tree, made.name)
    ]

    assert [(module, len(fields)) for module, _ in found] == found


def test_constructors_are_found() -> None:
    """
    The search finds those that every walk uses.
    """
    assert {"make_view", "make_facts", "make_compact_hop", "make_compact_call", "make_compact_trace"} <= {
        made.name for made in ALL
    }


def test_a_fast_constructor_makes_what_its_class_makes() -> None:
    """
    It takes the fields as one tuple, and returns an equal value of the same class.
    """
    made = fast_constructor(Pair)((1, 2))

    assert (Pair, Pair(1, 2)) == (type(made), made)
