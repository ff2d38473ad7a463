"""
A watch on the processes that tests start: a test that starts one bears the mark `process` or `redis`, or fails.
"""

from __future__ import annotations

import multiprocessing.process
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import pytest


MARKS = ("process", "redis")

BEFORE = pytest.StashKey[int]()

# One entry for each process that was started.
started: list[None] = []


def _counted(start: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(start)
    def counted(*args: Any, **kwargs: Any) -> Any:
        started.append(None)
        return start(*args, **kwargs)

    return counted


def watch() -> None:
    """
    Count every process from now on, whatever part of the standard library starts it.
    """
    for owner, name in (
        (subprocess.Popen, "__init__"),
        (multiprocessing.process.BaseProcess, "start"),
        (os, "fork"),
        (os, "posix_spawn"),
    ):
        setattr(owner, name, _counted(getattr(owner, name)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[BEFORE] = len(started)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    yield
    if len(started) > item.stash[BEFORE] and not any(map(item.get_closest_marker, MARKS)):
        pytest.fail("this test starts a process: mark it with @pytest.mark.process", pytrace=False)
