"""
Faults of texts, and the errors that are raised.

A `Problem` is a fault of a text, with its place; a `MeshwalkError` is raised.  Errors are split by whose hand mends them:
the author's (`GraphError`), the caller's (`RequestError`), the driver's (`ProtocolError`), the walk's own limits
(`WalkStopped`), a model endpoint's (`BackendError`), a record's (`TraceError`), the place it runs in (`SetupError`).

Each class names in `hint` the gRPC status that fits it, as text, so that this module need not know gRPC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, Literal, NamedTuple

from meshwalk.model.private_text import disclosed


Severity = Literal["error", "warning"]

# The most characters quoted of a line, and of these the most before the place.
_LONGEST_LINE = 240
_BEFORE = 80
_LONGER_WORD = re.compile(rf"(\S{{{_LONGEST_LINE - 1}}})\S{{2,}}")

# The classes that `on_error` edges choose by, in the words of a graph.
ErrorClass = Literal[
    "rate_limited",
    "overloaded",
    "unreachable",
    "malformed",
    "refused_by_model",
    "too_long",
    "timeout",
    "budget",
    "not_started",
]

# Those of them that pass by themselves.
_PASSING: frozenset[str] = frozenset({"rate_limited", "overloaded", "unreachable"})

MAX_VIOLATIONS = 8

# A fault at a provider or a vault rarely lasts less; a caller in a hurry may of course try earlier.
RETRY_SECONDS = 1.0


class Span(NamedTuple):
    """
    A place of *length* characters in a file; line and column count from 1, in code points.
    """

    file: str
    line: int
    column: int
    length: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One fault of a text: its place, a stable code, one sentence, and the remedy if there is one.
    """

    span: Span
    code: str
    message: str
    help: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        return f"{self.span}: {self.message} [{self.code}]"


def in_file_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """
    Sort *problems* by place and drop those that say the same twice.
    """
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: (problem.span, problem.code, problem.message)))


def render(problem: Problem, sources: Mapping[str, Sequence[str]]) -> str:
    """
    Print *problem* with the line it is about, a caret under the place, and its remedy.

    Args:
        sources: The lines of each file by the name that spans use; the lines of any other file are not quoted.
    """
    warning = "warning: " if problem.severity == "warning" else ""
    rows = [f"{problem.span}: {warning}{_shortened(problem.message)} [{problem.code}]"]
    lines = sources.get(problem.span.file, ())
    if 0 < problem.span.line <= len(lines):
        line, column = _excerpt(lines[problem.span.line - 1], problem.span.column)
        # A tab stays a tab under the text, so that the caret lines up however wide it is shown.
        before = "".join("\t" if char == "\t" else " " for char in line[: column - 1])
        carets = "^" * max(1, min(problem.span.length, len(line) - column + 1))
        number = f"{problem.span.line:5}"
        rows += [f"{number} | {line}", f"{' ' * len(number)} | {before}{carets}"]
    if problem.help:
        rows.append(f"      help: {_shortened(problem.help)}")

    return "\n".join(rows)


def _shortened(sentence: str) -> str:
    # It names what the author wrote, and that may be a number of thousands of digits.
    return _LONGER_WORD.sub(r"\1…", sentence)


def _excerpt(line: str, column: int) -> tuple[str, int]:
    """
    Return the part of *line* to show, and the column of the place in it.

    Nobody reads a line of megabytes to its end, and the place may be at its end.
    """
    start = max(0, min(column - 1, len(line)) - _BEFORE) if len(line) > _LONGEST_LINE else 0
    head = "…" if start else ""
    shown = f"{head}{line[start + len(head) :]}"

    return (shown if len(shown) <= _LONGEST_LINE else shown[: _LONGEST_LINE - 1] + "…"), column - start


class MeshwalkError(Exception):
    """
    The parent of every error that meshwalk raises on purpose.

    Attributes:
        retryable: Whether the same call may succeed later.
        retry_after: The seconds to wait before that; None if they are not known, or there is no use in it.
    """

    hint: ClassVar[str] = "INTERNAL"
    retryable: bool = False
    retry_after: float | None = None


