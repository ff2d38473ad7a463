"""
The public names: what they are, when they are imported, and their types.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import assert_type

import pytest

import meshwalk
import meshwalk.backends
import meshwalk.testing
from meshwalk import Client, Mesh, Preview, Router, RouteResult, load
from meshwalk.model import problems


ROOT = Path(__file__).resolve().parents[1]

# The errors of a call are all children of these.
ERRORS = {
    name
    for name, value in vars(problems).items()
    if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == problems.__name__
}

MISSPELT = """
import meshwalk

meshwalk.Mehs
meshwalk.Mesh
"""


async def types(client: Client) -> None:
    """
    Pin the types of the calls that everybody makes; type checkers read it, nobody runs it.
    """
    mesh = load("graph.yaml", traces="traces", grace=5.0)
    routers: list[Router] = [mesh, client]
    for router in routers:
        assert_type(await router.route("Hello", attributes={"task": "proof"}), RouteResult)
        assert_type(await router.decide("Hello"), Preview)
    assert_type(mesh, Mesh)
    assert_type((await mesh.route("Hello", task="proof")).cost_usd, float)


class TestNames:
    @pytest.mark.parametrize("name", meshwalk.__all__)
    def test_every_name_is_there(self, name: str) -> None:
        """
        Each public name can be had, and is kept where the next look finds it at once.
        """
        value = getattr(meshwalk, name)

        assert value is vars(meshwalk)[name]

    def test_all_are_listed(self) -> None:
        """
        `dir` shows the public names and nothing else; the table of their homes has each of them once.
        """
        homes = [name for names in meshwalk._HOMES.values() for name in names]

        assert sorted(meshwalk.__all__) == dir(meshwalk)
        assert sorted([*homes, "__version__"]) == sorted(meshwalk.__all__)

    def test_every_error_is_public(self) -> None:
        """
        Whatever is raised on purpose can be caught by a public name.
        """
        assert {*ERRORS, "NotFound", "RpcError", "Unauthenticated"} <= set(meshwalk.__all__)

    def test_an_unknown_name_is_an_attribute_error(self) -> None:
        """
        A misspelt name fails as it does in any module.
        """
        with pytest.raises(AttributeError, match="module 'meshwalk' has no attribute 'Mehs'"):
            getattr(meshwalk, "Mehs")  # noqa: B009 (type checkers know that it is not there)

    @pytest.mark.parametrize("package", [meshwalk.backends, meshwalk.testing])
    def test_packages_for_other_audiences_list_theirs(self, package: object) -> None:
        """
        Names for authors of backends and of tests stand in packages of their own.
        """
        assert [] == [name for name in vars(package)["__all__"] if not hasattr(package, name)]


@pytest.mark.process
class TestProcesses:
    def test_importing_meshwalk_imports_nothing_else(self) -> None:
        """
        The import costs nothing before a name is used.
        """
        code = "import sys, meshwalk; print(sorted(name for name in sys.modules if name.startswith('meshwalk.')))"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

        assert "[]" == ran.stdout.strip()

    @pytest.mark.slow
    def test_a_misspelt_name_does_not_type_check(self, tmp_path: Path) -> None:
        """
        A type checker knows which names there are.
        """
        snippet = tmp_path / "snippet.py"
        snippet.write_text(MISSPELT, encoding="utf-8")
        mypy = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", f"--cache-dir={ROOT / '.mypy_cache'}"]
        ran = subprocess.run([*mypy, str(snippet)], cwd=ROOT, capture_output=True, text=True, check=False)

        assert 'Module has no attribute "Mehs"' in ran.stdout
        assert "Found 1 error" in ran.stdout
