"""
What every test may ask for.

`pytest --rewrite` writes golden files anew; their diff is then what a reviewer reads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.extras import pytest_make_collect_report
from tests.support.files import ROOT, Golden
from tests.support.started import pytest_runtest_setup, pytest_runtest_teardown, watch


# Hooks that pytest finds here by their names.
__all__ = ["pytest_make_collect_report", "pytest_runtest_setup", "pytest_runtest_teardown"]

watch()

# They assert like tests, so they should fail like them, with both sides shown.
pytest.register_assert_rewrite("tests.budgets.vault_contract", "tests.budgets.vault_machine", "tests.engine.shared_budgets")

# Long enough for a busy machine, short enough to see a wait that should have been awaited.
BLOCKED_SECONDS = 5.0

# The same examples in every run, however busy the machine, so that a run that fails fails again.  New ones are looked for
# with `make unit ARGS=--hypothesis-profile=explore`.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
# For `make mutants`, that runs tests many times in one process.
settings.register_profile(
    "mutants", derandomize=True, deadline=None, max_examples=30, suppress_health_check=[HealthCheck.differing_executors]
)
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write golden files anew instead of comparing with them")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    # grpc.aio is asyncio's, so nothing of ours runs on trio.
    return "asyncio"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """
    Give the folder of real outcomes that lies beside the repository where we develop.
    """
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real outcomes are not here: {folder.relative_to(ROOT.parent)} beside the repository is no folder")

    return folder


@pytest.fixture(scope="session")
def graphs() -> Path:
    """
    Give the folder of graphs that ship.
    """
    return ROOT / "graphs"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """
    Compare a text with a golden file, or write that file under `--rewrite`.
    """

    def compare(path: Path, actual: str) -> None:
        if request.config.getoption("rewrite"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(actual, encoding="utf-8")
        if not path.exists():
            pytest.fail(f"there is no golden file {path.relative_to(ROOT)}; `pytest --rewrite` writes it")

        assert path.read_text(encoding="utf-8") == actual

    return compare


@pytest.fixture(autouse=True)
def loop_never_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    Fail an async test whose event loop stood still because something waited without `await`.
    """
    if "anyio_backend" not in request.fixturenames:
        yield
        return

    blocked: list[str] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        start = time.perf_counter()
        run(handle)
        took = time.perf_counter() - start
        if took > BLOCKED_SECONDS:
            blocked.append(f"{took:.2f} s in {handle!r}")

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    yield

    assert not blocked, f"the event loop stood still: {'; '.join(blocked)}"
