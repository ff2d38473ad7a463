"""
Open a vault by its address.

An address may contain `${NAME}`, which is read from the environment when the vault is opened.  A password is only accepted by
such a name, so that command lines, process lists and errors can show the address.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qsl, quote, urlsplit

from meshwalk.budgets.vaults.base import PASSWORD_REMEDY, Vault
from meshwalk.budgets.vaults.memory import MemoryVault
from meshwalk.model import environment
from meshwalk.model.problems import SetupError


ADDRESS_FORMS = "memory, sqlite:PATH, redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH?db=DB"

_USER_INFO = re.compile(r"(?P<scheme>[a-z]+://)(?P<user>[^/?#]*)@")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


async def open_vault(where: str) -> Vault:
    """
    Open the vault at *where*: in memory, in a file shared by the workers of one machine, or in Redis.

    While a disk or network vault is unavailable, the policies of the scopes apply.

    Raises:
        SetupError: If *where* is not an address, or a package or variable that it needs is missing.
        VaultUnavailable: If the vault does not answer.
    """
    where = where.strip()
    if where == "memory":
        return MemoryVault()
    _refuse_secrets(where)
    address = _filled(where, environment.read(environment.names_in(where), "the vault"))
    scheme, colon, rest = address.partition(":")
    if colon and scheme == "sqlite":
        path = _path(rest)
        return _with_fallback(await importlib.import_module("meshwalk.budgets.vaults.sqlite").SqliteVault.open(path))
    if scheme in {"redis", "rediss", "unix"} and rest.startswith("//"):
        if why := _redis_address_fault(address):
            raise SetupError(f"the vault's address {why}; write {ADDRESS_FORMS}")
        return _with_fallback(await _redis().RedisVault.open(address))

    raise SetupError(f"the vault's address {_beginning(where)}; write {ADDRESS_FORMS}")


def _with_fallback(vault: Vault) -> Vault:
    # Most servers keep their budgets in memory, and need no fallback.
    from meshwalk.budgets.vaults.fallback import FallbackVault  # noqa: PLC0415

    return FallbackVault(vault)


def _redis() -> ModuleType:
    try:
        return importlib.import_module("meshwalk.budgets.vaults.redis")
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise SetupError("a vault in Redis needs the package redis; install meshwalk[redis]") from None


def _refuse_secrets(where: str) -> None:
    said = _USER_INFO.match(where)
    password = said["user"].partition(":")[2] if said else ""
    query = parse_qsl(where.partition("?")[2])
    if environment.without(password) or any(key == "password" and environment.without(value) for key, value in query):
        raise SetupError(f"the vault's address has a password in it, where anybody may read it; {PASSWORD_REMEDY}")


def _filled(where: str, given: Mapping[str, str]) -> str:
    said = _USER_INFO.match(where)
    if said is None:
        return environment.fill(where, given)
    # A user or a password may contain characters that have a meaning in addresses.
    user = environment.fill(said["user"], {name: quote(value, safe="") for name, value in given.items()})

    return f"{said['scheme']}{user}@{environment.fill(where[said.end() :], given)}"


def _path(rest: str) -> Path:
    if not rest:
        raise SetupError("the vault's address names no file; write sqlite:PATH")
    if rest == ":memory:":
        raise SetupError("a vault in memory is no file; write memory")

    return Path(rest)


def _redis_address_fault(address: str) -> str:
    """
    Return the fault of *address* as one of Redis, or nothing; the text quotes no part, which may be secret.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return "has a host or a port that cannot be one"
    if parts.scheme == "unix":
        return "" if parts.path.strip("/") else "names no socket"
    if not parts.hostname or port == 0:
        return "has a host or a port that cannot be one"
    if not re.fullmatch(r"/?\d*", parts.path):
        return "has a database that is no number"

    return ""


def _beginning(where: str) -> str:
    """
    Describe the scheme of *where*, which is the only part that is safe to show.
    """
    said = _SCHEME.match(where)

    return f"begins with '{said[0]}'" if said else "begins with no kind of vault"
