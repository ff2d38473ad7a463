"""
`system:` on a node: a message before the caller's, which keep their roles, tools and formats.
"""

from __future__ import annotations

import pytest

from meshwalk.checks import worst_case
from meshwalk.engine.request_builder import RequestBuilder
from meshwalk.model import Sampling
from meshwalk.plan import restore
from meshwalk.trace import Facts, Message, ReplyOptions, Request, Tool
from tests.support.plans import plan_of


TEXT = """
meshwalk: 1
name: desk
start: small
backends:
  b: {kind: openai, model: m, base_url: "http://127.0.0.1:1/v1", usd_per_mtok: {input: 1, output: 1}}
nodes:
  small: {role: answer, backend: b, max_tokens: 10, SYSTEM next: done}
"""

PLAIN = plan_of(TEXT.replace("SYSTEM", ""))
KIND = plan_of(TEXT.replace("SYSTEM", 'system: "You are kind.",'))
QUOTING = plan_of(TEXT.replace("SYSTEM", 'system: "You are kind.", prompt: "Answer {{ prompt }}",'))

MESSAGES = (
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("assistant", "Hello"),
    Message("user", "Where?"),
)
FORM = ReplyOptions(tools=(Tool("look_up", "", "{}"),))


def test_stands_before_the_messages_of_the_caller() -> None:
    """
    The caller's messages follow as they are, with their tools.
    """
    request = Request(MESSAGES, form=FORM)
    sent = RequestBuilder(KIND.node("small"))(request, Facts((), 40, 4), "", None)

    assert (Message("system", "You are kind."), *MESSAGES) == sent.messages
    assert FORM == sent.form


def test_stands_before_a_prompt() -> None:
    """
    A node with both sends two messages.
    """
    sent = RequestBuilder(QUOTING.node("small"))(Request(MESSAGES), Facts((), 40, 4), "", None)

    assert (Message("system", "You are kind."), Message("user", "Answer Where?")) == sent.messages


def test_moves_the_digest_only_where_it_is_set() -> None:
    """
    It is a part of what decides, and comes back from the canonical form.
    """
    again = restore(KIND.canonical)

    assert PLAIN.plan_digest != KIND.plan_digest
    assert b"system" not in PLAIN.canonical
    assert "You are kind." == again.graph.nodes["small"].system
    assert KIND.plan_digest == again.plan_digest


@pytest.mark.parametrize("counted", [(), (("small", 40),)])
def test_is_counted_in_the_bounds(counted: tuple[tuple[str, int], ...]) -> None:
    """
    Its bytes and one more message bound the input; a tokenizer's count holds its text already.
    """
    facts = Facts((), 40, 4, Sampling(), counted=counted)
    plain, kind = (plan.node("small").need(facts) for plan in (PLAIN, KIND))
    added = worst_case.OVERHEAD_TOKENS_PER_MESSAGE + (0 if counted else len("You are kind."))

    assert plain[1] + added == kind[1]
    assert plain[0] is not None
    assert kind[0] is not None
    assert plain[0] + added * 1000 == kind[0]


def test_is_counted_beside_a_prompt() -> None:
    """
    The prompt is one message, and the system message another.
    """
    quoting = plan_of(TEXT.replace("SYSTEM", 'prompt: "Answer {{ prompt }}",'))
    facts = Facts((), 40, 4)
    alone, both = (plan.node("small").need(facts)[1] for plan in (quoting, QUOTING))

    assert alone + worst_case.OVERHEAD_TOKENS_PER_MESSAGE + len("You are kind.") == both


def test_only_where_a_model_is_called() -> None:
    """
    A node that calls no model takes none.
    """
    text = TEXT.replace("SYSTEM", "").replace("next: done}", "next: check}\n  check: {role: refusal, reason: no, system: hi}")

    with pytest.raises(Exception, match="takes no key 'system'"):
        plan_of(text)
