"""
Cases walked and judged: what is pretended, what stays real, every expectation met and missed, and which edges count.
"""

from __future__ import annotations

from textwrap import dedent, indent

import pytest

from meshwalk.cases import CaseResult, Failure, coverage, run_cases
from meshwalk.loader import read_cases
from meshwalk.loader.casebook import EdgeName
from meshwalk.plan import Plan
from tests.support.plans import plan_of


PLAN = plan_of("""\
    meshwalk: 1
    name: desk
    start: intake
    limits: {cost_usd: 1, deadline: 10s}
    backends:
      little: {kind: simulated, usd_per_mtok: {input: 1, output: 1}, context_tokens: 1000}
      large: {kind: openai, model: m, base_url: "http://127.0.0.1:1/v1", usd_per_mtok: {input: 10, output: 30}}
    nodes:
      intake:
        role: classifier
        use: features
        next:
          - {to: primary, when: signals.complexity > 0.5}
          - {to: screen}
      screen:
        role: answer
        backend: little
        max_tokens: 100
        deadline: 4s
        confidence: {from: mean_token_probability}
        next:
          - {to: done, when: output.confidence >= 0.8}
          - {to: sorry, when: "deadline.left < duration('7s')"}
          - {to: primary}
        on_error: primary
      primary:
        role: primary
        backend: large
        max_tokens: 100
        retries: 1
        next: done
        on_error:
          - {class: [overloaded, timeout], to: done, answer: screen, else: sorry}
          - {class: budget, to: sorry}
      sorry: {role: refusal, reason: no model could answer}
    """)

CAPPED = plan_of("""\
    meshwalk: 1
    name: capped
    start: intake
    budgets:
      session: {cost_usd: 1, calls: 100, window: 1h, pressure_from: 0.8}
      workflow: {calls: 20, required: true}
      tenant: {cost_usd: 10}
    backends:
      little: {kind: simulated, usd_per_mtok: {input: 1, output: 1}, context_tokens: 1000}
      large: {kind: simulated, usd_per_mtok: {input: 10, output: 30}, context_tokens: 1000}
    nodes:
      intake:
        role: classifier
        use: features
        next:
          - {to: small, when: budget.session.pressure > 0.5}
          - {to: large}
      small: {role: answer, backend: little, max_tokens: 100, next: done}
      large: {role: primary, backend: large, max_tokens: 100, retries: 1, next: done, on_error: [{class: budget, to: small}]}
    """)

SURE = "replies: {screen: {text: yes, confidence: 0.9}}"


def text_of(given: str, expect: str) -> bytes:
    """
    Write a file of one case.
    """
    parts = {"given": "messages: hello\n" + dedent(given), "expect": dedent(expect)}
    body = "".join(f"  {key}:\n{indent(part.strip(), '    ')}\n" for key, part in parts.items())

    return f"cases:\n- name: the case\n{body}".encode()


async def ran(given: str, expect: str, plan: Plan = PLAN) -> CaseResult:
    """
    Walk one case.
    """
    (result,) = await run_cases(plan, read_cases(text_of(given, expect), plan.graph, file="desk.cases.yaml"))

    return result


async def missed(given: str, expect: str, plan: Plan = PLAN) -> Failure:
    """
    Walk one case that fails of one thing, and return that.
    """
    (failure,) = (await ran(given, expect, plan)).failures

    return failure


