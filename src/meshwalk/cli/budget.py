"""
`meshwalk budget`: what sessions, workflows and tenants spent, where, and what an operator lets them spend.

A vault that several processes share is read where it is kept; one in a server's memory only that server can show.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from meshwalk.cli.options import Count, Json, OperatorKeyEnv, Tenant, Whole, nano_usd, scope_name, vault_address
from meshwalk.cli.output import OK, Misuse, counted, emit, say_fitted


if TYPE_CHECKING:
    from meshwalk.budgets.vaults import Vault
    from meshwalk.model import Caps, ScopeKind
    from meshwalk.wire.types import AccountPage


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
    page = anyio.run(_accounts, _place(vault, target, tenant), tenant or _DEFAULT_TENANT, chosen, graph)
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
    anyio.run(_set, _place(vault, target, tenant), tenant or _DEFAULT_TENANT, chosen, caps, operator_key_env)
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


def _place(vault: str, target: str, tenant: str | None) -> tuple[str, str]:
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

    return vault and vault_address(vault), target


async def _accounts(place: tuple[str, str], tenant: str, chosen: _Chosen | None, graph: str) -> AccountPage:
    from meshwalk.budgets.vaults import open_vault
    from meshwalk.wire.types import AccountInfo, AccountPage

    where, target = place
    kind, name = chosen or (None, "")
    if target:
        return await _pages(target, kind, name, graph)
    vault = await open_vault(where)
    try:
        found = await vault.reports(tenant, kind, name or None)
    finally:
        await vault.aclose()
    if graph:
        found = [one._replace(lines=tuple(line for line in one.lines if line.spend_path.graph == graph)) for one in found]

    return AccountPage(tenant, tuple(AccountInfo(one) for one in found if one.lines or not graph), "")


async def _pages(target: str, kind: ScopeKind | None, name: str, graph: str) -> AccountPage:
    from meshwalk.wire.client import Client

    async with Client(target) as client:
        page = await client.budgets(scope=kind, name=name, graph=graph)
        accounts = list(page.accounts)
        while page.next:
            page = await client.budgets(scope=kind, name=name, graph=graph, page=page.next)
            accounts += page.accounts

    return page._replace(accounts=tuple(accounts))


async def _set(place: tuple[str, str], tenant: str, chosen: _Chosen, caps: Caps, key_env: str | None) -> None:
    from meshwalk.budgets.vaults import open_vault

    (where, target), (kind, name) = place, chosen
    if target:
        await _set_on_server(target, chosen, caps, key_env)
        return
    vault: Vault = await open_vault(where)
    try:
        await vault.set_caps(tenant, kind, name or tenant, caps)
    finally:
        await vault.aclose()


async def _set_on_server(target: str, chosen: _Chosen, caps: Caps, key_env: str | None) -> None:
    from meshwalk.wire.client import Client, Unauthenticated
    from meshwalk.wire.keys import key_from

    if key_env is None:
        raise Misuse(
            "a server sets budgets for its operator only; name the variable that holds the key: --operator-key-env NAME"
        )
    kind, name = chosen
    key = key_from(key_env, os.environ)
    async with Client(target) as client:
        try:
            await client.set_budget(kind, name, caps, key=key)
        except Unauthenticated as error:
            raise Unauthenticated(f"the key in the variable {key_env!r} is not the operator's key of {target}") from error
