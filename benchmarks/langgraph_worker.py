"""
Three hops in LangGraph whose nodes do nothing: a classifier, an answer that is doubted, a primary.

The edges ask of the state what the guards of our graph ask.  Run by `harness.Worker` in LangGraph's own environment.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from worker import serve


class State(TypedDict, total=False):
    """
    Hold what the nodes write and the edges read.
    """

    prompt: str
    complexity: float
    confidence: float
    answer: str


async def intake(_: State) -> State:
    return {"complexity": 0.4}


async def small(_: State) -> State:
    return {"answer": "perhaps", "confidence": 0.3}


async def large(_: State) -> State:
    return {"answer": "certainly"}


def build() -> Any:
    """
    Build the graph as LangGraph compiles it.
    """
    graph = StateGraph(State)
    for node in (intake, small, large):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "intake")
    graph.add_conditional_edges("intake", lambda state: "large" if state["complexity"] >= 0.62 else "small", ["small", "large"])
    graph.add_conditional_edges("small", lambda state: END if state["confidence"] >= 0.8 else "large", ["large", END])
    graph.add_edge("large", END)

    return graph.compile()


def main() -> None:
    """
    Walk the graph as often as asked.
    """
    graph = build()

    async def walks(n: int) -> int:
        start = time.perf_counter_ns()
        for _ in range(n):
            done = await graph.ainvoke({"prompt": "why?"})
            assert done["answer"] == "certainly"

        return time.perf_counter_ns() - start

    with asyncio.Runner() as runner:
        serve(lambda n: runner.run(walks(n)))


if __name__ == "__main__":
    main()
