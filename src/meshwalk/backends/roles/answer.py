"""
The outputs of an `answer` or `primary` node.
"""

from __future__ import annotations

from meshwalk.backends import labels
from meshwalk.backends.roles.classifier import estimate_tokens
from meshwalk.backends.roles.confidence import confidence_of
from meshwalk.model import Node, Value
from meshwalk.model.signals import FINISH_REASONS
from meshwalk.trace import Reply


def outputs_of(node: Node, reply: Reply) -> dict[str, Value]:
    """
    Give the reply's confidence, why it ended, and its length in tokens, estimated where the backend did not count.
    """
    reason, usage = reply.finish_reason, reply.usage
    found: dict[str, Value] = {
        "finish_reason": reason if reason in FINISH_REASONS else labels.finish_reason(reason),
        "output_tokens": float(_estimated(reply) if usage is None else usage.output_tokens),
    }
    if node.confidence is not None and (confidence := confidence_of(node.confidence, reply)) is not None:
        found["confidence"] = confidence

    return found


def _estimated(reply: Reply) -> int:
    return sum(map(estimate_tokens, reply.samples or (reply.text,)))
