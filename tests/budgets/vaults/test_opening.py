"""
From an address to a vault: what is taken, what is refused, and that no secret is ever shown.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Self

import pytest

from meshwalk.budgets.vaults import MemoryVault, open_vault
from meshwalk.budgets.vaults.fallback import FallbackVault
from meshwalk.budgets.vaults.opening import ADDRESS_FORMS
from meshwalk.model.problems import SetupError


pytestmark = pytest.mark.anyio

REMEDY = "put it into an environment variable and name that: redis://:${NAME}@HOST:PORT/DB"


class FakeRedis(MemoryVault):
    """
    Remember the address it was opened at.
    """

    opened: str

    @classmethod
    async def open(cls, url: str) -> Self:
        vault = cls()
        vault.opened = url

        return vault


@pytest.fixture
def fake_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("meshwalk.budgets.vaults.redis")
    vars(module)["RedisVault"] = FakeRedis
    monkeypatch.setitem(sys.modules, "meshwalk.budgets.vaults.redis", module)


async def opened_at(where: str) -> str:
    vault = await open_vault(where)
    assert isinstance(vault, FallbackVault)
    assert isinstance(vault._vault, FakeRedis)

    return vault._vault.opened


async def refusal_of(where: str) -> str:
    with pytest.raises(SetupError, match="vault") as caught:
        await open_vault(where)

    return str(caught.value)


async def test_memory() -> None:
    """
    `memory` is a vault in this process, which nothing stands by for.
    """
    assert isinstance(await open_vault(" memory "), MemoryVault)


async def test_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    `sqlite:` is a file, and its path may come from the environment.
    """
    monkeypatch.setenv("BOOKS", str(tmp_path))
    vault = await open_vault("sqlite:${BOOKS}/budgets.db")
    await vault.aclose()

    assert isinstance(vault, FallbackVault)
    assert (tmp_path / "budgets.db").exists()


@pytest.mark.parametrize(
    "where",
    [
        "redis://127.0.0.1:6379/0",
        "redis://cache",
        "rediss://cache:6380/3?ssl_cert_reqs=required",
        "unix:///run/redis.sock?db=2",
        "redis://reader@[::1]:6379/0",
    ],
)
@pytest.mark.usefixtures("fake_redis")
async def test_redis(where: str) -> None:
    """
    An address of Redis is handed on as it is.
    """
    assert where == await opened_at(where)


@pytest.mark.usefixtures("fake_redis")
async def test_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A password may hold whatever it likes, and still is the password.
    """
    monkeypatch.setenv("PASSWORD", "p@ss:w/rd?#")
    monkeypatch.setenv("HOST", "cache")

    assert "redis://me:p%40ss%3Aw%2Frd%3F%23@cache:6379/1" == await opened_at("redis://me:${PASSWORD}@${HOST}:6379/1")


@pytest.mark.usefixtures("fake_redis")
async def test_whole_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An address that a platform provides, password and all, is used as it is.
    """
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@cache:6379/0")

    assert "redis://:hunter2@cache:6379/0" == await opened_at("${REDIS_URL}")


@pytest.mark.parametrize(
    "where",
    [
        "redis://:hunter2@cache:6379/0",
        "redis://me:hunter2@cache",
        "rediss://me:hunter2${X}@cache",
        "unix://me:hunter2@/run/redis.sock",
        "redis://cache/0?password=hunter2",
        "rdis://:hunter2@cache",
    ],
)
async def test_password_in_the_open_is_refused(where: str) -> None:
    """
    A password that anybody could read is not used, not shown, and the remedy is.
    """
    assert f"the vault's address has a password in it, where anybody may read it; {REMEDY}" == await refusal_of(where)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("postgres://db/budgets", "begins with 'postgres'"),
        ("redis:6379", "begins with 'redis'"),
        ("Memory", "begins with 'Memory'"),
        ("sqlite", "begins with 'sqlite'"),
        ("", "begins with no kind of vault"),
        ("/tmp/books", "begins with no kind of vault"),
        ("redis://", "has a host or a port that cannot be one"),
        ("redis://cache:99999/0", "has a host or a port that cannot be one"),
        ("redis://cache:0/0", "has a host or a port that cannot be one"),
        ("redis://cache/books", "has a database that is no number"),
        ("unix://", "names no socket"),
    ],
)
async def test_what_is_no_address_is_refused(where: str, why: str) -> None:
    """
    An address that no vault can be at is refused with all that are.
    """
    assert f"the vault's address {why}; write {ADDRESS_FORMS}" == await refusal_of(where)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("sqlite:", "the vault's address names no file; write sqlite:PATH"),
        ("sqlite::memory:", "a vault in memory is no file; write memory"),
        (
            "redis://:${NOT_SET_HERE}@cache",
            "the vault needs the environment variable NOT_SET_HERE, which is not set; set it and start again",
        ),
    ],
)
async def test_what_is_missing_is_named(where: str, message: str) -> None:
    """
    What an address leaves open is said, with the remedy.
    """
    assert message == await refusal_of(where)


async def test_secret_from_the_environment_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What came from the environment is not quoted, even where it is at fault.
    """
    monkeypatch.setenv("REDIS_URL", "hunter2://:hunter2@cache")

    assert "hunter2" not in await refusal_of("${REDIS_URL}")


async def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without the client of Redis the remedy is to install it.
    """
    monkeypatch.setattr(importlib, "import_module", lambda _: _raise(ModuleNotFoundError("No module", name="redis")))

    assert "a vault in Redis needs the package redis; install meshwalk[redis]" == await refusal_of("redis://cache")


async def test_broken_package_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A module that is missing for another reason is shown as it is.
    """
    monkeypatch.setattr(importlib, "import_module", lambda _: _raise(ModuleNotFoundError("No module", name="hiredis")))

    with pytest.raises(ModuleNotFoundError, match="No module"):
        await open_vault("redis://cache")


def _raise(error: Exception) -> SimpleNamespace:
    raise error