class TestExpectations:
    @pytest.mark.parametrize(
        ("given", "expect"),
        [
            (SURE, "path: [intake, screen, done]"),
            (SURE, "path: [intake, screen]"),
            (SURE, "takes: [intake -> screen, screen -> done, edge 1 of screen]"),
            (SURE, "outcome: answered"),
            (SURE, "served: screen"),
            (SURE, "answer: {contains: yes}"),
            ("signals: {complexity: 1}\nreplies: {primary: It is 42.}", 'answer: {contains: "42", matches: "[0-9]+"}'),
            ("signals: {complexity: 1}\nreplies: {primary: [It is 42.]}", "answer: {contains: It is}"),
            ("replies: {screen: {usage: {input: 10, output: 90}, confidence: 1}}", "cost_usd_at_most: 0.0001"),
            ("signals: {complexity: 1}\nreplies: {primary: {error: overloaded}}", "takes: primary -> sorry"),
            ("signals: {complexity: 1}\nreplies: {primary: {error: overloaded}}", "outcome: refused\nreason: could answer"),
            ("signals: {complexity: 1}\nreplies: {primary: {error: malformed}}", "outcome: failed\ncause: malformed"),
            ("limits: {input_bytes: 2}", "outcome: rejected\nreason: limits.input_bytes"),
        ],
    )
    async def test_met(self, given: str, expect: str) -> None:
        """
        A case whose expectation is met passes.
        """
        assert () == (await ran(given, expect)).failures

    async def test_other_path(self) -> None:
        """
        Another path is shown beside the expected one, with the decision at which they part.
        """
        failure = await missed("replies: {screen: {confidence: 0.7}, primary: {text: yes}}", "path: [intake, screen, done]")

        assert "path" == failure.expectation
        assert "the path is intake > screen > primary > done, expected intake > screen > done" == failure.message
        assert ("desk.cases.yaml", 7, 5) == failure.span[:3]
        assert (
            "screen → done: output.confidence >= 0.8: not held (0.7 < 0.8)",
            "screen → sorry: deadline.left < duration('7s'): not held (10s >= 7s)",
            "screen → primary: held (otherwise)",
        ) == failure.why

    async def test_path_without_its_answer(self) -> None:
        """
        The right nodes are not enough where an answer was expected.
        """
        failure = await missed(
            "signals: {complexity: 1}\nreplies: {primary: {error: malformed}}", "path: [intake, primary, done]"
        )

        assert failure.message.startswith("the path is intake > primary, expected intake > primary > done (node 'primary': ")
        assert (
            "primary fails of malformed: node 'primary': scripted to fail as malformed",
            "primary → done: another class (class in [overloaded, timeout])",
            "primary → sorry: another class (class in [budget])",
        ) == failure.why

    async def test_guard_of_several_conditions(self) -> None:
        """
        Where a guard has several conditions, all that it reads is shown beside the one that decided.
        """
        plan = plan_of("""\
            meshwalk: 1
            name: g
            start: a
            backends: {s: {kind: simulated}}
            nodes:
              a:
                role: answer
                backend: s
                confidence: {from: recorded}
                next:
                  - {to: done, when: "output.confidence > 0.5 && elapsed < duration('2s') && request.urgency == 'batch'"}
                  - {to: sorry}
              sorry: {role: refusal, reason: no}
            """)
        result = await ran("replies: {a: {confidence: 0.75, latency: 1s}}", "path: [a, done]", plan)

        assert (
            "a → done: request.urgency == 'batch': not held ('interactive' != 'batch') "
            "in output.confidence > 0.5 && elapsed < duration('2s') && request.urgency == 'batch', "
            "with output.confidence 0.75, elapsed 1 s, request.urgency 'interactive'"
        ) == result.failures[0].why[0]

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("limits: {cost_usd: 0.001}", "primary fails of budget: may cost "),
            ("replies: {primary: {error: timeout}}", "primary fails of timeout: node 'primary': no answer within 10 s"),
        ],
    )
    async def test_trouble_is_told(self, given: str, said: str) -> None:
        """
        Where a node was left because it failed, what went wrong stands before its edges.
        """
        failure = await missed(f"signals: {{complexity: 1}}\n{given}", "takes: edge 1 of primary")

        assert failure.why[0].startswith(said)

    async def test_path_that_begins_otherwise(self) -> None:
        """
        Paths with nothing in common part nowhere, so no decision is shown.
        """
        assert () == (await missed(SURE, "path: [screen, done]")).why

    async def test_edge_not_taken(self) -> None:
        """
        An edge that was not taken is told with the one that was, and why.
        """
        failure = await missed(SURE, "takes: [screen -> done, edge 3 of screen]")

        assert "takes" == failure.expectation
        assert "'edge 3 of screen' is not taken: 'screen' is left by edge 1 of screen to done" == failure.message
        assert "screen → done: output.confidence >= 0.8: held (0.9 >= 0.8)" == failure.why[0]
        assert "screen → primary: not looked at (otherwise)" == failure.why[2]

    async def test_edge_of_a_node_not_reached(self) -> None:
        """
        An edge of a node that the walk does not visit is told with the path.
        """
        failure = await missed(SURE, "takes: primary -> done")

        assert "'primary -> done' is not taken: the walk does not come to 'primary' (intake > screen > done)" == failure.message

    async def test_same_edge_elsewhere(self) -> None:
        """
        An error edge that went to its `else` is not one that served an answer.
        """
        failure = await missed("signals: {complexity: 1}\nreplies: {primary: {error: overloaded}}", "takes: primary -> done")

        assert "'primary -> done' is not taken: 'primary' is left by error edge 1 of primary to sorry" == failure.message

    @pytest.mark.parametrize(
        ("given", "expect", "message"),
        [
            (SURE, "outcome: refused", "the outcome is answered, expected refused"),
            (SURE, "served: primary", "'screen' is served, expected 'primary'"),
            (SURE, "reason: never", "there is an answer and no reason, expected one that holds 'never'"),
            (SURE, "cause: hops", "the walk did not fail, it is answered, expected hops"),
            (
                "replies: {screen: {usage: {input: 10, output: 90}, confidence: 1}}",
                "cost_usd_at_most: 0.00009",
                "the calls cost 0.0001 USD, expected at most 0.00009",
            ),
            (
                "signals: {complexity: 1}\nreplies: {primary: {error: overloaded}}",
                "served: primary",
                "nothing is served, expected 'primary' (no model could answer)",
            ),
            (
                "signals: {complexity: 1}\nreplies: {primary: {error: overloaded}}",
                "reason: never",
                "the reason is 'no model could answer', expected one that holds 'never'",
            ),
            ("limits: {hops: 1}", "cause: visits", "the walk failed of hops, expected visits"),
        ],
    )
    async def test_missed(self, given: str, expect: str, message: str) -> None:
        """
        An expectation that is not met says what came instead.
        """
        failure = await missed(given, expect)

        assert (expect.partition(":")[0], message) == (failure.expectation, failure.message)

    async def test_all_that_is_missed(self) -> None:
        """
        One case tells everything that did not come as expected.
        """
        result = await ran(SURE, "path: [intake]\noutcome: failed\nserved: primary")

        assert ["path", "outcome", "served"] == [failure.expectation for failure in result.failures]
        assert not result.ok


