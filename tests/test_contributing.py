"""
The text for contributors names what is there: files, folders, targets, and the form of a fragment.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# `src/…`, `tests/…`: a path from the root, unless a part of it is for the reader to fill in.
_PATH = re.compile(r"`((?:src|tests|proto|changes|constraints|benchmarks)/[^`\s<]*)`")
PATHS = sorted(set(_PATH.findall(TEXT)))


@pytest.mark.parametrize("path", PATHS)
def test_paths_exist(path: str) -> None:
    """
    Each path that a recipe names is there.
    """
    assert (ROOT / path).exists()


def test_there_are_paths() -> None:
    """
    The paths are found, so that a change of quotes cannot empty the test above.
    """
    assert len(PATHS) > 25


def test_targets_exist() -> None:
    """
    Each `make` target that the text names is one.
    """
    named = {
        word for line in re.findall(r"`make ([^`]*)`", TEXT) for word in line.split() if re.fullmatch("[a-z][a-z-]*", word)
    }
    targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))

    assert {"coverage", "dist", "matrix", "test", "unit"} <= named
    assert set() == named - targets


def test_fragments_have_a_type() -> None:
    """
    Each fragment is named `+NAME.TYPE.md`, and TYPE is a section of the changelog; others would be left out in silence.
    """
    types = "|".join(entry["directory"] for entry in SETTINGS["tool"]["towncrier"]["type"])
    names = {path.name for path in (ROOT / "changes").iterdir()} - {"README.md", "template.md"}

    assert [] == sorted(name for name in names if not re.fullmatch(rf"\+[a-z0-9-]+\.({types})\.md", name))
