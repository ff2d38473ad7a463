"""
Classifiers that are neither built-in features nor a backend's model.
"""

from __future__ import annotations

from collections.abc import Callable

from anyio import get_cancelled_exc_class, move_on_after

from meshwalk.backends.base import Classifier, message_of
from meshwalk.backends.cancellation import cancel_requested
from meshwalk.engine.calls import log_unforeseen
from meshwalk.engine.context import WalkContext
from meshwalk.model.private_text import joined
from meshwalk.model.problems import BackendError
from meshwalk.trace import Failed, Replied, TimedOut


async def classify(
    hop: int, node: str, deadline_at_us: int, classifier: Classifier, context: WalkContext
) -> Replied | Failed | TimedOut:
    """
    Ask the *classifier* of *node* what a request is like, until *deadline_at*; that costs nothing that we could count.
    """
    request, now = context.request, context.now
    attributes = dict(context.facts.attributes)
    try:
        if not classifier.waits:
            outputs = await classifier.classify(request.messages, attributes, "")
            return Replied(hop, now(), outputs)
        began = now()
        # It has no span of its own, so what it asks hangs under the walk's.
        classified = classifier.classify(request.messages, attributes, context.traceparent(context.span_id))
        with move_on_after((deadline_at_us - began) / 1e6):
            outputs = await classified
            return Replied(hop, now(), outputs)
    except BaseException as error:  # noqa: BLE001 (one is told from the other in one place)
        return failed(hop, node, error, now, classifier)

    return TimedOut(hop, now(), f"node '{node}' did not answer within {(now() - began) / 1e6:.3g} s")


def failed(hop: int, node: str, error: BaseException, now: Callable[[], int], classifier: object) -> Failed:
    """
    Tell that *classifier*, that of *node*, raised *error*.

    Raises:
        BaseException: *error* itself, if it is none of the classifier's doing.
    """
    if isinstance(error, get_cancelled_exc_class()):
        if cancel_requested():
            raise error
        return Failed(hop, now(), "malformed", f"node '{node}' gave up, which nobody had asked for")
    if isinstance(error, BackendError):
        return Failed(hop, now(), error.error_class, joined(f"node '{node}': ", message_of(error, classifier)))
    if not isinstance(error, Exception):
        raise error
    # The walk goes on and is recorded, whatever a classifier raises.
    log_unforeseen("a classifier raised what is not a BackendError", node, error)

    return Failed(hop, now(), "malformed", f"node '{node}' raised {type(error).__name__}")
