from __future__ import annotations

import sys
from pathlib import Path

import pytest

from meshwalk.model.functions import import_named
from meshwalk.model.problems import SetupError


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """
    Put a module on the path, and name it.
    """
    (tmp_path / "named_by_a_graph.py").write_text("class Judge:\n    @staticmethod\n    def ask() -> int:\n        return 42\n")
    (tmp_path / "leaves_at_once.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)

    return "named_by_a_graph"


class TestImportNamed:
    def test_a_path_leads_to_what_it_names(self, module: str) -> None:
        """
        A name leads through the module to the function, however deep it lies.
        """
        found = import_named(f"{module}:Judge.ask", "node 'judge'")

        assert found is sys.modules[module].Judge.ask

    def test_what_the_module_does_not_have(self, module: str) -> None:
        """
        A name that leads nowhere is told with the part of the graph that names it.
        """
        with pytest.raises(SetupError, match=f"^node 'judge': '{module}:Judge.tell' cannot be found: module '{module}' has no"):
            import_named(f"{module}:Judge.tell", "node 'judge'")

    def test_a_module_that_does_not_exist(self) -> None:
        """
        A module that is not there is told with the remedy.
        """
        with pytest.raises(SetupError, match=r"cannot be imported \(ModuleNotFoundError: .* in a folder of PYTHONPATH$"):
            import_named("no_such_module_here:f", "backend 'own'")

    def test_a_module_that_leaves(self, module: str) -> None:
        """
        A module that ends the program as it is imported ends the import alone.
        """
        assert module

        with pytest.raises(SetupError, match=r"'leaves_at_once:f' cannot be imported \(SystemExit: 3\)"):
            import_named("leaves_at_once:f", "backend 'own'")
