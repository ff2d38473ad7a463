"""
Requests and replies, as values.
"""

from __future__ import annotations

from meshwalk.trace import Message, Reply, Request, Scopes, Usage


class TestRequest:
    def test_compares_by_value(self) -> None:
        """
        Two requests that ask for the same are equal, and one more word makes a difference.
        """
        one, same, other = (Request((Message("user", text),), attributes={"task": "x"}) for text in ("Hi", "Hi", "Hi!"))

        assert one == same
        assert one != other
        assert one != "Hi"

    def test_shows_everything_but_the_prompt(self) -> None:
        """
        A log that shows a request shows no words of its caller.
        """
        request = Request((Message("user", "secret"),), attributes={"task": "x"}, scopes=Scopes("s-1"), idempotency_key="k")

        assert "<Request: 1 message, attributes={'task': 'x'}, idempotency_key='k', session='s-1'>" == repr(request)
        assert "<Request: 0 messages>" == repr(Request(()))


class TestReply:
    def test_compares_by_value(self) -> None:
        """
        Two replies of the same text and figures are equal, and count as one in a set.
        """
        one, same, other = Reply("Hi", usage=Usage(1, 2)), Reply("Hi", usage=Usage(1, 2)), Reply("Hi")

        assert {one} == {one, same}
        assert one != other
        assert one != "Hi"

    def test_shows_everything_but_the_answer(self) -> None:
        """
        A log that shows a reply shows no words of its model.
        """
        assert "<Reply of m-1: 6 characters, stop, 3 + 2 tokens>" == repr(Reply("secret", usage=Usage(3, 2), model="m-1"))
        assert "<Reply: 0 characters, length>" == repr(Reply("", finish_reason="length"))
