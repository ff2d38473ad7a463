"""
The settings of a server, as its file and the flags of its command fill them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from meshwalk.model.problems import Span
from meshwalk.model.trust import Trust


# The acts that a caller may be allowed: to have requests walked, to read records, budgets and plans, to read prompts and
# answers in records, to set budgets, and to change the graphs that are served.
Right = Literal["route", "read", "read-content", "operate", "apply"]
RIGHTS: tuple[Right, ...] = get_args(Right)
DEFAULT_RIGHTS: frozenset[Right] = frozenset({"route", "read"})

# The form of a server's log, and the lowest level that is written.
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

# Algorithms whose verifiers hold no secret, so that nobody who can verify a token can make one.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """
    The files of a server's certificate; each may be replaced while the server runs.

    Args:
        client_ca: The certificates that callers' certificates are checked against; None asks callers for none.
    """

    certificate: str
    key: str
    client_ca: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """
    An API key as a server keeps it: by its hash.

    Args:
        id: The part of the key that names it.
        salt: Hexadecimal digits; the hash is of the salt and the key.
        rights: None for all rights of its tenant.
        expires_unix: The second from which on the key is refused; None is never.
    """

    id: str
    tenant: str
    salt: str
    sha256: str
    rights: frozenset[Right] | None = None
    expires_unix: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuer:
    """
    An issuer of JSON Web Tokens that a server takes.

    Args:
        jwks: The file of its public keys, which may be replaced while the server runs.
        tenant_claim: The claim that names the caller's tenant.
        rights_claim: The claim that lists rights, as a list or as words; None gives all rights of the tenant.
    """

    issuer: str
    audience: str
    jwks: str
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256")
    tenant_claim: str = "tenant"
    rights_claim: str | None = None
    leeway_us: int = 30_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRules:
    """
    The rules for the callers of one tenant; budgets, records and idempotency keys go by its name.

    Args:
        graphs: The graphs that it may walk, with their places in the settings; None is every graph.
        rights: The most that any of its callers may do.
        requests_per_minute: For each server process, as are *walks_in_flight*.
    """

    graphs: Mapping[str, Span] | None = None
    rights: frozenset[Right] = DEFAULT_RIGHTS
    requests_per_minute: int | None = None
    walks_in_flight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """
    The callers of a server, and the way they come in; without keys and issuers everybody is the server's own tenant.

    Args:
        tls: The server's certificate; None sends in the clear.
        tenants: By name.
        insecure: Whether others than this machine's users may reach a server that knows nobody.
        reflection: Whether the server describes its services to callers.
    """

    insecure: bool = False
    reflection: bool = True
    tls: TlsFiles | None = None
    keys: tuple[ApiKey, ...] = ()
    issuers: tuple[TokenIssuer, ...] = ()
    tenants: Mapping[str, TenantRules] = field(default_factory=dict)

    @property
    def identified(self) -> bool:
        """
        Return whether callers have to say who they are.
        """
        return bool(self.keys or self.issuers)

    @property
    def guarded(self) -> bool:
        """
        Return whether only known callers come in, and nobody on the way reads what they send.
        """
        return self.tls is not None and (self.identified or self.tls.client_ca is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """
    The settings of one server; the fields are named as the flags and the keys of `server.yaml`.

    Args:
        lame_duck_us: None depends on the address and the signal.
    """

    graphs: tuple[str, ...] = ()
    listen: str = "127.0.0.1:50051"
    workers: int = 1
    traces: str | None = None
    data: str | None = None
    vault: str = "memory"
    tenant: str = "default"
    operator_key_env: str | None = None
    retry_window_us: int = 600_000_000
    grace_us: int = 30_000_000
    lame_duck_us: int | None = None
    walks_in_flight: int = 2_000
    log: LogFormat = "text"
    log_level: LogLevel = "warning"
    insecure: bool = False
    reflection: bool = True
    tls: TlsFiles | None = None
    keys: tuple[ApiKey, ...] = ()
    issuers: tuple[TokenIssuer, ...] = ()
    tenants: Mapping[str, TenantRules] = field(default_factory=dict)
    allow_files: bool = False
    allow_functions: tuple[str, ...] | None = None
    allow_env: tuple[str, ...] | None = None

    @property
    def trust(self) -> Trust:
        """
        Return the part of the settings that says what the graphs may name.
        """
        return Trust(self.allow_files, self.allow_functions, self.allow_env)

    @property
    def access(self) -> Access:
        """
        Return the part of the settings that says who comes in.
        """
        return Access(
            insecure=self.insecure,
            reflection=self.reflection,
            tls=self.tls,
            keys=self.keys,
            issuers=self.issuers,
            tenants=self.tenants,
        )
