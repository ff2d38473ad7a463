"""
`meshwalk budget`: the books in a vault's file and on a server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from meshwalk.budgets import Need, Reservation, Scope, Settlement, SpendPath
from meshwalk.budgets.vaults import open_vault
from meshwalk.model import Amount, Caps
from tests.cli import test_serve
from tests.cli.conftest import DESK, Run
from tests.cli.test_serve import serving


KEY = "correct-horse"

SESSION = Scope("default", "session", "s-1", None, Caps(1_000_000_000))
WORKFLOW = Scope("default", "workflow", "w-1", 3_600_000_000, Caps(calls=10))


def spend(where: str, *steps: tuple[str, int], scopes: tuple[Scope, ...] = (SESSION, WORKFLOW)) -> None:
    """
    Spend from a vault: each step names a path and what it cost of two thousand nano-dollars held.
    """

    async def spending() -> None:
        vault = await open_vault(where)
        for number, (path, cost) in enumerate(steps):
            hold = Reservation(f"h-{number}", scopes, Need(2_000, 40, 10, 1, 1), 60_000_000, SpendPath("desk", path))
            await vault.exchange(None, hold)
            if cost >= 0:
                spent = Amount(cost, 30, 8, 1, 1)
                await vault.exchange(Settlement("default", f"h-{number}", spent), None)
        await vault.aclose()

    anyio.run(spending)


@pytest.fixture
def vault(tmp_path: Path) -> str:
    """
    Give a vault in which one walk has spent, one went past its bound, and one still holds.
    """
    where = f"sqlite:{tmp_path / 'vault.sqlite'}"
    spend(where, ("intake > small", 1_500), ("intake > small > large", 2_500), ("intake > small", -1))

    return where


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """
    Serve the desk, with sessions that may make three calls and an operator's key, from a vault in memory.
    """
    path = tmp_path / "desk.yaml"
    text = DESK.replace("backends:", "budgets:\n  session: {calls: 3}\nbackends:")
    path.write_text(
        text.replace("little: {kind: simulated,", "little: {kind: simulated, context_tokens: 99,"), encoding="utf-8"
    )
    monkeypatch.setitem(test_serve.ENVIRONMENT, "OPERATOR_KEY", KEY)
    monkeypatch.setenv("OPERATOR_KEY", KEY)
    with serving(path, "--operator-key-env", "OPERATOR_KEY") as (_, ready):
        yield ready["address"]


class TestShow:
    def test_account_in_json(self, run: Run, vault: str) -> None:
        """
        An account tells what was spent, what is held, what went past its bound, and where.
        """
        shown = run("budget", "show", "--vault", vault, "--session", "s-1", "--json")
        (account,) = shown.json["accounts"]
        none = {"cost_usd": None, "input_tokens": None, "output_tokens": None, "calls": None, "hops": None}

        assert (0, "", "default") == (shown.code, shown.err, shown.json["tenant"])
        assert ("session", "s-1", None, None) == tuple(account[key] for key in ("scope", "name", "window_s", "window_ends"))
        assert (none, none) == (account["caps"], account["graph_caps"])
        assert {"cost_usd": 4e-6, "input_tokens": 60, "output_tokens": 16, "calls": 2, "hops": 2} == account["spent"]
        assert ({"cost_usd": 2e-6, "input_tokens": 40, "output_tokens": 10, "calls": 1, "hops": 1}, 1) == (
            account["reserved"],
            account["holds"],
        )
        assert 5e-7 == account["overrun"]["cost_usd"]
        assert [(["intake", "small", "large"], "large", 2.5e-6), (["intake", "small"], "small", 1.5e-6)] == [
            (line["path"], line["node"], line["cost_usd"]) for line in account["lines"]
        ]

    def test_all_accounts(self, run: Run, vault: str) -> None:
        """
        Without a choice there is a row for each account, and what an operator set is the cap that it shows.
        """
        run("budget", "set", "--vault", vault, "--session", "s-1", "--cost-usd", "2", "--calls", "10")
        shown = run("budget", "show", "--vault", vault)
        rows = {cells[0]: cells for line in shown.out.splitlines() if (cells := line.split())}

        assert 0 == shown.code
        assert ["session", "s-1", "for", "ever", "0.000004", "of", "2", "2", "of", "10"] == rows["session"][:10]
        assert rows["workflow"][2].endswith("Z")
        assert "Where" not in shown.out

    def test_those_that_spent_most(self, run: Run, vault: str) -> None:
        """
        `--top` keeps the accounts that spent most, and says how many it left out.
        """
        every = run("budget", "show", "--vault", vault, "--json").json["accounts"]
        shown = run("budget", "show", "--vault", vault, "--top", "1")
        (first,) = run("budget", "show", "--vault", vault, "--top", "1", "--json").json["accounts"]

        assert max(account["spent"]["cost_usd"] for account in every) == first["spent"]["cost_usd"]
        assert f"There are {len(every) - 1} more account" in shown.out

    def test_one_account_with_its_lines(self, run: Run, vault: str) -> None:
        """
        Of one account people see where it went, the dearest first.
        """
        lines = run("budget", "show", "--vault", vault, "--workflow", "w-1").out.splitlines()
        where = [line.split()[:6] for line in lines if line.strip().startswith("desk")]

        assert any(line.startswith("Where workflow w-1 was spent") for line in lines)
        assert [["desk", "intake", ">", "small", ">", "large"], ["desk", "intake", ">", "small", "0.0000015"]] == [
            where[0],
            where[1][:5],
        ]

    @pytest.mark.parametrize("words", [("--session", "s-2"), ("--tenant", "acme"), ("--graph", "other")])
    def test_nothing_spent(self, run: Run, vault: str, words: tuple[str, str]) -> None:
        """
        Nothing to show is no mistake.
        """
        shown = run("budget", "show", "--vault", vault, *words)

        assert (0, "") == (shown.code, shown.err)
        assert shown.out.startswith("Nothing was reserved or spent")

    def test_names_move_no_cursor(self, run: Run, vault: str) -> None:
        """
        A session that was named to deceive a terminal is shown, not obeyed.
        """
        spend(vault, ("intake", 1), scopes=(SESSION._replace(name="\x1b[2J"),))
        shown = run("budget", "show", "--vault", vault)

        assert "\x1b" not in shown.out
        assert "\\u001b[2J" in shown.out

    def test_names_stay_in_their_line(self, run: Run, vault: str) -> None:
        """
        A table escapes what ends lines or turns their order around, and shortens long names; JSON has them as they are.
        """
        name = "a\nb\u202e" + "c" * 240 + "-the-end"
        spend(vault, ("intake", 1), scopes=(SESSION._replace(name=name),))
        shown = "".join(run("budget", "show", "--vault", vault).out.split())
        names = [account["name"] for account in run("budget", "show", "--vault", vault, "--json").json["accounts"]]

        assert name in names
        assert "a\\u000" in shown
        assert "\u202e" not in shown
        assert shown.count("c") < 60

    @pytest.mark.process
    def test_on_a_server(self, run: Run, target: str) -> None:
        """
        A server shows what its graphs allow beside what was spent from its own memory.
        """
        run("route", "--target", target, "Say hello.", "--session", "s-9")
        shown = run("budget", "show", "--target", target, "--session", "s-9", "--json")
        (account,) = shown.json["accounts"]

        assert (1, 3) == (account["spent"]["calls"], account["graph_caps"]["calls"])
        assert [["intake", "small"]] == [line["path"] for line in account["lines"]]
        assert "1 of 3" in run("budget", "show", "--target", target).out


class TestSet:
    def test_in_a_vault(self, run: Run, vault: str) -> None:
        """
        What is set takes the place of all that was set before, and is said as it stands now.
        """
        first = run("budget", "set", "--vault", vault, "--session", "s-1", "--cost-usd", "0.5", "--hops", "0")
        run("budget", "set", "--vault", vault, "--session", "s-1", "--calls", "7", "--json")
        (account,) = run("budget", "show", "--vault", vault, "--session", "s-1", "--json").json["accounts"]

        assert (0, "The caps of session 's-1' are 0.5 USD, 0 hops.\n") == (first.code, first.out)
        assert {"calls": 7} == {part: cap for part, cap in account["caps"].items() if cap is not None}

    def test_cleared(self, run: Run, vault: str) -> None:
        """
        Cleared caps are the graphs' again.
        """
        run("budget", "set", "--vault", vault, "--workflow", "w-1", "--calls", "7")
        cleared = run("budget", "set", "--vault", vault, "--workflow", "w-1", "--clear")
        (account,) = run("budget", "show", "--vault", vault, "--workflow", "w-1", "--json").json["accounts"]

        assert (0, "The caps of workflow 'w-1' are left to the graphs.\n") == (cleared.code, cleared.out)
        assert {None} == set(account["caps"].values())

    def test_of_a_tenant(self, run: Run, vault: str) -> None:
        """
        The tenant's own budget is set by its own word, and holds for the tenant that is named.
        """
        spend(vault, ("intake", 1), scopes=(Scope("default", "tenant", "default"),))
        said = run("budget", "set", "--vault", vault, "--whole-tenant", "--calls", "1").out
        run("budget", "set", "--vault", vault, "--whole-tenant", "--calls", "9")
        (account,) = run("budget", "show", "--vault", vault, "--whole-tenant", "--json").json["accounts"]

        assert "The caps of the whole tenant are 1 call.\n" == said
        assert ("tenant", "default", 9) == (account["scope"], account["name"], account["caps"]["calls"])

    @pytest.mark.process
    def test_on_a_server(self, run: Run, target: str) -> None:
        """
        With the operator's key a server's budget is set at once; a refusal says whose budget it was.
        """
        words = ("--target", target, "--session", "s-9")
        done = run("budget", "set", *words, "--calls", "1", "--operator-key-env", "OPERATOR_KEY")
        codes = [run("route", *words, "Say hello.").code for _ in range(2)]
        refused = run("route", *words, "Say hello.", "--json").json["error"]

        assert (0, [0, 1]) == (done.code, codes)
        assert ("BudgetExceeded", "session") == (refused["kind"], refused["scope"])

    @pytest.mark.process
    def test_wrong_key(self, run: Run, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Without the operator's key nothing is set, and no key is shown.
        """
        monkeypatch.setenv("OPERATOR_KEY", "wrong-horse")
        words = ("--target", target, "--session", "s-9", "--calls", "1", "--operator-key-env", "OPERATOR_KEY")
        refused = run("budget", "set", *words, "--json")

        assert 2 == refused.code
        assert "Unauthenticated" == refused.json["error"]["kind"]
        assert "the key in the variable 'OPERATOR_KEY' is not the operator's key of" in refused.err
        assert "horse" not in refused.out + refused.err

    @pytest.mark.parametrize("key", ["cl\xe9-horse", "two\nhorses", "a horse"])
    def test_key_that_no_header_can_hold(self, run: Run, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
        """
        A key that no server can have is refused before anything is sent, and not shown.
        """
        monkeypatch.setenv("ODD_KEY", key)
        words = ("--target", "127.0.0.1:1", "--session", "s-9", "--calls", "1", "--operator-key-env", "ODD_KEY")
        refused = run("budget", "set", *words, "--json")

        assert (2, "SetupError") == (refused.code, refused.json["error"]["kind"])
        assert "the key in 'ODD_KEY' holds spaces or characters that are not ASCII" in refused.err
        assert "horse" not in refused.out + refused.err


class TestWrongUse:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("show",), "name where the budgets are kept"),
            (("show", "--vault", "sqlite:a", "--target", "127.0.0.1:1"), "--vault and --target are both given"),
            (("show", "--vault", "memory"), "name that server: --target HOST:PORT"),
            (("show", "--vault", "sqlite:no-such-file"), "there is no vault at 'sqlite:no-such-file'"),
            (("show", "--target", "127.0.0.1:1", "--tenant", "acme"), "leave --tenant out with --target"),
            (("show", "--target", "nowhere"), "is no address"),
            (("show", "--vault", "redis://:secret@127.0.0.1:1/0"), "has a password in it"),
            (("set", "--vault", "V", "--calls", "1"), "takes one of --session, --workflow and --whole-tenant"),
            (("set", "--vault", "V", "--session", "s", "--workflow", "w", "--calls", "1"), "2 budgets are named"),
            (("set", "--vault", "V", "--session", "s"), "takes caps, such as"),
            (
                ("set", "--vault", "V", "--session", "s", "--calls", "1", "--clear"),
                "--clear takes all caps away, and goes with none",
            ),
            (("set", "--vault", "V", "--session", "s", "--calls=-1"), "--calls takes a whole number from 0"),
            (("set", "--vault", "V", "--session", "s", "--calls", f"{10**15 + 1}"), f"from 0 to {10**15}, and"),
            (("set", "--vault", "V", "--session", "s", "--cost-usd", "1e-12"), "is 1e-12, which is finer than a billionth"),
            (("set", "--vault", "V", "--session", "s", "--cost-usd", "9000001"), "in USD from 0 to 9000000, and"),
            (("set", "--vault", "V", "--session", "s" * 257, "--calls", "1"), "--session is 257 characters long"),
            (
                ("set", "--vault", "V", "--workflow", "\ud800", "--calls", "1"),
                "--workflow holds characters that are not Unicode",
            ),
            (("set", "--vault", "V", "--whole-tenant", "--tenant", "t" * 257, "--calls", "1"), "--tenant is 257 characters"),
            (("set", "--vault", "V", "--session", "s", "--cost-usd=-1"), "--cost-usd takes an amount in USD from 0"),
            (("set", "--target", "127.0.0.1:1", "--session", "s", "--calls", "1"), "--operator-key-env NAME"),
            (
                ("set", "--target", "127.0.0.1:1", "--session", "s", "--calls", "1", "--operator-key-env", "NO_SUCH_KEY"),
                "to come from 'NO_SUCH_KEY' in the environment, and that is not set",
            ),
        ],
    )
    def test_is_said(self, run: Run, vault: str, words: tuple[str, ...], said: str) -> None:
        """
        A command line that cannot be meant is refused with what to write instead; no secret is repeated.
        """
        ran = run("budget", *(vault if word == "V" else word for word in words))

        assert 2 == ran.code
        assert said in ran.err
        assert "secret" not in ran.err


