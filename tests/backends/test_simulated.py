from __future__ import annotations

import statistics

import anyio
import pytest

from meshwalk.backends import ChatRequest, SimulatedBackend, open_backend
from meshwalk.backends.base import StreamingBackend
from meshwalk.backends.roles import extract
from meshwalk.model import Sampling, SimulatedSpec
from meshwalk.model.problems import BackendError, ErrorClass, SetupError, Span
from meshwalk.trace import Message, Piece, Usage
from tests.backends.chat_endpoint import streamed


pytestmark = pytest.mark.anyio


def ask(prompt: str = "Hello?", sampling: Sampling = Sampling(), *, probabilities: bool = False) -> ChatRequest:
    return ChatRequest((Message("user", prompt),), sampling, probabilities)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """
    Collect what a backend would sleep, without sleeping.
    """
    times: list[float] = []

    async def sleep(seconds: float) -> None:
        times.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)

    return times


async def failures(backend: SimulatedBackend, count: int, prompt: str = "Hello?") -> list[bool]:
    found = []
    for _ in range(count):
        try:
            await backend.chat(ask(prompt))
        except BackendError:
            found.append(True)
        else:
            found.append(False)

    return found


class TestReply:
    @pytest.mark.parametrize(("sure", "agreeing"), [(1.0, 5), (0.6, 3), (0.0, 1)])
    async def test_samples_agree_as_far_as_it_is_sure(self, sure: float, agreeing: int) -> None:
        """
        Of five answers as many are the same as the declared confidence says, and all are counted as output.
        """
        reply = await SimulatedBackend(confidence=sure, output_tokens=10).chat(ask()._replace(samples=5))

        assert reply.samples[0] == reply.text
        assert (5, agreeing) == (len(reply.samples), reply.samples.count(reply.text))
        assert 6 - agreeing == len({extract("number", text) for text in reply.samples})
        assert reply.usage is not None
        assert 50 == reply.usage.output_tokens

    async def test_without_a_confidence_there_are_no_samples(self) -> None:
        """
        A model of which nothing is declared says nothing of how its answers would agree.
        """
        assert () == (await SimulatedBackend().chat(ask()._replace(samples=5))).samples

    async def test_it_says_that_it_is_simulated(self) -> None:
        """
        Both the text and the reply say so, and the name is there.
        """
        reply = await SimulatedBackend("large-1").chat(ask())

        assert reply.simulated
        assert reply.text.startswith("[simulated large-1]")

    async def test_usage_is_declared_and_estimated(self) -> None:
        """
        Output tokens are those declared; input tokens are a quarter of the bytes, rounded up.
        """
        reply = await SimulatedBackend(output_tokens=40).chat(ask("né" * 3))

        assert Usage(3, 40) == reply.usage

    async def test_max_tokens_cuts_it(self) -> None:
        """
        A reply that may not be as long as declared ends for its length.
        """
        reply = await SimulatedBackend(output_tokens=40).chat(ask(sampling=Sampling(max_tokens=8)))

        assert reply.usage is not None
        assert (8, "length") == (reply.usage.output_tokens, reply.finish_reason)

    async def test_a_declared_confidence_is_reported(self) -> None:
        """
        It comes as the backend's own, and as token probabilities where they are asked for.
        """
        backend = SimulatedBackend(confidence=0.7)
        plain, asked = await backend.chat(ask()), await backend.chat(ask(probabilities=True))

        assert 0.7 == plain.confidence
        assert plain.probabilities is None
        assert (0.7, 0.7, 0.7) == asked.probabilities

    async def test_a_graph_opens_it_with_all_it_declares(self, slept: list[float]) -> None:
        """
        Every declared key reaches the backend.
        """
        spec = SimulatedSpec(
            name="s",
            span=Span("g.yaml", 1, 1),
            latency_p50_us=2_000_000,
            latency_p99_us=2_000_000,
            output_tokens=5,
            failure_rate=1.0,
            failure_class="rate_limited",
            confidence=0.5,
            seed=3,
        )
        backend = await open_backend(spec)

        with pytest.raises(BackendError) as caught:
            await backend.chat(ask())

        assert ("rate_limited", [2.0], True) == (caught.value.error_class, slept, backend.waits)
        await backend.aclose()


