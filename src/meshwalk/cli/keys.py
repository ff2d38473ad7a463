"""
`meshwalk keys`: API keys for the callers of a server.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from meshwalk.cli.options import Json, Tenant
from meshwalk.cli.output import OK, Misuse, complain, emit, say


if TYPE_CHECKING:
    from collections.abc import Sequence


def keys() -> App:
    """
    Put the commands below `meshwalk keys` together.
    """
    commands = App(name="keys", help="Make API keys for the callers of a server.")
    commands.command(new)

    return commands


def new(
    *,
    tenant: Annotated[Tenant, Parameter(name="--tenant")] = "default",
    right: Annotated[tuple[str, ...], Parameter(name="--right", negative="")] = (),
    expires: Annotated[str | None, Parameter(name="--expires")] = None,
    json: Json = False,
) -> int:
    """
    Make a key and print it, this once; the server keeps its hash alone.

    The key goes to stdout, and the entry for `identities.keys` of `server.yaml` to stderr; with --json both are one document.

    Parameters
    ----------
    tenant
        The tenant that its callers are of.
    right
        What they may do: route, read, read-content, operate or apply; may be given several times.  Without it, all that the
        tenant may.
    expires
        The first day on which it is refused, such as 2027-12-31 (UTC).
    """
    from meshwalk.server.identity import new_key

    _check(right, expires)
    made = new_key()
    entry: dict[str, Any] = {"id": made.id, "tenant": tenant, "salt": made.salt, "sha256": made.sha256}
    entry |= {"rights": list(right)} if right else {}
    entry |= {"expires": expires} if expires else {}
    if json:
        emit({"key": made.key, "entry": entry})
        return OK
    say(made.key)
    complain(f"Keep the key: it is not shown again.  Under identities.keys of server.yaml stands:\n{_yaml(entry)}")

    return OK


def _check(rights: Sequence[str], expires: str | None) -> None:
    from meshwalk.model.serving import RIGHTS

    for right in rights:
        if right not in RIGHTS:
            from meshwalk.model.spelling import did_you_mean

            known = f"there are: {', '.join(RIGHTS)}"
            raise Misuse(f"--right takes a right, and {right!r} is none; {did_you_mean(right, RIGHTS) or known}")
    if expires is not None:
        try:
            day = date.fromisoformat(expires).isoformat()
        except ValueError:
            day = ""
        # Python takes other spellings, too, and the server's settings do not.
        if day != expires:
            raise Misuse(f"--expires takes a day such as 2027-12-31, and {expires!r} is none")


def _yaml(entry: dict[str, Any]) -> str:
    lines = [f"{name}: {_value(value)}" for name, value in entry.items()]

    return "\n".join(f"  {'- ' if number == 0 else '  '}{line}" for number, line in enumerate(lines))


def _value(value: Any) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, list) else f'"{value}"'
