"""
The places that a server listens at: for this machine alone unless its callers are known, or somebody says otherwise.
"""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from meshwalk.mesh import Mesh
from meshwalk.model.problems import SetupError
from meshwalk.server import Access, serve
from meshwalk.server.listening import check_listening
from meshwalk.server.workers import reserved_port
from meshwalk.trace import Outcome
from meshwalk.wire.client import Client
from tests.support.service import ALONE


LOCAL = ["127.0.0.1:0", "127.8.9.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0", "localhost:0", "unix:a.sock", "unix:///run/a.sock"]
OTHERS = ["0.0.0.0:0", "[::]:0", "0:0", "192.0.2.7:50051", "[2001:db8::1]:0", "[::ffff:192.0.2.7]:0", "134744072:1"]


class TestRule:
    @pytest.mark.parametrize("listen", LOCAL)
    def test_this_machine_needs_no_leave(self, listen: str) -> None:
        """
        Loopback, by name or number, and Unix sockets are listened at without a word.
        """
        assert "" == check_listening(listen, guarded=False, insecure=False)

    @pytest.mark.parametrize("listen", OTHERS)
    def test_others_are_kept_out(self, listen: str) -> None:
        """
        An address that others reach is refused by its name, with the ways to mend that.
        """
        with pytest.raises(SetupError) as refused:
            check_listening(listen, guarded=False, insecure=False)

        for word in (repr(listen), "`tls`", "127.0.0.1", "unix:PATH", "--insecure"):
            assert word in str(refused.value)

    @pytest.mark.parametrize("listen", OTHERS)
    def test_a_guarded_server_listens_anywhere(self, listen: str) -> None:
        """
        With TLS and identities every address is good.
        """
        assert "" == check_listening(listen, guarded=True, insecure=False)

    @pytest.mark.parametrize("listen", OTHERS)
    def test_leave_is_a_warning(self, listen: str) -> None:
        """
        Who says `insecure` may, and is told what that means.
        """
        warning = check_listening(listen, guarded=False, insecure=True)

        assert listen in warning
        assert "may route, read records and spend from budgets" in warning

    def test_a_host_that_nobody_knows(self) -> None:
        """
        A name without an address is refused, and no address is guessed.
        """
        with pytest.raises(SetupError, match=r"the host of 'no-such-host\.invalid:1' is unknown"):
            check_listening("no-such-host.invalid:1", guarded=False, insecure=False)


class TestServe:
    async def test_the_rule_holds_in_python_too(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        `serve` refuses what the command refuses, and warns where it is told to be insecure.
        """
        async with Mesh(ALONE) as mesh:
            with pytest.raises(SetupError, match=r"is reached by other machines"):
                async with serve([mesh], listen="0.0.0.0:0"):
                    pass
            with caplog.at_level(logging.WARNING):
                async with serve([mesh], listen="0.0.0.0:0", access=Access(insecure=True)):
                    pass

        assert ["everybody who reaches 0.0.0.0:0 may route"] == [record.message[:41] for record in caplog.records]

    async def test_a_unix_socket(self, tmp_path: Path) -> None:
        """
        A Unix socket serves its user alone, is refused while somebody listens there, and goes with its server.
        """
        path = tmp_path / "a.sock"
        async with Mesh(ALONE) as mesh, serve([mesh], listen=f"unix:{path}") as server, Client(f"unix:{path}") as client:
            assert 0 == server.port
            assert 0 == path.stat().st_mode & 0o077
            assert Outcome.ANSWERED is (await client.route("hello")).outcome
            with pytest.raises(SetupError, match="something listens there already"):
                async with serve([mesh], listen=f"unix:{path}"):
                    pass
            assert Outcome.ANSWERED is (await client.route("hello")).outcome

        assert not path.exists()

    async def test_a_socket_that_was_left_behind(self, tmp_path: Path) -> None:
        """
        The socket of a server that is gone is taken over; another file is not.
        """
        path, other = tmp_path / "a.sock", tmp_path / "notes.txt"
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
        other.write_text("mine")
        async with Mesh(ALONE) as mesh:
            async with serve([mesh], listen=f"unix:{path}"), Client(f"unix:{path}") as client:
                assert Outcome.ANSWERED is (await client.route("hello")).outcome
            with pytest.raises(SetupError, match=r"cannot listen at 'unix:.*notes\.txt'"):
                async with serve([mesh], listen=f"unix:{other}"):
                    pass

        assert "mine" == other.read_text()

    def test_workers_share_no_unix_socket(self) -> None:
        """
        Several processes share a port, and the error says so.
        """
        with pytest.raises(SetupError, match="workers share a port, and no Unix socket"), reserved_port("unix:a.sock"):
            pass

    @pytest.mark.parametrize(
        ("path", "why"), [("", "is written unix:PATH"), ("x" * 200, "at most 103 bytes"), ("a\0b", "unix:PATH")]
    )
    async def test_no_path(self, path: str, why: str) -> None:
        """
        A path that the kernel would refuse, or cut, is refused with the reason.
        """
        with pytest.raises(SetupError, match=why):
            check_listening(f"unix:{path}", guarded=False, insecure=False)
