"""
Credentials that are remembered for as long as they hold.
"""

from __future__ import annotations

import pytest

from meshwalk.model.serving import Access, TenantRules
from meshwalk.server import OperatorKey
from meshwalk.server.identity import IdentityBook, book
from meshwalk.wire.errors import Unauthenticated
from tests.support.identities import key_of


def test_a_remembered_key_expires() -> None:
    """
    A key that was taken before is refused from its day on, and so is the caller of a stream that goes on.
    """
    now = [99.0]
    key = key_of("acme", expires_unix=100)
    access = Access(keys=(key.entry,), tenants={"acme": TenantRules()})
    known = IdentityBook(access, OperatorKey(), "default", unix_time=lambda: now[0])
    caller = known.identify(key.metadata)
    now[0] = 100.0

    with pytest.raises(Unauthenticated, match="has expired"):
        known.identify(key.metadata)
    with pytest.raises(Unauthenticated, match="has expired"):
        caller.check_unexpired()


def test_as_many_are_remembered_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    However many credentials come, the table stays small, and each is still taken.
    """
    monkeypatch.setattr(book, "_MAX_REMEMBERED", 3)
    keys = [key_of("acme") for _ in range(10)]
    access = Access(keys=tuple(key.entry for key in keys), tenants={"acme": TenantRules()})
    known = IdentityBook(access, OperatorKey(), "default")
    for key in (*keys, *keys):
        assert "acme" == known.identify(key.metadata).tenant

    assert "<IdentityBook: 1 tenants, 3 credentials remembered>" == repr(known)


def test_no_view_of_it_shows_a_credential() -> None:
    """
    Neither the table nor a caller shows a key.
    """
    key = key_of("acme")
    known = IdentityBook(Access(keys=(key.entry,), tenants={"acme": TenantRules()}), OperatorKey("operators"), "default")
    caller = known.identify(key.metadata)

    for text in (repr(known), repr(caller)):
        assert key.text not in text
        assert "operators" not in text
