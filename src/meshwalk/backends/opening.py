"""
A backend opened from what a graph declares.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from meshwalk.backends.base import Backend
from meshwalk.backends.cache import open_cache
from meshwalk.backends.simulated import SimulatedBackend
from meshwalk.model import AnyBackendSpec, CacheSpec, LocalSpec, OpenAISpec, PythonSpec, RecordedSpec, SimulatedSpec


async def open_backend(
    spec: AnyBackendSpec,
    *,
    folder: str = ".",
    data: str | None = None,
    inner: Backend | None = None,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> Backend:
    """
    Make ready the backend that *spec* describes.

    Args:
        folder: Where the graph's relative paths start.
        data: The outcomes file for a `recorded` backend that names none.
        inner: For a cache: the open backend whose replies it keeps; the caller closes it.
        clock_ns: For a cache: the clock that its replies age by.

    Raises:
        SetupError: If something it needs is not here: a package, a file, an environment variable.
    """
    # aiohttp takes as long to import as everything else together, and checking a graph needs none of it.
    match spec:
        case SimulatedSpec():
            return SimulatedBackend.of(spec)
        case RecordedSpec():
            from meshwalk.backends.recorded import open_recorded  # noqa: PLC0415

            return await open_recorded(spec, folder=folder, data=data)
        case OpenAISpec():
            from meshwalk.backends.openai import open_openai  # noqa: PLC0415

            return open_openai(spec)
        case LocalSpec():
            from meshwalk.backends.local import open_local  # noqa: PLC0415

            return await open_local(spec, folder=folder)
        case PythonSpec():
            from meshwalk.backends.python import open_python  # noqa: PLC0415

            return open_python(spec)
        case CacheSpec():
            return open_cache(spec, inner, clock_ns)
