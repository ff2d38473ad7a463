"""
What can go wrong with a file: it is said in one sentence, nothing is half done, and it goes on when the fault is mended.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from meshwalk.budgets import Ledger, Need, Reservation, Scope, Settlement, SpendLine, SpendPath
from meshwalk.budgets.account import MAX_LINES, OTHERS
from meshwalk.budgets.ledger import KEPT_IDLE_US
from meshwalk.budgets.vaults.sqlite import SqliteVault, database
from meshwalk.budgets.vaults.sqlite.vault import SWEEP_EVERY
from meshwalk.model import Amount
from meshwalk.model.problems import SetupError, VaultUnavailable
from tests.budgets.vault_contract import balance_of, reservation_of, session, spent
from tests.budgets.vault_machine import BEGINNING_US, HOUR, Clock


pytestmark = pytest.mark.anyio

SCOPE = session(cost_nano_usd=1_000_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budgets.sqlite"


@pytest.fixture
async def vault(path: Path, clock: Clock) -> AsyncIterator[SqliteVault]:
    vault = await SqliteVault.open(path, clock_us=clock)
    yield vault
    await vault.aclose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def reserved(vault: SqliteVault) -> int:
    return (await balance_of(vault, SCOPE)).reserved.cost_nano_usd


async def reserve(vault: SqliteVault, id_: str, cost: int = 1) -> None:
    answer = await vault.exchange(None, reservation_of(id_, SCOPE, cost=cost))

    assert answer.refusal is None


def written_out(path: Path) -> bytes:
    """
    Bring everything into the file itself, and return what is in it.
    """
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    return path.read_bytes()


def settlement(id_: str) -> Settlement:
    return Settlement("ada", id_, spent(1))


def content(path: Path) -> bytes | None:
    """
    Read a file, if there is one.
    """
    return path.read_bytes() if path.is_file() else None


def put(path: Path, what: bytes) -> None:
    path.write_bytes(what)


def remove(path: Path) -> None:
    """
    Delete the file and what SQLite keeps beside it.
    """
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def execute(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


# What another process does that reads from a file and goes.
ELSEWHERE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT * FROM sqlite_master").fetchall()
connection.close()
"""


