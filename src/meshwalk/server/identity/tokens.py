"""
JSON Web Tokens: checked against the public keys of the issuer that they name.

Only signatures whose verifiers hold no secret are taken, and the server's settings say which of them, never a token: a token
cannot name `none`, nor have a public key taken for the secret of an HMAC.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from meshwalk.model.problems import SetupError
from meshwalk.model.serving import RIGHTS, Right, TokenIssuer
from meshwalk.server.identity.watched import WatchedFiles
from meshwalk.wire.errors import Unauthenticated


if TYPE_CHECKING:
    from joserfc.jwk import KeySet


_log = logging.getLogger(__name__)

# A token is a header of a request, which gRPC bounds to 8 KiB by default.
_LONGEST = 8_192
# A file of keys has few of them.
_LARGEST_FILE = 1 << 20


class Token(NamedTuple):
    """
    The claims that a valid token makes about its bearer.
    """

    issuer: str
    subject: str
    tenant: str
    rights: frozenset[Right] | None
    expires_unix: float


class TokenIssuers:
    """
    The issuers whose tokens are taken.

    Raises:
        SetupError: If a file of keys cannot be read, or the library is not installed.
    """

    def __init__(self, issuers: Sequence[TokenIssuer]) -> None:
        self._issuers = {one.issuer: _Issuer(one) for one in issuers}

    def poll(self) -> bool:
        """
        Read the files of keys that have changed, and return whether one had; one that cannot be read leaves the keys before it.
        """
        changed = [issuer.poll() for issuer in self._issuers.values()]

        return any(changed)

    def check(self, text: str) -> Token:
        """
        Return the claims of the token *text*.

        Raises:
            Unauthenticated: If it is none, is not valid now, or names no tenant.
        """
        issuer = self._issuers.get(_issuer_named_in(text))
        if issuer is None:
            raise Unauthenticated("the token's issuer (`iss`) is none that this server knows")

        return issuer.check(text)


class _Issuer:
    """
    One issuer with its present keys.
    """

    def __init__(self, rules: TokenIssuer) -> None:
        self._rules = rules
        self._watched = WatchedFiles(rules.jwks)
        self._keys = _read_keys(rules)

    def poll(self) -> bool:
        if not self._watched.changed():
            return False
        try:
            self._keys = _read_keys(self._rules)
        except SetupError as error:
            _log.error("new keys of the issuer %s are not taken, and the ones before stay: %s", self._rules.issuer, error)
            return False

        return True

    def check(self, text: str) -> Token:
        from joserfc import jwt  # noqa: PLC0415 (few servers take tokens)
        from joserfc.errors import JoseError  # noqa: PLC0415

        rules = self._rules
        registry = jwt.JWTClaimsRegistry(
            leeway=rules.leeway_us // 1_000_000,
            iss={"essential": True, "value": rules.issuer},
            aud={"essential": True, "value": rules.audience},
            exp={"essential": True},
        )
        try:
            claims = jwt.decode(text, self._keys, algorithms=rules.algorithms).claims
            registry.validate(claims)
        except JoseError as error:
            raise Unauthenticated(f"the token is not valid ({error.error.replace('_', ' ')})") from error
        except Exception as error:
            # The library meets headers that a stranger wrote, of any type and depth.
            raise Unauthenticated("the token is not valid (it cannot be decoded)") from error
        tenant = claims.get(rules.tenant_claim)
        if not isinstance(tenant, str) or not tenant:
            raise Unauthenticated(f"the token names no tenant: it has no text in the claim {rules.tenant_claim!r}")
        subject = claims.get("sub")

        return Token(
            rules.issuer,
            subject if isinstance(subject, str) else "",
            tenant,
            None if rules.rights_claim is None else _rights(claims.get(rules.rights_claim)),
            float(claims["exp"]) + rules.leeway_us / 1e6,
        )


def _issuer_named_in(text: str) -> str:
    """
    Return the issuer that the token names, before anything is known of its truth.
    """
    from joserfc.util import urlsafe_b64decode  # noqa: PLC0415

    parts = text.split(".")
    if len(parts) != 3 or len(text) > _LONGEST:
        raise Unauthenticated("the credential is neither an API key of this server nor a signed token (JWT)")
    try:
        claims = orjson.loads(urlsafe_b64decode(parts[1].encode()))
    except ValueError as error:
        raise Unauthenticated("the token is not valid (it cannot be decoded)") from error
    issuer = claims.get("iss") if isinstance(claims, dict) else None

    return issuer if isinstance(issuer, str) else ""


def _rights(value: object) -> frozenset[Right]:
    words: Sequence[object] = value.split() if isinstance(value, str) else value if isinstance(value, list) else ()

    # Issuers have words of their own for other services.
    return frozenset(right for right in RIGHTS if right in words)


def _read_keys(rules: TokenIssuer) -> KeySet:
    try:
        from joserfc.errors import JoseError  # noqa: PLC0415
        from joserfc.jwk import KeySet  # noqa: PLC0415
    except ImportError as error:
        raise SetupError("tokens (JWT) need the package joserfc; install meshwalk[auth]") from error
    try:
        with Path(rules.jwks).open("rb") as file:
            document: Any = orjson.loads(file.read(_LARGEST_FILE))
        if not isinstance(document, Mapping) or not isinstance(document.get("keys"), list) or not document["keys"]:
            raise SetupError(f"the file {rules.jwks!r} of the issuer {rules.issuer!r} holds no list of keys (JWKS)")
        return KeySet.import_key_set(document)  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, JoseError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it holds no keys that can be read (JWKS)"
        raise SetupError(f"the keys of the issuer {rules.issuer!r} cannot be read from {rules.jwks!r}: {why}") from error
