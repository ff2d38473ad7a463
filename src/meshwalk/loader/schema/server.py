"""
The shape of each part of a server's settings; editors show the descriptions.
"""

from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from meshwalk.loader.schema.shape import Shape
from meshwalk.loader.schema.values import Text, Time, TimeOrNone, Variable, Whole, fault
from meshwalk.model.serving import ServerSettings


# The largest number that a flag takes.
_MAX_COUNT = 2**63 - 1

_UNSET = ServerSettings()


def _version(value: Any) -> int:
    if value != 1 or isinstance(value, bool):
        raise fault("unsupported-version", "is not 1, the version that this meshwalk reads", "write server: 1")

    return 1


ServerVersion = Annotated[int, PlainValidator(_version), WithJsonSchema({"const": 1})]
Count = Annotated[int, Field(ge=1, le=_MAX_COUNT), Whole]


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
        None, description="How long calls are still taken once health says NOT_SERVING at a stop; none if unsaid."
    )
    walks_in_flight: Count = Field(_UNSET.walks_in_flight, description="How many walks each process has at once.")
    insecure: bool = Field(
        _UNSET.insecure, description="Listen beyond loopback without TLS and identities: whoever reaches the port comes in."
    )
    reflection: bool = Field(_UNSET.reflection, description="Whether the server describes its services to callers.")
