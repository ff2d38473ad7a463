"""
How the texts of options become values, and how texts leave.
"""

from __future__ import annotations

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.budgets import usd
from meshwalk.cli.options import attribute_values, duration_us, nano_usd
from meshwalk.cli.output import Misuse, complain, emit, rendered, say, visible_name
from meshwalk.cli.show import console, table
from meshwalk.model.problems import Problem, Span


class TestDuration:
    @pytest.mark.parametrize(
        ("text", "us"),
        [("1us", 1), ("300ms", 300_000), ("1.5s", 1_500_000), ("2m", 120_000_000), ("1h", 3_600_000_000), ("0s", 0)],
    )
    def test_units(self, text: str, us: int) -> None:
        """
        A duration is a number with a unit, as in a graph.
        """
        assert us == duration_us("--deadline", text)

    @pytest.mark.parametrize("text", ["", "20", "s", "-1s", "1 s", "1d", "\u0661s"])
    def test_no_durations(self, text: str) -> None:
        """
        Anything else is refused, and the option is named.
        """
        with pytest.raises(Misuse, match="--deadline takes a duration"):
            duration_us("--deadline", text)


class TestMoney:
    @given(st.integers(0, 10**15))
    def test_dollars_are_read_exactly(self, nano: int) -> None:
        """
        What is printed of an amount reads back as that amount, as far as a double goes.
        """
        assert nano == nano_usd("--max-cost-usd", float(usd(nano)))

    @pytest.mark.parametrize("amount", [-0.01, float("nan"), float("inf"), 1e10])
    def test_no_amounts(self, amount: float) -> None:
        """
        Less than nothing, more than a record holds, and what is no number, is refused.
        """
        with pytest.raises(Misuse, match="takes an amount in USD"):
            nano_usd("--max-cost-usd", amount)

    def test_less_than_can_be_counted(self) -> None:
        """
        What is finer than a nano-dollar is refused, and not rounded to another amount.
        """
        with pytest.raises(Misuse, match="--max-cost-usd is 1e-12, which is finer than a billionth of a dollar"):
            nano_usd("--max-cost-usd", 1e-12)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("s-1", "s-1"),
        ("n\xe9", "n\xe9"),
        ("a\nb\tc", "a\\u000ab\\u0009c"),
        ("\u202eab\u2066\x1b", "\\u202eab\\u2066\\u001b"),
        ("h" * 48, "h" * 48),
        ("h" * 60 + "t" * 9, "h" * 40 + "…" + "t" * 7),
    ],
)
def test_names_in_tables(name: str, shown: str) -> None:
    """
    A name stays in its line and in its order; of a very long one the head and the tail are shown.
    """
    assert shown == visible_name(name)


class TestAttributes:
    @given(st.text())
    def test_any_text_is_a_string(self, text: str) -> None:
        """
        What stands behind the first `=` is the value, further ones too.
        """
        assert {"note": text} == attribute_values([f"note={text}"], "desk", {"note": "string"})

    @given(st.floats(allow_nan=False))
    def test_numbers_are_read_whole(self, number: float) -> None:
        """
        A number is the double that its text says.
        """
        assert {"size": number} == attribute_values([f"size={number!r}"], "desk", {"size": "number"})


def test_what_a_terminal_would_obey_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Text from a model or a file moves no cursor and colours nothing; lines and tabs stay.
    """
    text = "a\n\tb\x1b[31m\r\x00\x7f\x9b"
    say(text)
    complain(text)
    console().print(table("\x1b]0;", ("",), [("\x1b[1m",)]))
    emit({"text": text})
    out, err = capsys.readouterr()
    shown = "a\n\tb\\u001b[31m\\u000d\\u0000\\u007f\\u009b\n"

    assert out.startswith(shown)
    assert shown == err
    assert "\x1b" not in out
    assert {"text": text} == json.loads(out[out.index("{") :])


def test_very_many_faults_are_counted() -> None:
    """
    Of hundreds of faults the first are printed, and how many more there are.
    """
    text = rendered([Problem(Span("x.yaml", line, 1), "odd", "this is odd") for line in range(250)])

    assert 101 == len(text.splitlines())
    assert "150 more faults; mend these first" in text


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "né \\ud800"), ("ascii", "n\\xe9 \\ud800")])
def test_what_a_terminal_cannot_show_is_escaped(monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str) -> None:
    """
    A character that the terminal has no place for does not end the command.
    """
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    say("né \ud800")
    sys.stdout.flush()

    assert f"{shown}\n" == raw.getvalue().decode(encoding)
