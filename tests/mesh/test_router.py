"""
One protocol for both ways of routing.
"""

from __future__ import annotations

import inspect

import pytest

from meshwalk.mesh import Mesh, MeshOptions, Router
from meshwalk.records.events import AnswerDelta
from meshwalk.records.results import RouteResult
from meshwalk.server import serve
from meshwalk.trace import Message, Outcome, Request
from meshwalk.wire.client import Client
from tests.support.service import DESK


async def answers(router: Router) -> list[object]:
    """
    Return what *router* gives for one request in each of its ways.
    """
    events = [event async for event in router.stream("Hello", session="s")]
    preview = await router.decide("Hello")
    results = [await router.route("Hello"), await router.send(Request((Message("user", "Hello"),))), events[-1]]

    return [
        *((result.answer, result.outcome, result.path) for result in results if isinstance(result, RouteResult)),
        "".join(event.text for event in events if isinstance(event, AnswerDelta)),
        preview,
    ]


@pytest.mark.anyio
async def test_mesh_and_client_are_routers() -> None:
    """
    The same code routes in process and over the wire, with the same results and the same preview.
    """
    async with Mesh(DESK) as mesh, serve([mesh]) as server, Client(f"127.0.0.1:{server.port}") as client:
        routers: list[Router] = [mesh, client]
        here, there = [await answers(router) for router in routers]

        assert all(isinstance(router, Router) for router in routers)
    assert here == there
    assert Outcome.ANSWERED in here[0]  # type: ignore[operator]


def test_options_are_the_arguments_of_a_mesh() -> None:
    """
    `Mesh.from_file` and `load` take each option of `Mesh`, and no other.
    """
    arguments = inspect.signature(Mesh).parameters

    assert [name for name in arguments if name != "plan"] == list(MeshOptions.__annotations__)