class TestReality:
    async def test_signals_are_computed_where_none_are_given(self) -> None:
        """
        What a case does not say of signals is what the classifier makes of its messages.
        """
        result = await ran("signals: {depth: 3}\nreplies: {screen: {confidence: 1}}", "path: [intake, screen, done]")

        assert result.ok

    async def test_retries_are_made(self) -> None:
        """
        A list has one reply for each call, retries included.
        """
        result = await ran(
            "signals: {complexity: 1}\nreplies: {primary: [{error: overloaded}, {text: yes}]}", "path: [intake, primary, done]"
        )

        assert result.ok

    async def test_budgets_deny(self) -> None:
        """
        A call whose worst case is past the limit is not made, so it needs no reply.
        """
        result = await ran(
            "signals: {complexity: 1}\nlimits: {cost_usd: 0.001}",
            "path: [intake, primary, sorry]\ntakes: error edge 2 of primary",
        )

        assert result.ok
        assert 0 == result.cost_nano_usd

    async def test_latency_is_pretended(self) -> None:
        """
        A guard on time sees the time that replies are said to take, to the microsecond.
        """
        slow, quick = "replies: {screen: {latency: 3000001us}}", "replies: {screen: {latency: 3s}, primary: {}}"

        assert (await ran(slow, "path: [intake, screen, sorry]")).ok
        assert (await ran(quick, "path: [intake, screen, primary, done]")).ok

    @pytest.mark.parametrize("reply", ["{latency: 4.001s}", "{error: timeout}"])
    async def test_time_up_is_a_timeout(self, reply: str) -> None:
        """
        A reply that comes after its deadline does not come, and its call is charged at its worst.
        """
        result = await ran(
            f"replies: {{screen: {reply}, primary: {{usage: {{input: 0, output: 0}}}}}}", "takes: screen -> primary"
        )

        assert result.ok
        assert 100_000 + 21_000 == result.cost_nano_usd

    async def test_walk_that_runs_out_of_time(self) -> None:
        """
        Time that one node used up is gone for the next: the walk's own deadline is real.
        """
        result = await ran(
            "signals: {complexity: 1}\nreplies: {primary: [{error: overloaded, latency: 9s}, {latency: 2s}]}",
            "path: [intake, primary, sorry]\nreason: no model could answer",
        )

        assert result.ok

    async def test_attempts_have_their_own_time(self) -> None:
        """
        An attempt that takes longer than `attempt_timeout` ends there, and the next one has its turn.
        """
        plan = plan_of("""\
            meshwalk: 1
            name: g
            start: a
            backends: {s: {kind: simulated}}
            nodes:
              a:
                role: answer
                backend: s
                deadline: 5s
                attempt_timeout: 2s
                retries: 1
                next:
                  - {to: done, when: "elapsed == duration('3s')"}
                  - {to: sorry}
              sorry: {role: refusal, reason: too slow}
            """)
        result = await ran("replies: {a: [{latency: 3s}, {latency: 1s}]}", "takes: edge 1 of a", plan)

        assert () == result.failures

    async def test_same_twice(self) -> None:
        """
        The same case ends the same, whatever the machine was doing.
        """
        given = "replies: {screen: {latency: 3s, confidence: 0.1}, primary: {error: timeout}}"

        assert await ran(given, "outcome: answered") == await ran(given, "outcome: answered")


