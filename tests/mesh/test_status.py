"""
The status of a mesh: ready while some way from its start leads to an answer.
"""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest
from anyio.lowlevel import checkpoint

from meshwalk.budgets.vaults.fallback import FallbackVault
from meshwalk.mesh import Mesh
from meshwalk.model.problems import MeshwalkError, Overloaded
from tests.budgets.vault_machine import Clock
from tests.budgets.vaults.test_fallback import Flaky
from tests.support.backends import raising, saying
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

GRAPH = """
    meshwalk: 1
    name: routed
    start: ask
    budgets: {session: {cost_usd: 1, away: AWAY}}
    limits: {cost_usd: 0.5}
    backends:
      little: {kind: simulated, usd_per_mtok: {input: 1, output: 1}, context_tokens: 1000, breaker: {failures: 2, open: 10m}}
      big: {kind: simulated, usd_per_mtok: {input: 1, output: 1}, context_tokens: 1000}
    nodes:
      ask:
        role: answer
        backend: little
        max_tokens: 10
        next: done
        on_error: [{class: [overloaded, unreachable], to: ELSEWHERE}]
      second: {role: primary, backend: big, max_tokens: 10, next: done, on_error: [{class: overloaded, to: sorry}]}
      sorry: {role: refusal, reason: no model could answer, EXTRA}
"""


def graph(elsewhere: str = "second", away: str = "closed") -> str:
    """
    Return a graph whose first model fails over to *elsewhere*.
    """
    text = GRAPH.replace("ELSEWHERE", elsewhere).replace("AWAY", away).replace(", EXTRA", "")

    return text if elsewhere == "second" else "\n".join(line for line in text.splitlines() if "second:" not in line)


@pytest.mark.parametrize(("elsewhere", "ready"), [("second", True), ("sorry", False)])
async def test_a_broken_backend_matters_where_no_other_way_leads_to_an_answer(elsewhere: str, ready: bool) -> None:
    """
    With a second model behind it a mesh stays ready; where only a refusal is left, it names the backend.
    """
    broken = raising(Overloaded("busy", backend="little"))
    async with Mesh(plan_of(graph(elsewhere)), backends={"little": broken, "big": saying("yes")}) as mesh:
        before = mesh.status
        for _ in range(3):
            await mesh.route("hi", session="s")
        after = mesh.status

    assert ("", 1) == (before.unready, before.backends["little"].well)
    assert (False, 0) == (after.backends["little"].healthy, after.backends["little"].well)
    assert ("" if ready else "no answer can be reached without little") == after.unready


@pytest.mark.parametrize(("away", "ready"), [("closed", False), ("open", True)])
async def test_a_vault_that_is_away_matters_where_a_budget_is_closed_then(away: str, ready: bool) -> None:
    """
    It is not ready until the vault answers again; a budget that is open meanwhile keeps nobody out.
    """
    inner = Flaky(Clock())
    vault = FallbackVault(inner, pause_us=0)
    async with Mesh(plan_of(graph(away=away)), backends={"little": saying("a"), "big": saying("b")}, vault=vault) as mesh:
        inner.mood = "away"
        with suppress(MeshwalkError):
            await mesh.route("hi", session="s", timeout=1)
        during = mesh.status
        inner.mood = "well"
        with anyio.fail_after(20):
            while not mesh.status.vault_answers:
                await vault.flush()
                await checkpoint()
        afterwards = mesh.status

    assert not during.vault_answers
    assert ready == (not during.unready)
    assert "" == afterwards.unready
