"""
`meshwalk serve --workers`: several processes that share a port, a store and a vault.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from meshwalk.records.store import TraceReader
from meshwalk.wire.client import Client, NotFound
from tests.cli.conftest import DESK, Run
from tests.cli.test_serve import ran, serving_beside


pytestmark = pytest.mark.anyio

BUDGETS = "budgets:\n  session: {calls: 3}\nbackends:"


@pytest.fixture
def counting(tmp_path: Path) -> Path:
    """
    Give the desk with a session that may make three calls, behind which anything goes wrong as before.
    """
    path = tmp_path / "counting.yaml"
    text = DESK.replace("backends:", BUDGETS).replace("name: desk", "name: counting")
    path.write_text(
        text.replace("little: {kind: simulated,", "little: {kind: simulated, context_tokens: 1000,"), encoding="utf-8"
    )

    return path


def listeners(port: int) -> set[str]:
    """
    Return the sockets that listen at *port*, by their inodes.
    """
    return sockets_at(port, "0A")


def sockets_at(port: int, state: str) -> set[str]:
    """
    Return the sockets at *port* that are in a *state*, as the kernel numbers them, by their inodes.
    """
    # gRPC listens at an IPv4 address with a socket of IPv6, where the machine has that.
    tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]

    return {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == state}


def sockets_of(pid: int) -> set[str]:
    """
    Return the inodes of the sockets that the process *pid* has.
    """
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]

    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


async def fetched(address: str, traversal_id: str) -> str:
    """
    Return the id of a record that a server shows, once it is stored.
    """
    async with Client(address) as client:
        while True:
            try:
                return (await client.traversal(traversal_id)).traversal_id
            except NotFound:
                await anyio.lowlevel.checkpoint()


@pytest.mark.process
class TestWorkers:
    async def test_take_connections_in_turns(self, counting: Path, tmp_path: Path) -> None:
        """
        Of sixteen connections two workers get eight each, if the kernel lets itself be told to; else each is given to one.
        """
        words = ("--workers", "2", "--vault", f"sqlite:{tmp_path / 'vault.sqlite'}")
        async with serving_beside(counting, *words) as (_, ready):
            with ExitStack() as stack:
                for _ in range(16):
                    one = stack.enter_context(socket.create_connection(("127.0.0.1", ready["port"])))
                    # The settings that a server begins with say that it has taken the connection.
                    assert await anyio.to_thread.run_sync(one.recv, 9)
                taken = [len(sockets_of(pid) & sockets_at(ready["port"], "01")) for pid in ready["pids"]]

        assert 16 == sum(taken)
        assert [8, 8] == taken or not ready["turns"]

    @pytest.mark.slow
    async def test_share_port_store_and_vault(self, counting: Path, tmp_path: Path) -> None:
        """
        Two workers listen at one port; a session's calls are counted together, and any worker shows every record.
        """
        traces, vault = tmp_path / "traces", tmp_path / "vault.sqlite"
        words = ("--workers", "2", "--vault", f"sqlite:{vault}", "--traces", traces)
        async with serving_beside(counting, *words) as (process, ready):
            held = [sockets_of(pid) & listeners(ready["port"]) for pid in (process.pid, *ready["pids"])]
            outcomes: Counter[str] = Counter()
            walked: list[str] = []
            # Connections of their own, so that the kernel gives some to each worker.
            for _ in range(8):
                async with Client(ready["address"]) as client:
                    try:
                        walked.append((await client.route("hi", session="s-1")).traversal_id)
                        outcomes["answered"] += 1
                    except Exception as error:  # noqa: BLE001 (counted)
                        outcomes[type(error).__name__] += 1
            # Stored within a second; on connections of their own again, so that each worker is asked.
            shown = [await fetched(ready["address"], traversal_id) for traversal_id in walked for _ in range(4)]
            process.send_signal(signal.SIGTERM)
            out, err = await anyio.to_thread.run_sync(process.communicate)

        with TraceReader(traces) as reader:
            stored = {row.traversal_id for row in reader.list(outcome="answered")}
            everything = len(reader.list())

        assert [0, 1, 1] == [len(one) for one in held]
        assert {"answered": 3, "BudgetExceeded": 5} == outcomes
        assert (set(walked), 8) == (stored, everything)
        assert [traversal_id for traversal_id in walked for _ in range(4)] == shown
        assert (0, "") == (process.returncode, out)
        # What the vault may forget is told once, however many opened it.
        risks = [line for line in err.splitlines() if line.startswith("warning: ")]

        assert [f"warning: vault {ready['vault']}: {risk}" for risk in ready["risks"]] == risks
        # Each walk that found no budget has a line of the log.
        assert 5 == err.count("warning: a walk failed [")
        assert 1 == len(ready["risks"])

    @pytest.mark.slow
    async def test_one_that_is_killed_is_replaced(self, desk: Path, tmp_path: Path) -> None:
        """
        A worker that is killed is told of on stderr and replaced, while the other serves; stopping leaves no process.
        """
        async with serving_beside(desk, "--workers", "2", "--vault", f"sqlite:{tmp_path / 'vault.sqlite'}") as (process, ready):
            first, second = ready["pids"]
            ends = [os.pidfd_open(pid) for pid in ready["pids"]]
            os.kill(first, signal.SIGKILL)
            await anyio.wait_readable(ends[0])
            async with Client(ready["address"]) as client:
                between = await client.route("hi")
            # The port has two listeners again when the new one is there.
            with anyio.fail_after(30):
                while len(listeners(ready["port"])) < 2:
                    await anyio.lowlevel.checkpoint()
            async with Client(ready["address"]) as client:
                after = await client.route("hi")
            process.send_signal(signal.SIGINT)
            out, err = await anyio.to_thread.run_sync(process.communicate)
            await anyio.wait_readable(ends[1])
            for end in ends:
                os.close(end)

        assert ("answered", "answered") == (between.outcome.value, after.outcome.value)
        killed = f"warning: worker 1 (process {first}) was killed by signal 9; another one starts in 0.2 s"
        assert f"{killed}; walks of its last second may have no record" == err.splitlines()[-1]
        assert (0, "") == (process.returncode, out)
        assert second != first
        assert set() == listeners(ready["port"])

    @pytest.mark.slow
    async def test_supervisor_that_is_killed_leaves_nobody(self, desk: Path, tmp_path: Path) -> None:
        """
        Workers do not outlive their supervisor.
        """
        async with serving_beside(desk, "--workers", "2", "--vault", f"sqlite:{tmp_path / 'vault.sqlite'}") as (process, ready):
            ends = [os.pidfd_open(pid) for pid in ready["pids"]]
            process.kill()
            with anyio.fail_after(30):
                for end in ends:
                    await anyio.wait_readable(end)
                    os.close(end)

        assert set() == listeners(ready["port"])


class TestSetup:
    @pytest.mark.process
    def test_budgets_are_not_counted_in_each_memory(self, counting: Path) -> None:
        """
        Workers that would count a budget each for themselves are not started; the remedy is named.
        """
        served = ran("serve", counting, "--workers", "2", "--listen", "127.0.0.1:0")

        assert (2, "") == (served.code, served.out)
        assert "would count the budgets of counting 2 times over" in served.err
        assert "--vault sqlite:vault.sqlite" in served.err

    @pytest.mark.process
    @pytest.mark.slow
    def test_what_keeps_one_from_starting(self, desk: Path, tmp_path: Path) -> None:
        """
        A worker that cannot start says why once, and the server ends as one alone would.
        """
        missing = DESK.replace(
            "broken: {kind: simulated, failure: {rate: 1, class: malformed},",
            'broken: {kind: openai, base_url: "http://127.0.0.1:9/v1", model: m, key_env: NO_SUCH_KEY_HERE,',
        )
        desk.write_text(missing, encoding="utf-8")
        words = (
            "serve",
            desk,
            "--workers",
            "2",
            "--vault",
            f"sqlite:{tmp_path / 'v.sqlite'}",
            "--listen",
            "127.0.0.1:0",
            "--json",
        )
        served = ran(*words)

        assert 2 == served.code
        assert "NO_SUCH_KEY_HERE" in json.loads(served.out)["error"]["message"]
        assert 1 == served.err.count("NO_SUCH_KEY_HERE")

    @pytest.mark.parametrize("count", ["0", "-1", "many", "1.5"])
    def test_no_number(self, run: Run, desk: Path, count: str) -> None:
        """
        The number of workers is a whole one from 1.
        """
        served = run("serve", desk, f"--workers={count}")

        assert 2 == served.code
        assert "--workers takes a whole number from 1" in served.err

    def test_help_hides_what_workers_are_told(self, run: Run) -> None:
        """
        How a worker is told that it is one is nobody else's business.
        """
        assert "--as-worker" not in run("serve", "--help").out

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--vault", ""), "--vault takes a name, and '' is none"),
            (("--vault", "cupboard:x"), "the vault's address begins with 'cupboard'"),
            (("--tenant", ""), "--tenant takes a name"),
            (("--retry-window", "long"), "--retry-window takes a duration"),
            (("--operator-key-env", "NO_SUCH_KEY_HERE"), "from 'NO_SUCH_KEY_HERE' in the environment"),
        ],
    )
    def test_wrong_use(self, run: Run, desk: Path, words: tuple[str, ...], said: str) -> None:
        """
        What cannot be served from is said before anything listens.
        """
        served = run("serve", desk, "--listen", "127.0.0.1:0", *words)

        assert 2 == served.code
        assert said in served.err
