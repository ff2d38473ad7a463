"""
The flags of a server, each with a key of the same name in `server.yaml`, which it wins over.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from meshwalk.cli.options import DataFile, NewTraces, OperatorKeyEnv, Tenant, VaultAddress, Whole, duration_us
from meshwalk.cli.output import Misuse


if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshwalk.model.serving import ServerSettings


def _unset(shown: str, **more: Any) -> Parameter:
    # A flag that is not set is None, so that the file's key holds, and the help shows what holds without either.
    return Parameter(show_default=lambda _: shown, **more)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFlags:
    """
    The flags that were set; None is one that was not.

    Parameters
    ----------
    listen
        HOST:PORT to listen at, or unix:PATH; port 0 takes a free one.
    workers
        How many processes share the port; one that dies is replaced.
    traces
        A folder to store every walk in.
    data
        The outcomes file of `recorded` backends that name none.
    vault
        Where shared budgets are kept: memory, sqlite:PATH or redis://HOST:PORT; ${NAME} stands for what the environment holds.
    tenant
        Whose budgets the walks draw on.
    operator_key_env
        The environment variable that holds the key for setting budgets; without it nobody sets any.
    retry_window
        How long a walk is kept for requests that repeat its idempotency key.
    grace
        How long running walks may take to end once the server is told to stop; the others are cut off, settled and recorded.
        A second signal cuts them off at once.
    lame_duck
        How long calls are still taken once health says NOT_SERVING at a stop, so that load balancers can turn away first.
    walks_in_flight
        How many walks each process has at once; further requests are refused with RESOURCE_EXHAUSTED, before anything is spent.
    log
        The form of the log on stderr: lines of text, or a JSON document a line.
    log_level
        The lowest level that is logged: warning has failed walks, info the server's events and declared refusals too.
    insecure
        Listen beyond loopback without TLS and identities: whoever reaches the port comes in.
    reflection
        Describe the services to callers.
    allow_files
        Let the graphs name files outside their folders.
    allow_functions
        How a function that the graphs name may begin; once for each beginning.  Any may be named without it.
    allow_env
        How an environment variable that the graphs name may begin; once for each beginning.  Any may be named without it.
    """

    listen: Annotated[str | None, _unset("127.0.0.1:50051", name="--listen")] = None
    workers: Annotated[int | None, Whole, _unset("1")] = None
    traces: NewTraces = None
    data: DataFile = None
    vault: Annotated[VaultAddress | None, _unset("memory")] = None
    tenant: Annotated[Tenant | None, _unset("default")] = None
    operator_key_env: OperatorKeyEnv = None
    # Led by a hyphen it is no duration either, and told so.
    retry_window: Annotated[str | None, _unset("10m", allow_leading_hyphen=True)] = None
    grace: Annotated[str | None, _unset("30s", allow_leading_hyphen=True)] = None
    lame_duck: Annotated[str | None, _unset("5s at SIGTERM beyond loopback, or 0s", allow_leading_hyphen=True)] = None
    walks_in_flight: Annotated[int | None, Whole, _unset("2000")] = None
    log: Annotated[Literal["text", "json"] | None, _unset("text")] = None
    log_level: Annotated[Literal["debug", "info", "warning", "error"] | None, _unset("warning")] = None
    insecure: Annotated[bool | None, Parameter(negative="")] = None
    reflection: Annotated[bool | None, _unset("True")] = None
    allow_files: Annotated[bool | None, Parameter(negative="")] = None
    allow_functions: Annotated[tuple[str, ...] | None, Parameter(negative="")] = None
    allow_env: Annotated[tuple[str, ...] | None, Parameter(negative="")] = None

    def set_flags(self) -> dict[str, Any]:
        """
        Return the values of the flags that were set, by the flags' names.
        """
        names = [field.name for field in fields(self)]

        return {name: value for name in names if (value := getattr(self, name)) is not None}


def server_settings(graphs: Sequence[str], config: str | None, flags: ServerFlags) -> ServerSettings:
    """
    Return the settings in the file *config*, if there is one, with *graphs* and *flags* in place of its keys.

    Raises:
        GraphError: With every fault of the file.
        Misuse: If a flag is none, or no graph is named.
        SetupError: If the file cannot be read.
    """
    from meshwalk.model.serving import ServerSettings

    settings = ServerSettings()
    if config is not None:
        from meshwalk.loader import load_settings

        settings = load_settings(config)
    values = flags.set_flags()
    for name in ("retry_window", "grace", "lame_duck"):
        if (text := values.pop(name, None)) is not None:
            values[f"{name}_us"] = duration_us(f"--{name.replace('_', '-')}", text)
    if values.get("retry_window_us") == 0:
        raise Misuse(f"--retry-window takes a duration of more than 0, such as 10m, and {flags.retry_window!r} is none")
    if graphs:
        values["graphs"] = tuple(graphs)
    settings = replace(settings, **values)
    if not settings.graphs:
        raise Misuse("serve takes the graphs' YAML files, or a file of settings that names them: --config server.yaml")

    return settings


def worker_words(graphs: Sequence[str], config: str | None, flags: ServerFlags, address: str) -> list[str]:
    """
    Return the command line of a worker of the same server that listens at *address*.
    """
    values = {**({} if config is None else {"config": config}), **flags.set_flags(), "listen": address}

    pairs = [(name, each) for name, value in values.items() for each in (value if isinstance(value, tuple) else (value,))]

    return [*graphs, "--as-worker", "--json", *(f"--{name.replace('_', '-')}={_word(value)}" for name, value in pairs)]


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
