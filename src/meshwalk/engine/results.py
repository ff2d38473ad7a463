"""
What a walk comes to, for the one who asked: the words beside the record, or a preview of where a request would go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshwalk.model import Value
from meshwalk.model.problems import (
    BackendFailed,
    BudgetContended,
    BudgetExceeded,
    DeadlineExceeded,
    HopLimitExceeded,
    WalkStopped,
)
from meshwalk.trace import Decision, Outcome, Reserve, ToolCall, Traversal


_CLOSING: Mapping[str, type[WalkStopped]] = {
    "budget": BudgetExceeded,
    "contended": BudgetContended,
    "hops": HopLimitExceeded,
    "visits": HopLimitExceeded,
    "timeout": DeadlineExceeded,
    "not_started": DeadlineExceeded,
    "no_answer": WalkStopped,
}


class Walked:
    """
    Give the caller what a walk came to: the words it asked for, beside the record.

    Args:
        repeated: Whether an earlier request with the same idempotency key made this walk.
        tool_calls: The tools that the model wishes to call.
        partial: What was passed on of an answer that broke off.
        streamed: Whether the answer was passed on as it came.
    """

    __slots__ = ("answer", "finish_reason", "partial", "repeated", "streamed", "tool_calls", "traversal")

    def __init__(
        self,
        traversal: Traversal,
        answer: str = "",
        finish_reason: str = "",
        *,
        repeated: bool = False,
        tool_calls: tuple[ToolCall, ...] = (),
        partial: str = "",
        streamed: bool = False,
    ) -> None:
        self.traversal = traversal
        self.answer = answer
        self.finish_reason = finish_reason
        self.repeated = repeated
        self.tool_calls = tool_calls
        self.partial = partial
        self.streamed = streamed

    @property
    def traversal_id(self) -> str:
        """
        Return the name of the record.
        """
        return self.traversal.traversal_id

    @property
    def outcome(self) -> Outcome:
        """
        Tell how the walk ended.
        """
        return self.traversal.outcome

    @property
    def path(self) -> tuple[str, ...]:
        """
        Name the nodes visited, in order.
        """
        return tuple(self.traversal.path)

    @property
    def cost_usd(self) -> float:
        """
        Return what all calls cost, in dollars.
        """
        return self.traversal.cost_usd

    @property
    def reason(self) -> str:
        """
        Say why there is no answer; empty if there is one.
        """
        return self.traversal.finish.message

    def error(self) -> WalkStopped | None:
        """
        Return the error that a failed walk stands for, or None if it did not fail.
        """
        finish = self.traversal.finish
        if finish.outcome is not Outcome.FAILED:
            return None

        earlier = "; that is what an earlier request with this idempotency key came to" if self.repeated else ""

        return _CLOSING.get(finish.cause, BackendFailed)(
            finish.message + earlier,
            traversal_id=self.traversal_id,
            node=finish.node,
            error_class=finish.cause,
            scope=finish.scope,
            partial=self.partial,
            # Nobody is asked after a reply was passed on, so it is the last hop's.
            partial_hop=len(self.path) - 1 if self.partial else None,
        )

    def __repr__(self) -> str:
        return f"<Walked {' > '.join(self.path)}: {self.outcome.value}, {self.cost_usd:.6f} USD>"


@dataclass(frozen=True, slots=True)
class PreviewEdge:
    """
    Show an edge of the node that would be called first, and the signals its guard still needs.
    """

    to: str
    guard: str
    needs: tuple[str, ...]
    verdict: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """
    Show where a request would go as far as that can be told without calling a model.

    Args:
        path: The nodes visited; the last would be called, or ends the walk.
        outcome: How the walk would end, if it would end without a call.
        outputs: What the nodes without a call gave.
        next: The node that would be called, or nothing.
        need: The call's worst case in nano-dollars (None: cannot be bounded), input tokens and output tokens.
    """

    path: tuple[str, ...]
    outcome: Outcome | None
    reason: str
    outputs: Mapping[str, Mapping[str, Value]]
    decisions: tuple[Decision, ...]
    next: str
    need: Reserve | None
    edges: tuple[PreviewEdge, ...]
