"""
Keys, tenants and certificates of a server under test.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meshwalk.model.serving import ApiKey, Right
from meshwalk.server.identity import new_key


class MadeKey(NamedTuple):
    """
    A key, and what the server keeps of it.
    """

    text: str
    entry: ApiKey

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.text}"),)


def key_of(tenant: str, *rights: Right, expires_unix: int | None = None) -> MadeKey:
    """
    Make a key of *tenant*; without *rights* it has all of its tenant's.
    """
    made = new_key()
    entry = ApiKey(
        id=made.id,
        tenant=tenant,
        salt=made.salt,
        sha256=made.sha256,
        rights=frozenset(rights) or None,
        expires_unix=expires_unix,
    )

    return MadeKey(made.key, entry)


class Pair(NamedTuple):
    """
    A certificate with its key, as objects.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, certificate: Path, key: Path) -> None:
        certificate.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(
            self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


def authority(name: str = "test authority") -> Pair:
    """
    Make an authority that signs certificates.
    """
    return _signed(name, None, days=30, is_ca=True)


def signed_by(issuer: Pair, name: str, *, days: float = 30) -> Pair:
    """
    Make a certificate for loopback; with negative *days* it has expired.
    """
    return _signed(name, issuer, days=days, is_ca=False)


def _signed(name: str, issuer: Pair | None, *, days: float, is_ca: bool) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    ends = now + timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, ends) - timedelta(days=1))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
    )

    return Pair(builder.sign(key if issuer is None else issuer.key, hashes.SHA256()), key)