class TestStream:
    async def test_its_words_are_the_reply(self) -> None:
        """
        Word by word it says what `chat` says, and its tokens are shared out among them.
        """
        backend = SimulatedBackend(output_tokens=40)
        reply, pieces = await streamed(backend, ask())

        assert isinstance(backend, StreamingBackend)
        assert (await backend.chat(ask())).text == reply.text
        assert 40 == sum(piece.tokens for piece in pieces)
        assert len(reply.text.split()) == len(pieces)

    async def test_probabilities_come_with_the_words(self) -> None:
        """
        Where they are asked for, each token of each word has the declared confidence.
        """
        backend = SimulatedBackend(confidence=0.7, output_tokens=9)
        reply, pieces = await streamed(backend, ask(probabilities=True))
        plain, bare = await streamed(backend, ask())

        assert (0.7,) * 9 == tuple(chance for piece in pieces for chance in piece.probabilities)
        assert all(piece.tokens == len(piece.probabilities) == len(piece.margins) for piece in pieces)
        assert (0.7, 0.7, 0.7) == reply.probabilities
        assert plain.probabilities is None
        assert not any(piece.probabilities for piece in bare)

    async def test_it_takes_as_long_as_the_whole(self, slept: list[float]) -> None:
        """
        The first word is there after a part of the latency, the others are spread over the rest.
        """
        reply, pieces = await streamed(SimulatedBackend(latency_p50_us=1_000_000), ask())

        assert len(pieces) == len(slept)
        assert pytest.approx(1.0) == sum(slept)
        assert pytest.approx(0.4) == slept[0]
        assert reply.text

    async def test_it_fails_as_ever(self) -> None:
        """
        A stream that fails does so before its first word.
        """
        backend = SimulatedBackend(failure_rate=1.0, failure_class="unreachable")
        said: list[Piece] = []

        with pytest.raises(BackendError, match="pretends to fail"):
            await backend.stream(ask(), said.append)

        assert [] == said


class TestLatency:
    async def test_none_declared_is_none_at_all(self, slept: list[float]) -> None:
        """
        Without a latency the backend never gives up its turn.
        """
        backend = SimulatedBackend(failure_rate=0.5)
        await failures(backend, 20)

        assert [] == slept
        assert not backend.waits

    async def test_latencies_meet_the_declared_quantiles(self, slept: list[float]) -> None:
        """
        Over many calls the median and the 99th percentile are those declared.
        """
        backend = SimulatedBackend(latency_p50_us=300_000, latency_p99_us=2_000_000)
        for _ in range(4000):
            await backend.chat(ask())
        quantiles = statistics.quantiles(slept, n=100)

        assert pytest.approx(0.3, rel=0.1) == quantiles[49]
        assert pytest.approx(2.0, rel=0.25) == quantiles[98]

    async def test_it_really_waits(self) -> None:
        """
        A call takes at least as long as its latency.
        """
        began = anyio.current_time()
        await SimulatedBackend(latency_p50_us=20_000).chat(ask())

        assert 0.019 <= anyio.current_time() - began


class TestFailure:
    @pytest.mark.parametrize("error_class", ["rate_limited", "overloaded", "unreachable", "malformed", "refused_by_model"])
    async def test_it_fails_with_the_declared_class(self, error_class: ErrorClass) -> None:
        """
        A call that fails raises the error of its class and names the backend.
        """
        with pytest.raises(BackendError, match="'frail' pretends to fail") as caught:
            await SimulatedBackend("frail", failure_rate=1.0, failure_class=error_class).chat(ask())

        assert (error_class, "frail") == (caught.value.error_class, caught.value.backend)

    async def test_a_timeout_never_answers(self) -> None:
        """
        A backend that fails by timeout waits until it is cancelled.
        """
        backend = SimulatedBackend(failure_rate=1.0, failure_class="timeout")

        with anyio.move_on_after(0.01) as scope:
            await backend.chat(ask())

        assert scope.cancelled_caught
        assert backend.waits

    def test_a_class_that_is_no_models_doing_is_refused(self) -> None:
        """
        Budgets are not a model's to spend.
        """
        with pytest.raises(SetupError, match="cannot fail with class 'budget'"):
            SimulatedBackend(failure_class="budget")

    async def test_the_share_of_failures_is_the_declared_rate(self) -> None:
        """
        Retries of one prompt and single calls of many fail alike.
        """
        backend = SimulatedBackend(failure_rate=0.3, seed=1)
        single = [(await failures(backend, 1, f"prompt {index}"))[0] for index in range(1000)]

        assert pytest.approx(0.3, abs=0.05) == statistics.mean(await failures(backend, 1000))
        assert pytest.approx(0.3, abs=0.05) == statistics.mean(single)


class TestDice:
    async def test_the_same_calls_end_the_same(self) -> None:
        """
        Two backends with one seed go the same way, call by call; another seed goes another.
        """
        ways = [await failures(SimulatedBackend(failure_rate=0.5, seed=seed), 64) for seed in (7, 7, 8)]

        assert ways[0] == ways[1] != ways[2]

    async def test_prompts_do_not_disturb_each_other(self) -> None:
        """
        What happens to a prompt depends on how often it came, not on what came between.
        """
        alone = await failures(SimulatedBackend(failure_rate=0.5), 16, "a")
        backend, among = SimulatedBackend(failure_rate=0.5), []
        for index in range(16):
            among += await failures(backend, 1, "a")
            await failures(backend, 1, f"other {index}")

        assert alone == among
