"""
Which servers the vault finds by their address, and what is said when one does not let it in.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.redis_server import RedisServer
from meshwalk.budgets.vaults.redis import RedisVault
from meshwalk.model.problems import SetupError, VaultUnavailable


pytestmark = [pytest.mark.anyio, pytest.mark.redis]

REMEDY = r"put it into an environment variable and name that: redis://:\$\{NAME\}@HOST:PORT/DB"


@pytest.mark.parametrize("user", ["", ":wrong-horse@"])
async def test_password(tmp_path: Path, user: str) -> None:
    """
    Without the password, or with a wrong one, the error says how it gets into the address.
    """
    with RedisServer(tmp_path, password="correct-horse") as server, pytest.raises(VaultUnavailable, match=REMEDY) as refused:
        await RedisVault.open(f"redis://{user}127.0.0.1:{server.port}")

    assert "horse" not in str(refused.value)


async def test_database_that_the_server_does_not_have(tmp_path: Path) -> None:
    """
    A database past the server's last is said to be that.
    """
    said = r"has no such database .*; name one that it has, such as 0"
    with RedisServer(tmp_path) as server, pytest.raises(VaultUnavailable, match=said):
        await RedisVault.open(f"redis://127.0.0.1:{server.port}/99")


async def test_socket_of_the_machine(tmp_path: Path) -> None:
    """
    A server is reached over its socket, and the address is shown without the password.
    """
    socket = tmp_path / "redis.sock"
    with RedisServer(tmp_path, password="correct-horse", settings={"unixsocket": f'"{socket}"'}):
        vault = await RedisVault.open(f"unix://:correct-horse@{socket}?db=3")
        found = await vault.reports("default")
        await vault.aclose()

    assert (f"unix://{socket}?db=3", []) == (vault.name, found)


async def test_database_of_a_socket_that_is_none(tmp_path: Path) -> None:
    """
    A database that is no number is refused for a socket as for a port.
    """
    with pytest.raises(SetupError, match="is not of the form"):
        await RedisVault.open(f"unix://{tmp_path / 'redis.sock'}?db=first")
