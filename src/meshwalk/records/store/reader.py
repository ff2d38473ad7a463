"""
The reader of a trace store: lists, single records, and all records in order, while others write.

Every query uses short statements of its own, because an open statement would keep the write-ahead log from being truncated.
One connection serves all threads, one at a time; for parallel reads open another reader.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from meshwalk.model.arguments import checked_setup, path_fault
from meshwalk.model.problems import GraphError, TraceError
from meshwalk.plan import Plan, restore
from meshwalk.records.store.database import FAULTS, FIRST_WITH_TENANTS, NO_TENANT, open_to_read, reason_of
from meshwalk.records.store.summary import READABLE_COLUMNS, Damaged, StoredPlan, Summary
from meshwalk.trace import Traversal, decode


# Ids begin with the time, so a shorter prefix would match every walk of an afternoon.
SHORTEST_PREFIX = 6

_Rows = list[tuple[Any, ...]]
# The class below has a method called `list`.
_Texts = list[str]
_Values = list[object]

_MOST = 2**63 - 1
_PAGE = 200
_SHOWN = 5


class TraceReader:
    """
    The traversals stored in *folder*, closed at the end of `with`.

    Raises:
        TraceError: If there is no store, or it cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        checked_setup(folder=path_fault(folder))
        self.folder = Path(folder)
        self._connection = open_to_read(folder)
        self._lock = threading.Lock()
        self._plans: dict[str, Plan] = {}
        self._has_tenants = False

    def __repr__(self) -> str:
        return f"<TraceReader {str(self.folder)!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """
        Close the file; closing twice is fine.
        """
        with self._lock:
            self._connection.close()

    def list(
        self,
        *,
        graph: str = "",
        session: str = "",
        workflow: str = "",
        outcome: str = "",
        tenant: str = "",
        limit: int = 50,
        before: str = "",
    ) -> Sequence[Summary]:
        """
        List the traversals stored last, newest first.

        Args:
            tenant: Leaves out those of all others; empty lists everybody's.
            before: The id of the last traversal of the previous page; empty for the first page.

        Raises:
            TraceError: If there is no traversal *before*.
        """
        where, values = _filters(graph=graph, session=session, workflow=workflow, outcome=outcome)
        self._narrow(where, values, tenant)
        if before:
            where.append("seq < ?")
            values.append(self._seq(before, tenant))
        columns = _COLUMNS if self._knows_tenants() else _COLUMNS_WITHOUT_TENANT
        question = f"SELECT {columns} FROM traversals{_all(where)} ORDER BY seq DESC LIMIT ?"  # noqa: S608
        rows = self._ask(question, *values, min(limit, _MOST))

        return [Summary._make(row) for row in rows]

    def get(self, traversal_id: str, tenant: str = "") -> Traversal | None:
        """
        Return a traversal by its id or a unique prefix of it; None if there is none.

        Args:
            tenant: Passes over those of all others; empty looks at everybody's.

        Raises:
            TraceError: If several ids have the prefix, or the record cannot be read.
        """
        # Ids are lower case; a copied one may not be.
        wanted = traversal_id.lower()
        rows = self._records(["traversal_id = ?"], [wanted], tenant)
        if not rows and len(wanted) >= SHORTEST_PREFIX:
            rows = self._unique(wanted, tenant)

        return _decoded(*rows[0]) if rows else None

    def plan(self, plan_digest: str) -> Plan | None:
        """
        Return the plan stored under *plan_digest*, or None if there is none.

        Raises:
            TraceError: If this version does not read it as the same plan.
        """
        if plan_digest not in self._plans:
            rows = self._ask("SELECT canonical FROM plans WHERE plan_digest = ?", plan_digest)
            if not rows:
                return None
            self._plans[plan_digest] = _restored(rows[0][0], plan_digest)

        return self._plans[plan_digest]

    def plans(self) -> Sequence[StoredPlan]:
        """
        Name every plan that a stored traversal walked.
        """
        rows = self._ask("SELECT plan_digest, shape_digest, graph FROM plans ORDER BY graph, plan_digest")

        return [StoredPlan._make(row) for row in rows]

    def traversals(
        self,
        *,
        graph: str = "",
        session: str = "",
        workflow: str = "",
        outcome: str = "",
        plan_digest: str = "",
        damaged: Callable[[Damaged], object] | None = None,
    ) -> Iterator[Traversal]:
        """
        Go through what is stored now, oldest first; what is added on the way is left out.

        Args:
            damaged: Is told of each record that cannot be read, and the others follow; without it the first is an error.

        Raises:
            TraceError: At a record that cannot be read, or if the file cannot.
        """
        where, values = _filters(graph=graph, session=session, workflow=workflow, outcome=outcome, plan_digest=plan_digest)
        question = f"SELECT seq, {_RECORD} FROM traversals{_all([*where, 'seq > ?', 'seq <= ?'])} ORDER BY seq LIMIT {_PAGE}"  # noqa: S608
        last = self._ask("SELECT coalesce(max(seq), 0) FROM traversals")[0][0]
        seq = 0
        while rows := self._ask(question, *values, seq, last):
            for _, traversal_id, digest, body in rows:
                try:
                    traversal = _decoded(traversal_id, digest, body)
                except TraceError as error:
                    if damaged is None:
                        raise
                    damaged(Damaged(traversal_id, digest, str(error)))
                else:
                    yield traversal
            seq = rows[-1][0]

    def _ask(self, question: str, *values: object) -> _Rows:
        with self._lock:
            try:
                return self._connection.execute(question, values).fetchall()
            except FAULTS as error:
                raise TraceError(f"the traces in {str(self.folder)!r} cannot be read ({reason_of(error)})") from error

    def _knows_tenants(self) -> bool:
        # A writer may add the column while this reader is open.
        if not self._has_tenants:
            self._has_tenants = self._ask("PRAGMA user_version")[0][0] >= FIRST_WITH_TENANTS

        return self._has_tenants

    def _narrow(self, where: _Texts, values: _Values, tenant: str) -> None:
        if tenant:
            where.append("tenant = ?" if self._knows_tenants() else f"'{NO_TENANT}' = ?")
            values.append(tenant)

    def _records(self, where: _Texts, values: _Values, tenant: str, rest: str = "") -> _Rows:
        self._narrow(where, values, tenant)

        return self._ask(f"SELECT {_RECORD} FROM traversals{_all(where)}{rest}", *values)  # noqa: S608

    def _seq(self, traversal_id: str, tenant: str) -> int:
        where: _Texts = ["traversal_id = ?"]
        values: _Values = [traversal_id.lower()]
        self._narrow(where, values, tenant)
        rows = self._ask(f"SELECT seq FROM traversals{_all(where)}", *values)  # noqa: S608
        if not rows:
            raise TraceError(f"there is no traversal {traversal_id!r} to list from; start again without `before`")
        seq: int = rows[0][0]

        return seq

    def _unique(self, prefix: str, tenant: str) -> _Rows:
        where = ["traversal_id >= ?", "traversal_id < ?"]
        rows = self._records(where, [prefix, prefix + "\U0010ffff"], tenant, f" ORDER BY 1 LIMIT {_SHOWN + 1}")
        if len(rows) > 1:
            ids = ", ".join(found for found, *_ in rows[:_SHOWN]) + (", …" if len(rows) > _SHOWN else "")
            raise TraceError(f"several traversals begin with {prefix!r}: {ids}; give more of the id")

        return rows


_COLUMNS = ", ".join(READABLE_COLUMNS)
_COLUMNS_WITHOUT_TENANT = ", ".join((*READABLE_COLUMNS[:-1], f"'{NO_TENANT}'"))


_RECORD = "CAST(traversal_id AS TEXT), CAST(plan_digest AS TEXT), CAST(body AS BLOB)"


def _decoded(traversal_id: str, plan_digest: str, body: bytes) -> Traversal:
    try:
        return decode(body)
    except TraceError as error:
        raise TraceError(f"the record of walk {traversal_id} cannot be read: {error}", plan_digest=plan_digest) from error


def _filters(**wanted: str) -> tuple[list[str], list[object]]:
    where: list[str] = []
    values: list[object] = []
    for column, value in wanted.items():
        if value:
            # The second condition lets SQLite use the partial indexes.
            where.append(f"{column} = ? AND {column} != ''")
            values.append(value)

    return where, values


def _all(where: list[str]) -> str:
    return f" WHERE {' AND '.join(where)}" if where else ""


def _restored(canonical: bytes, plan_digest: str) -> Plan:
    try:
        plan = restore(canonical)
    except (GraphError, ValueError) as error:
        raise _other_version(plan_digest, f"cannot be read here ({error})") from error
    if plan.plan_digest != plan_digest:
        raise _other_version(plan_digest, f"reads as {plan.plan_digest} here")

    return plan


def _other_version(plan_digest: str, what: str) -> TraceError:
    return TraceError(f"the plan stored under {plan_digest} {what}; use the meshwalk that wrote it", plan_digest=plan_digest)
