"""
Words that are near to one that is not known.
"""

from __future__ import annotations

import pytest

from meshwalk.model.spelling import did_you_mean, nearest


class TestDidYouMean:
    def test_near_name_is_suggested(self) -> None:
        """
        A misspelt name brings the name it was likely meant to be.
        """
        assert "did you mean 'complexity'?" == did_you_mean("complexty", ["ambiguity", "complexity"])
        assert "complexity" == nearest("complexty", ["ambiguity", "complexity"])

    @pytest.mark.parametrize("word", ["zebra", "complexity" * 1_000])
    def test_far_or_endless_name_is_not(self, word: str) -> None:
        """
        Nothing is suggested for a word that nobody could have meant.
        """
        assert "" == did_you_mean(word, ["complexity"])
        assert nearest(word, ["complexity"]) is None
