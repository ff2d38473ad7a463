"""
Labels from outside are closed: what can be one stays, and `other` stands for the rest.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.labels import OTHER, close_labels, finish_reason, identifier, label, model_name
from meshwalk.model.signals import FINISH_REASONS
from meshwalk.trace import Reply


class TestFinishReason:
    @given(st.text())
    def test_it_is_one_of_five_words(self, reason: str) -> None:
        """
        Whatever a provider says, one of the five comes of it.
        """
        assert finish_reason(reason) in FINISH_REASONS

    @pytest.mark.parametrize("reason", FINISH_REASONS)
    def test_the_five_stay(self, reason: str) -> None:
        """
        Words of the protocol are what they say.
        """
        assert reason == finish_reason(reason)


class TestIdentifier:
    @pytest.mark.parametrize(
        "name", ["", "gpt-4o-2024-08-06", "accounts/org/models/llama-v3p1-8b", "meta-llama/Llama-3:free", "C:\\m\\q4_0.gguf"]
    )
    def test_names_stay(self, name: str) -> None:
        """
        Names as providers give them are taken as they are.
        """
        assert name == identifier(name)

    @pytest.mark.parametrize("text", ["a text of several words", "x" * 121, "line\nbreak", "schön", "{}", "-x"])
    def test_texts_do_not(self, text: str) -> None:
        """
        Spaces, other letters and too many of them make no name.
        """
        assert OTHER == identifier(text)


class TestModelName:
    @pytest.mark.parametrize("name", ["m-1-2026-10-01", "org/m-1", "another-model", "m-1"])
    def test_a_model_may_be_another_than_was_asked_for(self, name: str) -> None:
        """
        Gateways say which model they chose.
        """
        assert name == model_name(name, "m-1", ["Say hello.", "Hello."])

    @pytest.mark.parametrize("name", ["swordfish", "m-1-swordfish", "x_swordfish", "swordfish/m-1", "the-swordfish9"])
    def test_words_that_were_said_are_none(self, name: str) -> None:
        """
        A provider that gives a prompt or an answer for a name is not believed.
        """
        assert OTHER == model_name(name, "m-1", ["the-swordfish9, or swordfish"])


class TestLabel:
    @pytest.mark.parametrize("text", ["", "yes", "tax law", "größe", "yes, certainly", "a/b:c"])
    def test_words_stay(self, text: str) -> None:
        """
        A label is up to three words.
        """
        assert text == label(text)

    @pytest.mark.parametrize("text", ["x" * 41, "one two three four", "a\nb", "a  b", " a", "<b>"])
    def test_texts_do_not(self, text: str) -> None:
        """
        A sentence is no label.
        """
        assert OTHER == label(text)


class TestReply:
    def test_all_of_its_labels_are_closed(self) -> None:
        """
        A reply that somebody else's code made may bear anything.
        """
        reply = Reply("text", finish_reason="because of you", model="a model", mended=("json", "what you said"))
        close_labels(reply)

        assert (OTHER, OTHER, ("json", OTHER)) == (reply.finish_reason, reply.model, reply.mended)

    def test_what_is_closed_stays(self) -> None:
        """
        A reply without a reason, or with a known one, is left as it is.
        """
        replies = [Reply("text", finish_reason=reason, model="m") for reason in ("", *FINISH_REASONS)]
        for reply in replies:
            close_labels(reply)

        assert ["", *FINISH_REASONS] == [reply.finish_reason for reply in replies]
        assert {"m"} == {reply.model for reply in replies}
