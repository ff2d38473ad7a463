from __future__ import annotations

import pytest

from meshwalk.backends.classifiers import open_classifier
from meshwalk.backends.classifiers.python import PythonClassifier
from meshwalk.model import Attribute, Node
from meshwalk.model.problems import BackendError, ErrorClass, SetupError, Span
from meshwalk.trace import Message
from tests.support.classifiers import GIVEN


pytestmark = pytest.mark.anyio

HERE = Span("graph.yaml", 1, 1)
WRITES = {
    "topic": Attribute("topic", "string", HERE, enum=("prose", "proof")),
    "risk": Attribute("risk", "number", HERE, range=(0.0, 1.0)),
}


def node(function: str, use: str = "python") -> Node:
    return Node(name="triage", role="classifier", span=HERE, use=use, function=function, writes=WRITES)


async def asked(prompt: str) -> dict[str, object]:
    classifier = await open_classifier(node("tests.support.classifiers:judge"))
    assert isinstance(classifier, PythonClassifier)
    try:
        return dict(await classifier.classify((Message("user", prompt),), {}, ""))
    finally:
        await classifier.aclose()


async def test_signals_are_what_the_function_returns() -> None:
    """
    The declared signals are given, whole numbers as numbers, and what nobody declared is left out.
    """
    assert {"topic": "prose", "risk": 0.25} == await asked("a poem")
    assert {"topic": "proof", "risk": 1.0} == await asked("a theorem")


@pytest.mark.parametrize(("name", "waits"), [("judge", True), ("calculated", False)])
async def test_function_that_only_calculates_can_say_so(name: str, waits: bool) -> None:
    """
    A function gets a time limit unless its attribute `waits` says that it needs none.
    """
    assert waits == (await open_classifier(node(f"tests.support.classifiers:{name}"))).waits


@pytest.mark.parametrize(
    ("prompt", "error_class"),
    [
        ("busy", "overloaded"), ("broken", "unreachable"), ("bug", "malformed"), ("exit", "malformed"),
        *((name, "malformed") for name in GIVEN if name not in ("a poem", "a theorem")),
    ],
)  # fmt: skip
async def test_failures_have_classes(prompt: str, error_class: ErrorClass) -> None:
    """
    The function's own error passes, whatever else it raises or returns is mapped, and no error holds its words.
    """
    with pytest.raises(BackendError) as caught:
        await asked(prompt)

    assert error_class == caught.value.error_class
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("no_such_module:judge", "cannot be imported"),
        ("tests.support.classifiers:nobody", "has no 'nobody'"),
        ("tests.support.classifiers:plainly", "is not an async function"),
    ],
)
async def test_what_cannot_be_opened(function: str, expected: str) -> None:
    """
    A name that leads to no async function is refused when the mesh opens.
    """
    with pytest.raises(SetupError, match=expected):
        await open_classifier(node(function))


async def test_what_has_nothing_to_open() -> None:
    """
    Features are the house's own, and opening them is a mistake.
    """
    with pytest.raises(SetupError, match="no classifier that has anything to open"):
        await open_classifier(node("tests.support.classifiers:judge", "features"))
