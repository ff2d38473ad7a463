from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshwalk.backends import ChatRequest, open_backend
from meshwalk.model import RecordedSpec
from meshwalk.model.problems import RefusedByModel, SetupError, Span
from meshwalk.trace import Message, Usage


pytestmark = pytest.mark.anyio

ROWS = [
    {
        "id": "1",
        "prompt": "Two and two?",
        "outcomes": {
            "large": {"input_tokens": 5, "output_tokens": 1, "cost_usd": 0.00284, "response": "Four."},
            "small": {"input_tokens": 5, "output_tokens": 1, "confidence": 0.4, "response": "Five."},
        },
    },
    {"id": "2", "prompt": "Why?", "outcomes": {"small": {"score": 0.0, "confidence": None}}},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")

    return path


def spec(model: str, data: str | None = None) -> RecordedSpec:
    return RecordedSpec(name="replayed", span=Span("g.yaml", 1, 1), model=model, data=data)


def ask(prompt: str) -> ChatRequest:
    return ChatRequest((Message("system", "Be brief."), Message("user", prompt)))


class TestChat:
    async def test_what_is_recorded_is_given(self, data: Path) -> None:
        """
        Text, tokens, cost and confidence are those of the file, and nothing says that they are simulated.
        """
        large = await (await open_backend(spec("large"), data=str(data))).chat(ask("Two and two?"))
        small = await (await open_backend(spec("small"), data=str(data))).chat(ask("Two and two?"))

        assert ("Four.", Usage(5, 1), 2_840_000, None) == (large.text, large.usage, large.cost_nano_usd, large.confidence)
        assert ("Five.", None, 0.4) == (small.text, small.cost_nano_usd, small.confidence)
        assert ("large", False) == (large.model, large.simulated)

    async def test_what_is_not_recorded_is_left_open(self, data: Path) -> None:
        """
        An outcome without text, tokens or confidence is an empty reply that claims nothing.
        """
        reply = await (await open_backend(spec("small"), data=str(data))).chat(ask("Why?"))

        assert ("", None, None, None) == (reply.text, reply.usage, reply.cost_nano_usd, reply.confidence)

    @pytest.mark.parametrize(
        ("prompt", "words"), [("Who?", "has no row with this prompt"), ("Why?", "has no answer of 'large' to this prompt")]
    )
    async def test_an_unknown_prompt_is_refused(self, data: Path, prompt: str, words: str) -> None:
        """
        The error names the backend, the model and the file, and costs nothing.
        """
        backend = await open_backend(spec("large"), data=str(data))

        with pytest.raises(RefusedByModel, match=words) as caught:
            await backend.chat(ask(prompt))

        assert not caught.value.billable
        assert "backend 'replayed' gives recorded answers of 'large'" in str(caught.value)
        assert str(data) in str(caught.value)


class TestOpen:
    async def test_backends_share_one_copy(self, data: Path) -> None:
        """
        A file that several backends name is held once; a graph's own name for it starts in the graph's folder.
        """
        one = await open_backend(spec("large", data.name), folder=str(data.parent))
        other = await open_backend(spec("small"), data=str(data))

        assert getattr(one, "outcomes", 1) is getattr(other, "outcomes", 2)
        await one.aclose()

    async def test_the_graphs_own_file_goes_first(self, data: Path, tmp_path: Path) -> None:
        """
        What is given at the command line does not replace what the graph names.
        """
        backend = await open_backend(spec("large", str(data)), data=str(tmp_path / "none.jsonl"))

        assert "Four." == (await backend.chat(ask("Two and two?"))).text

    async def test_no_file_names_both_remedies(self) -> None:
        """
        Without a file the error says where one could be named.
        """
        with pytest.raises(SetupError, match="name one in the graph as 'data:', or give one with --data or to evaluate"):
            await open_backend(spec("large"))

    async def test_an_unknown_model_lists_those_there_are(self, data: Path) -> None:
        """
        The error has the models of the file, and the likeliest first.
        """
        with pytest.raises(SetupError, match=r"no answers of 'lrage'; did you mean 'large'\? it has: large, small"):
            await open_backend(spec("lrage"), data=str(data))

    async def test_a_real_file_opens(self, shared_data: Path) -> None:
        """
        A real model's answers come with its real cost.
        """
        path = shared_data / "outcomes" / "gsm8k.jsonl.gz"
        backend = await open_backend(spec("gpt-4-1106-preview"), data=str(path))
        rows = backend.outcomes.rows  # type: ignore[attr-defined]
        reply = await backend.chat(ask(rows[0].prompt))

        assert 0 < (reply.cost_nano_usd or 0)
        assert reply.text
