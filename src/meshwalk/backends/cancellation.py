"""
The origin of a cancellation: the code that waits for a task, or code that ran in it.

A function of the user's own may raise the very error by which a task is cancelled: it awaits something that another part of
the program cancels, or it raises it by mistake.  Taken for the caller's going away it would end the walk for nobody, and in a
task group it would end the group.  Only asyncio knows whether the task itself was asked to stop, so it is asked here.
"""

from __future__ import annotations

import asyncio

import anyio


def cancel_requested() -> bool:
    """
    Tell whether the task that runs this is being cancelled.
    """
    task = asyncio.current_task()

    return (task is not None and task.cancelling() > 0) or anyio.get_current_task().has_pending_cancellation()
