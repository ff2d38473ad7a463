"""
What is an address, for servers and clients alike.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model.problems import SetupError
from meshwalk.wire.address import checked_address
from meshwalk.wire.client import Client


@given(st.sampled_from(["127.0.0.1", "localhost", "[::1]", "[fe80::1%eth0]", "models.example"]), st.integers(1, 65_535))
def test_host_and_port(host: str, port: int) -> None:
    """
    A name or a number with a port of 16 bits comes back as it is.
    """
    assert f"{host}:{port}" == checked_address(f"{host}:{port}", first_port=1)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "foo",
        ":1",
        "a:",
        "a:b",
        "127.0.0.1:65536",
        "127.0.0.1:99999",
        "http://a:1",
        "a:1/x",
        "::1:1",
        "a:-1",
        "a:1\n",
        "u@a:1",
    ],
)
def test_what_is_none(address: str) -> None:
    """
    Anything else is refused with the form to write, whoever would use it.
    """
    with pytest.raises(SetupError, match="is no address: write HOST:PORT"):
        checked_address(address, first_port=0)
    with pytest.raises(SetupError, match="with a port from 1 to 65535"):
        Client(address)


def test_port_0_is_for_listening() -> None:
    """
    Nobody can be dialled at port 0.
    """
    assert "a:0" == checked_address("a:0", first_port=0)

    with pytest.raises(SetupError, match="'a:0' is no address"):
        checked_address("a:0", first_port=1)
