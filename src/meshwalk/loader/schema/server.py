"""
The shape of each part of a server's settings; editors show the descriptions.
"""

import re
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from meshwalk.loader.schema.shape import Shape
from meshwalk.loader.schema.values import Name, Text, Time, TimeOrNone, Variable, Whole, fault
from meshwalk.model.serving import Algorithm, LogFormat, LogLevel, Right, ServerSettings


# The largest number that a flag takes.
_MAX_COUNT = 2**63 - 1

_UNSET = ServerSettings()


def _version(value: Any) -> int:
    if value != 1 or isinstance(value, bool):
        raise fault("unsupported-version", "is not 1, the version that this meshwalk reads", "write server: 1")

    return 1


ServerVersion = Annotated[int, PlainValidator(_version), WithJsonSchema({"const": 1})]
Count = Annotated[int, Field(ge=1, le=_MAX_COUNT), Whole]


_ID = re.compile("[0-9a-f]{8}")
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _key_id(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise fault(
            "bad-id", "is no id of a key, which has 8 hexadecimal digits", "put it in quotes, as `meshwalk keys new` prints it"
        )

    return value


def _hex(digits: int, value: Any) -> str:
    # The text may be the key itself, so it is never shown.
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{digits}}}", value):
        raise fault(
            "bad-hash", f"is no text of {digits} hexadecimal digits", "copy what `meshwalk keys new` prints, never the key"
        )

    return value


def _day(value: Any) -> int:
    text = value if isinstance(value, str) else ""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise fault("bad-day", "is no day", "write it as 2027-12-31; a key is refused from its first second on (UTC)")

    return int(day.timestamp())


