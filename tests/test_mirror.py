"""
The tests mirror the code: each module has a test file of its name in the same folder, or a row in `mirror.toml`.
"""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch

import pytest

from tests.support.files import ROOT


SRC = ROOT / "src" / "meshwalk"
TESTS = ROOT / "tests"
ROWS: dict[str, str] = tomllib.loads((TESTS / "mirror.toml").read_text(encoding="utf-8"))


MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts): path
    for path in sorted(SRC.rglob("*.py"))
    if "gen" not in path.parts and path.name != "__init__.py"
}


def mirrored(module: str) -> bool:
    """
    Return whether *module* has a test file of its name, `test_NAME.py` or `test_NAME_PART.py`, in the mirrored folder.
    """
    *folders, name = module.split(".")
    folder = TESTS.joinpath(*folders)

    return (folder / f"test_{name}.py").exists() or any(folder.glob(f"test_{name}_*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_module_has_its_tests(module: str) -> None:
    """
    A module is tested by the file of its name, or the list says where and why there.
    """
    assert mirrored(module) or module in ROWS, f"write tests/{module.replace('.', '/')} as test_….py, or a row in mirror.toml"


@pytest.mark.parametrize("module", ROWS)
def test_row_is_needed_and_true(module: str) -> None:
    """
    A row names a module that there is and that has no test file of its name, and a file of tests that there is.
    """
    place, _, why = ROWS[module].partition(": ")

    assert module in MODULES, f"there is no module {module}"
    assert not mirrored(module), f"{module} has a test file of its name"
    assert (ROOT / place).is_file(), f"there is no {place}"
    assert why


def test_every_test_is_collected(pytestconfig: pytest.Config) -> None:
    """
    No folder of tests has a name that pytest leaves out.
    """
    left_out = pytestconfig.getini("norecursedirs")
    folders = {part for path in TESTS.rglob("test_*.py") for part in path.relative_to(TESTS).parent.parts}

    assert [] == sorted(folder for folder in folders if any(fnmatch(folder, pattern) for pattern in left_out))
