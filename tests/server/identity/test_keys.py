"""
API keys: their form, and the hash that a server keeps of them.
"""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from meshwalk.server.identity.keys import ApiKeys, key_fault, new_key
from tests.support.identities import key_of


KEY = key_of("acme")


def test_the_hash_is_of_the_salt_and_the_key() -> None:
    """
    Anybody can check a hash by hand.
    """
    made = new_key()

    assert hashlib.sha256(bytes.fromhex(made.salt) + made.key.encode()).hexdigest() == made.sha256
    assert made.key.startswith(f"mwk_{made.id}_")


@given(st.integers(0, len(KEY.text) - 1), st.characters(codec="ascii"))
def test_any_other_character_is_noticed(place: int, character: str) -> None:
    """
    A key with one character changed has a fault, so that a slip is told from a key that is unknown.
    """
    changed = KEY.text[:place] + character + KEY.text[place + 1 :]

    assert (changed == KEY.text) is (key_fault(changed) == "")


@given(st.text(max_size=80))
def test_no_text_is_a_key(text: str) -> None:
    """
    Whatever comes, it is either refused for its form, or looked for and not found.
    """
    assert key_fault(text)
    assert ApiKeys([KEY.entry]).find(text) is None


def test_a_key_of_the_form_that_nobody_has() -> None:
    """
    A key that was made elsewhere is not found, with the id of one that is known either.
    """
    keys = ApiKeys([KEY.entry])
    others = key_of("acme")
    borrowed = KEY.text[:13] + others.text[13:]

    assert KEY.entry == keys.find(KEY.text)
    assert keys.find(others.text) is None
    assert keys.find(borrowed) is None
