"""
`meshwalk diff`: what changed in meaning between two graphs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshwalk.cli.options import Json, TrustFlags
from meshwalk.cli.output import NO, OK, emit, say_fitted


if TYPE_CHECKING:
    from meshwalk.plan.diff import Difference, Kind


_MARKS: dict[Kind, str] = {"added": "+", "removed": "-", "changed": "~", "moved": "~"}


def diff(old: str, new: str, /, *, trust: TrustFlags = TrustFlags(), json: Json = False) -> int:
    """
    Tell what changed in meaning from one graph to another: nodes, guards, order, thresholds, limits, prices.

    Comments, key order, spacing, addresses and descriptions are no difference.  Exits with 1 if there is any.

    Parameters
    ----------
    old
        The graph's YAML file as it was.
    new
        The graph's YAML file as it is.
    """
    from meshwalk.loader import load_graph
    from meshwalk.plan import compile_plan
    from meshwalk.plan.diff import differences

    before, after = (compile_plan(load_graph(path, trust=trust.trust)) for path in (old, new))
    changes = differences(before, after)
    same_shape = before.shape_digest == after.shape_digest
    if json:
        emit({"same": not changes, "same_shape": same_shape, "changes": [change._asdict() for change in changes]})
    else:
        say_fitted(
            "\n".join([*(f"{_MARKS[change.kind]} {change.message}" for change in changes), _summary(changes, same_shape)])
        )

    return NO if changes else OK


def _summary(changes: list[Difference], same_shape: bool) -> str:
    if not changes:
        return "the graphs mean the same"
    count = "1 change" if len(changes) == 1 else f"{len(changes)} changes"

    return f"{count}, in threshold values only: the shape is the same" if same_shape else count
