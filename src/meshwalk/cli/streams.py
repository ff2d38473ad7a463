"""
The events of a walk, printed as they come.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from meshwalk.cli.output import emit, say, say_piece
from meshwalk.cli.shapes import hop_document
from meshwalk.model.problems import MeshwalkError
from meshwalk.records.events import AnswerDelta, Committed, Event, HopFinished, HopStarted, Progress
from meshwalk.records.results import RouteResult


async def print_events(events: AsyncGenerator[Event, None], *, json: bool) -> tuple[RouteResult, bool]:
    """
    Print each event, and return the last one and whether a part of the answer has been printed.

    Args:
        json: Print each event as a line of JSON; otherwise only the answer's pieces are printed.

    Raises:
        MeshwalkError: If the walk failed; a line that has been begun is ended first.
    """
    begun = False
    try:
        async with aclosing(events) as coming:
            async for event in coming:
                if isinstance(event, RouteResult):
                    return event, begun
                if json:
                    emit(event_document(event), on_one_line=True, at_once=True)
                elif isinstance(event, AnswerDelta):
                    say_piece(event.text)
                    begun = True
    except MeshwalkError:
        if begun:
            say("")
        raise
    raise AssertionError("a stream ends with its result or with an error")


def event_document(event: Progress) -> dict[str, Any]:
    """
    Return *event* as JSON has it.
    """
    match event:
        case HopStarted():
            return {"event": "hop_started", **event._asdict()}
        case HopFinished():
            return {"event": "hop_finished", **hop_document(event.hop)}
        case Committed():
            return {"event": "committed", **event._asdict()}
        case AnswerDelta():
            return {"event": "answer_delta", **event._asdict()}