class GraphError(MeshwalkError):
    """
    A fault of a graph's text; *problems* holds every one found, in file order.
    """

    hint = "INVALID_ARGUMENT"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = in_file_order(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SetupError(MeshwalkError):
    """
    Something missing where meshwalk runs: a package, a file, an environment variable.
    """

    hint = "FAILED_PRECONDITION"


class Violation(NamedTuple):
    """
    One field of a request that cannot be taken, and the reason.
    """

    field: str
    description: str


class RequestError(MeshwalkError):
    """
    A fault of a request; *violations* names each field, of the first `MAX_VIOLATIONS`.
    """

    hint = "INVALID_ARGUMENT"

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = tuple(islice(violations, MAX_VIOLATIONS))
        super().__init__("; ".join(f"{field}: {description}" for field, description in self.violations))


class InputTooLarge(RequestError):
    """
    A request past `limits.input_bytes`, or with more elements than a field may have.
    """

    hint = "RESOURCE_EXHAUSTED"


class DeadlineExpired(RequestError):
    """
    A request that arrived with no time left.
    """

    hint = "DEADLINE_EXCEEDED"


class ProtocolError(MeshwalkError):
    """
    An entry that a walk does not take in its phase; the walk is as it was.
    """

    def __init__(self, message: str, phase: str) -> None:
        self.phase = phase
        super().__init__(message)


class WalkStopped(MeshwalkError):
    """
    A walk that had to end without an answer or a declared refusal.

    Args:
        node: The node it stopped at.
        error_class: The class that no `on_error` edge of that node took, if there was one.
        partial: The part of a broken answer that had been passed on; a long one is cut before it goes over a wire.
        partial_hop: The hop whose answer it is, if there was one.
        partial_characters: The length of *partial* before it was cut; None takes its present length.
    """

    hint = "FAILED_PRECONDITION"

    def __init__(
        self,
        message: str,
        *,
        traversal_id: str = "",
        node: str = "",
        error_class: str = "",
        scope: str = "",
        partial: str = "",
        partial_hop: int | None = None,
        partial_characters: int | None = None,
    ) -> None:
        self.traversal_id = traversal_id
        self.node = node
        self.error_class = error_class
        self.scope = scope
        self.partial = partial
        self.partial_hop = partial_hop
        self.partial_characters = len(partial) if partial_characters is None else partial_characters
        if error_class in _PASSING:
            self.retryable, self.retry_after = True, RETRY_SECONDS
        super().__init__(disclosed(message))


class BudgetExceeded(WalkStopped):
    """
    A call whose worst case does not fit what is left of a scope.
    """

    hint = "RESOURCE_EXHAUSTED"


class BudgetContended(WalkStopped):
    """
    A call that would fit once others settle their reservations in a scope.

    It is no `BudgetExceeded`: that budget is spent, and sending the request again does not help.
    """

    hint = "RESOURCE_EXHAUSTED"
    retryable = True
    retry_after = RETRY_SECONDS


class HopLimitExceeded(WalkStopped):
    """
    A walk that used up its hops, or the visits of every node it could go to.
    """

    hint = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(WalkStopped):
    """
    A walk whose time was up before there was an answer.
    """

    hint = "DEADLINE_EXCEEDED"


class HopFailed(WalkStopped):
    """
    A hop that failed with an error of its backend, for which the graph has no `on_error` edge.
    """

    hint = "UNAVAILABLE"


class BackendError(MeshwalkError):
    """
    A call that a model endpoint did not answer as it should; the walk sees *error_class*.

    Args:
        billable: Whether the provider may charge for the call, so that its worst case is assumed spent.
        retry_after_us: The pause that the provider asks for; None if it does not say.
        final: Whether a further call to the same endpoint would end in the same way for a long while.
        of_endpoint: Whether the endpoint is at fault (its key, its credit, its model), and not the request.
    """

    error_class: ClassVar[ErrorClass] = "unreachable"
    hint = "UNAVAILABLE"

    def __init__(
        self,
        message: str,
        *,
        backend: str,
        billable: bool = False,
        retry_after_us: int | None = None,
        final: bool = False,
        of_endpoint: bool = False,
    ) -> None:
        self.backend = backend
        self.billable = billable
        self.retry_after_us = retry_after_us
        self.retry_after = None if retry_after_us is None else retry_after_us / 1e6
        self.final = final
        self.of_endpoint = of_endpoint
        super().__init__(message)


class Unreachable(BackendError):
    """
    A connection that could not be made, or broke.
    """

    retryable = True


class Overloaded(BackendError):
    """
    A backend that cannot serve now (HTTP 5xx).
    """

    retryable = True
    error_class = "overloaded"


class RateLimited(BackendError):
    """
    A backend that asks to be called less often (HTTP 429).
    """

    retryable = True
    error_class = "rate_limited"


class Malformed(BackendError):
    """
    An answer that cannot be read.
    """

    error_class = "malformed"


class RefusedByModel(BackendError):
    """
    A request that the backend will not take (HTTP 4xx, a content filter).
    """

    error_class = "refused_by_model"


class TooLong(BackendError):
    """
    The request does not fit the model's window.
    """

    error_class = "too_long"


class NotStarted(BackendError):
    """
    A call that was not made, because it could not have ended in the time that was left.
    """

    error_class = "not_started"


class RequestInProgress(MeshwalkError):
    """
    A request whose idempotency key is that of another one under way.
    """

    hint = "ABORTED"
    retryable = True
    retry_after = RETRY_SECONDS


class MeshClosed(MeshwalkError):
    """
    A walk that was cancelled because its mesh was closed.

    Args:
        traversal_id: The id of its record.
        charged: Whether something was charged for it, so that the same request pays twice.
    """

    hint = "UNAVAILABLE"

    def __init__(self, message: str, *, traversal_id: str = "", charged: bool = False) -> None:
        self.traversal_id = traversal_id
        self.retryable = not charged
        self.retry_after = None if charged else RETRY_SECONDS
        super().__init__(message)


class TooManyWalks(MeshwalkError):
    """
    A request, for which nothing was spent, that came while a server or tenant had as many walks or calls in flight as it may.
    """

    hint = "RESOURCE_EXHAUSTED"
    retryable = True
    retry_after = RETRY_SECONDS


class ReplyUnread(MeshwalkError):
    """
    A reply that was dropped, because its caller did not read; the walk is over and recorded.
    """

    hint = "RESOURCE_EXHAUSTED"


class VaultUnavailable(MeshwalkError):
    """
    A vault of shared budgets that does not answer, or that *is_full*: it takes nothing that needs more room.
    """

    hint = "UNAVAILABLE"
    retryable = True
    retry_after = RETRY_SECONDS
    is_full: bool = False


class TraceError(MeshwalkError):
    """
    A record that cannot be used.
    """

    hint = "FAILED_PRECONDITION"

    def __init__(self, message: str, *, plan_digest: str = "") -> None:
        self.plan_digest = plan_digest
        super().__init__(message)
