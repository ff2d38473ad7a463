"""
The edges that a hop's decision considered, where the one taken leads on by its `else:`.
"""

from __future__ import annotations

import pytest

from meshwalk.mesh import Mesh
from meshwalk.model.problems import Unreachable
from meshwalk.records.hops import hops_of
from meshwalk.testing import ScriptedBackend
from meshwalk.trace import Message, Request
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

PLAN = plan_of(
    """
    meshwalk: 1
    name: fallen
    start: small
    backends:
      little: {kind: simulated, context_tokens: 1000}
      great: {kind: simulated, context_tokens: 1000}
    nodes:
      small: {role: answer, backend: little, max_tokens: 5, next: large, on_error: large}
      large:
        role: primary
        backend: great
        max_tokens: 5
        next: done
        on_error: [{to: done, answer: small, else: sorry}]
      sorry: {role: refusal, reason: no model could answer}
    """
)


@pytest.mark.parametrize(
    ("small", "edge"),
    [
        ("Lyon?", ("done", "otherwise")),
        (Unreachable("down", backend="little"), ("sorry", "otherwise; no answer to serve, so else")),
    ],
)
async def test_an_edge_without_an_answer_says_where_it_led(small: str | Exception, edge: tuple[str, str]) -> None:
    """
    An edge of errors that serves an earlier answer leads to `done` with one, and to its `else:` without.
    """
    backends = {
        "little": ScriptedBackend.replying(small),
        "great": ScriptedBackend.replying(Unreachable("down", backend="great")),
    }
    async with Mesh(PLAN, backends=backends) as mesh:
        walked = await mesh.walk(Request((Message("user", "hi"),)))
    last = [hop for hop in hops_of(walked.traversal, PLAN) if hop.node == "large"][-1]

    assert [edge] == [(considered.to, considered.guard) for considered in last.considered]
