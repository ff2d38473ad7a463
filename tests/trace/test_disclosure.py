"""
Words of somebody outside come into a record only for a reader who may have them.
"""

from __future__ import annotations

from meshwalk.model.private_text import joined, private
from meshwalk.trace import (
    Attempt,
    Failed,
    Finish,
    FullTrace,
    Outcome,
    Source,
    Traversal,
    decode,
    disclosed_part,
    disclosed_record,
    encode,
)


TEXT = joined("node 'a': ", private("canary"))
CLOSED, OPEN = "node 'a': a text of 6 characters", "node 'a': canary"
ENTRY = Failed(0, 5, "overloaded", TEXT, (Attempt(0, 5, "failed", message=TEXT),))


def _traversal() -> Traversal:
    finish = Finish(Outcome.FAILED, cause="overloaded", message=TEXT, node="a")
    trace = FullTrace(["a"], [(ENTRY, (finish,))], [])

    return Traversal(Source("g", "", "p", "s"), "1" * 32, "2" * 32, "3" * 16, "", True, 7, trace)


class TestPart:
    def test_every_text_in_it_is_disclosed(self) -> None:
        """
        An entry's own message and those of its attempts are told, and nothing else changes.
        """
        entry = disclosed_part(ENTRY)

        assert (OPEN, OPEN) == (entry.message, entry.attempts[0].message)
        assert entry == ENTRY._replace(message=OPEN, attempts=(ENTRY.attempts[0]._replace(message=OPEN),))

    def test_what_has_none_is_the_same_object(self) -> None:
        """
        An entry without private texts is not made anew.
        """
        entry = ENTRY._replace(message=CLOSED, attempts=())

        assert entry is disclosed_part(entry)


class TestRecord:
    def test_an_encoder_writes_it_without_the_words(self) -> None:
        """
        A record is encoded as it stands, and reads back so.
        """
        text = encode(_traversal())

        assert b"canary" not in text
        assert CLOSED == decode(text).finish.message

    def test_a_disclosed_one_has_them_everywhere(self) -> None:
        """
        A record that was disclosed is encoded with the words, and the one before stays as it was.
        """
        before = _traversal()
        text = encode(disclosed_record(before))

        assert 3 == text.count(b"canary")
        assert b"canary" not in encode(before)

    def test_a_reader_may_change_the_words(self) -> None:
        """
        Words can be redacted on their way.
        """
        record = disclosed_record(_traversal(), lambda text: text.whole.replace("canary", "bird"))

        assert "node 'a': bird" == record.finish.message
