"""
What can be an operator's key, for servers and clients alike.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model import Caps
from meshwalk.model.problems import SetupError
from meshwalk.wire.client import Client
from meshwalk.wire.keys import checked_key, key_from


_HOLDABLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)


@given(st.text(_HOLDABLE, min_size=1))
def test_what_a_header_can_hold(key: str) -> None:
    """
    Visible ASCII is taken as it is.
    """
    assert key == checked_key(key) == key_from("KEY", {"KEY": key})


@given(st.text(_HOLDABLE), st.characters(exclude_characters="".join(map(chr, range(0x21, 0x7F)))), st.text(_HOLDABLE))
def test_what_no_header_can_hold(before: str, odd: str, after: str) -> None:
    """
    One other character anywhere is too much, and the key is not shown.
    """
    key = f"hush-hush{before}{odd}{after}"
    with pytest.raises(SetupError, match="the key in 'KEY' holds spaces") as refused:
        key_from("KEY", {"KEY": key})

    assert "hush" not in str(refused.value)


def test_unset_variable() -> None:
    """
    A variable that is not set is said to be so.
    """
    with pytest.raises(SetupError, match="from 'KEY' in the environment, and that is not set"):
        key_from("KEY", {})


@pytest.mark.anyio
@pytest.mark.parametrize("key", ["cl\xe9", "two\nlines"])
async def test_client_refuses_it(key: str) -> None:
    """
    The client refuses such a key before it calls anybody.
    """
    async with Client("127.0.0.1:1") as client:
        with pytest.raises(SetupError, match="the key holds spaces") as refused:
            await client.set_budget("session", "s-1", Caps(calls=1), key=key)

    assert key not in str(refused.value)
