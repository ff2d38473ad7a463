"""
A server's certificate: checked, rotated under load, and asked of callers, too.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from meshwalk.mesh import Mesh
from meshwalk.model.problems import MeshwalkError, SetupError
from meshwalk.model.serving import Access, TlsFiles
from meshwalk.records.metrics import CERTIFICATE_EXPIRY, CERTIFICATE_ROTATIONS, Metrics
from meshwalk.server import Server, serve
from meshwalk.server.certificates import Certificates
from meshwalk.trace import Outcome
from meshwalk.wire.client import Client, RpcError, TlsOptions
from tests.support.identities import Pair, authority, signed_by
from tests.support.service import ALONE


DAY = 86_400.0


class Files:
    """
    The files of a server and of a caller, in one folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = authority()
        self.clients = authority("clients")
        (folder / "ca.pem").write_bytes(pem(self.authority))
        (folder / "clients.pem").write_bytes(pem(self.clients))
        self.place(signed_by(self.authority, "server"))
        signed_by(self.clients, "caller").write(folder / "caller.pem", folder / "caller.key")

    def place(self, pair: Pair) -> None:
        """
        Put *pair* in place of the server's, each file at once.
        """
        pair.write(self.folder / "new.pem", self.folder / "new.key")
        for kind in ("key", "pem"):
            (self.folder / f"new.{kind}").replace(self.folder / f"server.{kind}")

    def tls(self, *, mutual: bool = False) -> TlsFiles:
        return TlsFiles(
            certificate=str(self.folder / "server.pem"),
            key=str(self.folder / "server.key"),
            client_ca=str(self.folder / "clients.pem") if mutual else None,
        )

    def options(self, *, with_certificate: bool = False) -> TlsOptions:
        own = (self.folder / "caller.pem", self.folder / "caller.key") if with_certificate else (None, None)

        return TlsOptions(self.folder / "ca.pem", *own)


def pem(pair: Pair) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return pair.certificate.public_bytes(Encoding.PEM)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@asynccontextmanager
async def secured(files: Files, *, mutual: bool = False) -> AsyncIterator[Server]:
    async with Mesh(ALONE) as mesh, serve([mesh], access=Access(tls=files.tls(mutual=mutual))) as server:
        yield server


