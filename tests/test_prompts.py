"""
Templates: what may stand in them, what they become, and how long that can be.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model import Value
from meshwalk.prompts import bound_bytes, faults, max_quoted, placeholders, quoted, render, text_bytes
from meshwalk.trace import Message


TALK = (
    Message("system", "Be short."),
    Message("user", "What is 2 + 2?"),
    Message("assistant", "4"),
    Message("user", "And 3 + 3?"),
)

PARTS = st.sampled_from(["{{ prompt }}", "{{conversation}}", "{{ request.task }}", "{{", "}}", "{", "é", " ", "text", "\n"])
TEXTS = st.text(max_size=20) | PARTS
MESSAGES = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant", "developer", "tool"]), TEXTS), min_size=1
)
VALUES: st.SearchStrategy[Value] = TEXTS | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)


def spoken(template: str, **attributes: Value) -> str:
    (message,) = render(template, TALK, attributes)

    return message.content


class TestPlaceholders:
    def test_names_with_their_places(self) -> None:
        """
        Each placeholder is listed with the place of its braces, blanks or not.
        """
        assert [("prompt", 2), ("request.task", 13)] == placeholders("a {{prompt}} {{  request.task }} { prompt }")

    @pytest.mark.parametrize("template", ["", "plain", "{ }", "{prompt}", "a } b", "{{ prompt }}", "{{\n prompt\t}}", "}}"])
    def test_sound_templates(self, template: str) -> None:
        """
        Single braces mean themselves, and blanks in a placeholder do not count.
        """
        assert [] == faults(template, ())

    @pytest.mark.parametrize(
        ("template", "offset", "length", "remedy"),
        [
            ("say {{ promt }}", 4, 11, "did you mean 'prompt'?"),
            ("{{ request.tsk }}", 0, 17, "did you mean 'request.task'?"),
            ("{{ system }}", 0, 12, "there are: prompt, conversation, request.task"),
            ("{{ request }}", 0, 13, "did you mean 'request.task'?"),
            ("{{ prompt", 0, 2, "write {{ prompt }}, {{ conversation }} or {{ request.<attribute> }}"),
            ("x {{ a b }}", 2, 9, "write {{ prompt }}, {{ conversation }} or {{ request.<attribute> }}"),
            ("{{}}", 0, 4, "write {{ prompt }}, {{ conversation }} or {{ request.<attribute> }}"),
            ("{{ prompt | upper }}", 0, 20, "write {{ prompt }}, {{ conversation }} or {{ request.<attribute> }}"),
        ],
    )
    def test_slip_is_found_with_its_remedy(self, template: str, offset: int, length: int, remedy: str) -> None:
        """
        A placeholder that cannot be filled in is marked whole, and the remedy is named.
        """
        (fault,) = faults(template, ["task"])

        assert (offset, length, remedy) == (fault.offset, fault.length, fault.help)

    def test_all_slips_in_order(self) -> None:
        """
        Every slip is found, in the order of the text.
        """
        assert [0, 9, 20] == [fault.offset for fault in faults("{{ one }}{{ prompt x{{ two }}", ())]

    def test_hostile_template_is_soon_given_up(self) -> None:
        """
        Of a template that is nothing but slips, the first hundred are named.
        """
        assert 100 == len(faults("{{ a " * 100_000, ()))


class TestRender:
    def test_prompt_is_what_was_asked_last(self) -> None:
        """
        `prompt` is the last user message.
        """
        assert "Q: And 3 + 3?" == spoken("Q: {{ prompt }}")

    def test_prompt_without_a_user(self) -> None:
        """
        Where no user speaks, `prompt` is the last message.
        """
        assert (Message("user", "Hello"),) == render("{{ prompt }}", (Message("system", "Hello"),), {})

    def test_conversation_is_everything_said(self) -> None:
        """
        `conversation` is all messages with their roles.
        """
        expected = "system: Be short.\n\nuser: What is 2 + 2?\n\nassistant: 4\n\nuser: And 3 + 3?"

        assert expected == spoken("{{ conversation }}")

    @pytest.mark.parametrize(
        ("value", "text"), [("x", "x"), (True, "true"), (False, "false"), (3.0, "3"), (0.5, "0.5"), (4, "4")]
    )
    def test_attributes_read_as_an_author_writes_them(self, value: Value, text: str) -> None:
        """
        An attribute is printed as it stands in a graph.
        """
        assert f"<{text}>" == spoken("<{{ request.task }}>", task=value)

    def test_absent_attribute_is_left_out(self) -> None:
        """
        An attribute that nobody set is nothing.
        """
        assert "<>" == spoken("<{{ request.task }}>")

    def test_template_becomes_one_user_message(self) -> None:
        """
        The caller's other messages are not sent along.
        """
        assert (Message("user", "Say hello."),) == render("Say hello.", TALK, {})

    @given(TEXTS, TEXTS)
    def test_what_is_filled_in_is_not_looked_through(self, prompt: str, task: str) -> None:
        """
        A caller's braces stay a caller's braces, whatever is between them.
        """
        (message,) = render("[{{ prompt }}|{{ request.task }}]", (Message("user", prompt),), {"task": task})

        assert f"[{prompt}|{task}]" == message.content


class TestTextBytes:
    @pytest.mark.parametrize(
        ("text", "size"),
        [
            ("", 0),
            ("plain", 5),
            ("\u00e9", 2),
            ("\ufdfa", 33),  # a phrase of 18 letters, which NFKC writes out
            ("\u0f76", 6),  # a letter that NFC takes apart
            ("\uff41" * 3, 9),  # full-width letters become shorter
            ("\uff41" * 3 + "\u0f76", 15),
        ],
    )
    def test_the_longest_form_counts(self, text: str, size: int) -> None:
        """
        A text has the bytes of whichever form a tokenizer may read it in.
        """
        assert size == text_bytes(text)

    @given(st.text())
    def test_no_text_has_less_than_its_bytes(self, text: str) -> None:
        """
        Normalising may lengthen a text for the count, and never shorten it.
        """
        assert len(text.encode()) <= text_bytes(text)


class TestBound:
    @given(st.lists(PARTS, max_size=8).map("".join), MESSAGES, VALUES)
    def test_bound_holds(self, template: str, messages: list[Message], task: Value) -> None:
        """
        What is rendered is never longer than its bound.
        """
        (message,) = render(template, tuple(messages), {"task": task})
        said = sum(len(one.content.encode()) for one in messages)
        bound = bound_bytes(template, said, len(messages), {"task": task})

        assert len(message.content.encode()) <= bound

    def test_bound_of_plain_text_is_its_length(self) -> None:
        """
        A template without placeholders is bounded exactly, whatever the caller sends.
        """
        assert len("é".encode()) == bound_bytes("é", 1_000, 10, {"task": "t" * 1_000})

    def test_each_mention_counts(self) -> None:
        """
        What is mentioned twice may be there twice.
        """
        assert 200 == bound_bytes("{{ prompt }}{{ prompt }}", 100, 1, {})


class TestAnswers:
    def test_what_a_node_replied_is_quoted(self) -> None:
        """
        An answer is filled in where it is spoken of, and not looked through again.
        """
        (message,) = render("{{ prompt }}: {{answer.a}}/{{ answer.b }}", TALK, {}, {"a": "{{ prompt }}", "b": "6"})

        assert "And 3 + 3?: {{ prompt }}/6" == message.content
        assert ("a", "b") == quoted("{{ answer.a }} {{ answer.b }} {{ answer.a }} {{ prompt }} {{ request.a }}")

    def test_only_named_nodes_are_spoken_of(self) -> None:
        """
        Others' answers are a fault, and so is any answer where none may be spoken of.
        """
        assert [] == faults("{{ answer.a }}", (), ["a"])
        assert ["did you mean 'answer.student'?"] == [fault.help for fault in faults("{{ answer.studnet }}", (), ["student"])]
        (fault,) = faults("{{ answer.a }}", ())
        assert "verifiers with use: model" in fault.help

    @pytest.mark.parametrize(("max_tokens", "expected"), [(1, 8), (160, 1280), (2048, 16384), (10**6, 16384), (None, 16384)])
    def test_how_much_is_shown(self, max_tokens: int | None, expected: int) -> None:
        """
        Eight bytes for each token that the answer may have, and never more than sixteen kilobytes.
        """
        assert expected == max_quoted(max_tokens)

    @given(TEXTS | st.text(alphabet="aé€😀", max_size=60), st.integers(0, 40))
    def test_answers_keep_to_their_bound(self, answer: str, most: int) -> None:
        """
        However long an answer is, no more of it is sent than the bound says: its end, in whole characters.
        """
        template = "{{ conversation }} [{{ answer.a }}] {{ answer.a }}"
        text = answer.encode("utf-8", "ignore").decode()
        (sent,) = render(template, TALK, {}, {"a": text}, {"a": most})
        (alone,) = render("{{ answer.a }}", TALK, {}, {"a": text}, {"a": most})
        size = sum(len(message.content.encode()) for message in TALK)

        assert len(sent.content.encode()) <= bound_bytes(template, size, len(TALK), {}, {"a": most})
        assert text.endswith(alone.content)
        assert most - 4 < len(alone.content.encode()) <= most or text == alone.content
