from __future__ import annotations

import pytest

from meshwalk.testing.faulty.script import VERBS, Act, Seen, script


class TestScript:
    def test_answers_are_taken_apart(self) -> None:
        """
        A line is read as its answers, each a verb with its words and options.
        """
        acts = script('429 retry-after=1 | reset after=2 "To be" 8+3 | hold door ok "Yes, indeed" 10+5 p=0.9')

        assert [
            Act("429", (), {"retry-after": "1"}),
            Act("reset", ("To be", "8+3"), {"after": "2"}),
            Act("ok", ("Yes, indeed", "10+5"), {"p": "0.9"}, "door"),
        ] == acts
        assert ["Paris", "To be", "Yes, indeed"] == [act.text for act in acts]
        assert [(10, 5), (8, 3), (10, 5)] == [act.usage for act in acts]

    @pytest.mark.parametrize("verb", VERBS)
    def test_every_verb_is_taken(self, verb: str) -> None:
        """
        A script may say every verb of the table.
        """
        assert [verb] == [act.verb for act in script(verb)]

    def test_a_verb_that_there_is_not(self) -> None:
        """
        A verb that is none is told with those there are.
        """
        with pytest.raises(ValueError, match="'explode' is no verb of a faulty server; write an error status or one of ok"):
            script("ok | explode")

    def test_a_request_shows_what_came_of_it(self) -> None:
        """
        The log of a request reads as one line.
        """
        seen = Seen(script("ok")[0], {}, {})
        seen.ended, seen.bill, seen.usage = "answered", "usage", (10, 5)

        assert "<ok: answered, bills usage (10, 5)>" == repr(seen)
