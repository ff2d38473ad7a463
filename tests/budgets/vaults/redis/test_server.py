"""
The vault in Redis when its server goes, forgets, refuses, or stands still, on real servers.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from harness.redis_server import Keeps, RedisServer
from meshwalk.budgets import Settlement
from meshwalk.budgets.vaults.redis import RedisVault
from meshwalk.budgets.vaults.redis.library import library
from meshwalk.budgets.vaults.redis.server import CONNECTIONS
from meshwalk.model.problems import SetupError, VaultUnavailable
from tests.budgets.vault_contract import balance_of, reservation_of, session, spent


PASSWORD = "s3cret-p%40ss"
PLAIN = "s3cret-p@ss"
MARK = "meshwalk:1:{tenant=ada}:mark"

pytestmark = [pytest.mark.anyio, pytest.mark.redis]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
async def vault(server: RedisServer) -> AsyncIterator[RedisVault]:
    vault = await RedisVault.open(server.url, timeout_s=0.3)
    yield vault
    await vault.aclose()


class TestRestarts:
    async def test_nothing_acknowledged_is_lost_from_a_file_that_is_always_written(self, tmp_path: Path) -> None:
        """
        A server that writes before it answers comes back from a crash with every hold and settlement.
        """
        with RedisServer(tmp_path, keeps="everything") as server:
            vault = await RedisVault.open(server.url)
            scope = session(cost_nano_usd=100)
            await vault.exchange(None, reservation_of("h", scope, cost=9))
            before = await vault.exchange(Settlement("ada", "h", spent(7)), reservation_of("i", scope, cost=9))
            server.restart()
            after = await balance_of(vault, scope)
            await vault.aclose()

        assert (before.balances[0], ()) == (after, vault.risks)
        assert 0 == vault.losses

    async def test_calls_under_way_count_once_however_often_they_are_asked(self, tmp_path: Path) -> None:
        """
        With a server that crashes and comes back in the middle, what is asked again until it is answered counts once.
        """
        with RedisServer(tmp_path, keeps="everything") as server:
            vault = await RedisVault.open(server.url)
            scope, failures, done = session(), [0], [0]

            async def call(number: int) -> None:
                reservation = reservation_of(f"h{number}", scope, cost=9)
                for settlement, asked in ((None, reservation), (Settlement("ada", reservation.id, spent(7)), None)):
                    while True:
                        try:
                            await vault.exchange(settlement, asked)
                            break
                        except VaultUnavailable:
                            failures[0] += 1
                            await anyio.lowlevel.checkpoint()
                done[0] += 1

            async with anyio.create_task_group() as group:
                for number in range(150):
                    group.start_soon(call, number)
                while done[0] < 30:
                    await anyio.lowlevel.checkpoint()
                server.kill()
                while not failures[0]:
                    await anyio.lowlevel.checkpoint()
                server.start()
            after = await balance_of(vault, scope)
            await vault.aclose()

        assert (spent(150 * 7), spent(0)) == (after.spent, after.reserved)
        assert 0 == vault.losses

    async def test_server_that_forgot_everything_is_noticed_once(
        self, server: RedisServer, vault: RedisVault, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        A server that comes back empty is given the library again; its loss is told, and the books begin anew.
        """
        scope = session(cost_nano_usd=100)
        await vault.exchange(None, reservation_of("h", scope, cost=9))
        server.restart()
        with caplog.at_level(logging.ERROR):
            async with anyio.create_task_group() as group:
                for number in range(8):
                    group.start_soon(
                        vault.exchange, Settlement("ada", "h", spent(7)), reservation_of(f"i{number}", scope, cost=9)
                    )
        after = await balance_of(vault, scope)
        (said,) = caplog.messages

        assert (spent(0), spent(72)) == (after.spent, after.reserved)
        assert 1 == vault.losses
        assert said.startswith(f"the vault {vault.name} forgot what it had acknowledged: budgets of tenant")

    async def test_server_that_fell_back_is_noticed(self, server: RedisServer, vault: RedisVault) -> None:
        """
        A server that lost only its last calls, as after a failover, has counted fewer than were seen.
        """
        for _ in range(5):
            await vault.balances([session()])
        server.ask("HSET", MARK, "seq", 2)
        await vault.balances([session()])
        await vault.balances([session()])

        assert 1 == vault.losses

    async def test_library_that_was_flushed_is_loaded_again(self, server: RedisServer, vault: RedisVault) -> None:
        """
        A server without the library gets it with the next call, and no books are lost.
        """
        scope = session()
        await vault.exchange(None, reservation_of("h", scope, cost=9))
        server.ask("FUNCTION", "FLUSH")

        assert spent(9) == (await balance_of(vault, scope)).reserved
        assert 0 == vault.losses

    async def test_libraries_of_two_versions_live_side_by_side(self, server: RedisServer, vault: RedisVault) -> None:
        """
        The library's names carry a hash of its text, so that a newer one neither replaces it nor fails to load.
        """
        ours = library()
        server.ask("FUNCTION", "LOAD", ours.text.replace(ours.prefix[:-1], "meshwalk_ffffffffffff"))

        assert spent(0) == (await balance_of(vault, session())).reserved
        assert 2 == len(server.ask("FUNCTION", "LIST"))


