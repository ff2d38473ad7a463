"""
The benchmarks' own machinery: what it measures, in which order, and how it says it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import (
    Answer,
    Beside,
    Clock,
    Compare,
    Counts,
    Goal,
    Worker,
    at_least,
    at_most,
    each,
    each_awaited,
    each_in_cpu_time,
    middle,
    ratio,
    table,
)


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

    def test_readings_are_shared_out_over_the_goes(self, clock: Clock) -> None:
        """
        What an arm adds to its reading in a round, while it runs or later, is shared out over its own goes.
        """
        used = {"top": 0.0, "bottom": 0.0}

        def spending(name: str, each: float) -> Callable[[int], float]:
            def arm(n: int) -> float:
                used[name] += each * n
                # What the top leaves behind is done later, too.
                used["top"] += 0.5
                return 1.0

            return arm

        took = clock.rounds(
            (spending("top", 3.0), spending("bottom", 2.0)),
            rounds=5,
            seconds=0,
            readings=([lambda: used["top"]], [lambda: used["bottom"]]),
        )

        assert [[(1.0, 4.0), (1.0, 2.0)]] * 5 == took

    def test_cpu_time_counts_what_other_tasks_and_threads_do(self, clock: Clock) -> None:
        """
        An arm in CPU time lets tasks run that its thing left behind, waits for the rest, and counts threads.
        """
        import asyncio
        import time
        from hashlib import sha256

        ran: list[str] = []
        tasks: set[asyncio.Task[None]] = set()

        async def later() -> None:
            ran.append("task")

        async def act() -> None:
            tasks.add(asyncio.create_task(later()))

        def work() -> None:
            ran.append("thread")
            end = time.thread_time_ns() + 20_000_000
            while time.thread_time_ns() < end:
                sha256(bytes(1_000))

        async def settle() -> None:
            assert "task" in ran
            await asyncio.to_thread(work)

        assert clock.time(each_in_cpu_time(act, settle), 2) >= 10_000_000
        assert ["task", "task", "thread"] == ran


@pytest.mark.process
class TestWorker:
    def script(self, folder: Path, body: str) -> Path:
        path = folder / "arm.py"
        path.write_text(f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[1] / 'benchmarks')!r})\n{body}\n")

        return path

    @pytest.mark.process
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

    @pytest.mark.parametrize(("counts", "expected"), [("time", 4.0), ("throughput", 0.25)])
    def test_ratio_is_of_what_counts(self, counts: Counts, expected: float) -> None:
        """
        What takes four times as long gets a quarter as much done.
        """
        assert expected == ratio(8.0, 2.0, counts)

    def test_ratio_of_nothing_is_no_figure(self) -> None:
        """
        Where a clock was too coarse to see an arm, that is said, with the remedy.
        """
        with pytest.raises(ValueError, match="give the rounds more seconds"):
            ratio(8.0, 0.0, "throughput")

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
        head, *lines = table([answer(2.0, at_most(3)), answer(2.0, at_least(100))._replace(counts="throughput")])

        assert ["goal", "measured", "spread", "of", "rounds", "holds", "command"] == head.split()
        assert [
            "How much longer?",
            "   <= 3 x     2 x        1.5 to 2.5   time         11       yes     python -m pytest x",
            "How much longer?",
            "   >= 100 x   2 x        1.5 to 2.5   throughput   11       NO      python -m pytest x",
        ] == lines


class TestCompare:
    def test_answers_say_what_they_are_of(self, request: pytest.FixtureRequest) -> None:
        """
        One question gives an answer for the time and one for each reading, each with its own goal and the same command.
        """
        used = {"top": 0.0, "bottom": 0.0}

        def arm(name: str, cost: float) -> Callable[[int], float]:
            def run(n: int) -> float:
                used[name] += cost * n
                return cost

            return run

        answers: list[Answer] = []
        compare = Compare(request.node, answers, timed=True)
        spent = Beside("work per joule", None, lambda: used["top"], lambda: used["bottom"])
        compare(arm("top", 5.0), arm("bottom", 4.0), at_least(0.75), counts="throughput", rounds=5, seconds=0, beside=[spent])
        compare.clock.close()
        name = "answers_say_what_they_are_of"

        assert [(name, 0.8, True, "throughput"), (f"{name}: work per joule", 0.8, None, "throughput")] == [
            (one.name, one.measured, one.holds, one.counts) for one in answers
        ]
        assert 1 == len({one.command for one in answers})
