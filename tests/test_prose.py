"""
Prose and names that read at first sight: the rules of `[tool.meshwalk.prose]`, held in the whole package.

`python tests/support/prose.py PATH` lists the faults below a path.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.prose import ROOT, SRC, faults_below, faults_of


def rules_broken(text: str, name: str = "module.py") -> list[str]:
    """
    Return the rules that a file with this text breaks.
    """
    return [fault.rule for fault in faults_of(Path(name), text)]


def test_the_package_keeps_every_rule() -> None:
    """
    No file of the package breaks a rule.
    """
    assert [] == [str(fault) for fault in faults_below(SRC)]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("a class is no order", 'class A:\n    """Hold a thing."""\n'),
        ("a class is no order", 'class A:\n    """\n    Call the model.\n    """\n'),
        ("opener of a docstring", 'def f():\n    """What is returned."""\n'),
        ("opener of a docstring", '"""Where it stands."""\n'),
        ("opener of a comment", "# Whether it holds.\nA = 1\n"),
        ("opener of a comment", "A = 1  # how it is done\n".replace("how", "How")),
        ("metaphor", "# The front door of the package.\n"),
        ("metaphor", '"""Laws of this room: none."""\n'),
        ("pet name", "class Purse: ...\n"),
        ("pet name", "def f(purse): ...\n"),
        ("pet name", "class A:\n    most_tokens: int\n"),
    ],
)
def test_finds(rule: str, text: str) -> None:
    """
    Each rule finds what it is against.
    """
    assert rule in rules_broken(text)


@pytest.mark.parametrize(
    "text",
    [
        'class A:\n    """Call state of one attempt."""\n',
        'class A:\n    """The reservations of one walk."""\n',
        "# One text over two lines, because a sentence may go on:\n# Where a line begins is chance.\nA = 1\n",
        "B = 1  # leaves room for a sum\n",
        "_purse = 1\n",
        "def f(expression, trips_over): ...\n",
    ],
)
def test_lets_pass(text: str) -> None:
    """
    Things that look like a breach and are none are let pass.
    """
    assert [] == rules_broken(text)


def test_names_of_files_and_of_the_wire() -> None:
    """
    Pet names are found in the names of files and in what a proto file declares, at their lines.
    """
    found = [str(fault) for fault in faults_of(Path("express.proto"), "message Good {\n  int64 most_tokens = 1;\n}\n")]

    assert [
        "express.proto:1: pet name of a file: express",
        "express.proto:2: pet name of the wire: most_tokens (most)",
    ] == found


def test_the_script_looks_at_the_repository() -> None:
    """
    The folder that is looked through when none is named is there.
    """
    assert (ROOT / "src" / "meshwalk" / "py.typed").exists()
    assert (SRC / "__init__.py").exists()
