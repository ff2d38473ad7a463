"""
Workers behind one port: real processes that are started, killed, replaced and stopped.

The processes are tiny: a worker need only say that it is ready, and stop when it is told to or left alone.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream

from meshwalk.model.problems import SetupError
from meshwalk.server import workers as room
from meshwalk.server.workers import WorkerFailed, WorkerPool, reserved_port, worker_pool


pytestmark = pytest.mark.anyio

Started = MemoryObjectReceiveStream[int]

# Says that it is ready, and stops when its supervisor goes or says so.
GOOD = """
import os, signal
from meshwalk.server.workers import lifeline
lifeline()
print('{"ready":true,"pid":%d}' % os.getpid(), flush=True)
signal.pause()
"""

# Does not stop when it is told to.
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('{"ready":true}', flush=True)
while True: signal.pause()
"""

# Breaks when it is told to stop.
BREAKING = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
print('{"ready":true}', flush=True)
while True: signal.pause()
"""

# Is ready the first time, and then never again.
ONCE = """
import pathlib, signal, sys
mark = pathlib.Path(sys.argv[1])
if mark.exists():
    sys.exit(3)
mark.touch()
print('{"ready":true}', flush=True)
signal.pause()
"""


def program(text: str, *words: object) -> list[str]:
    return [sys.executable, "-c", text, *map(str, words)]


def gone(pid: int) -> bool:
    """
    Tell whether no process has this id any more, not even one that nobody has asked how it ended.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True

    return False


