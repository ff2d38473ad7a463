"""
The marks that cancelled walks leave on their cancellation, so that those who cut them off can tell of their records.
"""

from __future__ import annotations

from typing import NamedTuple

from meshwalk.engine.context import WalkContext
from meshwalk.model.problems import MeshClosed


class CutWalk(NamedTuple):
    """
    A walk that a cancellation ended.

    Args:
        charged: Whether something was charged for it; None if that is not known.
    """

    traversal_id: str = ""
    charged: bool | None = None


_ADVICE = {
    False: "nothing is charged for it; send the request again",
    True: "what it had called is charged, so that sending the request again pays for that twice",
    None: "what it had called may be charged, so that sending the request again may pay for that twice",
}


def mark_cut(cancellation: BaseException, context: WalkContext) -> None:
    """
    Note on *cancellation* which walk it ended.
    """
    recorded, charged = context.recorded, None
    # A call without a price may cost something all the same.
    if recorded is not None and recorded.basis != "unpriced":
        charged = recorded.cost_nano_usd > 0
    cancellation.meshwalk_cut = CutWalk(context.traversal_id, charged)  # type: ignore[attr-defined]


def cut_of(cancellation: BaseException) -> CutWalk:
    """
    Return the walk that *cancellation* ended, as far as that is known.
    """
    return getattr(cancellation, "meshwalk_cut", CutWalk())


def closed_error(stopped: str, cut: CutWalk) -> MeshClosed:
    """
    Return the error of the caller whose walk was cut off.

    Args:
        stopped: Who stopped, such as "this server".
    """
    record = f"; its record is {cut.traversal_id}" if cut.traversal_id else ""
    sentence = f"{stopped} stopped before this walk had ended{record}; {_ADVICE[cut.charged]}"

    return MeshClosed(sentence, traversal_id=cut.traversal_id, charged=cut.charged is True)