class TestRoute:
    @pytest.mark.process
    def test_retry(self, run: Run, target: str) -> None:
        """
        A prompt with a key that was used gets the first walk, and is told so.
        """
        words = ("route", "--target", target, "Say hello.", "--idempotency-key", "k-1")
        first, second = (run(*words, "--json").json for _ in range(2))
        told = run(*words).out

        assert (False, True) == (first["repeated"], second["repeated"])
        assert first["traversal_id"] == second["traversal_id"]
        assert "(of an earlier call)" in told

    def test_key_without_a_server(self, run: Run, desk: Path) -> None:
        """
        Only who goes on running can remember a key.
        """
        refused = run("route", desk, "Say hello.", "--idempotency-key", "k-1")

        assert 2 == refused.code
        assert "is remembered by a server" in refused.err


def test_columns_of_a_wait(capsys: pytest.CaptureFixture[str]) -> None:
    """
    How long a hop waited for others has a column where one did, and a refusal names the scope.
    """
    from meshwalk.cli.show import console, hops_table
    from meshwalk.records.hops import Hop

    def printed(change: Callable[[Hop], Any]) -> str:
        hop = Hop(0, 1, "large", "primary", 0)
        change(hop)
        console().print(hops_table([hop]))
        return capsys.readouterr().out

    def waited(hop: Hop) -> None:
        hop.status, hop.error_class, hop.scope, hop.budget_wait_us = "denied", "budget", "session", 12_340

    usual, denied = printed(lambda hop: hop), printed(waited)

    assert "budget" not in usual
    assert "denied (budget: session)" in denied
    assert "12.34" in denied
