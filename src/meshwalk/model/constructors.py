"""
Constructors of NamedTuples for the paths that make several of them a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar


_Tuple = TypeVar("_Tuple", bound=tuple[Any, ...])


def fast_constructor(cls: type[_Tuple]) -> Callable[[Iterable[Any]], _Tuple]:
    """
    Return a constructor of *cls* that takes all of its fields as one tuple, in order.

    The class itself takes them one by one, in a Python function, which needs about twice the time
    (`benchmarks/test_constructors.py`).  Nothing looks at how many there are, so a test counts them wherever one is called.
    """
    return partial(tuple.__new__, cls)