class TestOpening:
    async def test_file_is_made_with_its_folder(self, tmp_path: Path) -> None:
        """
        A new file needs nothing to be there, and only its owner can read it.
        """
        path = tmp_path / "a" / "b" / "budgets.sqlite"
        vault = await SqliteVault.open(path)

        assert 0o600 == path.stat().st_mode & 0o777
        assert f"sqlite:{path}" == vault.name

        await vault.aclose()

    async def test_books_outlast_the_process(self, path: Path, clock: Clock) -> None:
        """
        What was held when a file was closed is held when it is opened again.
        """
        vault = await SqliteVault.open(path, clock_us=clock)
        await reserve(vault, "h", 7)
        await vault.aclose()
        vault = await SqliteVault.open(path, clock_us=clock)

        assert 7 == await reserved(vault)

        await vault.aclose()

    @pytest.mark.parametrize(
        ("make", "why"),
        [
            (lambda path: path.mkdir(), "Is a directory"),
            (lambda path: path.write_text("my diary " * 1000), "file is not a database.*name another file, or a new one"),
            (
                lambda path: execute(path, "CREATE TABLE diary (day)"),
                "is a database, and not of budgets; name another file, or a new one",
            ),
            (
                lambda path: execute(path, "PRAGMA user_version = 1"),
                "is a database, and not of budgets; name another file, or a new one",
            ),
        ],
    )
    async def test_what_is_not_ours_is_left_alone(self, path: Path, make: object, why: str) -> None:
        """
        A path where something else is cannot be a vault, and what is there stays as it is.
        """
        assert callable(make)
        make(path)
        before = content(path)

        with pytest.raises(SetupError, match=why) as raised:
            await SqliteVault.open(path)

        assert str(path) in str(raised.value)
        assert before == content(path)

    @pytest.mark.process
    async def test_to_open_it_twice_leaves_the_locks_of_the_first(self, path: Path) -> None:
        """
        A second vault on the same file, in the same process, does not make others take the first for gone.
        """
        first = await SqliteVault.open(path)
        second = await SqliteVault.open(path)
        await anyio.run_process([sys.executable, "-c", ELSEWHERE, str(path)])
        # Whoever is the last to close the file takes this one away.
        there = path.with_name(path.name + "-wal").exists()
        await second.aclose()
        await first.aclose()

        assert there

    async def test_other_version_is_refused(self, path: Path) -> None:
        """
        A file with another schema is not touched.
        """
        await (await SqliteVault.open(path)).aclose()
        execute(path, "PRAGMA user_version = 7")

        with pytest.raises(SetupError, match=r"another meshwalk \(schema 7; this one knows 1\); use that version"):
            await SqliteVault.open(path)

    async def test_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        """
        A folder below a file is no place for a vault.
        """
        (tmp_path / "file").write_text("")

        with pytest.raises(SetupError, match="name a file in a folder that can be written"):
            await SqliteVault.open(tmp_path / "file" / "budgets.sqlite")

    async def test_file_that_is_kept_busy_is_away(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Who cannot make the tables in time because another process has the file hears that, and not that the file is bad.
        """
        monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")

            with pytest.raises(VaultUnavailable, match="another process has kept the file to itself"):
                await SqliteVault.open(path)

    async def test_many_can_make_it_at_once(self, path: Path) -> None:
        """
        Workers that start together make one file.
        """
        vaults: list[SqliteVault] = []

        async def start() -> None:
            vaults.append(await SqliteVault.open(path))

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(start)
        for number, vault in enumerate(vaults):
            await reserve(vault, f"h{number}")

        assert 8 == await reserved(vaults[0])

        for vault in vaults:
            await vault.aclose()

    @pytest.mark.parametrize(("durable", "synchronous", "risks"), [(False, 1, 1), (True, 2, 0)])
    async def test_says_what_a_power_cut_may_forget(self, path: Path, *, durable: bool, synchronous: int, risks: int) -> None:
        """
        Only a vault that waits for the disk forgets nothing, and the other says so.
        """
        vault = await SqliteVault.open(path, durable=durable)
        connection = vault._database._connection
        assert connection is not None

        assert (synchronous,) == connection.execute("PRAGMA synchronous").fetchone()
        assert risks == len(vault.risks)

        await vault.aclose()


class TestAway:
    async def test_busy_file_comes_back(self, vault: SqliteVault, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A process that does not let go of the file makes the vault away, until it does.
        """
        monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(VaultUnavailable, match="another process has kept the file to itself"):
                await reserve(vault, "h")
        await reserve(vault, "h")

        assert 1 == await reserved(vault)

    async def test_lost_file_is_not_made_anew(self, vault: SqliteVault, path: Path) -> None:
        """
        A file that was deleted is missed until it is back: a new one would forget what was spent.
        """
        await reserve(vault, "h", 5)
        copy = written_out(path)
        remove(path)
        for _ in range(2):
            with pytest.raises(VaultUnavailable, match="the file is gone; put it back"):
                await reserve(vault, "i")

        assert content(path) is None

        put(path, copy)

        assert 5 == await reserved(vault)

    async def test_empty_file_in_its_place_is_not_taken(self, vault: SqliteVault, path: Path) -> None:
        """
        A file that lost what was in it is no new vault.
        """
        await reserve(vault, "h")
        written_out(path)
        remove(path)
        put(path, b"")
        with pytest.raises(VaultUnavailable, match="another file has been put in its place"):
            await reserve(vault, "i")
        with pytest.raises(VaultUnavailable, match="it holds nothing any more"):
            await reserve(vault, "i")

        assert b"" == content(path)

    async def test_damaged_file_is_away_until_it_is_mended(self, vault: SqliteVault, path: Path) -> None:
        """
        Nobody spends from a file that cannot be read; with a copy in its place it goes on.
        """
        await reserve(vault, "h", 5)
        copy = written_out(path)
        put(path, bytes(range(256)) * (len(copy) // 256))
        for _ in range(2):
            with pytest.raises(VaultUnavailable, match="the file is damaged"):
                await reserve(vault, "i")
        put(path, copy)

        assert 5 == await reserved(vault)

    async def test_full_disk_holds_nothing_by_halves(self, vault: SqliteVault) -> None:
        """
        What does not fit on the disk is not held at all, and what comes when there is room is.
        """
        connection = vault._database._connection
        assert connection is not None
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        wide = Reservation("h", (SCOPE,), Need(cost_nano_usd=5), HOUR, SpendPath("g", "a → " * 5_000))
        with pytest.raises(VaultUnavailable, match="the disk is full"):
            await vault.exchange(None, wide)

        assert 0 == await reserved(vault)

        await vault.exchange(None, wide)

        assert 5 == await reserved(vault)

    async def test_closed_vault_is_away(self, vault: SqliteVault, path: Path) -> None:
        """
        Who comes after the end hears so, and the file is complete without the files beside it.
        """
        await reserve(vault, "h")
        await vault.aclose()
        with pytest.raises(VaultUnavailable, match="is closed"):
            await vault.balances([SCOPE])

        assert [path] == list(path.parent.iterdir())


class TestOneAtFault:
    async def test_too_much_to_count_is_refused_alone(self, vault: SqliteVault) -> None:
        """
        A figure past 64 bits is an error and never a rounded one, and others in the same batch do not notice.
        """
        errors: list[str] = []

        async def ask(id_: str, cost: int) -> None:
            try:
                await vault.exchange(None, reservation_of(id_, session("big"), cost=cost))
            except SetupError as error:
                errors.append(f"{id_} {error}")

        async with anyio.create_task_group() as group:
            for number, cost in enumerate([1, 2**63 - 2, 1, 2**63, 0]):
                group.start_soon(ask, f"h{number}", cost)
        (report,) = await vault.reports("ada")

        assert ["h2", "h3"] == sorted(error[:2] for error in errors)
        assert all(f"counts up to {2**63 - 1} of a kind" in error for error in errors)
        assert (spent(2**63 - 1), 3) == (report.reserved, report.reservations)

    @pytest.mark.parametrize("nonsense", ["\ud800", object()])
    async def test_nonsense_is_its_own_callers_fault(self, vault: SqliteVault, nonsense: Any) -> None:
        """
        What cannot be written as text fails for who brought it, and for nobody else.
        """
        errors: list[Exception] = []

        async def ask(id_: Any) -> None:
            try:
                await reserve(vault, id_)
            except (UnicodeEncodeError, sqlite3.ProgrammingError) as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            for id_ in ("a", "b", nonsense, "c"):
                group.start_soon(ask, id_)

        assert 1 == len(errors)
        assert 3 == await reserved(vault)

    async def test_cancelled_callers_leave_nothing_that_cannot_be_settled(self, vault: SqliteVault) -> None:
        """
        A storm of cancelled calls holds at most what was asked, once, and settling every id leaves nothing held.
        """
        ids = [f"h{number}" for number in range(60)]

        async def ask(number: int) -> None:
            with anyio.move_on_after(number % 7 / 1000):
                await reserve(vault, ids[number])

        async with anyio.create_task_group() as group:
            for number in range(60):
                group.start_soon(ask, number)
        count = (await vault.reports("ada"))[0].reservations

        assert count == await reserved(vault) <= 60

        async with anyio.create_task_group() as group:
            for id_ in ids:
                group.start_soon(vault.exchange, settlement(id_), None)

        assert (0, Amount(cost_nano_usd=count)) == (await reserved(vault), (await balance_of(vault, SCOPE)).spent)


class TestForgetting:
    async def test_results_are_wiped_from_the_disk(self, vault: SqliteVault, path: Path, clock: Clock) -> None:
        """
        An answer that was left for retries is not in the file any more when its time is over.
        """
        secret = b"the answer is forty-two"
        await vault.claim("ada", "k", "t1", "f1", HOUR)
        await vault.finish("ada", "k", "t1", secret, HOUR)

        assert secret in written_out(path)

        clock.now += HOUR
        await vault.balances([SCOPE])

        assert secret not in written_out(path)

    @pytest.mark.parametrize(
        ("window_us", "kept_us"),
        [(HOUR, 2 * HOUR - BEGINNING_US % HOUR), (None, KEPT_IDLE_US)],
    )
    async def test_account_is_kept_for_its_time(
        self, vault: SqliteVault, clock: Clock, window_us: int | None, kept_us: int
    ) -> None:
        """
        An account is shown for an hour after its window, or for thirty days of rest, and is gone an hour later at the latest.
        """
        old = Scope("ada", "session", "old", window_us)
        await vault.charge("c", [old], spent(3), SpendPath("g", "a"))
        seen = []
        for step in (kept_us - 1, 1 + HOUR):
            clock.now += step
            await open_accounts(vault, SWEEP_EVERY)
            seen.append([one.lines for one in await vault.reports("ada", name="old")])

        assert [[(SpendLine(SpendPath("g", "a"), spent(3)),)], []] == seen

    async def test_account_with_an_open_hold_is_kept(self, vault: SqliteVault, clock: Clock) -> None:
        """
        What is held is settled in its account, however long ago its window ended.
        """
        old = Scope("ada", "session", "old", HOUR)
        await vault.exchange(None, reservation_of("h", old, cost=3, lease_us=9 * HOUR))
        clock.now += 5 * HOUR
        await open_accounts(vault, SWEEP_EVERY)
        await vault.exchange(settlement("h"), None)
        (report,) = await vault.reports("ada", name="old")

        assert (spent(1), Amount()) == (report.spent, report.reserved)

    async def test_places_past_the_last_line_are_put_together(self, vault: SqliteVault, clock: Clock) -> None:
        """
        A graph that loops fills no disk: from a certain place on the others share a line, as in the ledger.
        """
        ledger = Ledger()
        places = [SpendPath("g", str(number)) for number in range(MAX_LINES + 5)]
        async with anyio.create_task_group() as group:
            for number, spend_path in enumerate([*places, places[7], places[-1]]):
                ledger.charge(clock.now, f"c{number}", [SCOPE], spent(number + 1), spend_path)
                group.start_soon(vault.charge, f"c{number}", [SCOPE], spent(number + 1), spend_path)
        (expected,) = ledger.reports(clock.now, "ada")

        assert [expected] == await vault.reports("ada")
        assert OTHERS in [line.spend_path for line in expected.lines]


async def open_accounts(vault: SqliteVault, count: int) -> None:
    """
    Charge something in so many new accounts, so that the vault sweeps.
    """
    begun = len(await vault.reports("bob"))
    async with anyio.create_task_group() as group:
        for number in range(begun, begun + count):
            group.start_soon(vault.charge, f"n{number}", [session(str(number), "bob")], spent(1), SpendPath())
