"""
The benchmarks' own machinery: what it measures, in which order, and how it says it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Answer, Clock, Goal, Worker, at_least, at_most, each, each_awaited, middle, table


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    yield clock
    clock.close()


def answer(measured: float, goal: Goal) -> Answer:
    return Answer("guard", "How much longer?", goal, measured, (measured - 0.5, measured + 0.5), 11, "python -m pytest x")


class TestClock:
    def test_rounds_alternate_their_order(self, clock: Clock) -> None:
        """
        Neither arm is always the one that goes first.
        """
        went: list[str] = []

        def top(_: int) -> float:
            went.append("top")
            return 6.0

        def bottom(_: int) -> float:
            went.append("bottom")
            return 2.0

        ratios = clock.ratios(top, bottom, rounds=5, seconds=0)

        assert [3.0] * 5 == ratios
        # The first two found out how often to go.
        assert ["top", "bottom", "bottom", "top", "top", "bottom", "bottom", "top", "top", "bottom"] == went[2:]

    def test_time_is_for_each_go(self, clock: Clock) -> None:
        """
        The time an arm took is shared out over its goes.
        """
        goes: list[int] = []
        whole = clock.time(each(lambda: goes.append(1)), 1_000)

        assert 1_000 == len(goes)
        assert 0 < whole < 1_000_000

    def test_async_arms_share_one_event_loop(self, clock: Clock) -> None:
        """
        What is opened before the rounds is usable in them.
        """
        import asyncio

        async def loop() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        seen: list[asyncio.AbstractEventLoop] = []

        async def act() -> None:
            seen.append(await loop())

        clock.time(each_awaited(act), 2)
        clock.time(each_awaited(act), 1)

        assert [clock.run(loop())] * 3 == seen

    def test_enough_fills_the_time(self, clock: Clock) -> None:
        """
        An arm is asked for as many goes as keep it busy.
        """
        import time

        assert 4 == clock.enough(each(lambda: time.sleep(0.02)), 0.05)


class TestWorker:
    def script(self, folder: Path, body: str) -> Path:
        path = folder / "arm.py"
        path.write_text(f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[1] / 'benchmarks')!r})\n{body}\n")

        return path

    def test_worker_answers_each_count(self, tmp_path: Path) -> None:
        """
        A worker is told counts, and its whole nanoseconds are shared out over them.
        """
        script = self.script(tmp_path, "from worker import serve\nserve(lambda n: 50 * n)")
        with Worker(Path(sys.executable), script) as worker:
            answers = [worker(n) for n in (1, 2, 1_000)]

        assert [50.0] * 3 == answers

    def test_worker_that_dies_is_quoted(self, tmp_path: Path) -> None:
        """
        What a script said before it ended is in the error.
        """
        script = self.script(tmp_path, "sys.exit('there is no such graph')")
        with Worker(Path(sys.executable), script) as worker, pytest.raises(RuntimeError, match="there is no such graph"):
            worker(1)


class TestAnswer:
    @pytest.mark.parametrize(
        ("goal", "ratio", "holds"),
        [(at_most(3), 3.0, True), (at_most(3), 3.1, False), (at_least(150), 150.0, True), (at_least(150), 149.0, False)],
    )
    def test_goal_includes_its_bound(self, goal: Goal, ratio: float, holds: bool) -> None:
        """
        A goal holds up to and at its bound.
        """
        assert holds == goal.holds(ratio)

    def test_middle_is_the_median_between_the_quartiles(self) -> None:
        """
        One wild round moves neither the figure nor its spread.
        """
        assert (3.0, (2.0, 4.0)) == middle([1.0, 2.0, 3.0, 4.0, 500.0])

    def test_document_has_the_keys_that_stay(self) -> None:
        """
        A kept answer has every key that `make bench` promises.
        """
        document = answer(2.0, at_most(3)).document()

        assert {"name", "goal", "measured", "spread", "holds", "command"} <= document.keys()
        assert ("<= 3", 2.0, [1.5, 2.5], True) == tuple(document[key] for key in ("goal", "measured", "spread", "holds"))

    def test_table_names_what_does_not_hold(self) -> None:
        """
        Each question stands above its figures, and a goal that was missed stands out.
        """
        head, *lines = table([answer(2.0, at_most(3)), answer(2.0, at_least(100))])

        assert ["goal", "measured", "spread", "holds", "command"] == head.split()
        assert [
            "How much longer?",
            "   <= 3 x     2 x        1.5 to 2.5   yes     python -m pytest x",
            "How much longer?",
            "   >= 100 x   2 x        1.5 to 2.5   NO      python -m pytest x",
        ] == lines
