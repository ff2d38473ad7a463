"""
The certificate of a server: checked before gRPC sees it, and taken again when its files change.

gRPC goes on with the pair before where a new one does not fit, and says nothing.  So a pair is read and checked here: what does
not fit is logged and counted, and the server goes on with the pair that it has.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from meshwalk.model.problems import SetupError
from meshwalk.model.serving import TlsFiles
from meshwalk.server.identity.watched import WatchedFiles


if TYPE_CHECKING:
    from cryptography import x509


_log = logging.getLogger(__name__)

# The time before a certificate's end from which on the log warns, once a day.
_WARN_SECONDS = 14 * 86_400.0
_DAY_SECONDS = 86_400.0


class CertificateCounts(NamedTuple):
    """
    The rotations since the start: those that were taken, and those that were refused.
    """

    taken: int
    refused: int


class _Checked(NamedTuple):
    """
    A pair that fits, as gRPC takes it.
    """

    certificate: bytes
    key: bytes
    client_ca: bytes | None
    expires_unix: float

    def configuration(self) -> Any:
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], root_certificates=self.client_ca)


class Certificates:
    """
    The present certificate of a server.

    Args:
        unix_time: The present second.

    Raises:
        SetupError: If the files do not fit, or the library is not installed.
    """

    def __init__(self, files: TlsFiles, *, unix_time: Callable[[], float] = time.time) -> None:
        self._files = files
        self._unix_time = unix_time
        paths = [files.certificate, files.key, *(() if files.client_ca is None else (files.client_ca,))]
        self._watched = WatchedFiles(*paths)
        self._present = _checked(files, unix_time())
        # gRPC has the newest pair if it is this one; its threads ask for each connection.
        self._offered = self._present
        self._taken = self._refused = 0
        self._warn_after = 0.0

    def __repr__(self) -> str:
        ends = datetime.fromtimestamp(self.expires_unix, UTC)

        return f"<Certificates: until {ends:%Y-%m-%d}, {self._taken} rotations taken, {self._refused} refused>"

    @property
    def expires_unix(self) -> float:
        """
        Return the second at which the present certificate expires.
        """
        return self._present.expires_unix

    @property
    def counts(self) -> CertificateCounts:
        """
        Return how many rotations were taken and refused.
        """
        return CertificateCounts(self._taken, self._refused)

    def credentials(self) -> grpc.ServerCredentials:
        """
        Return the credentials of a port, which always has the present pair.
        """
        return grpc.dynamic_ssl_server_credentials(
            self._present.configuration(), self._newer, require_client_authentication=self._files.client_ca is not None
        )

    def _newer(self) -> Any:
        # Read once, since another thread may replace it.
        present = self._present
        if present is self._offered:
            return None
        self._offered = present

        return present.configuration()

    def poll(self) -> None:
        """
        Take the pair in the files if they have changed and it fits, and warn of one that expires soon.
        """
        now = self._unix_time()
        if self._watched.changed():
            self._rotate(now)
        if self.expires_unix - now < _WARN_SECONDS and now >= self._warn_after:
            self._warn_after = now + _DAY_SECONDS
            ends = datetime.fromtimestamp(self.expires_unix, UTC)
            _log.warning(
                "the certificate %r %s on %s", self._files.certificate, "expires" if self.expires_unix > now else "expired",
                f"{ends:%Y-%m-%d %H:%M} UTC",
            )  # fmt: skip

    def _rotate(self, now: float) -> None:
        try:
            self._present = _checked(self._files, now)
        except SetupError as error:
            self._refused += 1
            _log.error("a new certificate is not taken, and the server goes on with the one that it has: %s", error)
        else:
            self._taken += 1
            self._warn_after = 0.0
            _log.info("a new certificate is taken, until %s", f"{datetime.fromtimestamp(self.expires_unix, UTC):%Y-%m-%d}")


def _checked(files: TlsFiles, now: float) -> _Checked:
    """
    Read and check the pair in *files*.

    Raises:
        SetupError: If it does not fit, or is not valid now.
    """
    try:
        from cryptography import x509  # noqa: PLC0415 (few servers have a certificate)
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    except ImportError as error:
        raise SetupError("TLS needs the package cryptography; install meshwalk[auth]") from error
    certificate, key = _read("certificate", files.certificate), _read("key", files.key)
    client_ca = None if files.client_ca is None else _read("client_ca", files.client_ca)
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
    except ValueError as error:
        raise SetupError(f"the file {files.certificate!r} holds no certificate in PEM") from error
    try:
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        # The library's own words might quote the key.
        raise SetupError(f"the file {files.key!r} holds no private key in PEM that opens without a password") from error
    if private.public_key() != leaf.public_key():
        raise SetupError(f"the key in {files.key!r} does not belong to the certificate in {files.certificate!r}")
    if client_ca is not None:
        try:
            x509.load_pem_x509_certificates(client_ca)
        except ValueError as error:
            raise SetupError(f"the file {files.client_ca!r} holds no certificates in PEM") from error
    _check_time(leaf, files.certificate, now)

    return _Checked(certificate, key, client_ca, leaf.not_valid_after_utc.timestamp())


def _check_time(leaf: x509.Certificate, path: str, now: float) -> None:
    if leaf.not_valid_after_utc.timestamp() <= now:
        raise SetupError(f"the certificate in {path!r} expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if leaf.not_valid_before_utc.timestamp() > now:
        raise SetupError(f"the certificate in {path!r} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")


def _read(what: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SetupError(f"the file of tls.{what}, {path!r}, cannot be read: {error.strerror or error}") from error
