"""
One endpoint's circuit breaker: when it opens, what it lets through then, and when it closes.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model import Breaker
from meshwalk.walk.attempts import Circuit, Ticket


RULES = Breaker(failures=3, share=0.5, window_us=1_000, min_calls=4, open_us=100)


def tell(circuit: Circuit, at: int, *verdicts: bool | None, spare: bool = True) -> None:
    for good in verdicts:
        assert circuit.admits(at)
        circuit.end(circuit.begin(), at, good=good, spare=spare)


def opened(at: int = 0) -> Circuit:
    circuit = Circuit(RULES)
    tell(circuit, at, False, False, False)

    return circuit


class TestOpening:
    def test_failures_in_a_row_open_it(self) -> None:
        """
        So many failures with nothing good between them open it, whether or not there is another endpoint.
        """
        circuit = Circuit(RULES)
        tell(circuit, 0, False, False, True, False, None, False, spare=False)
        assert "closed" == circuit.state(0)

        tell(circuit, 0, False, spare=False)
        assert ("open", False, 100) == (circuit.state(0), circuit.admits(99), circuit.probe_at_us)

    def test_a_share_of_failures_opens_it(self) -> None:
        """
        More than the share of the window's calls opens it, once there are enough of them.
        """
        circuit = Circuit(RULES)
        tell(circuit, 0, False, False, True)
        assert "closed" == circuit.state(0)

        tell(circuit, 10, False)
        assert "open" == circuit.state(10)

    def test_half_is_not_more_than_half(self) -> None:
        """
        The share itself is still borne.
        """
        circuit = Circuit(RULES)
        tell(circuit, 0, *[True, False] * 20)

        assert circuit.is_closed

    def test_a_share_does_not_open_what_cannot_be_spared(self) -> None:
        """
        The last endpoint that is well is kept, however many of its calls fail between good ones.
        """
        circuit = Circuit(RULES)
        tell(circuit, 0, *[False, False, True] * 20, spare=False)
        assert circuit.is_closed

        tell(circuit, 0, False, spare=True)
        assert not circuit.is_closed

    def test_the_window_slides(self) -> None:
        """
        Failures of long ago are not counted against it.
        """
        circuit = Circuit(RULES)
        tell(circuit, 0, False, False, True)
        tell(circuit, 1_000, False, False, True)
        assert circuit.is_closed

        tell(circuit, 1_001, False)
        assert not circuit.is_closed

    def test_what_is_neither_good_nor_bad_is_not_counted(self) -> None:
        """
        A cancelled call says nothing.
        """
        circuit = Circuit(RULES)
        tell(circuit, 0, False, False, *[None] * 20)

        assert circuit.is_closed


class TestProbing:
    def test_one_probe_at_a_time(self) -> None:
        """
        Half open, a second call waits for what the first one finds.
        """
        circuit = opened()

        assert ("half_open", True) == (circuit.state(100), circuit.admits(100))
        assert Ticket(1, probe=True) == circuit.begin()
        assert (False, None) == (circuit.admits(100), circuit.probe_at_us)

    def test_a_good_probe_closes_it(self) -> None:
        """
        After a good probe all calls go through, and what went wrong before is forgotten.
        """
        circuit = opened()
        tell(circuit, 100, True)
        tell(circuit, 100, False, False)

        assert "closed" == circuit.state(100)

    def test_bad_probes_double_the_time(self) -> None:
        """
        Each bad probe leaves it alone for twice as long, up to six times as long as at first.
        """
        circuit, at, pauses = opened(), 0, []
        for _ in range(6):
            assert circuit.probe_at_us is not None
            pauses.append(circuit.probe_at_us - at)
            at = circuit.probe_at_us
            tell(circuit, at, False)

        assert [100, 200, 400, 600, 600, 600] == pauses

    def test_a_cancelled_probe_leaves_the_next_one_to_find_out(self) -> None:
        """
        A probe that says nothing is followed by another at once.
        """
        circuit = opened()
        tell(circuit, 100, None)

        assert ("half_open", True) == (circuit.state(100), circuit.admits(100))

    @pytest.mark.parametrize("good", [True, False])
    def test_calls_of_another_time_tell_nothing(self, good: bool) -> None:
        """
        A call that began before it opened neither closes it nor opens it again.
        """
        circuit = Circuit(RULES)
        late = [circuit.begin() for _ in range(6)]
        for ticket in late[:3]:
            circuit.end(ticket, 0, good=False, spare=True)
        circuit.end(late[3], 100, good=good, spare=True)
        assert ("half_open", 100) == (circuit.state(100), circuit.probe_at_us)

        tell(circuit, 100, True)
        for ticket in late[4:]:
            circuit.end(ticket, 110, good=False, spare=True)
        tell(circuit, 110, False)
        assert circuit.is_closed


ACTS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5), st.sampled_from([True, False, False, None]), st.booleans()))


class TestLaws:
    @given(acts=ACTS)
    def test_open_it_admits_nothing_and_half_open_one(self, acts: list[tuple[int, int, bool | None, bool]]) -> None:
        """
        However calls overlap, nothing begins while it is open, and no second probe beside one under way; and from any state
        enough time and good calls close it.
        """
        circuit, at = Circuit(RULES), 0
        under_way: list[Ticket] = []
        for took, which, good, begins in acts:
            at += took
            if begins:
                if circuit.admits(at):
                    assert "open" != circuit.state(at)
                    ticket = circuit.begin()
                    assert ticket.probe == ("half_open" == circuit.state(at))
                    under_way.append(ticket)
                else:
                    assert "closed" != circuit.state(at)
            elif under_way:
                circuit.end(under_way.pop(which % len(under_way)), at, good=good, spare=True)
            current = [ticket for ticket in under_way if ticket.probe and not circuit.admits(at)]
            assert len({ticket.era for ticket in current}) == len(current)

        at += 600
        for ticket in under_way:
            circuit.end(ticket, at, good=True, spare=True)
        tell(circuit, at, True)
        assert circuit.is_closed

    @given(calls=st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=60))
    def test_the_share_is_that_of_the_window(self, calls: list[tuple[int, bool]]) -> None:
        """
        It opens by share exactly where a plain count of the slices within the window would open it.
        """
        rules = RULES._replace(failures=1_000)
        circuit, at = Circuit(rules), 0
        seen: list[tuple[int, bool]] = []
        for took, good in calls:
            at += took
            seen.append((at, good))
            tell(circuit, at, good)
            window = [was_good for when, was_good in seen if when // 100 > at // 100 - 10]
            too_many = len(window) >= 4 and window.count(False) > len(window) / 2
            assert (not good and too_many) != circuit.is_closed
            if not circuit.is_closed:
                break
