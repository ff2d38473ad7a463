"""
The vault in Redis, on real servers: it agrees with the ledger, and does what every vault does and a bit more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import anyio
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from harness.redis_server import BINARIES, RedisServer
from meshwalk.budgets import Need, Reservation, Scope, Settlement, SpendPath
from meshwalk.budgets.account import MAX_LINES, OTHERS
from meshwalk.budgets.vaults import Vault
from meshwalk.budgets.vaults.redis import RedisVault
from meshwalk.budgets.vaults.redis.server import CONNECTIONS
from meshwalk.model import Amount, Caps
from meshwalk.model.problems import SetupError, VaultUnavailable
from tests.budgets.vault_contract import VaultContract, balance_of, reservation_of, session, spent
from tests.budgets.vault_machine import HOUR, NAMES, SECOND, Clock, VaultMachine


pytestmark = pytest.mark.redis

MAX_VALUE = 2**53 - 1


@pytest.fixture(scope="module", params=BINARIES)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), binary=request.param) as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    shared.ask("FLUSHALL")

    return shared


@pytest.fixture
async def vault(server: RedisServer) -> AsyncIterator[RedisVault]:
    vault = await RedisVault.open(server.url)
    yield vault
    await vault.aclose()


@pytest.mark.slow
def test_agrees_with_the_ledger(server: RedisServer) -> None:
    """
    Whatever two replicas ask in whatever order, Redis answers as the ledger does.
    """

    class Machine(VaultMachine):
        async def open(self, clock: Clock) -> Sequence[Vault]:
            server.ask("FLUSHALL")

            return [await RedisVault.open(server.url, clock_us=clock) for _ in range(2)]

    run_state_machine_as_test(Machine, settings=settings(max_examples=40, stateful_step_count=35))


class TestContract(VaultContract):
    @pytest.fixture
    async def doors(self, clock: Clock, server: RedisServer) -> AsyncIterator[Sequence[Vault]]:
        doors = [await RedisVault.open(server.url, clock_us=clock) for _ in range(2)]
        yield doors
        for door in doors:
            await door.aclose()


@pytest.mark.anyio
class TestCalls:
    async def test_hops_take_one_round_trip_more_than_there_are(self, server: RedisServer, vault: RedisVault) -> None:
        """
        Four hops are five calls: each settles the hop before and holds the next.
        """
        scopes = (session(cost_nano_usd=100), Scope("ada", "workflow", "w", HOUR, Caps(calls=9)))
        before, last = server.calls("fcall"), None
        for hop in range(4):
            await vault.exchange(last, reservation_of(f"h{hop}", *scopes, cost=9))
            last = Settlement("ada", f"h{hop}", spent(7))
        await vault.exchange(last, None)

        assert 5 == server.calls("fcall") - before
        assert spent(28) == (await balance_of(vault, scopes[0])).spent

    async def test_two_tenants_are_two_calls(self, vault: RedisVault) -> None:
        """
        A settlement of another tenant than the hold's lies elsewhere in a cluster, and still counts.
        """
        await vault.exchange(None, reservation_of("h", session(tenant="ada"), cost=5))
        await vault.exchange(Settlement("ada", "h", spent(4)), reservation_of("h", session(tenant="bob"), cost=3))

        assert spent(4) == (await balance_of(vault, session(tenant="ada"))).spent
        assert spent(3) == (await balance_of(vault, session(tenant="bob"))).reserved

    @pytest.mark.slow
    async def test_two_replicas_spend_a_cap_to_its_end(self, server: RedisServer, vault: RedisVault) -> None:
        """
        Whoever asks again while contended gets in as others settle, and together they never pass the cap.
        """
        other = await RedisVault.open(server.url)
        scope = session(cost_nano_usd=100)

        async def call(number: int) -> None:
            door = (vault, other)[number % 2]
            reservation = reservation_of(f"h{number}", scope, cost=7)
            answer = await door.exchange(None, reservation)
            while answer.refusal is not None and answer.refusal.contended:
                answer = await door.exchange(None, reservation)
            if answer.refusal is None:
                reserved = answer.balances[0]
                assert reserved.spent[0] + reserved.reserved[0] <= 100
                await door.exchange(Settlement("ada", reservation.id, spent(3)), None)

        async with anyio.create_task_group() as group:
            for number in range(60):
                group.start_soon(call, number)
        await other.aclose()

        # 32 calls of 3 leave less than the worst case of another.
        assert spent(96) == (await balance_of(vault, scope)).spent

    async def test_cancelled_call_leaves_no_answer_behind(self, vault: RedisVault) -> None:
        """
        Whoever comes after a call that was given up gets its own answer.
        """
        scope = session(cost_nano_usd=10**9)

        async def ask(number: int) -> None:
            await vault.exchange(None, reservation_of(f"h{number}", scope, cost=1))

        for number in range(2 * CONNECTIONS):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, number)
                for _ in range(number % 16):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()

            assert [] == await vault.reports("nobody")

    async def test_verdict_that_does_not_follow_is_no_grant(self, vault: RedisVault) -> None:
        """
        Where the server judges otherwise than the rule in this process, nothing goes on.
        """
        reservation = reservation_of("h", session(cost_nano_usd=10), cost=5)
        granted = await vault.exchange(None, reservation)

        with pytest.raises(VaultUnavailable, match="does not follow from how its accounts stand"):
            vault._refusal(reservation, granted.balances, b"0 0 contended")


@pytest.mark.anyio
class TestTime:
    async def test_time_is_the_servers(self, vault: RedisVault) -> None:
        """
        Without a clock of its own the vault goes by the server's: a lease of a microsecond is over at the next call.
        """
        scope = Scope("ada", "session", "s", HOUR, Caps(cost_nano_usd=10))
        granted = await vault.exchange(None, reservation_of("h", scope, cost=4, lease_us=1))
        after = await balance_of(vault, scope)

        assert 0 < (granted.balances[0].resets_in_us or 0) <= HOUR
        assert (spent(4), Amount()) == (after.spent, after.reserved)

    async def test_keys_of_accounts_end(self, server: RedisServer, vault: RedisVault) -> None:
        """
        An account's keys live an hour longer than its window and its leases, or thirty days; a claim's, an hour longer than it.
        """
        await vault.exchange(None, reservation_of("h", Scope("ada", "workflow", "w", SECOND), cost=1, lease_us=SECOND))
        await vault.charge("c", [session()], spent(1), SpendPath("g", "a"))
        await vault.claim("ada", "k", "t1", "f1", 5 * SECOND)
        left = {
            key.decode().rpartition("}:")[2].rpartition(":")[0]: server.ask("PTTL", key)
            for key in server.ask("KEYS", "*")
            if any(part in key for part in (b"}:account:", b"}:lines:", b"}:claim:"))
        }
        hours = {name: round(ms / 3_600_000, 1) for name, ms in left.items()}

        assert {
            "account:workflow:w:1000000": 2.0,
            "account:session:s-1:-": 720.0,
            "lines:session:s-1:-": 720.0,
            "claim": 1.0,
        } == hours

    async def test_more_leases_than_one_call_charges_stay_held(self, server: RedisServer) -> None:
        """
        A call charges a thousand ended leases and leaves the rest to the next ones, held until then.
        """
        clock, scope = Clock(), session()
        vault = await RedisVault.open(server.url, clock_us=clock)

        async def ask(number: int) -> None:
            await vault.exchange(None, reservation_of(f"h{number}", scope, cost=1, lease_us=SECOND))

        async with anyio.create_task_group() as group:
            for number in range(1005):
                group.start_soon(ask, number)
        clock.now += SECOND
        first, second = await balance_of(vault, scope), await balance_of(vault, scope)
        await vault.aclose()

        assert (spent(1000), spent(5)) == (first.spent, first.reserved)
        assert (spent(1005), Amount()) == (second.spent, second.reserved)


@pytest.mark.anyio
class TestNames:
    async def test_all_keys_of_a_tenant_have_one_hash_tag(self, server: RedisServer, vault: RedisVault) -> None:
        """
        Whatever tenants and scopes are called, a tenant's keys share what stands in the first braces, and no other's.
        """
        for tenant in NAMES:
            await vault.exchange(None, reservation_of("a}{b:c", session("{x}", tenant), cost=5))
            await vault.charge("c:{1}", [session("s", tenant)], spent(1), SpendPath("g}", "{a"))
            await vault.claim(tenant, "k}{", "t1", "f1", HOUR)
            await vault.set_caps(tenant, "session", "}{", Caps(calls=1))
        tags = [key[: key.index(b"}") + 1] for key in server.ask("KEYS", "*")]

        assert len(NAMES) == len(set(tags))
        assert {tags.count(tag) for tag in tags} == {10}

    async def test_words_that_are_no_text_are_kept(self, vault: RedisVault) -> None:
        """
        Half a surrogate pair, which UTF-8 cannot write, comes back as it went in.
        """
        scope = session("\ud800 s")
        await vault.charge("\udfff", [scope], spent(1), SpendPath("g\ud800", "a"))
        (report,) = await vault.reports("ada")

        assert ("\ud800 s", SpendPath("g\ud800", "a")) == (report.name, report.lines[0].spend_path)

    @pytest.mark.slow
    async def test_places_past_the_most_are_one(self, server: RedisServer) -> None:
        """
        An account that is spent from at ever new places counts what is past the thousandth together.
        """
        vault = await RedisVault.open(server.url)

        async def charge(number: int) -> None:
            await vault.charge(f"c{number}", [session()], spent(1), SpendPath("g", f"n{number}"))

        async with anyio.create_task_group() as group:
            for number in range(MAX_LINES + 3):
                group.start_soon(charge, number)
        (report,) = await vault.reports("ada")
        await vault.aclose()

        assert MAX_LINES + 1 == len(report.lines)
        assert (OTHERS, spent(3)) == report.lines[0]

    async def test_statements_of_many_accounts_come_whole(self, vault: RedisVault) -> None:
        """
        Accounts that do not go into one answer are read in several, each once.
        """
        scopes = [session(f"s-{number:03}") for number in range(300)]
        await vault.charge("c", scopes, spent(1), SpendPath("g", "a"))

        assert [scope.name for scope in scopes] == [one.name for one in await vault.reports("ada")]
        assert ["s-007"] == [one.name for one in await vault.reports("ada", "session", "s-007")]


@pytest.mark.anyio
class TestNumbers:
    async def test_largest_number_is_exact(self, server: RedisServer, vault: RedisVault) -> None:
        """
        Up to 2^53 - 1 every sum and every verdict is exact, and written in digits only.
        """
        scope = session(cost_nano_usd=MAX_VALUE)
        await vault.exchange(None, reservation_of("h", scope, cost=MAX_VALUE - 1))
        await vault.exchange(Settlement("ada", "h", spent(MAX_VALUE - 1)), reservation_of("i", scope, cost=1))
        answer = await vault.exchange(None, reservation_of("j", scope, cost=1))
        stored = server.ask("HGETALL", "meshwalk:1:{tenant=ada}:account:session:s-1:-:0")

        assert answer.refusal is not None
        assert answer.refusal.contended
        assert (spent(MAX_VALUE - 1), spent(1)) == (answer.balances[0].spent, answer.balances[0].reserved)
        assert all(word.isdigit() for value in stored.values() for word in value.split())

    @pytest.mark.parametrize("ask", ["cap", "need", "spent"])
    async def test_larger_number_is_refused(self, vault: RedisVault, ask: str) -> None:
        """
        What a double cannot hold exactly is refused with the most that can be.
        """
        scope = session(cost_nano_usd=MAX_VALUE + (ask == "cap"))
        reservation = Reservation("h", (scope,), Need(cost_nano_usd=MAX_VALUE + (ask == "need")), SECOND)

        with pytest.raises(SetupError, match=r"9007199\.254740991 USD"):
            await vault.exchange(Settlement("ada", "g", spent(MAX_VALUE + (ask == "spent"))), reservation)


@pytest.mark.slow
@pytest.mark.anyio
async def test_one_node_of_a_cluster_takes_all_calls(tmp_path: Path) -> None:
    """
    A server in cluster mode, which refuses a call that touches two slots, takes all of ours.
    """
    with RedisServer(tmp_path, settings={"cluster-enabled": "yes", "cluster-require-full-coverage": "no"}) as server:
        server.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in server.ask("CLUSTER", "INFO"):
            await anyio.lowlevel.checkpoint()
        vault = await RedisVault.open(server.url)
        for tenant in ("", "ada", "{x}", "a b"):
            scopes = (session("}{", tenant), Scope(tenant, "workflow", "w", HOUR))
            await vault.exchange(None, reservation_of("h", *scopes, cost=5, lease_us=1))
            await vault.exchange(Settlement(tenant, "h", spent(3)), reservation_of("i", *scopes, cost=5))
            await vault.charge("c", scopes, spent(2), SpendPath("g", "a"))
            await vault.set_caps(tenant, "session", "}{", Caps(calls=1))
            await vault.claim(tenant, "k", "t1", "f1", HOUR)
            await vault.finish(tenant, "k", "t1", b"done", HOUR)

            assert [spent(7), spent(7)] == [one.spent for one in await vault.reports(tenant)]

        await vault.aclose()