class TestBudgets:
    @pytest.mark.parametrize(
        ("given", "expect"),
        [
            ("spent: {session: {cost_usd: 0.9}}", "path: [intake, large, done]"),
            ("spent: {session: {cost_usd: 0.900000001}}", "path: [intake, small, done]"),
            ("spent: {session: {calls: 91, cost_usd: 0.1}}", "path: [intake, small, done]"),
            ("spent: {session: {hops: 900}}", "path: [intake, large, done]"),
            ("session: s-1\nspent: {session: {calls: 91}}", "path: [intake, small, done]"),
            ("session: s-1", "path: [intake, large, done]"),
            ("spent: {tenant: {cost_usd: 9.999}}", "path: [intake, large, small, done]\nscope: tenant"),
            ("spent: {tenant: {cost_usd: 10}}", "outcome: failed\ncause: budget\nscope: tenant"),
            ("spent: {session: {cost_usd: 5}}", "cause: budget\nscope: session\nreason: 0 of 1 are left of session 'case'"),
            ("spent: {workflow: {calls: 20}}", "path: [intake, large, small]\nscope: workflow"),
            ("limits: {cost_usd: 0.003}", "path: [intake, large, small, done]\nscope: request"),
        ],
    )
    async def test_what_was_spent_before_counts(self, given: str, expect: str) -> None:
        """
        A case begins where others have spent what it says, up to the last nano-dollar, in every scope on its own.
        """
        replies = "replies: {small: {text: yes}, large: {text: yes}}"
        result = await ran(f"workflow: w-1\n{given}\n{replies}", expect, CAPPED)

        assert () == result.failures

    async def test_a_scope_that_is_not_named_is_no_scope(self) -> None:
        """
        A budget that a request must name is demanded of a case, too.
        """
        assert (await ran("spent: {session: {calls: 1}}", "outcome: rejected\nreason: workflow", CAPPED)).ok

    async def test_what_a_call_spends_counts_for_the_next(self) -> None:
        """
        The first of two calls uses up what is left, so the second is refused, in the same case and in no other.
        """
        given = "spent: {workflow: {calls: 19}}\nreplies: {large: {error: overloaded}}"

        assert (await ran(given, "path: [intake, large, small]\ncause: budget", CAPPED)).ok
        assert (await ran(given, "path: [intake, large, small]\ncause: budget", CAPPED)).ok

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("replies: {large: {}}", "no call was refused, expected session"),
            (
                "spent: {tenant: {cost_usd: 9.999}}\nreplies: {small: {}}",
                "what refused a call is: tenant, expected session",
            ),
        ],
    )
    async def test_another_scope(self, given: str, message: str) -> None:
        """
        Where another scope refused than expected, or none did, that is said.
        """
        failure = await missed(f"workflow: w-1\n{given}", "scope: session", CAPPED)

        assert ("scope", message) == (failure.expectation, failure.message)


