"""
What a text takes from the environment.
"""

from __future__ import annotations

import pytest

from meshwalk.model import environment
from meshwalk.model.problems import SetupError


def test_lists_each_name_once() -> None:
    """
    Names are found where they stand in `${}`, in their order.
    """
    assert ["B", "A_1"] == environment.names_in("${B}/${A_1}/${B} $C ${1} ${}")


def test_puts_values_in_place_of_names() -> None:
    """
    What a value holds is not looked at again.
    """
    assert "http://${B}/x" == environment.fill("http://${A}/x", {"A": "${B}"})


def test_returns_what_a_text_says_itself() -> None:
    """
    Without its names a text is what anybody may read in it.
    """
    assert "user:" == environment.without("user:${PASSWORD}")


def test_reads_without_the_space_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A line end that came along from a file is no part of a value.
    """
    monkeypatch.setenv("A", " x\n")

    assert {"A": "x"} == environment.read(["A"], "backend 'a'")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["NOT_A"], "the vault needs the environment variable NOT_A, which is not set; set it and start again"),
        (
            ["NOT_A", "NOT_B"],
            "the vault needs the environment variables NOT_A, NOT_B, which are not set; set them and start again",
        ),
    ],
)
def test_names_all_that_is_missing(names: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whoever starts it learns of every variable at once; an empty one is not set.
    """
    monkeypatch.setenv("NOT_A", "")
    with pytest.raises(SetupError) as caught:
        environment.read(names, "the vault")

    assert message == str(caught.value)
