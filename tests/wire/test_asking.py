"""
What a caller says, as a request.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from meshwalk.mesh import Mesh
from meshwalk.model.problems import RequestError
from meshwalk.server import serve
from meshwalk.wire.client import Client
from meshwalk.wire.request_builder import seconds_of
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
        with pytest.raises(RequestError, match=r"timeout: is .*, and is a number of seconds, or None for ever") as alone:
            await client.route("Hello", timeout=timeout)
        async with client.many() as many:
            with pytest.raises(RequestError) as among_many:
                await many.route("Hello", timeout=timeout)

    assert str(alone.value) == str(among_many.value)
