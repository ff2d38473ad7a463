"""
Ask a classifier that is neither features of the house nor a backend's model.
"""

from __future__ import annotations

from anyio import get_cancelled_exc_class, move_on_after

from meshwalk.backends.base import Classifier
from meshwalk.cancelling import asked_to_stop
from meshwalk.engine.calls import log_unforeseen
from meshwalk.engine.trip import Trip
from meshwalk.problems import BackendError
from meshwalk.trace import Failed, Replied, TimedOut


async def classify(hop: int, node: str, deadline_at: int, classifier: Classifier, trip: Trip) -> Replied | Failed | TimedOut:
    """
    Ask the *classifier* of *node* what a request is like, until *deadline_at*; that costs nothing that we could count.
    """
    request, now = trip.request, trip.now
    began = now()
    # It has no span of its own, so what it asks hangs under the walk's.
    asked = classifier.classify(request.messages, dict(trip.facts.attributes), trip.traceparent(trip.span_id))
    try:
        if not classifier.waits:
            outputs = await asked
            return Replied(hop, now(), outputs)
        with move_on_after((deadline_at - began) / 1e6):
            outputs = await asked
            return Replied(hop, now(), outputs)
    except get_cancelled_exc_class():
        if asked_to_stop():
            raise
        return Failed(hop, now(), "malformed", f"node '{node}' gave up, which nobody had asked for")
    except BackendError as error:
        return Failed(hop, now(), error.error_class, f"node '{node}': {error}")
    except Exception as error:  # noqa: BLE001 (whatever a classifier raises, the walk goes on and is recorded)
        log_unforeseen("a classifier raised what is not a BackendError", node, error)
        return Failed(hop, now(), "malformed", f"node '{node}' raised {type(error).__name__}")

    return TimedOut(hop, now(), f"node '{node}' did not answer within {(now() - began) / 1e6:.3g} s")
