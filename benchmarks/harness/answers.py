"""
What an answer is: a figure with its spread, held against a goal, and how it is printed and kept.
"""

from __future__ import annotations

import statistics
from typing import Any, Literal, NamedTuple


# What a ratio of two arms is a ratio of.
Counts = Literal["time", "throughput"]


class Goal(NamedTuple):
    """
    Say which ratios would do.
    """

    sign: Literal["<=", ">="]
    bound: float

    def holds(self, ratio: float) -> bool:
        """
        Tell whether *ratio* would do.
        """
        return ratio <= self.bound if self.sign == "<=" else ratio >= self.bound

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}"


def at_most(bound: float) -> Goal:
    """
    Ask for a ratio of no more than *bound*.
    """
    return Goal("<=", bound)


def at_least(bound: float) -> Goal:
    """
    Ask for a ratio of *bound* or more.
    """
    return Goal(">=", bound)


class Answer(NamedTuple):
    """
    Hold what was measured for one question.

    Args:
        goal: None where a figure is only reported.
        spread: The first and third quartile of the rounds' ratios.
        note: What else was measured in the same run.
        command: What measures it again.
        unit: What the figures are in; a ratio is so many times.
        counts: What it is a ratio of; None where it is none.
    """

    name: str
    question: str
    goal: Goal | None
    measured: float
    spread: tuple[float, float]
    rounds: int
    command: str
    note: str = ""
    unit: str = " x"
    counts: Counts | None = "time"

    @property
    def holds(self) -> bool | None:
        """
        Tell whether the goal is reached; None where there is none.
        """
        return None if self.goal is None else self.goal.holds(self.measured)

    def document(self) -> dict[str, Any]:
        """
        Return the answer as `BENCH_JSON` keeps it.
        """
        return {
            "name": self.name,
            "question": self.question,
            "goal": None if self.goal is None else str(self.goal),
            "measured": self.measured,
            "spread": list(self.spread),
            "rounds": self.rounds,
            "counts": self.counts,
            "holds": self.holds,
            "command": self.command,
            **({"note": self.note} if self.note else {}),
        }


def ratio(top: float, bottom: float, counts: Counts) -> float:
    """
    Compare what one go of *top* takes with one of *bottom*: how many times the time, or how many times the throughput.

    Raises:
        ValueError: If an arm took nothing, as a coarse clock may say of a short one.
    """
    if not (top > 0 and bottom > 0):
        raise ValueError(
            f"an arm took nothing that its clock could tell ({top:g} and {bottom:g}); give the rounds more seconds"
        )

    return top / bottom if counts == "time" else bottom / top


def middle(ratios: list[float]) -> tuple[float, tuple[float, float]]:
    """
    Return the median of *ratios*, and their quartiles.
    """
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")

    return median, (low, high)


def table(answers: list[Answer]) -> list[str]:
    """
    Lay the answers out in columns, each on a line under its question.
    """
    rows = [("goal", "measured", "spread", "of", "rounds", "holds", "command")]
    rows += [
        (
            "reported" if answer.goal is None else f"{answer.goal}{answer.unit}",
            f"{_figure(answer.measured)}{answer.unit}",
            f"{_figure(answer.spread[0])} to {_figure(answer.spread[1])}",
            answer.counts or "-",
            str(answer.rounds),
            "-" if answer.holds is None else "yes" if answer.holds else "NO",
            answer.command,
        )
        for answer in answers
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    head, *body = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    lines = [f"   {head}"]
    for answer, row in zip(answers, body, strict=True):
        lines += [answer.question, f"   {row}", *([f"   {answer.note}"] if answer.note else [])]

    return lines


def _figure(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1_000 else f"{number:.3g}"
