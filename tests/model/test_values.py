from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model.values import is_unicode, nano_usd_or_none


@given(text=st.text())
def test_what_encodes_is_unicode(text: str) -> None:
    """
    Any text without lone surrogates can be written, and with one none can.
    """
    assert is_unicode(text)
    assert not is_unicode(f"{text}\ud800")


@given(nano=st.integers(0, 10**15 - 1))
def test_every_nano_dollar_is_read_back(nano: int) -> None:
    """
    An amount of up to 15 digits that is a whole number of nano-dollars comes back as that number.
    """
    assert nano == nano_usd_or_none(nano / 1e9)


@pytest.mark.parametrize("amount", [1e-10, 0.0000000015, 2.5e-9])
def test_finer_than_a_nano_dollar(amount: float) -> None:
    """
    An amount with a part of a nano-dollar has no number of them.
    """
    assert nano_usd_or_none(amount) is None
