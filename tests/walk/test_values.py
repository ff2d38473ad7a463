from __future__ import annotations

from meshwalk.model import Amount, Caps, Value
from meshwalk.plan import Plan
from meshwalk.trace import Facts, ScopeView
from meshwalk.walk import values
from tests.support.plans import plan_of


PLAN = plan_of(
    """
    meshwalk: 1
    name: reading
    start: intake
    request: {task: {type: string, default: any}}
    backends:
      little: {kind: simulated, usd_per_mtok: {input: 1, output: 2}, breaker: {failures: 3}}
    limits: {cost_usd: 1, output_tokens: 100}
    budgets:
      session: {cost_usd: 0.5}
    nodes:
      intake:
        role: classifier
        use: features
        next:
          - {to: small, when: "request.task == 'easy' && backend.little.healthy"}
          - {to: small, when: "elapsed < duration('1s') && deadline.left > duration('1s')"}
          - {to: small, when: "budget.request.left_usd > 0.1 && budget.request.left_tokens > 10"}
          - {to: small, when: "budget.session.left_fraction > 0.5 || budget.session.pressure > 0.5"}
          - {to: sorry}
      small: {role: primary, backend: little, max_tokens: 50, next: done}
      sorry: {role: refusal, reason: no}
    """
)


def read(plan: Plan, given: values.Values) -> dict[str, Value | None]:
    """
    Name what guards read.
    """
    return {name: given[slot] for name, slot in plan.slots.items()}


class TestStart:
    def test_a_request_and_its_backends_are_known_from_the_start(self) -> None:
        """
        A walk begins with the attributes, the health of backends, and budgets that nobody has used.
        """
        given = read(PLAN, values.start(PLAN, Facts((("task", "easy"),), 10, 1, healthy=(("little", False),))))

        assert ("easy", False) == (given["request.task"], given["backend.little.healthy"])
        assert 0 == given["budget.session.pressure"]

    def test_what_no_guard_reads_is_left_out(self) -> None:
        """
        An attribute and a backend that no guard names have no place.
        """
        facts = Facts((("task", "hard"), ("colour", "red")), 10, 1, healthy=(("other", True),))

        assert "hard" == read(PLAN, values.start(PLAN, facts))["request.task"]

    def test_walks_share_no_values(self) -> None:
        """
        What one walk notes is not seen by the next.
        """
        first = values.start(PLAN, Facts((("task", "easy"),), 10, 1))
        values.update_time(PLAN, first, 5, 10)
        second = values.start(PLAN, Facts((("task", "hard"),), 10, 1))

        assert (5, "easy") == (first[PLAN.slots["elapsed"]], first[PLAN.slots["request.task"]])
        assert "hard" == second[PLAN.slots["request.task"]]
        assert first[PLAN.slots["elapsed"]] != second[PLAN.slots["elapsed"]]


class TestTellTime:
    def test_time_goes_on_both_ways(self) -> None:
        """
        What has passed, and what is left of the deadline, is in microseconds.
        """
        given = values.start(PLAN, Facts((), 10, 1))
        values.update_time(PLAN, given, 400, 1_000)

        assert (400, 600) == (read(PLAN, given)["elapsed"], read(PLAN, given)["deadline.left"])


class TestSee:
    def test_a_budget_reads_as_what_is_left(self) -> None:
        """
        A scope's readings are in dollars, in tokens, and as a share of the cap that is used most.
        """
        given = values.start(PLAN, Facts((), 10, 1))
        request = ScopeView("request", Caps(cost_nano_usd=1_000_000_000, output_tokens=100), Amount(250_000_000, 0, 40))
        session = ScopeView("session", Caps(cost_nano_usd=500_000_000), Amount(125_000_000))
        values.see(PLAN, given, (request, session))
        seen = read(PLAN, given)

        assert (0.75, 60) == (seen["budget.request.left_usd"], seen["budget.request.left_tokens"])
        assert 0.75 == seen["budget.session.left_fraction"]

    def test_without_a_cap_nothing_is_left_or_used(self) -> None:
        """
        What nobody caps is undetermined.
        """
        given = values.start(PLAN, Facts((), 10, 1))
        values.see(PLAN, given, (ScopeView("request", Caps(), Amount(5)), ScopeView("session", Caps(), Amount(5))))
        seen = read(PLAN, given)

        assert {None} == {seen[name] for name in ("budget.request.left_usd", "budget.request.left_tokens")}
        assert seen["budget.session.left_fraction"] is None
