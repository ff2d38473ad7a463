"""
Vaults of earlier versions: what they hold is reported the same, and is spent on to the nano-dollar.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.redis_server import BINARIES, RedisServer
from meshwalk.budgets import Need, Reservation, Scope, Settlement, SpendPath
from meshwalk.budgets.vaults import Claim, Vault
from meshwalk.budgets.vaults.redis import RedisVault
from meshwalk.budgets.vaults.sqlite import SqliteVault
from meshwalk.model import Amount, Caps
from tests.budgets.vault_contract import balance_of
from tests.budgets.vault_machine import HOUR, Clock


FOLDER = Path(__file__).parents[2] / "records" / "formats"
FORMATS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())

# The time at which the files were written, and the scopes they draw on.
WRITTEN_US = 1_796_000_000_000_000
TENANT = Scope("acme", "tenant", "", 24 * HOUR, Caps(cost_nano_usd=900_000_000))
SESSION = Scope("acme", "session", "ann / größe ☃", None, Caps(cost_nano_usd=50_000_000, calls=40))
WORKFLOW = Scope("acme", "workflow", "job:7", HOUR, Caps(hops=60, output_tokens=90_000), "local")
PATH = SpendPath("desk", "intake > small")

Opened = Callable[[Path, Path], AbstractAsyncContextManager[Vault]]


def content(files: Path, name: str) -> bytes:
    return gzip.decompress((files / f"{name}.gz").read_bytes())


def plain(value: Any) -> Any:
    """
    Return tuples as the lists that JSON has in their place.
    """
    return [plain(part) for part in value] if isinstance(value, tuple) else value


@asynccontextmanager
async def in_sqlite(files: Path, folder: Path) -> AsyncIterator[Vault]:
    path = folder / "vault.sqlite"
    path.write_bytes(content(files, "vault.sqlite"))
    async with await SqliteVault.open(path, clock_us=Clock(WRITTEN_US)) as vault:
        yield vault


@asynccontextmanager
async def in_redis(files: Path, folder: Path) -> AsyncIterator[Vault]:
    with RedisServer(folder, binary=BINARIES[0]) as server:
        for key, (kind, stored) in json.loads(content(files, "redis.json")).items():
            pairs = [[name, value] if kind == "hash" else [value, name] for name, value in stored.items()]
            words = [word.encode("latin-1") if isinstance(word, str) else word for pair in pairs for word in pair]
            server.ask({"hash": "HSET", "zset": "ZADD"}[kind], key.encode("latin-1"), *words)
        async with await RedisVault.open(server.url, clock_us=Clock(WRITTEN_US)) as vault:
            yield vault


@pytest.fixture(params=FORMATS)
def files(request: pytest.FixtureRequest) -> Path:
    """
    Return the folder of one version's files.
    """
    return FOLDER / str(request.param)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
async def vault(request: pytest.FixtureRequest, files: Path, tmp_path: Path) -> AsyncIterator[Vault]:
    opened: Opened = {"sqlite": in_sqlite, "redis": in_redis}[request.param]
    async with opened(files, tmp_path) as vault:
        yield vault


async def test_reports_the_same(vault: Vault, files: Path) -> None:
    """
    Every account has the sums, reservations, caps and lines that the earlier version reported.
    """
    expected = json.loads(content(files, "reports.json"))

    assert expected == {tenant: [plain(report) for report in await vault.reports(tenant)] for tenant in expected}


async def test_settles_what_was_reserved_before(vault: Vault) -> None:
    """
    A reservation of the earlier version is settled at its real cost, in every scope that it was made in.
    """
    before = await vault.balances([TENANT, SESSION, WORKFLOW])
    spent = Amount(1_234_567, 800, 200, 1, 1)

    await vault.exchange(Settlement("acme", "open-1", spent), None)

    after = await vault.balances([TENANT, SESSION, WORKFLOW])
    assert [balance.spent.plus(spent) for balance in before] == [balance.spent for balance in after]
    assert [Amount()] * 3 == [balance.reserved for balance in after]


async def test_spends_on_to_the_end_of_the_cap(vault: Vault) -> None:
    """
    The operator's cap of before holds: exactly what is left of it can be reserved, and one nano-dollar more cannot.
    """
    (balance,) = await vault.balances([SESSION])
    left = 60_000_000 - 17_009_042 - 4_000_000
    assert left == (balance.caps.cost_nano_usd or 0) - balance.used.cost_nano_usd

    too_much = await vault.exchange(None, Reservation("new-1", (SESSION,), Need(left + 1), HOUR, PATH))
    granted = await vault.exchange(None, Reservation("new-2", (SESSION,), Need(left), HOUR, PATH))
    await vault.exchange(Settlement("acme", "new-2", Amount(left)), None)

    assert too_much.refusal is not None
    assert too_much.refusal.contended
    assert granted.refusal is None
    assert Amount(17_009_042 + left, 5_555, 1_191, 15, 14) == (await balance_of(vault, SESSION)).spent


@pytest.mark.parametrize("id_", ["late", "gone"])
async def test_counts_nothing_twice(vault: Vault, id_: str) -> None:
    """
    A charge that was counted, and a reservation that has expired, are known by their ids.
    """
    before = await balance_of(vault, SESSION)

    await vault.charge(id_, (TENANT, SESSION), Amount(2_000_000, 5, 5, 1, 0), PATH)

    assert before == await balance_of(vault, SESSION)


async def test_knows_the_claims(vault: Vault) -> None:
    """
    A result that was stored for retries is there, and a claim without one keeps its owner, who can finish it.
    """
    assert Claim("owner-1", "fingerprint-1", b"a result\x00\xff") == await vault.claim("acme", "key-1", "x", "y", HOUR)
    assert Claim("owner-2", "fingerprint-2") == await vault.claim("acme", "key-2", "x", "y", HOUR)

    await vault.finish("acme", "key-2", "owner-2", b"done", HOUR)

    assert Claim("owner-2", "fingerprint-2", b"done") == await vault.claim("acme", "key-2", "x", "y", HOUR)


async def test_charges_leases_of_before(files: Path, tmp_path: Path) -> None:
    """
    A lease of the earlier version that ends is charged at its worst case, once.
    """
    path = tmp_path / "vault.sqlite"
    path.write_bytes(content(files, "vault.sqlite"))
    async with await SqliteVault.open(path, clock_us=Clock(WRITTEN_US + 2 * HOUR)) as vault:
        balance = await balance_of(vault, SESSION)

    assert (Amount(21_009_042, 6_455, 1_491, 16, 15), Amount()) == (balance.spent, balance.reserved)
