"""
One backend's endpoints: who goes where, who waits for what, and who is told at once that there is no use in waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk.model import Breaker, Endpoint, Traffic
from meshwalk.walk.attempts import Ask, Pick, Pool, Refused, Waiting


SECOND = 1_000_000
EAST, WEST = Endpoint("east", weight=3.0), Endpoint("west", weight=1.0)
ASK = Ask(tokens=10, until_us=10 * SECOND)


def pool(traffic: Traffic | None = None, endpoints: Iterable[Endpoint] = ()) -> Pool:
    return Pool("large", tuple(endpoints), traffic or Traffic())


def entered(pool: Pool, ask: Ask = ASK, at: int = 0, chance: float = 0.0) -> Pick:
    answer = pool.enter(ask, at, chance)
    assert isinstance(answer, Pick), answer

    return answer


def waiting(pool: Pool, ask: Ask = ASK, at: int = 0) -> Waiting:
    answer = pool.enter(ask, at, 0.0)
    assert isinstance(answer, Waiting), answer

    return answer


def refused(pool: Pool, ask: Ask = ASK, at: int = 0) -> Refused:
    answer = pool.enter(ask, at, 0.0)
    assert isinstance(answer, Refused), answer

    return answer


def fail(pool: Pool, *, at: int = 0, times: int = 1, ask: Ask = ASK, error_class: str = "unreachable") -> None:
    for _ in range(times):
        pool.leave(entered(pool, ask, at), at, error_class=error_class)


class TestChoosing:
    def test_one_endpoint_needs_no_name(self) -> None:
        """
        A backend that names no endpoints is one itself.
        """
        assert "" == entered(pool()).endpoint

    def test_chance_chooses_by_weight(self) -> None:
        """
        An endpoint of three times the weight gets three of four calls.
        """
        shared = pool(endpoints=[EAST, WEST])
        found = Counter(entered(shared, chance=step / 100).endpoint for step in range(101))

        assert {"east": 75, "west": 26} == found

    def test_what_failed_is_avoided(self) -> None:
        """
        A retry goes to another endpoint if one can take it, and to the same if none can.
        """
        shared = pool(Traffic(concurrency=1), [EAST, WEST])
        again = ASK._replace(avoid=frozenset({"east"}))

        assert shared.elsewhere(frozenset({"east"}), 1, 0)
        assert "west" == entered(shared, again).endpoint
        assert not shared.elsewhere(frozenset({"east"}), 1, 0)
        assert "east" == entered(shared, again).endpoint

    def test_full_endpoints_are_passed_over(self) -> None:
        """
        Each endpoint has its own places, and its own limits where it names them.
        """
        shared = pool(Traffic(concurrency=2), [EAST, WEST._replace(concurrency=1)])

        assert ["east", "east", "west"] == [entered(shared).endpoint for _ in range(3)]
        assert "<Pool large: east 2, west 1, 0 waiting>" == repr(shared)
        assert isinstance(shared.enter(ASK, 0, 0.0), Waiting)


class TestSticking:
    @staticmethod
    def homes(endpoints: Iterable[Endpoint]) -> dict[str, str]:
        shared = pool(Traffic(sticky="session"), endpoints)
        keys = [f"session-{number}" for number in range(2_000)]

        return {key: entered(shared, ASK._replace(stick_to=key), chance=0.99).endpoint for key in keys}

    def test_a_session_stays_with_one_endpoint(self) -> None:
        """
        Whatever chance says, a session goes to its own endpoint, and weights share the sessions.
        """
        found = self.homes([EAST, WEST])

        assert found == self.homes([EAST, WEST])
        assert 1_400 < Counter(found.values())["east"] < 1_600

    def test_a_new_endpoint_moves_few_sessions(self) -> None:
        """
        Sessions move only to the endpoint that came, and order does not matter.
        """
        before, after = self.homes([EAST, WEST]), self.homes([Endpoint("north"), WEST, EAST])
        moved = [key for key in before if before[key] != after[key]]

        assert {"north"} == {after[key] for key in moved}
        assert 300 < len(moved) < 500

    def test_a_session_leaves_what_is_not_well_and_comes_back(self) -> None:
        """
        While its endpoint is left alone a session goes elsewhere, and returns when that is over.
        """
        shared = pool(Traffic(sticky="session", breaker=Breaker(failures=1, open_us=SECOND)), [EAST, WEST])
        mine = ASK._replace(stick_to="session-1")
        home = entered(shared, mine)
        shared.leave(home, 0, error_class="unreachable")

        assert home.endpoint != entered(shared, mine).endpoint
        assert home.endpoint == entered(shared, mine, at=SECOND).endpoint

    def test_nobody_sticks_who_names_nothing(self) -> None:
        """
        A call without a session is chosen by chance.
        """
        shared = pool(Traffic(sticky="session"), [EAST, WEST])

        assert ["east", "west"] == [entered(shared, chance=chance).endpoint for chance in (0.0, 0.9)]


class TestWaiting:
    def test_places_are_given_in_order_of_arrival(self) -> None:
        """
        Who came first is let in first; who comes when a place is free and others wait, waits behind them.
        """
        shared = pool(Traffic(concurrency=1))
        inside = entered(shared)
        first, second = waiting(shared), waiting(shared)
        shared.leave(inside, 5, error_class=None)

        assert first.number == shared.first
        third = waiting(shared, at=5)
        assert isinstance(shared.look(second.number, 5, 0.0), Waiting)
        assert isinstance(shared.look(first.number, 5, 0.0), Pick)
        assert isinstance(shared.look(second.number, 5, 0.0), Waiting)
        shared.quit(second.number)
        assert third.number == shared.first

    def test_the_line_is_bounded(self) -> None:
        """
        When nobody more may wait, a call is refused as overloaded, and told what to do.
        """
        shared = pool(Traffic(concurrency=1, queue=2))
        entered(shared)
        waiting(shared)
        waiting(shared)

        assert Refused(
            "overloaded",
            "backend 'large' has 1 call under way and 2 waiting, as many as it may have; raise `concurrency` or the `length` "
            "of `queue`, or give the node an on_error edge for overloaded",
        ) == refused(shared)

    def test_a_wait_is_bounded(self) -> None:
        """
        After the queue's wait, or at the end of its own time, a call is refused.
        """
        shared = pool(Traffic(concurrency=1, queue_wait_us=2 * SECOND))
        entered(shared)
        patient, hasty = waiting(shared, at=5), waiting(shared, ASK._replace(until_us=SECOND), at=5)

        assert (2 * SECOND + 5, SECOND) == (patient.look_again_at_us, hasty.look_again_at_us)
        assert patient == shared.look(patient.number, 2 * SECOND, 0.0)
        answer = shared.look(hasty.number, SECOND, 0.0)
        assert isinstance(answer, Refused)
        assert ("overloaded", None) == (answer.error_class, answer.retry_after_us)
        assert "had no place in time, with 1 call under way" in answer.message

    def test_without_a_line_nobody_waits(self) -> None:
        """
        With a queue of none, what cannot go at once is refused for what keeps it.
        """
        full, spent = pool(Traffic(concurrency=1, queue=0)), pool(Traffic(requests_per_minute=1, queue=0))
        entered(full)
        entered(spent)

        assert "overloaded" == refused(full).error_class
        assert ("rate_limited", 60 * SECOND) == (refused(spent).error_class, refused(spent).retry_after_us)


class TestLimits:
    def test_a_call_waits_for_its_allowance(self) -> None:
        """
        Where the limit lets it in before its time is over, a call waits exactly so long.
        """
        shared = pool(Traffic(requests_per_minute=60))
        for _ in range(60):
            entered(shared)
        first = waiting(shared)

        assert SECOND == first.look_again_at_us
        assert isinstance(shared.look(first.number, SECOND - 1, 0.0), Waiting)
        assert isinstance(shared.look(first.number, SECOND, 0.0), Pick)

    def test_who_would_wait_in_vain_is_told_at_once(self) -> None:
        """
        What the limit cannot let in in time is refused, with those counted who wait already.
        """
        shared = pool(Traffic(requests_per_minute=60))
        for _ in range(60):
            entered(shared)
        for _ in range(10):
            waiting(shared)

        assert Refused(
            "rate_limited",
            "backend 'large' may have 60 requests a minute and has room for this one behind the 10 calls waiting in 11 s; "
            "raise `requests_per_minute`, or give the node an on_error edge for rate_limited",
            11 * SECOND,
        ) == refused(shared)

    def test_tokens_are_corrected_when_a_call_leaves(self) -> None:
        """
        A call is charged with what it may need, and in the end with what it used.
        """
        shared = pool(Traffic(tokens_per_minute=600))
        inside = entered(shared, ASK._replace(tokens=600))
        early = refused(shared, ASK._replace(tokens=300))
        shared.leave(inside, 0, error_class=None, tokens=290)

        assert (30 * SECOND, True) == (early.retry_after_us, "may have 600 tokens a minute" in early.message)
        assert isinstance(shared.enter(ASK._replace(tokens=300), 0, 0.0), Pick)

    def test_several_endpoints_share_what_waits(self) -> None:
        """
        A line longer than one endpoint can take in time is not refused where two can.
        """
        shared = pool(Traffic(requests_per_minute=60), [EAST, WEST])
        for _ in range(120):
            entered(shared)

        assert 20 == len([waiting(shared) for _ in range(20)])
        assert ("rate_limited", 10_500_000) == (refused(shared).error_class, refused(shared).retry_after_us)

    def test_a_large_call_at_one_endpoint_keeps_no_small_one_from_another(self) -> None:
        """
        A call of more than a minute's worth does not count against what others can take.
        """
        shared = pool(Traffic(tokens_per_minute=600), [EAST, WEST])
        entered(shared, ASK._replace(tokens=600))
        entered(shared, ASK._replace(tokens=100))
        waiting(shared, ASK._replace(tokens=100_000))

        assert isinstance(shared.enter(ASK._replace(tokens=5), 0, 0.0), Waiting)


class TestResting:
    @pytest.mark.parametrize(("error_class", "expected"), [("rate_limited", "rate_limited"), ("overloaded", "overloaded")])
    def test_an_endpoint_rests_when_it_asks_to(self, error_class: str, expected: str) -> None:
        """
        After a Retry-After nobody calls until then: a call with time waits, one without is refused as the first one was.
        """
        shared = pool(Traffic())
        shared.leave(entered(shared), 0, error_class=error_class, retry_after_us=30 * SECOND)
        answer = refused(shared)

        assert not shared.healthy(0)
        assert (expected, 30 * SECOND) == (answer.error_class, answer.retry_after_us)
        assert "backend 'large' asked to be left alone for 30 s" in answer.message
        assert 30 * SECOND == waiting(shared, ASK._replace(until_us=60 * SECOND)).look_again_at_us
        assert shared.healthy(30 * SECOND)

    def test_the_others_go_on(self) -> None:
        """
        While one endpoint rests another takes the calls.
        """
        shared = pool(endpoints=[EAST, WEST])
        shared.leave(entered(shared), 0, error_class="rate_limited", retry_after_us=30 * SECOND)

        assert {"west"} == {entered(shared, chance=chance).endpoint for chance in (0.0, 0.5, 1.0)}
        assert shared.healthy(0)

    def test_a_slip_takes_nothing_away_for_good(self) -> None:
        """
        No rest is longer than an hour.
        """
        shared = pool(Traffic())
        shared.leave(entered(shared), 0, error_class="rate_limited", retry_after_us=10**15)

        assert shared.healthy(3600 * SECOND)


class TestBreaking:
    def test_all_that_are_left_alone_are_unreachable(self) -> None:
        """
        When every endpoint is left alone a call is told at once, and when the next may probe.
        """
        shared = pool(Traffic(breaker=Breaker(failures=2, open_us=4 * SECOND)), [EAST, WEST])
        fail(shared, times=2)
        assert shared.healthy(0)
        fail(shared, at=SECOND, times=2)

        assert not shared.healthy(SECOND)
        assert Refused(
            "unreachable",
            "backend 'large' is left alone after its failures (endpoints east, west); it is probed from 3 s on; give the "
            "node an on_error edge for unreachable",
            3 * SECOND,
        ) == refused(shared, at=SECOND)

    def test_a_probe_goes_alone(self) -> None:
        """
        While a probe is under way others are refused, and its success lets them all in.
        """
        shared = pool(Traffic(breaker=Breaker(failures=1, open_us=SECOND)))
        fail(shared)
        probe = entered(shared, at=SECOND)
        answer = refused(shared, at=SECOND)
        shared.leave(probe, SECOND, error_class=None)

        assert (None, True) == (answer.retry_after_us, "a call is finding out whether it is back" in answer.message)
        assert isinstance(shared.enter(ASK, SECOND, 0.0), Pick)

    @pytest.mark.parametrize(
        ("error_class", "opens"),
        [
            *((name, True) for name in ("unreachable", "overloaded", "timeout", "malformed")),
            *((name, False) for name in (None, "rate_limited", "refused_by_model", "cancelled")),
        ],
    )
    def test_what_counts_as_a_failure(self, error_class: str | None, opens: bool) -> None:
        """
        An endpoint fails by being out of reach, overloaded, slow or unreadable, and by nothing else.
        """
        shared = pool(Traffic(breaker=Breaker(failures=1)))
        shared.leave(entered(shared), 0, error_class=error_class)

        assert opens != shared.healthy(0)

    def test_several_endpoints_have_a_breaker_unasked(self) -> None:
        """
        One endpoint has a breaker where it is declared, several always do.
        """
        single, several = pool(Traffic()), pool(endpoints=[EAST, WEST])
        fail(single, times=20)
        fail(several, times=5)

        assert "" == entered(single).endpoint
        assert "west" == entered(several).endpoint

    def test_the_last_one_is_kept(self) -> None:
        """
        A share of failures takes away all endpoints but one; failures in a row take that one, too.
        """
        rules = Breaker(failures=5, share=0.3, min_calls=2)
        shared = pool(Traffic(breaker=rules), [EAST, WEST])
        for _ in range(20):
            for error_class in (None, "unreachable"):
                picks = [entered(shared, chance=chance) for chance in (0.0, 1.0)]
                for pick in picks:
                    shared.leave(pick, 0, error_class=error_class)
        assert shared.healthy(0)

        # Two of its last calls have failed already.
        fail(shared, times=3)
        assert not shared.healthy(0)

    def test_a_waiter_looks_when_a_probe_is_due(self) -> None:
        """
        Who waits for a place at a full endpoint looks again when the other one may be probed.
        """
        shared = pool(Traffic(concurrency=1, breaker=Breaker(failures=1, open_us=SECOND)), [EAST, WEST])
        fail(shared)
        entered(shared)
        first = waiting(shared)

        assert SECOND == first.look_again_at_us
        answer = shared.look(first.number, SECOND, 0.0)
        assert isinstance(answer, Pick)
        assert "east" == answer.endpoint


ENDPOINTS = st.lists(
    st.builds(
        Endpoint,
        name=st.sampled_from(["east", "west", "north"]),
        weight=st.floats(0.1, 10),
        concurrency=st.none() | st.integers(1, 3),
        requests_per_minute=st.none() | st.integers(1, 100),
        tokens_per_minute=st.none() | st.integers(1, 1_000),
    ),
    max_size=3,
    unique_by=lambda endpoint: endpoint.name,
)
TRAFFIC = st.builds(
    Traffic,
    concurrency=st.none() | st.integers(1, 3),
    requests_per_minute=st.none() | st.integers(1, 100),
    tokens_per_minute=st.none() | st.integers(1, 1_000),
    queue=st.integers(0, 4),
    queue_wait_us=st.none() | st.integers(1, 5 * SECOND),
    sticky=st.none() | st.just("session"),
    breaker=st.none() | st.builds(Breaker, st.integers(1, 3), open_us=st.integers(1, SECOND)),
)
STEPS = st.lists(
    st.tuples(
        st.integers(0, SECOND),
        st.sampled_from(["enter", "enter", "enter", "leave", "leave", "look", "quit"]),
        st.integers(0, 5),
        st.sampled_from([None, None, "cancelled", "unreachable", "rate_limited", "refused_by_model"]),
        st.integers(1, 1_200),
        st.floats(0, 1),
    ),
    max_size=40,
)


class TestLaws:
    @settings(max_examples=40)
    @given(endpoints=ENDPOINTS, traffic=TRAFFIC, steps=STEPS)
    def test_laws_of_the_room(
        self, endpoints: list[Endpoint], traffic: Traffic, steps: list[tuple[int, str, int, str | None, int, float]]
    ) -> None:
        """
        Whoever comes, goes and fails: no endpoint is over its places or called while it rests or is left alone, nobody passes
        those who wait, the line is as short as it must be, and nobody waits past their time.
        """
        shared = pool(traffic, endpoints)
        at = 0
        inside: list[Pick] = []
        line: dict[int, Ask] = {}
        rests = dict.fromkeys([endpoint.name for endpoint in endpoints] or [""], 0)
        places = {
            endpoint.name: traffic.concurrency if endpoint.concurrency is None else endpoint.concurrency
            for endpoint in endpoints or [Endpoint("")]
        }

        def let_in(pick: Pick) -> None:
            inside.append(pick)
            most = places[pick.endpoint]
            assert most is None or [one.endpoint for one in inside].count(pick.endpoint) <= most
            assert rests[pick.endpoint] <= at

        for took, act, which, error_class, tokens, chance in steps:
            at += took
            if act == "enter":
                ask = Ask(tokens, at + which * SECOND, "s" if which else "")
                answer = shared.enter(ask, at, chance)
                if isinstance(answer, Pick):
                    assert not line
                    let_in(answer)
                elif isinstance(answer, Waiting):
                    line[answer.number] = ask
                    assert answer.look_again_at_us <= ask.until_us
                assert len(line) <= traffic.queue
            elif act == "leave" and inside:
                pick = inside.pop(which % len(inside))
                retry_after_us = which * SECOND if error_class == "rate_limited" else None
                if retry_after_us is not None:
                    rests[pick.endpoint] = max(rests[pick.endpoint], at + retry_after_us)
                shared.leave(pick, at, error_class=error_class, retry_after_us=retry_after_us, tokens=tokens // 2)
            elif act == "look" and line:
                number = sorted(line)[which % len(line)]
                answer = shared.look(number, at, chance)
                if isinstance(answer, Waiting):
                    assert at < answer.look_again_at_us <= line[number].until_us
                else:
                    del line[number]
                if isinstance(answer, Pick):
                    assert all(number < other for other in line)
                    let_in(answer)
            elif act == "quit" and line:
                number = sorted(line)[which % len(line)]
                shared.quit(number)
                del line[number]
            assert min(line, default=None) == shared.first

        # When all have gone and all rests are over, whoever waits or comes is let in.
        for number in list(line):
            shared.quit(number)
        for pick in inside:
            shared.leave(pick, at, error_class=None)
        # The largest debt of forty calls is paid off by then, a token a minute.
        at += 40 * 1_200 * 60 * SECOND
        assert shared.healthy(at)
        assert isinstance(shared.enter(Ask(1, at), at, 0.5), Pick)
