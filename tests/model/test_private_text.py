"""
Texts with words of somebody outside stand without them, wherever they are written.
"""

from __future__ import annotations

import copy
import json
import pickle

import orjson
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from meshwalk.model.private_text import PrivateText, disclosed, disclosed_error, joined, private


WORDS = "the canary sings"
TEXT = joined("HTTP 400: ", private(WORDS), "; check it")


class TestPrivateText:
    @pytest.mark.parametrize(
        "written",
        [
            str(TEXT),
            f"{TEXT}",
            "%s" % (TEXT,),  # noqa: UP031 (as logging does)
            repr(TEXT),
            " ".join(map(str, [TEXT, TEXT])),
            TEXT + "",
            TEXT.upper().lower(),
            json.dumps({"text": TEXT}),
            orjson.dumps({"text": TEXT}).decode(),
            StringValue(value=TEXT).SerializeToString().decode("latin-1"),
            str(ValueError(TEXT)),
            repr(ValueError(TEXT)),
            TEXT.encode().decode(),
        ],
    )
    def test_whatever_writes_it_leaves_the_words_out(self, written: str) -> None:
        """
        Formatting, joining, logging and every encoder take the text for what it stands as.
        """
        assert "canary" not in written
        assert "a text of 16 characters" in written.lower()

    def test_the_words_are_there_for_whoever_may_read_them(self) -> None:
        """
        A text that was put together of parts has the words in their place.
        """
        assert "HTTP 400: the canary sings; check it" == disclosed(TEXT)
        assert disclosed(TEXT) == disclosed_error(ValueError(TEXT))

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda text: pickle.loads(pickle.dumps(text))])
    def test_a_copy_is_the_same(self, copied: object) -> None:
        """
        A copy stands as the text does, and carries the same words.
        """
        assert callable(copied)
        copy_of_it = copied(TEXT)

        assert (str(TEXT), disclosed(TEXT)) == (str(copy_of_it), disclosed(copy_of_it))

    def test_a_code_stands_before_the_length(self) -> None:
        """
        A word of a closed list may be told beside the length.
        """
        assert "quota, a text of 1 character" == str(private("x", "quota"))


class TestPlainTexts:
    def test_they_stay_as_they_are(self) -> None:
        """
        Texts of our own are no private ones, put together or not.
        """
        text = joined("one ", "two")

        assert not isinstance(text, PrivateText)
        assert "one two" == text == disclosed(text)

    def test_an_error_without_a_text_says_what_it_says(self) -> None:
        """
        An error that holds no text is told as Python tells it.
        """
        assert "" == disclosed_error(ValueError())
        assert "7" == disclosed_error(ValueError(7))
