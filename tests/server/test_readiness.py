"""
Readiness: health says apart whether a server lives, whether walks can be answered, and whether records are stored.
"""

from __future__ import annotations

import logging
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshwalk.mesh import Mesh
from meshwalk.model.problems import MeshwalkError, Overloaded
from meshwalk.server import serve
from meshwalk.server.health import Health
from meshwalk.server.readiness import READINESS, RECORDS, Readiness, health_names
from tests.support.backends import raising, saying
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

PLAN = plan_of(
    """
    meshwalk: 1
    name: fragile
    start: only
    backends:
      one: {kind: simulated, breaker: {failures: 1, open: 10m}}
    nodes:
      only: {role: primary, backend: one, next: done}
    """
)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_graph_without_a_working_model_is_not_ready(caplog: pytest.LogCaptureFixture) -> None:
    """
    Its own name and the server's say so, once each in the log, and the server lives on.
    """
    caplog.set_level(logging.WARNING)
    health = Health()
    async with Mesh(PLAN, backends={"one": raising(Overloaded("busy", backend="one"))}) as mesh:
        await health.start(health_names([mesh]))
        readiness = Readiness(health, [mesh], lambda: False)
        await readiness.check()
        before = health.statuses
        with pytest.raises(MeshwalkError):
            await mesh.route("hi")
        await readiness.check()
        await readiness.check()
        after = health.statuses

    assert {SERVING} == set(before.values())
    assert {"": SERVING, RECORDS: SERVING, READINESS: NOT_SERVING, f"{READINESS}/fragile": NOT_SERVING} == after
    assert 2 == caplog.text.count("is NOT_SERVING: no answer can be reached without one")


async def test_one_graph_that_can_be_walked_keeps_a_server_ready() -> None:
    """
    The graph that cannot is told by its own name.
    """
    health = Health()
    other = plan_of(
        """
        meshwalk: 1
        name: well
        start: only
        backends: {b: {kind: simulated}}
        nodes: {only: {role: primary, backend: b, next: done}}
        """
    )
    async with (
        Mesh(PLAN, backends={"one": raising(Overloaded("busy", backend="one"))}) as broken,
        Mesh(other, backends={"b": saying("yes")}) as well,
    ):
        await health.start(health_names([broken, well]))
        with pytest.raises(MeshwalkError):
            await broken.route("hi")
        await Readiness(health, [broken, well], lambda: False).check()

    assert {f"{READINESS}/fragile"} == {name for name, status in health.statuses.items() if status == NOT_SERVING}


async def test_lost_records_are_told_apart_and_so_is_their_end() -> None:
    """
    While records are lost `records` is NOT_SERVING, and nothing else is.
    """
    health, losing = Health(), True
    async with Mesh(PLAN, backends={"one": saying("yes")}) as mesh:
        await health.start(health_names([mesh]))
        readiness = Readiness(health, [mesh], lambda: losing)
        await readiness.check()
        during = health.statuses
        losing = False
        await readiness.check()

    assert {RECORDS} == {name for name, status in during.items() if status == NOT_SERVING}
    assert {SERVING} == set(health.statuses.values())


async def test_a_server_is_asked_by_name() -> None:
    """
    Each of the names is known to a running server.
    """
    async with (
        Mesh(PLAN, backends={"one": saying("yes")}) as mesh,
        serve([mesh]) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        replies = [await stub.Check(health_pb2.HealthCheckRequest(service=name)) for name in ("", *health_names([mesh]))]

    assert {SERVING} == {reply.status for reply in replies}