class Told:
    """
    Keep what was complained of, and wake who waits for it.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._send, self._receive = anyio.create_memory_object_stream[str](100)

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._send.send_nowait(line)

    async def next(self) -> str:
        with anyio.fail_after(30):
            return await self._receive.receive()

    def close(self) -> None:
        self._send.close()
        self._receive.close()


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.close()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    """
    Give the number of each worker as it is ready.
    """
    send, receive = anyio.create_memory_object_stream[int](100)
    start = WorkerPool.start

    async def starting(self: WorkerPool, *numbers: int) -> None:
        await start(self, *numbers)
        for number in numbers:
            send.send_nowait(number)

    monkeypatch.setattr(WorkerPool, "start", starting)
    yield receive
    send.close()
    receive.close()


@pytest.mark.process
class TestWorking:
    async def test_runs_until_it_is_left(self, told: Told) -> None:
        """
        So many processes run as were asked for, each said that it was ready, and none is left afterwards.
        """
        async with worker_pool(program(GOOD), 2, report=told, grace=10) as workers:
            pids = workers.pids
            alive = [not gone(pid) for pid in pids]

        assert 2 == len(set(pids))
        assert [True, True] == alive
        assert workers.ready["pid"] in pids
        assert [True, True] == [gone(pid) for pid in pids]
        assert [] == told.lines

    @pytest.mark.slow
    async def test_one_that_dies_is_replaced(self, told: Told, started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A worker that is killed is told of, and another one takes its place; the others are left alone.
        """
        monkeypatch.setattr(room, "FIRST_PAUSE_SECONDS", 0.01)
        async with worker_pool(program(GOOD), 2, report=told, grace=10) as workers:
            first, second = before = workers.pids
            ready = [await started.receive(), await started.receive()]
            os.kill(first, signal.SIGKILL)
            with anyio.fail_after(30):
                ready.append(await started.receive())
            after = workers.pids

        assert [0, 1, 0] == ready
        assert first not in after
        assert second in after
        killed = f"worker 1 (process {first}) was killed by signal 9; another one starts in 0.01 s"
        assert [f"{killed}; walks of its last second may have no record"] == told.lines
        assert [True, True, True] == [gone(pid) for pid in {*before, *after}]

    async def test_one_that_dies_again_and_again(self, told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """
        A worker that cannot start again is tried again, ever more seldom, and keeps nobody from stopping.
        """
        monkeypatch.setattr(room, "FIRST_PAUSE_SECONDS", 0.01)
        monkeypatch.setattr(room, "MAX_PAUSE_SECONDS", 0.02)
        async with worker_pool(program(ONCE, tmp_path / "mark"), 1, report=told, grace=10) as workers:
            os.kill(workers.pids[0], signal.SIGTERM)
            lines = [(await told.next()).partition(") ")[2] for _ in range(4)]

        assert [
            "was killed by signal 15; another one starts in 0.01 s; walks of its last second may have no record",
            *["ended with exit code 3; another one starts in 0.02 s"] * 3,
        ] == lines

    async def test_first_that_cannot_start(self, told: Told) -> None:
        """
        What keeps the first worker from starting keeps all, and is handed on as it was said.
        """
        text = "print('{\\n  \"error\": 1\\n}'); raise SystemExit(2)"
        with pytest.raises(WorkerFailed) as caught:
            async with worker_pool(program(text), 2, report=told, grace=10):
                pytest.fail("nothing was ready")

        assert (2, '{\n  "error": 1\n}\n') == (caught.value.code, caught.value.stdout)

    async def test_one_that_does_not_stop_is_killed(self, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A worker that has had its time ends all the same.
        """
        monkeypatch.setattr(room, "MARGIN_SECONDS", 0.05)
        async with worker_pool(program(STUBBORN), 1, report=told, grace=0) as workers:
            (pid,) = workers.pids

        assert gone(pid)
        lost = "had not stopped after 0.05 s and was killed; what it had not recorded yet is lost"
        assert [f"worker 1 (process {pid}) {lost}"] == told.lines

    async def test_one_that_breaks_as_it_stops_is_told_of(self, told: Told) -> None:
        """
        A worker that does not come to its end in good order may have lost something, and the log says so; others are not named.
        """
        async with worker_pool(program(BREAKING), 1, report=told, grace=10) as workers:
            (pid,) = workers.pids

        lost = "ended with exit code 3 as it stopped; what it had not recorded yet is lost"
        assert [f"worker 1 (process {pid}) {lost}"] == told.lines

    @pytest.mark.slow
    async def test_supervisor_that_is_killed_leaves_nobody(self) -> None:
        """
        Workers stop by themselves when their supervisor dies without a word.
        """
        text = f"""
import anyio
from meshwalk.server.workers import worker_pool
async def main():
    async with worker_pool([{sys.executable!r}, "-c", {GOOD!r}], 2, report=print, grace=10) as workers:
        print(*workers.pids, flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""
        supervisor = await anyio.open_process(program(text))
        async with supervisor:
            assert supervisor.stdout is not None
            line = await BufferedByteReceiveStream(supervisor.stdout).receive_until(b"\n", 100)
            pids = [int(pid) for pid in line.split()]
            # They are nobody's children soon, but what can be waited for stays open until then.
            ends = [os.pidfd_open(pid) for pid in pids]
            supervisor.kill()
            await supervisor.wait()
            with anyio.fail_after(30):
                for end in ends:
                    await anyio.wait_readable(end)
                    os.close(end)

        assert 2 == len(pids)


class TestReserving:
    def test_port_0_is_chosen_once(self) -> None:
        """
        The address that is given has a real port, at which processes that share it may listen.
        """
        with reserved_port("127.0.0.1:0") as address:
            host, _, port = address.rpartition(":")
            with socket.create_server((host, int(port)), reuse_port=True):
                pass

        assert 0 < int(port) < 65536

    def test_nobody_else_takes_it(self) -> None:
        """
        Who does not share finds the port taken, and so does a second supervisor, who would share its calls without a word.
        """
        with reserved_port("127.0.0.1:0") as address:
            port = int(address.rpartition(":")[2])
            with pytest.raises(OSError, match="in use"), socket.create_server(("127.0.0.1", port)):
                pass
            with (
                socket.create_server(("127.0.0.1", port), reuse_port=True),
                pytest.raises(SetupError, match=f"cannot listen at '127.0.0.1:{port}'"),
                reserved_port(address),
            ):
                pass

    def test_name_of_this_machine(self) -> None:
        """
        A name stands for all its addresses that this machine has.
        """
        with reserved_port("localhost:0") as address:
            assert address.startswith("localhost:")
            assert not address.endswith(":0")

    @pytest.mark.parametrize(
        ("listen", "said"),
        [("127.0.0.1", "is no address"), ("192.0.2.1:0", "cannot listen at"), ("no-such-host.invalid:0", "cannot listen at")],
    )
    def test_no_address(self, listen: str, said: str) -> None:
        """
        An address that is none, or not of this machine, is refused in a sentence.
        """
        with pytest.raises(SetupError, match=said), reserved_port(listen):
            pass
