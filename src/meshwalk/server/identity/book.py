"""
The credentials that a server takes, and the callers that they stand for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from meshwalk.model.serving import Access, Right, TenantRules
from meshwalk.server.identity.caller import Caller
from meshwalk.server.identity.keys import PREFIX, ApiKeys, key_fault
from meshwalk.server.identity.tokens import TokenIssuers
from meshwalk.wire.errors import Unauthenticated


# The most credentials that are remembered at a time; a token has 8 KiB at most.
_MAX_REMEMBERED = 4_096

_BEARER = "bearer "
_REMEDY = "send an API key or a token as `authorization: Bearer …`"

# The rights of the operator's key, beside the API keys of a server.
_OPERATOR_RIGHTS: frozenset[Right] = frozenset({"read", "operate"})

Metadata = Iterable[tuple[str, str | bytes]]


class Operator(Protocol):
    """
    The operator's key.
    """

    def matches(self, key: str) -> bool:
        """
        Return whether *key* is it.
        """


class IdentityBook:
    """
    The callers that *access* knows.

    Args:
        operator: The operator's key, which acts for *tenant*.
        unix_time: The present second, by which credentials expire.

    Raises:
        SetupError: If a file that it names cannot be used.
    """

    def __init__(self, access: Access, operator: Operator, tenant: str, *, unix_time: Callable[[], float] = time.time) -> None:
        self._tenants: Mapping[str, TenantRules] = access.tenants
        self._keys = ApiKeys(access.keys)
        self._issuers = TokenIssuers(access.issuers) if access.issuers else None
        self._operator = operator
        self._operator_tenant = tenant
        self._unix_time = unix_time
        # Oldest first.
        self._remembered: dict[str, Caller] = {}

    def __repr__(self) -> str:
        return f"<IdentityBook: {len(self._tenants)} tenants, {len(self._remembered)} credentials remembered>"

    def poll(self) -> None:
        """
        Read the files that have changed; what they took back is refused from then on.
        """
        if self._issuers is not None and self._issuers.poll():
            self._remembered.clear()

    def identify(self, metadata: Metadata) -> Caller:
        """
        Return the caller whose credential stands in *metadata*.

        Raises:
            Unauthenticated: If there is none, or it is of nobody.
        """
        credential = _credential(metadata)
        known = self._remembered.get(credential)
        if known is None:
            known = self._check(credential)
            if len(self._remembered) >= _MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[credential] = known
        if self._unix_time() >= known.expires_unix:
            self._remembered.pop(credential, None)
            raise Unauthenticated("the credential of this call has expired; send a new one")

        return known

    def _check(self, credential: str) -> Caller:
        if self._operator.matches(credential):
            rules = TenantRules(rights=_OPERATOR_RIGHTS)
            return Caller("the operator's key", self._operator_tenant, _OPERATOR_RIGHTS, rules)
        if credential.startswith(PREFIX):
            return self._of_key(credential)
        if self._issuers is None:
            raise Unauthenticated("the credential of this call is no API key of this server")
        token = self._issuers.check(credential)
        rules = self._rules(token.tenant, "the token")
        rights = rules.rights if token.rights is None else rules.rights & token.rights

        return Caller(f"a token of {token.issuer}", token.tenant, rights, rules, token.expires_unix)

    def _of_key(self, credential: str) -> Caller:
        if why := key_fault(credential):
            raise Unauthenticated(f"the API key of this call is not valid: {why}")
        key = self._keys.find(credential)
        if key is None:
            raise Unauthenticated("the API key of this call is none of this server's")
        rules = self._rules(key.tenant, "the API key")
        rights = rules.rights if key.rights is None else rules.rights & key.rights
        expires = float("inf") if key.expires_unix is None else float(key.expires_unix)

        return Caller(f"key {key.id}", key.tenant, rights, rules, expires)

    def _rules(self, tenant: str, what: str) -> TenantRules:
        rules = self._tenants.get(tenant)
        if rules is None:
            raise Unauthenticated(f"{what} of this call is of a tenant that this server does not know")

        return rules


def _credential(metadata: Metadata) -> str:
    credentials: list[str] = []
    for name, value in metadata:
        if name == "authorization" and isinstance(value, str):
            if value[: len(_BEARER)].lower() != _BEARER:
                raise Unauthenticated(f"the header `authorization` of this call is of another scheme; {_REMEDY}")
            credentials.append(value[len(_BEARER) :].strip())
        elif name == "x-api-key" and isinstance(value, str):
            credentials.append(value)
    if not credentials or not credentials[0]:
        raise Unauthenticated(f"this server has to know its callers, and this call has no credential; {_REMEDY}")
    if len(credentials) > 1:
        raise Unauthenticated("this call has several credentials; send one")

    return credentials[0]
