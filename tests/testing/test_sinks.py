"""
The sink that keeps records.
"""

from __future__ import annotations

import pytest

from meshwalk.mesh import Mesh
from meshwalk.testing import RecordList
from tests.support.plans import plan_of


@pytest.mark.anyio
async def test_keeps_every_walk() -> None:
    """
    Each walk of a mesh is in the list, in the order they ended.
    """
    records = RecordList()
    plan = plan_of(
        """
        meshwalk: 1
        name: one
        start: a
        backends: {model: {kind: simulated}}
        nodes: {a: {role: answer, backend: model, next: done}}
        """
    )
    async with Mesh(plan, sinks=[records]) as mesh:
        ids = [(await mesh.route("Hello")).traversal_id for _ in range(2)]

    assert ids == [traversal.traversal_id for traversal in records.traversals]
    assert "<RecordList: 2 traversals>" == repr(records)
