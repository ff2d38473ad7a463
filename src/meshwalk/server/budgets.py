"""
`BudgetService`: the accounts of shared budgets, as an operator sees and caps them.

Meshes that are served together usually share one vault.  With several, their accounts stand in one list, and a cap is set in
each.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import NamedTuple

import orjson

from meshwalk.budgets import AccountReport
from meshwalk.mesh import Mesh
from meshwalk.model import MAX_SHARED_COUNT, MAX_SHARED_USD, SCOPE_CHARACTERS, Caps, ScopeKind
from meshwalk.model.problems import RequestError, Violation
from meshwalk.server.auth import OperatorKey
from meshwalk.server.calls import Context, rich_errors
from meshwalk.server.identity.caller import ANYBODY, caller
from meshwalk.server.paging import page_size, unknown_page
from meshwalk.server.registry import MeshRegistry
from meshwalk.wire import convert
from meshwalk.wire.gen.meshwalk.v1beta1 import budget_pb2, budget_pb2_grpc, common_pb2


# The place of an account in a list: its kind, its name, the length and the end of its window, and its vault.
_Key = tuple[str, str, int, int, int]


class _ListedAccount(NamedTuple):
    """
    An account with its place in a list.
    """

    key: _Key
    report: AccountReport
    graph_caps: Caps


class Budgets(budget_pb2_grpc.BudgetServiceServicer):
    """
    The accounts that the meshes of *served* draw on.
    """

    def __init__(self, served: MeshRegistry, operator: OperatorKey) -> None:
        self._tenant = served.tenant
        self._operator = operator
        # Vaults are told apart by identity, because two of them may compare equal.
        meshes_by_vault: dict[int, list[Mesh]] = {}
        for mesh in served:
            meshes_by_vault.setdefault(id(mesh.vault), []).append(mesh)
        self._vaults = [(meshes[0].vault, meshes) for meshes in meshes_by_vault.values()]

    @rich_errors
    async def ListAccounts(  # noqa: N802
        self, request: budget_pb2.ListAccountsRequest, context: Context
    ) -> budget_pb2.ListAccountsResponse:
        """
        List accounts.
        """
        del context
        size, after = page_size(request), _after(request.page_token)
        kind = _kind(request.scope) if request.scope else None
        accounts = sorted([account async for account in self._accounts(kind, request.name or None, request.graph)])
        rest = [account for account in accounts if after is None or account.key > after]
        page = rest[:size]

        return budget_pb2.ListAccountsResponse(
            tenant=self._acting_tenant(),
            accounts=[convert.pack_account(account.report, account.graph_caps) for account in page],
            next_page_token=_token(page[-1].key) if len(rest) > size else "",
        )

    @rich_errors
    async def SetBudget(  # noqa: N802
        self, request: budget_pb2.SetBudgetRequest, context: Context
    ) -> budget_pb2.SetBudgetResponse:
        """
        Put caps in place of what graphs say.
        """
        if caller() is ANYBODY:
            # A known caller has the right `operate` instead.
            self._operator.check(context)
        tenant = self._acting_tenant()
        kind, caps = _kind(request.scope), convert.unpack_caps(request.caps)
        name = request.name or (tenant if kind == "tenant" else "")
        if faults := [*self._faults_of_scope(kind), *_faults_of_name(kind, name, tenant), *_faults_of_caps(caps)]:
            raise RequestError(faults)
        for vault, _ in self._vaults:
            await vault.set_caps(tenant, kind, name, caps)

        return budget_pb2.SetBudgetResponse()

    async def _accounts(self, kind: ScopeKind | None, name: str | None, graph: str) -> AsyncIterator[_ListedAccount]:
        for position, (vault, meshes) in enumerate(self._vaults):
            for report in _of_graph(await vault.reports(self._acting_tenant(), kind, name), graph):
                yield _ListedAccount(_key(report, position), report, _graph_caps(meshes, report))

    def _acting_tenant(self) -> str:
        return caller().tenant or self._tenant

    def _faults_of_scope(self, kind: ScopeKind) -> Iterator[Violation]:
        if not any(kind in mesh.plan.graph.budgets for _, meshes in self._vaults for mesh in meshes):
            why = f"no graph that is served here declares budgets.{kind}, so that no cap on it would hold; declare it in one"
            yield Violation("scope", why)


def _graph_caps(meshes: Iterable[Mesh], account: AccountReport) -> Caps:
    """
    Return the tightest caps that the graphs of *meshes* put on *account*; a budget of another window has an account of its own.
    """
    budgets = (mesh.plan.graph.budgets.get(account.kind) for mesh in meshes)
    caps = [budget.caps for budget in budgets if budget is not None and budget.window_us == account.window_us]
    parts = zip(Caps(), *caps, strict=True)

    return Caps._make(min((cap for cap in part if cap is not None), default=None) for part in parts)


def _kind(number: common_pb2.ScopeKind.ValueType) -> ScopeKind:
    if number == common_pb2.SCOPE_KIND_UNSPECIFIED:
        raise RequestError([Violation("scope", "must be said: SESSION, WORKFLOW or TENANT")])
    if number == common_pb2.SCOPE_KIND_REQUEST or number not in common_pb2.ScopeKind.values():
        raise RequestError([Violation("scope", f"is {number}, and this server knows SESSION, WORKFLOW and TENANT")])

    return convert.unpack_scope_kind(number)


def _faults_of_name(kind: ScopeKind, name: str, tenant: str) -> Iterator[Violation]:
    if not name:
        yield Violation("name", f"names the {kind}, and is empty")
    elif kind == "tenant" and name != tenant:
        yield Violation("name", f"is {name[:80]!r}, and this caller is of the tenant {tenant!r} only")
    elif len(name) > SCOPE_CHARACTERS:
        yield Violation("name", f"is {len(name)} characters long, and no request can name more than {SCOPE_CHARACTERS}")


def _faults_of_caps(caps: Caps) -> Iterator[Violation]:
    for part, cap in caps._asdict().items():
        maximum = MAX_SHARED_USD * 1_000_000_000 if part == "cost_nano_usd" else MAX_SHARED_COUNT
        if cap is not None and cap < 0:
            yield Violation(f"caps.{part}", f"is {cap}, and the least is 0")
        elif cap is not None and cap > maximum:
            yield Violation(f"caps.{part}", f"is {cap}, and the most is {maximum}")


# ---- pages ----------------------------------------------------------------------------------------------------------


def _of_graph(reports: Iterable[AccountReport], graph: str) -> list[AccountReport]:
    if not graph:
        return list(reports)
    narrowed = (
        report._replace(lines=tuple(line for line in report.lines if line.spend_path.graph == graph)) for report in reports
    )

    return [report for report in narrowed if report.lines]


def _key(report: AccountReport, vault: int) -> _Key:
    # A page begins behind the key that ended the one before, so accounts added meanwhile move none.
    return report.kind, report.name, report.window_us or 0, report.window_ends_unix_us or 0, vault


def _token(key: _Key) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode()


def _after(token: str) -> _Key | None:
    if not token:
        return None
    try:
        match orjson.loads(base64.urlsafe_b64decode(token)):
            case [str(kind), str(name), int(window_us), int(ends), int(vault)]:
                return kind, name, window_us, ends, vault
    except ValueError:
        pass
    raise unknown_page()
