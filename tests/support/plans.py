"""
Plans from the text of a graph.
"""

from __future__ import annotations

from textwrap import dedent

from meshwalk.loader import read_graph
from meshwalk.plan import Plan, compile_plan


def plan_of(text: str) -> Plan:
    """
    Compile the plan of a graph's text.
    """
    return compile_plan(read_graph(dedent(text).encode(), file="test.yaml"))
