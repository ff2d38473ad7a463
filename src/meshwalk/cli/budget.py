"""
`meshwalk budget`: what sessions, workflows and tenants spent, where, and what an operator lets them spend.

A vault that several processes share is read where it is kept; one in a server's memory only that server can show.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from meshwalk.cli.options import Count, Json, OperatorKeyEnv, Tenant, Whole, nano_usd, scope_name, vault_address
from meshwalk.cli.output import OK, Misuse, counted, emit, say_fitted
from meshwalk.cli.remote import NO_FLAGS, RemoteFlags


if TYPE_CHECKING:
    from meshwalk.budgets.vaults import Vault
    from meshwalk.model import Caps, ScopeKind
    from meshwalk.wire.client import Client
    from meshwalk.wire.types import AccountPage

    # The address of a vault; or empty, and a client of a server.
    _Place = tuple[str, Client | None]


VaultOption = Annotated[str, Parameter(name="--vault", help="Where the budgets are kept: sqlite:PATH or redis://HOST:PORT.")]
Target = Annotated[str, Parameter(name="--target", help="A server's HOST:PORT, instead of a vault.")]
Session = Annotated[str, Parameter(name="--session", help="The budget of this session.")]
Workflow = Annotated[str, Parameter(name="--workflow", help="The budget of this workflow.")]
WholeTenant = Annotated[bool, Parameter(name="--whole-tenant", negative="", help="The tenant's own budget.")]
OfTenant = Annotated[Tenant | None, Parameter(name="--tenant", help="With --vault: whose budgets; `default` if not said.")]


def budget() -> App:
    """
    Put the commands below `meshwalk budget` together.
    """
    commands = App(name="budget", help="Show what was spent from shared budgets, and set what may be.")
    commands.command(show)
    commands.command(set_caps, name="set")

    return commands


# Accounts that fit a few screens.
_SHOWN = 50


def show(
    *,
    vault: VaultOption = "",
    target: Target = "",
    session: Session = "",
    workflow: Workflow = "",
    whole_tenant: WholeTenant = False,
    graph: Annotated[str, Parameter(name="--graph")] = "",
    tenant: OfTenant = None,
    top: Annotated[int | None, Whole] = None,
    remote: RemoteFlags = NO_FLAGS,
    json: Json = False,
) -> int:
    """
    Show the accounts of shared budgets; of one that is chosen also on which nodes and paths it was spent.

    Parameters
    ----------
    graph
        Only what walks over this graph spent.
    top
        Only so many accounts: those that spent most; 50 without --json.
    """
    import anyio

    from meshwalk.cli.accounts import account_document, accounts_tables

    chosen = _chosen(session, workflow, whole_tenant)
    page = anyio.run(_accounts, _place(vault, target, tenant, remote), tenant or _DEFAULT_TENANT, chosen, graph)
    accounts = page.accounts
    count = top if top is not None or json else _SHOWN
    if count is not None and (top is not None or len(accounts) > count):
        accounts = tuple(sorted(accounts, key=lambda account: account.statement.spent.cost_nano_usd, reverse=True)[:count])
    if json:
        emit({"tenant": page.tenant, "accounts": [account_document(card) for card in accounts]})
    elif not page.accounts:
        whose = f"{_called(*chosen)} of " if chosen else ""
        say_fitted(f"Nothing was reserved or spent for {whose}tenant {page.tenant!r}.")
    else:
        from meshwalk.cli.show import console

        console().print(accounts_tables(accounts, lines=chosen is not None or bool(graph)))
        if left := len(page.accounts) - len(accounts):
            say_fitted(f"There are {counted(left, 'more account')}; a larger --top shows them.")

    return OK


def set_caps(
    *,
    vault: VaultOption = "",
    target: Target = "",
    session: Session = "",
    workflow: Workflow = "",
    whole_tenant: WholeTenant = False,
    tenant: OfTenant = None,
    cost_usd: float | None = None,
    input_tokens: Annotated[int | None, Count] = None,
    output_tokens: Annotated[int | None, Count] = None,
    calls: Annotated[int | None, Count] = None,
    hops: Annotated[int | None, Count] = None,
    clear: Annotated[bool, Parameter(name="--clear", negative="")] = False,
    operator_key_env: OperatorKeyEnv = None,
    remote: RemoteFlags = NO_FLAGS,
    json: Json = False,
) -> int:
    """
    Set the caps of one budget, in place of the graphs' and of all that were set before.

    They hold from the next reservation on; what is not given is left to the graphs.

    Parameters
    ----------
    cost_usd
        What it may cost.
    input_tokens
        How many tokens may be sent to models.
    output_tokens
        How many tokens models may write.
    calls
        How many model calls may be made.
    hops
        How many hops may be made.
    clear
        Leave everything to the graphs again.
    operator_key_env
        With --target: the environment variable that holds the server's operator key.
    """
    import anyio

    from meshwalk.cli.accounts import caps_document, caps_text
    from meshwalk.model import MAX_SHARED_USD, Caps

    chosen = _chosen(session, workflow, whole_tenant)
    if chosen is None:
        raise Misuse("budget set takes one of --session, --workflow and --whole-tenant")
    cost = None if cost_usd is None else nano_usd("--cost-usd", cost_usd, MAX_SHARED_USD)
    caps = Caps(cost, input_tokens, output_tokens, calls, hops)
    if clear and caps != Caps():
        raise Misuse("--clear takes all caps away, and goes with none; set what is to hold without it")
    if not clear and caps == Caps():
        raise Misuse("budget set takes caps, such as --cost-usd 2 --calls 10, or --clear, which takes all of them away")
    remote = _with_operator(remote, operator_key_env) if target else remote
    place = _place(vault, target, tenant, remote)
    anyio.run(_set, place, tenant or _DEFAULT_TENANT, chosen, caps, remote.api_key_env)
    kind, name = chosen
    if json:
        emit({"scope": kind, "name": name, "caps": caps_document(caps)})
    else:
        say_fitted(f"The caps of {_called(kind, name)} are {'left to the graphs' if clear else caps_text(caps)}.")

    return OK


_DEFAULT_TENANT = "default"

# A kind of scope and the name of one.
_Chosen = tuple["ScopeKind", str]


def _chosen(session: str, workflow: str, whole_tenant: bool) -> _Chosen | None:
    said: list[_Chosen] = []
    if session:
        said.append(("session", scope_name("--session", session)))
    if workflow:
        said.append(("workflow", scope_name("--workflow", workflow)))
    if whole_tenant:
        said.append(("tenant", ""))
    if len(said) > 1:
        raise Misuse(
            f"{counted(len(said), 'budget')} are named, and one at a time can be; see --session, --workflow, --whole-tenant"
        )

    return said[0] if said else None


def _called(kind: ScopeKind, name: str) -> str:
    return f"{kind} {name!r}" if name else f"the whole {kind}"


def _with_operator(remote: RemoteFlags, operator_key_env: str | None) -> RemoteFlags:
    if operator_key_env is None and remote.api_key_env is None:
        raise Misuse(
            "a server sets budgets for its operator only; name the variable that holds the key: --operator-key-env NAME, or "
            "--api-key-env NAME of a key with the right `operate`"
        )
    if operator_key_env is not None and remote.api_key_env is not None:
        raise Misuse("--operator-key-env and --api-key-env name a key each, and a call has one; leave one of them out")

    return replace(remote, api_key_env=operator_key_env or remote.api_key_env)


def _place(vault: str, target: str, tenant: str | None, remote: RemoteFlags) -> _Place:
    if vault and target:
        raise Misuse("--vault and --target are both given, and budgets are looked for in one place; leave one of them out")
    if not vault and not target:
        raise Misuse(
            "name where the budgets are kept: --vault sqlite:PATH or redis://HOST:PORT, or --target HOST:PORT of a server"
        )
    if target and tenant is not None:
        raise Misuse("a server shows the budgets of its own tenant; leave --tenant out with --target")
    if vault.strip() == "memory":
        raise Misuse("a vault in memory is a server's own; name that server: --target HOST:PORT")

    if target:
        return "", remote.client(target)
    remote.check_unused()

    return vault_address(vault), None


async def _accounts(place: _Place, tenant: str, chosen: _Chosen | None, graph: str) -> AccountPage:
    from meshwalk.budgets.vaults import open_vault
    from meshwalk.wire.types import AccountInfo, AccountPage

    where, server = place
    kind, name = chosen or (None, "")
    if server is not None:
        return await _pages(server, kind, name, graph)
    vault = await open_vault(where)
    try:
        found = await vault.reports(tenant, kind, name or None)
    finally:
        await vault.aclose()
    if graph:
        found = [one._replace(lines=tuple(line for line in one.lines if line.spend_path.graph == graph)) for one in found]

    return AccountPage(tenant, tuple(AccountInfo(one) for one in found if one.lines or not graph), "")


async def _pages(server: Client, kind: ScopeKind | None, name: str, graph: str) -> AccountPage:
    async with server as client:
        page = await client.budgets(scope=kind, name=name, graph=graph)
        accounts = list(page.accounts)
        while page.next:
            page = await client.budgets(scope=kind, name=name, graph=graph, page=page.next)
            accounts += page.accounts

    return page._replace(accounts=tuple(accounts))


async def _set(place: _Place, tenant: str, chosen: _Chosen, caps: Caps, key_env: str | None) -> None:
    from meshwalk.budgets.vaults import open_vault

    (where, server), (kind, name) = place, chosen
    if server is not None:
        await _set_on_server(server, chosen, caps, key_env)
        return
    vault: Vault = await open_vault(where)
    try:
        await vault.set_caps(tenant, kind, name or tenant, caps)
    finally:
        await vault.aclose()


async def _set_on_server(server: Client, chosen: _Chosen, caps: Caps, key_env: str | None) -> None:
    from meshwalk.wire.client import Unauthenticated

    kind, name = chosen
    async with server as client:
        try:
            await client.set_budget(kind, name, caps)
        except Unauthenticated as error:
            raise Unauthenticated(
                f"the key in the variable {key_env!r} is not the operator's key of {client.target}"
            ) from error