class TestUnscripted:
    async def test_node_without_a_reply(self) -> None:
        """
        A call the case says nothing of fails it, and names the reply to add.
        """
        result = await ran("replies: {screen: {confidence: 0.1}}", "path: [intake, screen, done]")
        (failure,) = result.failures

        assert ("unscripted", ("intake", "screen", "primary")) == (result.outcome, result.path)
        assert "replies" == failure.expectation
        assert (
            "node 'primary' is called, and the case does not say what it replies; add `primary: {text: …}` or "
            "`primary: {error: …}` under given.replies (the walk so far: intake > screen > primary)"
        ) == failure.message

    async def test_list_that_is_too_short(self) -> None:
        """
        A list that has no reply for a further call says how many calls there were.
        """
        failure = await missed("signals: {complexity: 1}\nreplies: {primary: [{error: overloaded}]}", "outcome: refused")

        assert failure.message.startswith(
            "node 'primary' is called 2 times, and given.replies.primary has 1 reply; add another"
        )


class TestCoverage:
    async def test_counted_by_hand(self) -> None:
        """
        The desk has nine edges; an answer by the screen takes two of them.
        """
        counted = coverage(PLAN, [await ran(SURE, "outcome: answered")])

        assert (9, 2, 2 / 9) == (counted.edges, counted.covered, counted.share)
        assert [
            (EdgeName("intake", "next", 0), "primary", "signals.complexity > 0.5"),
            (EdgeName("screen", "next", 1), "sorry", "deadline.left < duration('7s')"),
            (EdgeName("screen", "next", 2), "primary", "otherwise"),
            (EdgeName("screen", "on_error", 0), "primary", "otherwise"),
            (EdgeName("primary", "next", 0), "done", "otherwise"),
            (EdgeName("primary", "on_error", 0), "done", "class in [overloaded, timeout]"),
            (EdgeName("primary", "on_error", 1), "sorry", "class in [budget]"),
        ] == list(counted.missing)

    async def test_cases_add_up(self) -> None:
        """
        An edge is covered once, however many cases take it.
        """
        strict = await ran("signals: {complexity: 1}\nreplies: {primary: {}}", "outcome: answered")
        sure = await ran(SURE, "outcome: answered")

        assert 4 == coverage(PLAN, [sure, strict, sure]).covered

    async def test_failed_cases_cover_nothing(self) -> None:
        """
        What a case does on a way nobody meant does not count.
        """
        assert 0 == coverage(PLAN, [await ran(SURE, "outcome: refused")]).covered

    def test_nothing_to_cover(self) -> None:
        """
        A graph without edges is covered as it is.
        """
        plan = plan_of("meshwalk: 1\nname: g\nstart: a\nnodes:\n  a: {role: refusal, reason: no}\n")

        assert 1.0 == coverage(plan, []).share


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("given", "expect", "message"),
    [
        (SURE, "answer: {contains: no}", "the answer is 'yes', expected one that holds 'no'"),
        (
            SURE,
            'answer: {contains: yes, matches: "[0-9]"}',
            "the answer is 'yes', expected one that holds 'yes' and that matches '[0-9]'",
        ),
        (
            "signals: {complexity: 1}\nreplies: {primary: {error: overloaded}}",
            "answer: {contains: yes}",
            "there is no answer, expected one that holds 'yes'",
        ),
    ],
)
async def test_answers_that_say_something_else(given: str, expect: str, message: str) -> None:
    """
    An answer whose text is not the expected one is shown.
    """
    failure = await missed(given, expect)

    assert "answer" == failure.expectation
    assert failure.message.startswith(message)
