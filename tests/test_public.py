"""
The public names, and when they are imported; their types are held in `typing/`.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable

import pytest

import meshwalk
import meshwalk.backends
import meshwalk.server
import meshwalk.testing
from meshwalk.model import problems


# The errors of a call are all children of these.
ERRORS = {
    name
    for name, value in vars(problems).items()
    if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == problems.__name__
}


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


CLASSES = [
    pytest.param(value, id=f"{package.__name__}.{name}")
    for package in (meshwalk, meshwalk.backends, meshwalk.testing, meshwalk.server)
    for name in package.__all__
    if inspect.isclass(value := getattr(package, name)) and not getattr(value, "_is_protocol", False)
]
# The end of a context manager, by the method without arguments that does the same.
CLOSED = {"aclose": "__aexit__", "close": "__exit__"}


def _is_alone(method: Callable[..., object]) -> bool:
    return len(inspect.signature(method).parameters) == 1


class TestClasses:
    @pytest.mark.parametrize("kind", CLASSES)
    def test_prints_something(self, kind: type) -> None:
        """
        No public class shows the address of its object in place of its content.
        """
        assert any("__repr__" in vars(parent) for parent in kind.__mro__[:-1])

    @pytest.mark.parametrize("kind", CLASSES)
    def test_whatever_is_closed_is_a_context_manager(self, kind: type) -> None:
        """
        Each public class with a method that closes it closes itself at the end of a `with` block, too.
        """
        methods = [name for name in CLOSED if inspect.isfunction(method := getattr(kind, name, None)) and _is_alone(method)]

        assert [] == [name for name in methods if not hasattr(kind, CLOSED[name])]


@pytest.mark.process
class TestProcesses:
    def test_importing_meshwalk_imports_nothing_else(self) -> None:
        """
        The import costs nothing before a name is used.
        """
        code = "import sys, meshwalk; print(sorted(name for name in sys.modules if name.startswith('meshwalk.')))"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

        assert "[]" == ran.stdout.strip()
