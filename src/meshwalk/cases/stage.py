"""
The pretended world of one case: its models and its clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

from meshwalk.backends import roles
from meshwalk.backends.base import ChatRequest
from meshwalk.loader.casebook import Case, Scripted
from meshwalk.model import Node, Value
from meshwalk.model.problems import (
    BackendError,
    ErrorClass,
    Malformed,
    Overloaded,
    RateLimited,
    RefusedByModel,
    TooLong,
    Unreachable,
)
from meshwalk.model.signals import CONFIDENCE, FEATURES, LABEL
from meshwalk.plan import Plan
from meshwalk.trace import Call, Decision, Entry, Message, Reply, TokenProbabilities, Wish
from meshwalk.walk import Walk


class Unscripted(BaseException):
    """
    The error that ends a walk at a call without a script.

    Not an `Exception`: the engine takes each of those for a backend's failure, and would walk on.
    """


class _Late(BackendError):
    """
    The error of a call that took longer than its time.
    """

    error_class: ClassVar[ErrorClass] = "timeout"


_FAILURES: Mapping[str, type[BackendError]] = {
    "rate_limited": RateLimited,
    "overloaded": Overloaded,
    "unreachable": Unreachable,
    "malformed": Malformed,
    "refused_by_model": RefusedByModel,
    "too_long": TooLong,
}


class ScriptedClassifier:
    """
    The classifier of one node, which gives the signals of the case.
    """

    waits = False

    def __init__(self, node: Node, case: Case) -> None:
        self._node = node
        self._case = case

    async def classify(
        self,
        messages: Sequence[Message],  # noqa: ARG002 (what is asked does not change what was scripted)
        attributes: Mapping[str, Value],  # noqa: ARG002
        traceparent: str,  # noqa: ARG002
    ) -> dict[str, Value]:
        """
        Give each signal that the node declares.
        """
        lacking = [name for name in self._node.writes if name not in self._case.signals]
        if lacking:
            raise Unscripted(
                f"classifier '{self._node.name}' is asked, and the case does not say what it gives; "
                f"add `{lacking[0]}: …` under given.signals"
            )

        return {name: self._case.signals[name] for name in self._node.writes}

    async def aclose(self) -> None:
        """
        Do nothing.
        """


class Stage:
    """
    Every backend of a walk, and its clock.

    It is told of each call before the call is made, so it knows which node is asking; a walk makes one call at a time.
    """

    waits = False

    def __init__(self, plan: Plan, case: Case) -> None:
        self.path: list[str] = []
        self.decisions: list[Decision] = []
        self._plan = plan
        self._case = case
        self._now_us = 0
        self._calls: Counter[str] = Counter()
        self._wish = Call(0, "", 0)

    def clock_ns(self) -> int:
        """
        Return the pretended time.
        """
        return self._now_us * 1000

    async def sleep(self, seconds: float) -> None:
        """
        Let pretended time pass.
        """
        self._now_us += round(seconds * 1e6)

    def features(self, messages: Sequence[Message]) -> dict[str, Value]:
        """
        Return the signals that the case sets, and compute the others.
        """
        said = {name: value for name, value in self._case.signals.items() if name in FEATURES}

        return {**roles.features(messages), **said}

    def watch(self, entry: Entry, wishes: tuple[Wish, ...], walk: Walk) -> None:  # noqa: ARG002 (an observer's signature)
        """
        Learn where the walk is, and which call it wants.
        """
        self.path, self.decisions = walk.path, walk.decisions
        for wish in wishes:
            if isinstance(wish, Call):
                self._wish = wish

    async def chat(self, request: ChatRequest) -> Reply:  # noqa: ARG002 (what is asked does not change what was scripted)
        """
        Give what the case says the node under way is given.
        """
        node = self._plan.node(self._wish.node).node
        scripted = self._next(node)
        until = self._wish.deadline_at_us
        if node.attempt_timeout_us is not None:
            until = min(until, self._now_us + node.attempt_timeout_us)
        if scripted.error == "timeout" or self._now_us + scripted.latency_us > until:
            started, self._now_us = self._now_us, until
            # As with a real one, nobody knows what a call that was cut off did, so it may cost its worst.
            raise _Late(f"no answer within {(until - started) / 1e6:.3g} s", backend=node.backend or "", billable=True)
        self._now_us += scripted.latency_us
        if scripted.error is not None:
            raise _FAILURES[scripted.error](f"scripted to fail as {scripted.error}", backend=node.backend or "")

        return _reply(scripted)

    async def aclose(self) -> None:
        """
        Do nothing.
        """

    def _next(self, asked: Node) -> Scripted:
        node = asked.name
        script = self._case.scripts.get(node)
        if script is None and asked.role == "classifier" and LABEL in self._case.signals:
            sure = self._case.signals.get(CONFIDENCE)
            return Scripted(text=str(self._case.signals[LABEL]), confidence=sure if isinstance(sure, float) else None)
        if script is None:
            raise Unscripted(
                f"node '{node}' is called, and the case does not say what it replies; "
                f"add `{node}: {{text: …}}` or `{node}: {{error: …}}` under given.replies"
            )
        number = 0 if script.endless else self._calls[node]
        self._calls[node] += 1
        if number >= len(script.replies):
            has = f"{number} repl{'y' if number == 1 else 'ies'}"
            raise Unscripted(f"node '{node}' is called {number + 1} times, and given.replies.{node} has {has}; add another")

        return script.replies[number]


def _reply(scripted: Scripted) -> Reply:
    sure = scripted.confidence

    return Reply(
        scripted.text,
        finish_reason=scripted.finish_reason,
        usage=scripted.usage,
        cost_nano_usd=scripted.cost_nano_usd,
        confidence=sure,
        probabilities=None if sure is None else TokenProbabilities(sure, sure, sure),
        simulated=True,
        samples=scripted.samples,
    )
