from __future__ import annotations

import anyio
import pytest

from meshwalk.backends import ChatRequest
from meshwalk.backends.openai import OpenAIBackend
from meshwalk.model.problems import BackendError, Malformed, Overloaded, Unreachable
from meshwalk.testing import FaultyServer, faulty_servers
from meshwalk.trace import Message, Reply


pytestmark = pytest.mark.anyio

ASK = ChatRequest((Message("user", "Where?"),))


async def asked(server: FaultyServer, times: int = 1) -> list[Reply | BackendError]:
    """
    Ask *server* so many times, one after the other.
    """
    backend = OpenAIBackend("model", "m", server.base_url)
    answers: list[Reply | BackendError] = []
    for _ in range(times):
        try:
            answers.append(await backend.chat(ASK))
        except BackendError as error:
            answers.append(error)
    await backend.aclose()

    return answers


async def test_answers_come_in_order_and_are_logged() -> None:
    """
    Each request takes the next answer of the script, and the log says what the provider bills.
    """
    async with faulty_servers(model='ok "Paris" 10+5 | 503 | ok "Lyon" 2+1') as servers:
        first, second, third = await asked(servers["model"], 3)

    assert isinstance(first, Reply)
    assert isinstance(second, Overloaded)
    assert isinstance(third, Reply)
    assert ["Paris", "Lyon"] == [first.text, third.text]
    assert [("usage", (10, 5)), ("nothing", (0, 0)), ("usage", (2, 1))] == [
        (seen.bill, seen.usage) for seen in servers["model"].seen
    ]
    assert [["Where?"]] * 3 == [[message["content"] for message in seen.body["messages"]] for seen in servers["model"].seen]
    assert [] == servers["model"].unused


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("reset", Unreachable),
        ("close", Unreachable),
        ("garble", Malformed),
        ("raw 'no HTTP'", Malformed),
        ("slam", Unreachable),
    ],
)
async def test_a_server_that_fails_is_an_error_of_its_kind(line: str, kind: type[BackendError]) -> None:
    """
    A connection that breaks and an answer that is none are told from one another.
    """
    async with faulty_servers(model=line) as servers:
        (answer,) = await asked(servers["model"])

    assert isinstance(answer, kind)


async def test_a_request_that_the_script_has_no_answer_for() -> None:
    """
    A request too many is counted, and an answer too many is named.
    """
    async with faulty_servers(little="", great="ok | 429") as servers:
        await asked(servers["little"])

    assert (1, []) == (servers["little"].unforeseen, servers["little"].seen)
    assert ["ok", "429"] == servers["great"].unused


async def test_an_answer_that_is_held_waits_for_its_event() -> None:
    """
    A held answer goes out once the test opens it, and `asked` says when to.
    """
    answers: list[Reply | BackendError] = []
    async with faulty_servers(model='hold door ok "Late" 1+1') as servers, anyio.create_task_group() as tasks:
        server = servers["model"]

        async def ask() -> None:
            answers.extend(await asked(server))

        tasks.start_soon(ask)
        await server.called.wait()
        assert (1, []) == (server.open, answers)
        server.event("door").set()

    assert ["Late"] == [answer.text for answer in answers if isinstance(answer, Reply)]
    assert (1, 0) == (server.opened, server.open)
