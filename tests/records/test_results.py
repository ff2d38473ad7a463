"""
One type of result, made here or by a server.
"""

from __future__ import annotations

import pickle
import re

import pytest

from meshwalk.mesh import Mesh
from meshwalk.model.problems import SetupError
from meshwalk.records.results import RouteResult
from meshwalk.server import serve
from meshwalk.testing import ScriptedBackend
from meshwalk.trace import Outcome
from meshwalk.wire.client import Client
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

PLAN = plan_of(
    """
    meshwalk: 1
    name: desk
    start: ask
    request:
      task: {type: string, enum: [prose, proof], default: prose}
    backends:
      model: {kind: simulated}
    nodes:
      ask: {role: answer, backend: model, next: [{to: sorry, when: "request.task == 'proof'"}, {to: done}]}
      sorry: {role: refusal, reason: we do not prove}
    """
)


async def both(task: str) -> tuple[RouteResult, RouteResult]:
    """
    Route one request, and fetch the same walk from a server, by its idempotency key.
    """
    backend = ScriptedBackend.replying("Hi")
    async with (
        Mesh(PLAN, backends={"model": backend}) as mesh,
        serve([mesh]) as server,
        Client(f"127.0.0.1:{server.port}") as client,
    ):
        call = {"task": task, "idempotency_key": "k"}
        await mesh.route("Hello", **call)  # type: ignore[arg-type]
        here = await mesh.route("Hello", **call)  # type: ignore[arg-type]

        return here, await client.route("Hello", detail="FULL", **call)  # type: ignore[arg-type]


class TestBoth:
    @pytest.mark.parametrize("task", ["prose", "proof"])
    async def test_are_equal(self, task: str) -> None:
        """
        A walk's result is the same in process and over the wire, its record included.
        """
        here, there = await both(task)

        assert here == there
        assert hash(here) == hash(there)
        assert here.figures() == there.figures()
        assert here.record is not None
        assert here.record == there.record

    @pytest.mark.parametrize("task", ["prose", "proof"])
    async def test_go_to_other_processes(self, task: str) -> None:
        """
        A result can be pickled, and takes its record along.
        """
        for result in await both(task):
            again = pickle.loads(pickle.dumps(result))

            assert result == again
            assert result.hops == again.hops

    async def test_show_what_happened(self) -> None:
        """
        A result prints as its graph, its path, its end and its cost.
        """
        here, there = await both("proof")

        assert "<RouteResult desk: ask > sorry, refused, 0.000000 USD>" == repr(here) == repr(there)
        assert (Outcome.REFUSED, "sorry", "we do not prove", "", None) == (
            here.outcome, here.node, here.reason, here.answer, here.error(),
        )  # fmt: skip


class TestServed:
    async def test_entries_stay_on_the_server(self) -> None:
        """
        A result of a server has no traversal, and says where to look.
        """
        _, there = await both("prose")
        remedy = f"the entries of walk {there.traversal_id} are on the server; ask with `detail=` and read `record`"
        with pytest.raises(SetupError, match=re.escape(remedy)):
            _ = there.traversal