class TestPairs:
    @pytest.mark.parametrize(
        ("spoil", "why"),
        [
            (
                lambda files: shutil.copy(files.folder / "caller.key", files.folder / "server.key"),
                "does not belong to the certificate",
            ),
            (lambda files: files.place(signed_by(files.authority, "server", days=-1)), "expired on"),
            (lambda files: (files.folder / "server.pem").write_text("no"), "holds no certificate in PEM"),
            (lambda files: (files.folder / "server.key").write_text("no"), "holds no private key in PEM"),
            (lambda files: (files.folder / "server.key").unlink(), "the file of tls.key, .* cannot be read: No such file"),
            (lambda files: (files.folder / "clients.pem").write_text("no"), "holds no certificates in PEM"),
        ],
        ids=["mismatched", "expired", "no certificate", "no key", "no file", "no authority"],
    )
    def test_what_does_not_fit(
        self, files: Files, caplog: pytest.LogCaptureFixture, spoil: Callable[[Files], Any], why: str
    ) -> None:
        """
        A pair that does not fit keeps a server from starting; a running one goes on with the pair before, says so and counts.
        """
        running = Certificates(files.tls(mutual=True))
        before = running.expires_unix
        spoil(files)

        with pytest.raises(SetupError, match=why):
            Certificates(files.tls(mutual=True))
        with caplog.at_level(logging.ERROR):
            running.poll()
        assert (0, 1) == running.counts
        assert before == running.expires_unix
        assert ["a new certificate is not taken"] == [record.message[:30] for record in caplog.records]
        assert "PRIVATE" not in caplog.text

    def test_a_rotation_is_taken_once(self, files: Files) -> None:
        """
        A new pair is taken when its files change, and never again.
        """
        running = Certificates(files.tls())
        running.poll()
        files.place(signed_by(files.authority, "server", days=60))
        running.poll()
        running.poll()

        assert (1, 0) == running.counts

    def test_a_certificate_that_is_not_valid_yet(self, files: Files) -> None:
        """
        A pair of tomorrow is refused today.
        """
        with pytest.raises(SetupError, match="is not valid before"):
            Certificates(files.tls(), unix_time=lambda: 0.0)

    def test_without_the_library(self, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Where the extra is not installed, the error names it.
        """
        monkeypatch.setitem(sys.modules, "cryptography", None)

        with pytest.raises(SetupError, match=r"needs the package cryptography; install meshwalk\[auth\]"):
            Certificates(files.tls())

    def test_the_end_is_announced(self, files: Files, caplog: pytest.LogCaptureFixture) -> None:
        """
        From two weeks before its end on, the log names it once a day, and after it, too.
        """
        now = [0.0]
        ends = Certificates(files.tls()).expires_unix
        now[0] = ends - 20 * DAY
        running = Certificates(files.tls(), unix_time=lambda: now[0])
        with caplog.at_level(logging.WARNING):
            for days in (-15, -13.9, -13.5, -12.8, 1):
                now[0] = ends + days * DAY
                running.poll()

        assert ["expires", "expires", "expired"] == [record.message.split(" on ")[0].split()[-1] for record in caplog.records]


class TestServing:
    async def test_tls_serves_who_trusts_it(self, files: Files) -> None:
        """
        A client that knows the authority is answered, on one stream, too.
        """
        async with secured(files) as server, Client(f"127.0.0.1:{server.port}", tls=files.options()) as client:
            assert Outcome.ANSWERED is (await client.route("hello")).outcome
            async with client.many() as many:
                assert Outcome.ANSWERED is (await many.route("hello")).outcome

    async def test_each_side_that_refuses_is_named(self, files: Files) -> None:
        """
        An error of the handshake says whose certificate was not taken, and by whom.
        """
        stranger = TlsOptions(files.folder / "clients.pem")
        async with secured(files) as server, Client(f"127.0.0.1:{server.port}", tls=stranger) as client:
            with pytest.raises(RpcError, match="this client does not trust the certificate of"):
                await client.route("hello", timeout=10)
        async with secured(files) as server, Client(f"127.0.0.1:{server.port}") as client:
            with pytest.raises(RpcError, match="may take TLS alone"):
                await client.route("hello", timeout=10)
        async with (
            Mesh(ALONE) as mesh,
            serve([mesh]) as server,
            Client(f"127.0.0.1:{server.port}", tls=files.options()) as client,
        ):
            with pytest.raises(RpcError, match="answers without TLS"):
                await client.route("hello", timeout=10)

    async def test_callers_show_a_certificate(self, files: Files) -> None:
        """
        With authorities of callers, who shows a certificate of theirs is answered, and who shows none, or another, is not.
        """
        other = signed_by(files.authority, "somebody")
        other.write(files.folder / "other.pem", files.folder / "other.key")
        others = TlsOptions(files.folder / "ca.pem", files.folder / "other.pem", files.folder / "other.key")
        async with secured(files, mutual=True) as server:
            target = f"127.0.0.1:{server.port}"
            async with Client(target, tls=files.options(with_certificate=True)) as client:
                assert Outcome.ANSWERED is (await client.route("hello")).outcome
            for options in (files.options(), others):
                async with Client(target, tls=options) as client:
                    with pytest.raises(RpcError, match="may not take this client's certificate"):
                        await client.route("hello", timeout=10)

    @pytest.mark.slow
    async def test_rotation_under_load(self, files: Files) -> None:
        """
        While calls come on old and new connections, pairs are replaced: no call fails, and new connections see the new pair.
        """
        failed: list[Exception] = []
        served = 0
        async with secured(files) as server, anyio.create_task_group() as tasks:
            target = f"127.0.0.1:{server.port}"
            assert server.certificates is not None

            async def ask(client: Client) -> None:
                nonlocal served
                try:
                    await client.route("hello", timeout=20)
                    served += 1
                except MeshwalkError as error:
                    failed.append(error)

            async def steady() -> None:
                async with Client(target, tls=files.options()) as client:
                    while True:
                        await ask(client)

            async def anew() -> None:
                while True:
                    async with Client(target, tls=files.options()) as client:
                        await ask(client)

            for caller in (steady, steady, anew):
                tasks.start_soon(caller)
            for rotation in range(1, 4):
                name = f"server-{rotation}"
                files.place(signed_by(files.authority, name))
                # Its watcher looks at the files by itself; the test need not wait for that.
                server.certificates.poll()
                assert rotation == server.certificates.counts.taken
                assert name == await presented(server.port)
            # A pair that does not fit changes nothing.
            shutil.copy(files.folder / "caller.key", files.folder / "server.key")
            refused = server.certificates.counts.refused
            server.certificates.poll()
            assert refused + 1 == server.certificates.counts.refused
            assert "server-3" == await presented(server.port)
            tasks.cancel_scope.cancel()

        assert [] == failed
        assert served


async def presented(port: int) -> str:
    """
    Return the name in the certificate that a new connection is shown.
    """
    import ssl

    from cryptography import x509

    text = await anyio.to_thread.run_sync(ssl.get_server_certificate, ("127.0.0.1", port))

    return x509.load_pem_x509_certificate(text.encode()).subject.rfc4514_string().removeprefix("CN=")


async def test_rotations_are_metrics(files: Files) -> None:
    """
    The end of the certificate and the rotations, taken and refused, are read with the other metrics.
    """
    registry = Metrics()
    async with Mesh(ALONE) as mesh, serve([mesh], access=Access(tls=files.tls()), metrics=registry) as server:
        assert server.certificates is not None
        files.place(signed_by(files.authority, "server", days=60))
        server.certificates.poll()
        shutil.copy(files.folder / "caller.key", files.folder / "server.key")
        server.certificates.poll()
        readings = [reading for reading in registry.read() if reading.metric in (CERTIFICATE_EXPIRY, CERTIFICATE_ROTATIONS)]

    assert [({}, server.certificates.expires_unix), ({"outcome": "taken"}, 1), ({"outcome": "refused"}, 1)] == [
        (dict(reading.labels), reading.value) for reading in readings
    ]
