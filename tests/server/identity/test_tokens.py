"""
JSON Web Tokens: whose they are, and which are refused.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from meshwalk.model.problems import SetupError
from meshwalk.model.serving import Access, TenantRules, TokenIssuer
from meshwalk.server import OperatorKey
from meshwalk.server.identity import Caller, IdentityBook
from meshwalk.server.identity.tokens import TokenIssuers
from meshwalk.wire.errors import Unauthenticated


NONE, HS256 = b'{"alg":"none"}', b'{"alg":"HS256","kid":"one"}'
ISSUER, AUDIENCE = "https://login.example", "meshwalk"
NOW = int(time.time())
SIGNING = ECKey.generate_key("P-256", {"kid": "one"})
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 3_600, "tenant": "acme", "sub": "someone"}


def signed(claims: Mapping[str, Any], key: Any = SIGNING, algorithm: str = "ES256") -> str:
    return jwt.encode({"alg": algorithm, "kid": key.kid}, dict(claims), key, algorithms=[algorithm])


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def with_public_key_as_secret() -> str:
    """
    Sign as an attacker does who knows the public key, in the hope that it is taken for the secret of an HMAC.
    """
    text = f"{encoded(HS256)}.{signed(CLAIMS).split('.')[1]}"
    signature = hmac.digest(SIGNING.as_pem(private=False), text.encode(), "sha256")

    return f"{text}.{encoded(signature)}"


def place(path: Path, *keys: Any) -> None:
    path.write_text(json.dumps(KeySet(list(keys)).as_dict(private=False)), encoding="utf-8")


@pytest.fixture
def issuer(tmp_path: Path) -> TokenIssuer:
    place(tmp_path / "jwks.json", SIGNING)

    return TokenIssuer(issuer=ISSUER, audience=AUDIENCE, jwks=str(tmp_path / "jwks.json"))


def identified(issuer: TokenIssuer, token: str, rules: TenantRules = TenantRules()) -> Caller:
    book = IdentityBook(Access(issuers=(issuer,), tenants={"acme": rules}), OperatorKey(), "default")

    return book.identify([("authorization", f"Bearer {token}")])


class TestTokens:
    def test_a_good_token(self, issuer: TokenIssuer) -> None:
        """
        Its tenant is the one that it names, its rights are the tenant's, and it ends when it says, and the leeway later.
        """
        rules = TenantRules(rights=frozenset({"route"}))
        known = identified(issuer, signed(CLAIMS), rules)

        assert ("acme", frozenset({"route"}), rules, NOW + 3_630.0) == known[1:]

    @pytest.mark.parametrize(
        ("scope", "rights"),
        [("route profile", {"route"}), (["read", "apply"], {"read"}), ("email", set()), (7, set()), (None, set())],
    )
    def test_rights_of_a_claim(self, issuer: TokenIssuer, scope: Any, rights: set[str]) -> None:
        """
        Rights that a token names hold as far as its tenant has them; words for other services mean nothing.
        """
        token = signed({**CLAIMS, "scope": scope})
        narrowed = TokenIssuer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, rights_claim="scope")

        assert rights == identified(narrowed, token).rights

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"exp": NOW - 60}, "expired token"),
            ({"exp": None}, "claim"),
            ({"exp": "soon"}, "invalid claim"),
            ({"nbf": NOW + 600}, "invalid claim"),
            ({"aud": "other"}, "invalid claim"),
            ({"aud": None}, "claim"),
            ({"iss": "https://other.example"}, "issuer"),
            ({"iss": [ISSUER]}, "issuer"),
            ({"tenant": "beta"}, "of a tenant that this server does not know"),
            ({"tenant": ""}, "names no tenant"),
            ({"tenant": ["acme"]}, "names no tenant"),
        ],
    )
    def test_claims_that_are_not_taken(self, issuer: TokenIssuer, change: Mapping[str, Any], why: str) -> None:
        """
        A token of another time, place or tenant is refused, and the error says why.
        """
        claims = {key: value for key, value in {**CLAIMS, **change}.items() if value is not None}

        with pytest.raises(Unauthenticated, match=why):
            identified(issuer, signed(claims))

    def test_a_leeway(self, issuer: TokenIssuer) -> None:
        """
        Clocks may be apart by the leeway, and no more.
        """
        assert "acme" == identified(issuer, signed({**CLAIMS, "exp": int(time.time()) - 10})).tenant

    def test_other_keys_and_algorithms(self, issuer: TokenIssuer, tmp_path: Path) -> None:
        """
        A signature of another key, of an algorithm that is not declared, with the public key as a secret, or none at all.
        """
        stranger = ECKey.generate_key("P-256", {"kid": "one"})
        rsa = RSAKey.generate_key(2048, {"kid": "two"})
        place(tmp_path / "jwks.json", SIGNING, rsa)
        unsigned = f"{encoded(NONE)}.{signed(CLAIMS).split('.')[1]}."
        only_ec = TokenIssuer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, algorithms=("ES256",))

        for token in (
            signed(CLAIMS, stranger),
            signed(CLAIMS, rsa, "RS256"),
            with_public_key_as_secret(),
            unsigned,
            signed(CLAIMS)[:-4] + "AAAA",
        ):
            with pytest.raises(Unauthenticated, match="the token is not valid"):
                identified(only_ec, token)

    @pytest.mark.parametrize(
        ("algorithm", "key"),
        [
            ("RS256", RSAKey.generate_key(2048, {"kid": "k"})),
            ("PS512", RSAKey.generate_key(2048, {"kid": "k"})),
            ("ES384", ECKey.generate_key("P-384", {"kid": "k"})),
            ("ES512", ECKey.generate_key("P-521", {"kid": "k"})),
            ("Ed25519", OKPKey.generate_key("Ed25519", {"kid": "k"})),
        ],
        ids=["RS256", "PS512", "ES384", "ES512", "Ed25519"],
    )
    def test_declared_algorithms(self, tmp_path: Path, algorithm: Any, key: Any) -> None:
        """
        Each asymmetric signature is taken where it is declared.
        """
        place(tmp_path / "jwks.json", key)
        rules = TokenIssuer(issuer=ISSUER, audience=AUDIENCE, jwks=str(tmp_path / "jwks.json"), algorithms=(algorithm,))

        assert "acme" == identified(rules, signed(CLAIMS, key, algorithm)).tenant

    @pytest.mark.parametrize(
        "head",
        [
            b"",
            b"[]",
            b"null",
            b"\xff",
            b"{}",
            b'{"alg":7}',
            b'{"alg":["ES256"]}',
            b'{"alg":"ES256","kid":{}}',
            b'{"alg":"ES256","kid":"one","crit":7}',
            b'{"alg":"ES256","kid":"one","crit":["b64"],"b64":false}',
            b'{"alg":"ES256","kid":"one","jku":"http://127.0.0.1:1/"}',
            b"[" * 3_000,
            b'{"a":' * 1_000,
        ],
        ids=range(13),
    )
    def test_heads_of_strangers(self, issuer: TokenIssuer, head: bytes) -> None:
        """
        Whatever the head of a token holds, the caller is refused, and nothing else happens.
        """
        for signature in ("", "AAAA", signed(CLAIMS).split(".")[2]):
            with pytest.raises(Unauthenticated):
                identified(issuer, f"{encoded(head)}.{signed(CLAIMS).split('.')[1]}.{signature}")

    @pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "a.b.c.d.e", "..", "é.é.é", "x" * 9_000, "eyJ.bnVsbA.x"])
    def test_what_is_no_token(self, issuer: TokenIssuer, text: str) -> None:
        """
        Whatever stands in a token's place, the caller is refused, and nothing else happens.
        """
        with pytest.raises(Unauthenticated):
            identified(issuer, text)


class TestFiles:
    def test_keys_are_replaced(self, issuer: TokenIssuer, tmp_path: Path) -> None:
        """
        When the file changes, tokens of the old key are refused, even those taken before, and the new key's are taken.
        """
        book = IdentityBook(Access(issuers=(issuer,), tenants={"acme": TenantRules()}), OperatorKey(), "default")
        new = ECKey.generate_key("P-256", {"kid": "new"})
        headers = [[("authorization", f"Bearer {signed(CLAIMS, key)}")] for key in (SIGNING, new)]
        assert "acme" == book.identify(headers[0]).tenant
        place(tmp_path / "jwks.json", new)
        book.poll()

        assert "acme" == book.identify(headers[1]).tenant
        with pytest.raises(Unauthenticated):
            book.identify(headers[0])

    def test_broken_keys_leave_those_before(self, issuer: TokenIssuer, caplog: pytest.LogCaptureFixture) -> None:
        """
        A file that cannot be read is told, and the keys before it stay.
        """
        issuers = TokenIssuers([issuer])
        Path(issuer.jwks).write_text("{", encoding="utf-8")
        with caplog.at_level(logging.ERROR):
            assert not issuers.poll()

        assert "acme" == issuers.check(signed(CLAIMS)).tenant
        assert ["new keys of the issuer https://login.example are not taken"] == [
            record.message.split(",")[0] for record in caplog.records
        ]

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "{}", '{"keys": []}', '{"keys": [{}]}', '{"keys": [7]}', '{"keys": [{"kty": "RSA"}]}']
    )
    def test_no_keys(self, issuer: TokenIssuer, text: str) -> None:
        """
        A file without keys keeps a server from starting, and is named.
        """
        Path(issuer.jwks).write_text(text, encoding="utf-8")

        with pytest.raises(SetupError, match=r"jwks\.json"):
            TokenIssuers([issuer])

    def test_no_file(self, issuer: TokenIssuer) -> None:
        """
        A file that is not there is named, with the reason.
        """
        Path(issuer.jwks).unlink()

        with pytest.raises(SetupError, match="No such file"):
            TokenIssuers([issuer])

    def test_without_the_library(self, issuer: TokenIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Where the extra is not installed, the error names it.
        """
        monkeypatch.setitem(sys.modules, "joserfc.jwk", None)

        with pytest.raises(SetupError, match=r"need the package joserfc; install meshwalk\[auth\]"):
            TokenIssuers([issuer])
