"""
Connections to a shared port, one for each listener in turn.
"""

from __future__ import annotations

import fcntl
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from meshwalk.server import reuseport
from meshwalk.server.reuseport import take_turns


def listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind((host, port))
    one.listen(64)
    one.setblocking(False)

    return one


@pytest.fixture(params=["127.0.0.1", "::1"])
def three(request: pytest.FixtureRequest) -> Iterator[list[socket.socket]]:
    """
    Give three listeners at one port.
    """
    with ExitStack() as stack:
        first = stack.enter_context(listening(request.param, 0))
        port = first.getsockname()[1]
        yield [first, *(stack.enter_context(listening(request.param, port)) for _ in range(2))]


def connected(stack: ExitStack, listeners: list[socket.socket], count: int) -> list[int]:
    """
    Connect *count* times, and count who was given how many.
    """
    where = listeners[0].getsockname()[:2]
    for _ in range(count):
        stack.enter_context(socket.create_connection(where))
    given = []
    for listener in listeners:
        given.append(0)
        while True:
            try:
                stack.enter_context(listener.accept()[0])
            except BlockingIOError:
                break
            given[-1] += 1

    return given


# Whether another process is kept from a file: it prints so, since that is who locks are against.
ANOTHER = """
import fcntl, sys
try:
    fcntl.lockf(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("kept out")
"""


class TestTakeTurns:
    @pytest.mark.process
    def test_locks_on_files_stay(self, three: list[socket.socket], tmp_path: Path) -> None:
        """
        To look for the listeners lets go of no lock that the process has on a file, such as SQLite's on a store.
        """
        with (tmp_path / "some.sqlite").open("w") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            found = sum(1 for _ in reuseport._listeners(three[0].getsockname()[1]))
            said = subprocess.run([sys.executable, "-c", ANOTHER, file.name], capture_output=True, text=True, check=True)

        assert (3, "kept out\n") == (found, said.stdout)

    def test_each_is_given_the_next(self, three: list[socket.socket]) -> None:
        """
        Of 30 connections each of three listeners is given ten.
        """
        if not take_turns(three[0].getsockname()[1], 3):
            pytest.skip("this process may not give the kernel programs (CAP_BPF)")

        with ExitStack() as stack:
            assert [10, 10, 10] == connected(stack, three, 30)

    def test_who_is_away_is_not_waited_for(self, three: list[socket.socket]) -> None:
        """
        Where one of three is gone, the others are given every connection.
        """
        take_turns(three[0].getsockname()[1], 3)
        three.pop().close()

        with ExitStack() as stack:
            assert 30 == sum(connected(stack, three, 30))

    def test_without_the_right_the_hash_stays(self, three: list[socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Where the kernel takes no program, nothing is said but that, and every connection is given to somebody.
        """
        monkeypatch.setattr(reuseport, "_CALLS", {})

        with ExitStack() as stack:
            assert not take_turns(three[0].getsockname()[1], 3)
            assert 30 == sum(connected(stack, three, 30))

    def test_nobody_else_s_port_is_touched(self, three: list[socket.socket]) -> None:
        """
        A port that this process does not listen at takes no turns.
        """
        port = three[0].getsockname()[1]
        for listener in three:
            listener.close()

        assert not take_turns(port, 3)
