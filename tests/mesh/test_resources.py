"""
Resources: opened together, and closed whatever happens.
"""

from __future__ import annotations

import logging
from pathlib import Path

import anyio
import pytest

from meshwalk.backends.simulated import SimulatedBackend
from meshwalk.budgets.vaults import MemoryVault
from meshwalk.mesh import Mesh, resources
from meshwalk.model.problems import SetupError
from meshwalk.records.store import TraceReader, TraceWriter
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

PLAN = plan_of(
    """
    meshwalk: 1
    name: pair
    start: a
    backends:
      one: {kind: simulated}
      two: {kind: simulated}
    nodes:
      a: {role: answer, backend: one, next: b}
      b: {role: answer, backend: two, next: done}
    """
)


class Closings:
    """
    The closings of backends, vaults and stores, of which those named in *failing* fail.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *failing: str) -> None:
        self.closed: list[str] = []
        for cls in (SimulatedBackend, MemoryVault, TraceWriter):
            self._watch(monkeypatch, cls, fails=cls.__name__ in failing)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, cls: type, *, fails: bool) -> None:
        aclose = cls.aclose  # type: ignore[attr-defined]

        async def watched(self: object) -> None:
            closings.append(cls.__name__)
            await aclose(self)
            if fails:
                raise OSError(f"{cls.__name__} does not close")

        closings = self.closed
        monkeypatch.setattr(cls, "aclose", watched)


class TestClosing:
    async def test_a_failing_close_keeps_no_other_open(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """
        The vault and the store are closed although every backend fails to close, and the records are on the disk.
        """
        closings = Closings(monkeypatch, "SimulatedBackend")
        with pytest.raises(OSError, match="SimulatedBackend does not close"):
            async with Mesh(PLAN, traces=tmp_path, vault="memory") as mesh:
                done = await mesh.route("Hello")

        assert ["MemoryVault", "SimulatedBackend", "SimulatedBackend", "TraceWriter"] == sorted(closings.closed)
        with TraceReader(tmp_path) as traces:
            assert [done.traversal_id] == [traversal.traversal_id for traversal in traces.traversals()]

    async def test_a_hanging_close_is_cut_short(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        Closing one resource takes no longer than its limit; the log names what was left.
        """

        async def hang(_: object) -> None:
            await anyio.sleep_forever()

        monkeypatch.setattr(SimulatedBackend, "aclose", hang)
        monkeypatch.setattr(resources, "CLOSE_SECONDS", 0.01)
        with caplog.at_level(logging.WARNING):
            async with Mesh(PLAN):
                pass

        assert [f"backend '{name}' was not closed within 0.01 seconds, and is left as it is" for name in ("two", "one")] == [
            record.getMessage() for record in caplog.records
        ]


class TestOpening:
    async def test_a_failure_closes_all_that_is_open(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """
        Whatever fails last on the way in, everything that was opened before is closed.
        """
        closings = Closings(monkeypatch)

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("no engine today")

        monkeypatch.setattr("meshwalk.mesh.mesh.Engine", fail)
        with pytest.raises(RuntimeError, match="no engine today"):
            async with Mesh(PLAN, traces=tmp_path, vault="memory"):
                pass

        assert ["MemoryVault", "SimulatedBackend", "SimulatedBackend", "TraceWriter"] == sorted(closings.closed)

    async def test_a_mesh_that_failed_to_open_can_be_opened_again(self) -> None:
        """
        A failed opening leaves the mesh closed, and not half open.
        """
        mesh = Mesh(PLAN, vault="nowhere")
        with pytest.raises(SetupError, match="the vault's address"):
            await mesh.__aenter__()
        with pytest.raises(SetupError, match="the vault's address"):
            await mesh.__aenter__()

        assert "<Mesh pair: closed>" == repr(mesh)
