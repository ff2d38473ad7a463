"""
Ask a classifier that is neither features of the house nor a backend's model.
"""

from __future__ import annotations

from collections.abc import Callable

from anyio import move_on_after

from meshwalk.backends.base import Classifier
from meshwalk.engine.calls import log_unforeseen
from meshwalk.problems import BackendError
from meshwalk.trace import Call, Facts, Failed, Replied, Request, TimedOut


async def classify(
    wish: Call, classifier: Classifier, request: Request, facts: Facts, traceparent: str, now: Callable[[], int]
) -> Replied | Failed | TimedOut:
    """
    Ask *classifier* what *request* is like, within the time of *wish*; that costs nothing that we could count.

    Args:
        now: The walk's clock, in microseconds since it began.
    """
    began, hop = now(), wish.hop
    asked = classifier.classify(request.messages, dict(facts.attributes), traceparent)
    try:
        if not classifier.waits:
            outputs = await asked
            return Replied(hop, now(), outputs)
        with move_on_after((wish.deadline_at - began) / 1e6):
            outputs = await asked
            return Replied(hop, now(), outputs)
    except BackendError as error:
        return Failed(hop, now(), error.error_class, f"node '{wish.node}': {error}")
    except Exception as error:  # noqa: BLE001 (whatever a classifier raises, the walk goes on and is recorded)
        log_unforeseen("a classifier raised what is not a BackendError", wish.node, error)
        return Failed(hop, now(), "malformed", f"node '{wish.node}' raised {type(error).__name__}")

    return TimedOut(hop, now(), f"node '{wish.node}' did not answer within {(now() - began) / 1e6:.3g} s")
