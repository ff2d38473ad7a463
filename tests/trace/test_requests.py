"""
A call's arguments as a request.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from meshwalk.mesh import Mesh
from meshwalk.model import Limits
from meshwalk.model.problems import RequestError
from meshwalk.server import serve
from meshwalk.trace.requests import build_request, seconds_of, within
from meshwalk.wire.client import Client, Many
from tests.support.service import DESK


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(None, None), (2, 2.0), (0.5, 0.5), (-1, -1.0), (math.inf, None), (1e30, None), (10**40, None)]
)
def test_a_time_longer_than_any_call_is_none(timeout: float | None, seconds: float | None) -> None:
    """
    Seconds are seconds, and more of them than a deadline can hold are no deadline.
    """
    assert seconds == seconds_of(timeout)


@pytest.mark.parametrize("timeout", [math.nan, "5s", True])
@pytest.mark.anyio
async def test_no_number_of_seconds_is_refused_alike(timeout: Any) -> None:
    """
    A call alone and one on a stream of many say the same of a time that is none.
    """
    async with Mesh(DESK) as mesh, serve([mesh]) as server, Client(f"127.0.0.1:{server.port}") as client:
        with pytest.raises(RequestError, match=r"timeout: is .*, and is a number of seconds, a timedelta") as alone:
            await client.route("Hello", timeout=timeout)
        async with client.many() as many:
            with pytest.raises(RequestError) as among_many:
                await many.route("Hello", timeout=timeout)

    assert str(alone.value) == str(among_many.value)


@pytest.mark.parametrize(
    ("timeout", "deadline_us"), [(None, 5_000_000), (2, 2_000_000), (9.5, 5_000_000), (timedelta(seconds=1), 1_000_000)]
)
def test_a_timeout_only_tightens_the_deadline(timeout: timedelta | float | None, deadline_us: int) -> None:
    """
    In process a timeout is a deadline among the others, and the nearest one holds.
    """
    assert Limits(deadline_us=deadline_us, calls=3) == within(Limits(deadline_us=5_000_000, calls=3), timeout)


def test_attributes_come_as_a_mapping_or_as_keywords() -> None:
    """
    Both ways of giving attributes add up.
    """
    request = build_request("Hello", attributes={"task": "sums"}, named={"urgency": "batch"})

    assert {"task": "sums", "urgency": "batch"} == request.attributes


@pytest.mark.anyio
async def test_one_graph_behaves_alike_in_process_and_over_the_wire() -> None:
    """
    `Mesh` and `Client` take the same attributes in the same ways, and refuse the same ones in the same words.
    """
    calls: list[dict[str, Any]] = [
        {"task": "proof"},
        {"attributes": {"task": "proof"}},
        {"attributes": {"task": "proof"}, "task": "proof"},
        {"tier": "gold"},
        {"attributes": {"session": "s-1"}},
    ]
    async with Mesh(DESK) as mesh, serve([mesh]) as server, Client(f"127.0.0.1:{server.port}") as client, client.many() as many:
        routers: list[Mesh | Client | Many] = [mesh, client, many]
        for call in calls:
            ends = [await end(router, **call) for router in routers]

            assert [ends[0]] * 3 == ends, call


async def end(router: Mesh | Client | Many, **call: Any) -> object:
    """
    Return where a call leads: the path of its walk, or what was refused.
    """
    try:
        return (await router.route("Prove it.", **call)).path
    except RequestError as error:
        return str(error)
