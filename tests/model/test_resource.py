from __future__ import annotations

import pytest

from meshwalk.model.resource import AsyncResource


class Counting(AsyncResource):
    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.anyio
async def test_a_block_closes_what_it_opened() -> None:
    """
    A resource is closed once at the end of its block, and an error in the block goes on.
    """
    resource = Counting()

    async def lose() -> None:
        async with resource as opened:
            assert (opened, 0) == (resource, resource.closed)
            raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        await lose()

    assert 1 == resource.closed


def test_a_resource_says_how_it_is_closed() -> None:
    """
    A class that does not say how it is closed makes no resource.
    """
    with pytest.raises(TypeError, match="aclose"):
        type("Forgetful", (AsyncResource,), {})()