KeyId = Annotated[str, PlainValidator(_key_id), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{8}$"})]
Salt = Annotated[str, PlainValidator(partial(_hex, 32)), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{32}$"})]
Sha256 = Annotated[str, PlainValidator(partial(_hex, 64)), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{64}$"})]
Day = Annotated[int, PlainValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Rights = Annotated[list[Right], Field(min_length=1)]


class TlsShape(Shape):
    """
    The server's certificate; the files are read again when they change.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"certificate": "none", "key": "none"}

    certificate: Text = Field(description="The certificate and its chain, in PEM.")
    key: Text = Field(description="The certificate's private key, in PEM.")
    client_ca: Text | None = Field(
        None, description="The authorities of callers' certificates, in PEM; with it a caller without one is refused (mTLS)."
    )


class ApiKeyShape(Shape):
    """
    One API key, by its hash; `meshwalk keys new` makes it.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"id": "00000000", "tenant": "none", "salt": "0" * 32, "sha256": "0" * 64}

    id: KeyId = Field(description="The part of the key that names it.")
    tenant: Text = Field(description="The tenant that its callers are of.")
    salt: Salt = Field(description="The salt of the hash.")
    sha256: Sha256 = Field(description="The hash of the salt and the key.")
    rights: Rights | None = Field(None, description="What its callers may do; without it, whatever their tenant may.")
    expires: Day | None = Field(None, description="The first day on which it is refused (UTC).")


class TokenIssuerShape(Shape):
    """
    An issuer of JSON Web Tokens.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"issuer": "none", "audience": "none", "jwks": "none"}

    issuer: Text = Field(description="The value of the claim `iss`.")
    audience: Text = Field(description="A value of the claim `aud`: the name that the issuer has for this server.")
    jwks: Text = Field(description="The file of its public keys (JWKS); it is read again when it changes.")
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] | None = Field(
        None, description="The signatures that are taken, all of them asymmetric; RS256 and ES256 if unsaid."
    )
    tenant_claim: Text = Field("tenant", description="The claim that names the caller's tenant.")
    rights_claim: Text | None = Field(
        None, description="The claim that lists the caller's rights; without it, whatever its tenant may."
    )
    leeway: TimeOrNone | None = Field(None, description="How far clocks may be apart. 30s if unsaid.")


class TenantShape(Shape):
    """
    The rules for one tenant; its budgets, records and idempotency keys go by its name.
    """

    graphs: Annotated[list[Text], Field(min_length=1)] | None = Field(
        None, description="The names of the graphs that it may walk; without it, all."
    )
    rights: Rights | None = Field(None, description="The most that its callers may do; route and read if unsaid.")
    requests_per_minute: Count | None = Field(None, description="How many requests a minute each server process takes from it.")
    walks_in_flight: Count | None = Field(None, description="How many of its walks each server process has at once.")


class IdentitiesShape(Shape):
    """
    The credentials that are taken.
    """

    keys: list[ApiKeyShape] | None = Field(None, description="API keys.")
    jwt: list[TokenIssuerShape] | None = Field(None, description="Issuers of JSON Web Tokens.")


class ServerShape(Shape):
    """
    The settings of a meshwalk server; every flag of `meshwalk serve` has its key here, and a flag wins over its key.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"server": 1}

    server: ServerVersion = Field(description="The version of this format: 1.")
    graphs: Annotated[list[Text], Field(min_length=1)] | None = Field(
        None, description="The graphs' YAML files; all paths start at the folder of this file.", examples=[["graphs/desk.yaml"]]
    )
    listen: Text = Field(_UNSET.listen, description="HOST:PORT to listen at, or unix:PATH; port 0 takes a free one.")
    workers: Count = Field(_UNSET.workers, description="How many processes share the port; one that dies is replaced.")
    traces: Text | None = Field(None, description="A folder to store every walk in.")
    data: Text | None = Field(None, description="The outcomes file of `recorded` backends that name none.")
    vault: Text = Field(_UNSET.vault, description="Where shared budgets are kept: memory, sqlite:PATH or redis://HOST:PORT.")
    tenant: Text = Field(_UNSET.tenant, description="Whose budgets the walks draw on.")
    operator_key_env: Variable | None = Field(
        None, description="The environment variable that holds the key for setting budgets; without it nobody sets any."
    )
    retry_window: Time | None = Field(
        None, description="How long a walk is kept for requests that repeat its idempotency key; 10m if unsaid."
    )
    grace: TimeOrNone | None = Field(
        None, description="How long running calls may take to end once the server is told to stop; 30s if unsaid."
    )
    lame_duck: TimeOrNone | None = Field(
        None,
        description="How long calls are still taken once health says NOT_SERVING; 5s at SIGTERM beyond loopback if unsaid.",
    )
    walks_in_flight: Count = Field(_UNSET.walks_in_flight, description="How many walks each process has at once.")
    log: LogFormat = Field(_UNSET.log, description="The form of the log on stderr: lines of text, or a JSON document a line.")
    log_level: LogLevel = Field(
        _UNSET.log_level, description="The lowest level that is logged; info has the server's events and declared refusals too."
    )
    insecure: bool = Field(
        _UNSET.insecure, description="Listen beyond loopback without TLS and identities: whoever reaches the port comes in."
    )
    reflection: bool = Field(_UNSET.reflection, description="Whether the server describes its services to callers.")
    tls: TlsShape | None = Field(None, description="The server's certificate; without it everything is sent in the clear.")
    identities: IdentitiesShape | None = Field(
        None, description="Who comes in; without it, everybody who reaches the port is `tenant`."
    )
    tenants: dict[Name, TenantShape] | None = Field(None, description="Whose callers may do what, by name.")
    allow_files: bool = Field(_UNSET.allow_files, description="Let graphs name files outside their folders.")
    allow_functions: list[Text] | None = Field(
        None,
        description="The beginnings of the functions that graphs may name; any may be named if unsaid.",
        examples=[["desk."]],
    )
    allow_env: list[Text] | None = Field(
        None,
        description="The beginnings of the environment variables that graphs may name; any may be named if unsaid.",
        examples=[["DESK_"]],
    )