class TestAway:
    async def test_server_that_stands_still_is_away_in_time(self, server: RedisServer, vault: RedisVault) -> None:
        """
        A server that does not answer is given up after three times the time of one wait; asking again later holds once.
        """
        scope = session(cost_nano_usd=10)
        reservation = reservation_of("h", scope, cost=8)
        server.freeze()
        try:
            with (
                anyio.fail_after(1.5),
                pytest.raises(VaultUnavailable, match=r"127\.0\.0\.1:\d+/0 did not answer within 0\.3 s"),
            ):
                await vault.exchange(None, reservation)
        finally:
            server.thaw()
        answer = await vault.exchange(None, reservation)

        assert answer.refusal is None
        assert spent(8) == answer.balances[0].reserved

    async def test_more_callers_than_connections_wait_and_get_through(self, server: RedisServer) -> None:
        """
        Hundreds at once share the few connections there are.
        """
        vault = await RedisVault.open(server.url)
        async with anyio.create_task_group() as group:
            for number in range(300):
                group.start_soon(vault.exchange, None, reservation_of(f"h{number}", session(), cost=1))
        clients = server.ask("INFO", "clients")["connected_clients"]
        after = await balance_of(vault, session())
        await vault.aclose()

        assert spent(300) == after.reserved
        assert clients <= 33

    async def test_crowd_before_a_server_that_stands_still_does_not_wait_for_ever(
        self, server: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Whoever does not get a turn in time says so, and whoever got one says what it waited for.
        """
        monkeypatch.setattr("meshwalk.budgets.vaults.redis.server._TURN_TIMEOUTS", 0)
        vault = await RedisVault.open(server.url, timeout_s=0.2)
        said: list[str] = []

        async def ask(number: int) -> None:
            with pytest.raises(VaultUnavailable, match=r"did not answer within|is asked for more than it answers") as away:
                await vault.exchange(None, reservation_of(f"h{number}", session(), cost=1))
            said.append(str(away.value))

        server.freeze()
        try:
            async with anyio.create_task_group() as group:
                for number in range(CONNECTIONS + 5):
                    group.start_soon(ask, number)
        finally:
            server.thaw()
        await vault.aclose()

        assert 5 == sum("a call waited 0 s for one of" in text for text in said)
        assert CONNECTIONS == sum("did not answer within 0.2 s" in text for text in said)

    async def test_nobody_waits_in_line_for_a_server_that_hangs(self, server: RedisServer) -> None:
        """
        Once calls in a row had no answer, those behind them are refused without trying, so that the wait is bounded.
        """
        vault = await RedisVault.open(server.url, timeout_s=0.2)
        said: list[str] = []

        async def ask(number: int) -> None:
            with pytest.raises(VaultUnavailable) as away:
                await vault.exchange(None, reservation_of(f"h{number}", session(), cost=1))
            said.append(str(away.value))

        server.freeze()
        try:
            async with anyio.create_task_group() as group:
                for number in range(4 * CONNECTIONS):
                    group.start_soon(ask, number)
        finally:
            server.thaw()
        after = await vault.balances([session()])
        await vault.aclose()

        assert CONNECTIONS + 8 >= sum("did not answer within 0.2 s" in text for text in said)
        assert 3 * CONNECTIONS - 8 <= sum("has not answered the last" in text for text in said)
        assert 1 == len(after)

    async def test_server_that_is_gone_cannot_be_reached(self, server: RedisServer, vault: RedisVault) -> None:
        """
        Every call says so while there is no server, and a vault cannot be opened there.
        """
        server.kill()
        for _ in range(2):
            with pytest.raises(VaultUnavailable, match="cannot be reached"):
                await vault.balances([session()])
        with pytest.raises(VaultUnavailable, match="cannot be reached"):
            await RedisVault.open(server.url)

    @pytest.mark.parametrize(
        ("commands", "said"),
        [
            ([("REPLICAOF", "127.0.0.1", "1")], "is a replica that takes no writes"),
            ([("DEL", MARK), ("SET", MARK, "x")], "does not do what meshwalk asks"),
            ([("ACL", "SETUSER", "default", "-fcall")], "refuses this user"),
        ],
    )
    async def test_refusal_of_the_server_is_away(
        self, server: RedisServer, vault: RedisVault, commands: list[tuple[str, ...]], said: str
    ) -> None:
        """
        Whatever a server that can be reached will not do, the vault says in a sentence.
        """
        for command in commands:
            server.ask(*command)

        with pytest.raises(VaultUnavailable, match=rf"^redis://127\.0\.0\.1:\d+/0 {said}"):
            await vault.balances([session()])

    async def test_server_without_functions_is_told_apart(self, tmp_path: Path) -> None:
        """
        A server too old for functions is named as such.
        """
        with (
            RedisServer(tmp_path, settings={"rename-command": "FUNCTION NOFUNCTION"}) as server,
            pytest.raises(VaultUnavailable, match=r"lacks a command that meshwalk needs .*; it takes Redis 7\.0"),
        ):
            await RedisVault.open(server.url)


class TestSecrets:
    async def test_password_opens_and_is_never_shown(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """
        Neither names, errors nor logs hold the password, be it right, wrong, or of a server that is gone.
        """
        said = []
        with caplog.at_level(logging.DEBUG), RedisServer(tmp_path, password=PLAIN) as server:
            vault = await RedisVault.open(server.url.replace(PLAIN, PASSWORD))
            said += [repr(vault), vault.name, *vault.risks]
            for url in (f"redis://:{PASSWORD}x@127.0.0.1:{server.port}", f"redis://127.0.0.1:{server.port}"):
                with pytest.raises(VaultUnavailable, match="refuses this user") as refused:
                    await RedisVault.open(url)
                said.append(str(refused.value))
            server.kill()
            with pytest.raises(VaultUnavailable, match="cannot be reached") as gone:
                await vault.balances([session()])
            await vault.aclose()

        assert f"<RedisVault redis://127.0.0.1:{server.port}/0>" == said[0]
        assert [] == [text for text in (*said, str(gone.value), caplog.text) if "s3cret" in text]

    @pytest.mark.parametrize(
        "url",
        [
            f"http://:{PASSWORD}@127.0.0.1",
            f"redis://:{PASSWORD}@127.0.0.1:{PASSWORD}",
            f"redis://:{PASSWORD}@",
            f"redis://:{PASSWORD}@127.0.0.1/zero",
            f"redis://[{PASSWORD}",
            PASSWORD,
        ],
    )
    async def test_bad_url_is_refused_without_being_shown(self, url: str) -> None:
        """
        What is no URL of Redis is refused by saying what one looks like.
        """
        with pytest.raises(SetupError, match=r"redis://\[user:password@\]host") as refused:
            await RedisVault.open(url)

        assert "s3cret" not in str(refused.value)


class TestRisks:
    @pytest.mark.parametrize(
        ("keeps", "settings", "said"),
        [
            ("everything", {}, []),
            ("seconds", {}, ["the last second"]),
            ("snapshots", {}, ["since its last snapshot"]),
            ("nothing", {}, ["forgets everything when it restarts"]),
            ("everything", {"maxmemory": "1gb", "maxmemory-policy": "allkeys-lru"}, ["when its memory is full (allkeys-lru)"]),
            ("everything", {"rename-command": "CONFIG NOCONFIG"}, ["does not tell its settings"]),
        ],
    )
    async def test_what_a_server_may_forget_is_told(
        self, tmp_path: Path, keeps: Keeps, settings: dict[str, str], said: list[str]
    ) -> None:
        """
        An opened vault names what its server may forget, one sentence each.
        """
        with RedisServer(tmp_path, keeps=keeps, settings=settings) as server:
            vault = await RedisVault.open(server.url)
            await vault.aclose()

        assert len(said) == len(vault.risks)
        assert all(words in risk for words, risk in zip(said, vault.risks, strict=True))

    async def test_user_who_may_not_ask_is_told_that_nobody_can(self, server: RedisServer) -> None:
        """
        A user with the least rights can keep books, and is told that the server does not tell.
        """
        rights = (
            "~meshwalk:*",
            "+fcall",
            "+function|load",
            "+ping",
            "+info",
            "+@hash",
            "+@sortedset",
            "+pexpire",
            "+time",
            "+del",
        )
        server.ask("ACL", "SETUSER", "mesh", "on", ">pw", *rights)
        vault = await RedisVault.open(server.url.replace("redis://", "redis://mesh:pw@"))
        await vault.exchange(None, reservation_of("h", session(), cost=1))
        await vault.claim("ada", "k", "t1", "f1", 1_000_000)
        await vault.aclose()

        assert ["does not tell its settings"] == [" ".join(risk.split()[1:6]).rstrip(",") for risk in vault.risks]

    async def test_failover_may_forget(self, tmp_path: Path) -> None:
        """
        A server with a replica is known not to wait for it.
        """
        first, second = tmp_path / "first", tmp_path / "second"
        first.mkdir()
        second.mkdir()
        with (
            RedisServer(first, keeps="everything", settings={"repl-diskless-sync-delay": "0"}) as primary,
            RedisServer(second, settings={"replicaof": f"127.0.0.1 {primary.port}"}),
        ):
            with anyio.fail_after(10):
                while not primary.ask("INFO", "replication")["connected_slaves"]:
                    await anyio.lowlevel.checkpoint()
            vault = await RedisVault.open(primary.url)
            await vault.aclose()

        assert [f"{vault.name} does not wait for its 1 replica(s)"] == [risk.split(",")[0] for risk in vault.risks]
