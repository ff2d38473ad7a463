"""
Remedies for values that their authors mean well.
"""

from __future__ import annotations

import pytest

from meshwalk.loader.messages.remedies import duration_in, number_in, table_for, type_for


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("1d", "write 24h"),
        ("2 weeks", "write 336h"),
        ("5 min", "write 5m"),
        ("30 seconds", "write 30s"),
        ("1.5 s", "write 1.5s"),
        ("soon", ""),
        ("4", ""),
    ],
)
def test_durations(text: str, remedy: str) -> None:
    """
    Other units become ours; a number without one is told elsewhere.
    """
    assert remedy == duration_in(text)


@pytest.mark.parametrize(
    ("text", "remedy"), [("50%", "write 0.5"), (" 2.5 % ", "write 0.025"), ("0.8", "write 0.8 without quotes"), ("high", "")]
)
def test_numbers(text: str, remedy: str) -> None:
    """
    A percentage becomes a share, and a number in quotes loses them.
    """
    assert remedy == number_in(text)


def test_tables_and_types() -> None:
    """
    A known table has an example, and a known type our name.
    """
    assert "for example usd_per_mtok: {input: 0.15, output: 0.6}" == table_for("'usd_per_mtok' of backend 'a'")
    assert "" == table_for("the moon")
    assert "write type: bool" == type_for("Boolean")
    assert "" == type_for("number")
