"""
`meshwalk diff`.
"""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import DESK, Run


class TestDiff:
    def test_the_same(self, run: Run, desk: Path, tmp_path: Path) -> None:
        """
        A comment is no difference: exit 0.
        """
        (tmp_path / "new.yaml").write_text("# said again\n" + DESK, encoding="utf-8")
        told = run("diff", desk, tmp_path / "new.yaml")

        assert (0, "the graphs mean the same\n") == (told.code, told.out)
        assert {"same": True, "same_shape": True, "changes": []} == run("diff", desk, tmp_path / "new.yaml", "--json").json

    def test_a_threshold(self, run: Run, desk: Path, tmp_path: Path) -> None:
        """
        Another value of a threshold is a difference, and the shape is the same.
        """
        (tmp_path / "new.yaml").write_text(DESK.replace("value: 0.8", "value: 0.7"), encoding="utf-8")
        told = run("diff", desk, tmp_path / "new.yaml")
        document = run("diff", desk, tmp_path / "new.yaml", "--json").json

        assert 1 == told.code
        assert (
            "~ 'value' of threshold 'sure': 0.8 → 0.7\n1 change, in threshold values only: the shape is the same\n" == told.out
        )
        assert (False, True) == (document["same"], document["same_shape"])
        assert [
            {
                "kind": "changed",
                "what": "thresholds.sure.value",
                "old": 0.8,
                "new": 0.7,
                "message": "'value' of threshold 'sure': 0.8 → 0.7",
            }
        ] == document["changes"]

    def test_marks(self, run: Run, desk: Path, tmp_path: Path) -> None:
        """
        What is new, gone and changed has a mark of its own.
        """
        new = DESK.replace("sorry", "pardon").replace("we do not prove", "no proofs here")
        (tmp_path / "new.yaml").write_text(new, encoding="utf-8")
        told = run("diff", desk, tmp_path / "new.yaml")

        assert 1 == told.code
        assert "+ node 'pardon' is new (role 'refusal')" in told.out
        assert "- node 'sorry' is gone" in told.out
        assert "~ 'to' of the edge to 'pardon'" in told.out
        assert told.out.endswith("3 changes\n")

    def test_a_faulty_graph_is_wrong_use(self, run: Run, desk: Path) -> None:
        """
        A graph with errors means nothing, so nothing is compared: exit 2, with its faults.
        """
        told = run("diff", desk, Path(__file__).parent / "faulty.yaml")

        assert (2, "") == (told.code, told.out)
        assert "faulty.yaml:" in told.err
