"""
Kept replies: what is the same request, how long its reply lasts, and who makes it when many ask at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends import CacheBackend, ChatRequest, open_backend
from meshwalk.backends.base import Backend, CallProgress, OnPiece, StreamingBackend
from meshwalk.model import CacheSpec, Sampling
from meshwalk.model.problems import BackendError, Overloaded, SetupError, Span
from meshwalk.trace import Message, Piece, Reply, ReplyOptions, Timing, TokenProbabilities, Tool, ToolCall, Usage


pytestmark = pytest.mark.anyio

SECOND = 1_000_000_000


class Clock:
    """
    Tell whatever time a test says it is.
    """

    def __init__(self) -> None:
        self.ns = 5 * SECOND

    def __call__(self) -> int:
        return self.ns


class Model:
    """
    Answer each call with its number, once it is let go on if it has to wait.
    """

    def __init__(self, *, waits: bool = False, reply: Callable[[int], Reply] | None = None) -> None:
        self.waits = waits
        self.calls: list[ChatRequest] = []
        self.go_on = anyio.Event()
        self.called = anyio.Event()
        self.closed = False
        self._reply = reply or (lambda number: Reply(f"answer {number}", usage=Usage(7, 3), cost_nano_usd=500))

    async def chat(self, request: ChatRequest) -> Reply:
        self.calls.append(request)
        number = len(self.calls)
        self.called.set()
        if self.waits:
            await self.go_on.wait()

        return self._reply(number)

    async def aclose(self) -> None:
        self.closed = True


class StreamingModel(Model):
    """
    Answer in two pieces.
    """

    async def stream(self, request: ChatRequest, on_piece: OnPiece) -> Reply:
        on_piece(Piece("one ", 2, (0.5, 0.25), (0.1, 0.2)))
        reply = await self.chat(request)
        on_piece(Piece("two", 1, (1.0,), (0.3,)))

        return Reply("one two", usage=reply.usage, probabilities=TokenProbabilities(0.5, 0.25, 0.2))


def ask(prompt: str = "Why?", tenant: str = "", **others: object) -> ChatRequest:
    return ChatRequest((Message("user", prompt),), tenant=tenant, **others)  # type: ignore[arg-type]


def kept(model: Backend, **others: object) -> CacheBackend:
    return CacheBackend("kept", model, of="large", **others)  # type: ignore[arg-type]


class TestSameRequest:
    async def test_same_request_is_answered_from_the_cache(self) -> None:
        """
        The second of two equal requests is given the first one's reply for nothing, with its age, and is not sent.
        """
        clock, model = Clock(), Model()
        cache = kept(model, clock_ns=clock)
        first = await cache.chat(ask())
        clock.ns += 12 * SECOND
        second = await cache.chat(ask())

        assert 1 == len(model.calls)
        assert (None, 500) == (first.cache_age_us, first.cost_nano_usd)
        assert ("answer 1", Usage(7, 3), 12_000_000, 0) == (
            second.text, second.usage, second.cache_age_us, second.cost_nano_usd,
        )  # fmt: skip

    async def test_hit_says_all_that_the_reply_said(self) -> None:
        """
        Whatever a role may read of a reply is read of a kept one as well.
        """
        calls = (ToolCall("1", "look", "{}"),)
        whole = Reply(
            "text",
            finish_reason="tool_calls",
            usage=Usage(5, 4, 3, 2),
            confidence=0.5,
            probabilities=TokenProbabilities(0.5, 0.25),
            model="m",
            simulated=True,
            tool_calls=calls,
            samples=("text", "other"),
            timing=Timing(1, 2, 3),
        )
        cache = kept(Model(reply=lambda _: whole))
        await cache.chat(ask())
        again = await cache.chat(ask())
        said = set(Reply.__slots__) - {"timing", "cache_age_us", "cost_nano_usd"}

        assert {name: getattr(whole, name) for name in said} == {name: getattr(again, name) for name in said}
        assert Timing() == again.timing

    @pytest.mark.parametrize(
        "other",
        [
            ask("Why not?"),
            ask(tenant="theirs"),
            ask(sampling=Sampling(temperature=1.0)),
            ask(sampling=Sampling(max_tokens=5)),
            ask(samples=3),
            ask(probabilities=True),
            ask(form=ReplyOptions(tools=(Tool("look"),))),
            ChatRequest((Message("system", "Why?"),)),
            ChatRequest((Message("user", "Why?", "ada"),)),
            ChatRequest((Message("user", "Why?", tool_call_id="1"),)),
            ChatRequest((Message("user", "Why?", tool_calls=(ToolCall("1", "look", "{}"),)),)),
            ChatRequest((Message("user", "Wh"), Message("user", "y?"))),
        ],
    )
    async def test_whatever_a_model_would_see_tells_requests_apart(self, other: ChatRequest) -> None:
        """
        A request that differs in anything a model is sent, or is another tenant's, is another request.
        """
        model = Model()
        cache = kept(model)
        await cache.chat(ask())
        await cache.chat(other)

        assert 2 == len(model.calls)

    async def test_what_a_model_does_not_see_is_no_difference(self) -> None:
        """
        The caller's trace, the endpoint and the engine's notes are no part of a request.
        """
        model = Model()
        cache = kept(model)
        await cache.chat(ask())
        await cache.chat(ask(traceparent="00-0-0-01", endpoint="west", progress=CallProgress()))

        assert 1 == len(model.calls)

    async def test_prompt_may_be_no_text(self) -> None:
        """
        Even what cannot be written as UTF-8 is found again.
        """
        cache = kept(Model())
        await cache.chat(ask("\ud800"))

        assert 0 == (await cache.chat(ask("\ud800"))).cost_nano_usd


class TestBounds:
    async def test_reply_lasts_as_long_as_declared(self) -> None:
        """
        A reply is given again until its time is up, and made anew then.
        """
        clock, model = Clock(), Model()
        cache = kept(model, ttl_us=10_000_000, clock_ns=clock)
        ages = []
        for at in (0, 9, 10, 19, 20):
            clock.ns = at * SECOND
            ages.append((await cache.chat(ask())).cache_age_us)

        assert [None, 9_000_000, None, 9_000_000, None] == ages
        assert 3 == len(model.calls)

    async def test_least_lately_used_is_given_up_first(self) -> None:
        """
        Past the declared number of entries, the reply goes that nobody asked for longest.
        """
        cache = kept(Model(), entries=2)
        for prompt in ("a", "b", "a", "c"):
            await cache.chat(ask(prompt))
        found = {prompt: (await cache.chat(ask(prompt))).cache_age_us is not None for prompt in ("a", "c", "b")}

        assert {"a": True, "c": True, "b": False} == found

    async def test_text_is_bounded_in_bytes(self) -> None:
        """
        Past the declared size the oldest replies go, and a reply that is larger alone is not kept at all.
        """
        model = Model(reply=lambda number: Reply("é" * (50 if number < 4 else 500)))
        cache = kept(model, size_bytes=400)
        for prompt in ("a", "b", "c"):
            await cache.chat(ask(prompt))

        assert "<CacheBackend kept: 2 replies, 328 bytes, 0 on their way>" == repr(cache)

        await cache.chat(ask("large"))
        await cache.chat(ask("large"))

        assert 5 == len(model.calls)
        assert "<CacheBackend kept: 2 replies, 328 bytes, 0 on their way>" == repr(cache)

    @given(
        st.integers(1, 4),
        st.integers(64, 300),
        st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 99), st.integers(0, 8)), max_size=30),
    )
    def test_bounds_hold_whatever_is_asked(self, entries: int, size: int, asked: list[tuple[str, int, int]]) -> None:
        """
        At any time no more is kept than declared, nothing is older than declared, and a hit is what was last made.
        """

        async def run() -> None:
            clock, made = Clock(), dict[str, str]()
            model = Model(reply=lambda number: Reply(str(number).ljust(length)))
            cache = kept(model, entries=entries, size_bytes=size, ttl_us=20_000_000, clock_ns=clock)
            for prompt, length, seconds in asked:  # noqa: B007 (the model reads the length)
                clock.ns += seconds * SECOND
                reply = await cache.chat(ask(prompt))

                assert len(cache) <= entries
                assert cache.bytes_kept <= size
                assert reply.cache_age_us is None or reply.cache_age_us < 20_000_000
                assert reply.cache_age_us is None or made[prompt] == reply.text

                made[prompt] = reply.text

        anyio.run(run)

    @pytest.mark.parametrize(
        ("reason", "calls"), [("stop", 1), ("length", 1), ("tool_calls", 1), ("content_filter", 2), ("other", 2)]
    )
    async def test_only_good_replies_are_kept(self, reason: str, calls: int) -> None:
        """
        A reply that ended, was cut where it was asked to be, or wishes for tools is kept; one that was stopped is not.
        """
        model = Model(reply=lambda _: Reply("text", finish_reason=reason))
        cache = kept(model)
        await cache.chat(ask())
        await cache.chat(ask())

        assert calls == len(model.calls)

    async def test_errors_are_not_kept(self) -> None:
        """
        A failure is the caller's, and the next call tries again.
        """

        def fail_once(number: int) -> Reply:
            if number == 1:
                raise Overloaded("not now", backend="large")

            return Reply("text")

        cache = kept(Model(reply=fail_once))
        with pytest.raises(Overloaded, match=r"^it raised Overloaded: a text of 7 characters$"):
            await cache.chat(ask())

        assert "text" == (await cache.chat(ask())).text

    async def test_closing_forgets_and_leaves_the_other_open(self) -> None:
        """
        A closed cache holds nothing; the other backend may be called by nodes of its own.
        """
        model = Model()
        cache = kept(model)
        await cache.chat(ask())
        await cache.aclose()
        await cache.aclose()

        assert "<CacheBackend kept: 0 replies, 0 bytes, 0 on their way>" == repr(cache)
        assert not model.closed


class TestTogether:
    async def test_one_makes_what_many_ask_for(self) -> None:
        """
        Of ten equal requests at once one is sent, and the others have its reply for nothing.
        """
        model = Model(waits=True)
        cache = kept(model)
        replies: list[Reply] = []

        async def one() -> None:
            replies.append(await cache.chat(ask()))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(one)
            await model.called.wait()
            await anyio.wait_all_tasks_blocked()
            model.go_on.set()

        assert 1 == len(model.calls)
        assert {"answer 1"} == {reply.text for reply in replies}
        assert [500, *[0] * 9] == sorted((reply.cost_nano_usd or 0 for reply in replies), reverse=True)
        assert 1 == [reply.cache_age_us for reply in replies].count(None)

    async def test_reply_too_large_to_keep_is_still_shared(self) -> None:
        """
        Those that waited for a reply have it, even if there is no room to keep it.
        """
        model = Model(waits=True)
        cache = kept(model, size_bytes=1)
        replies: list[Reply] = []

        async def one() -> None:
            replies.append(await cache.chat(ask()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            tasks.start_soon(one)
            await anyio.wait_all_tasks_blocked()
            model.go_on.set()

        assert (1, 2) == (len(model.calls), len(replies))

    async def test_another_takes_over_from_one_that_goes_away(self) -> None:
        """
        When the one that is making a reply is cancelled, one of those that wait makes it, and the rest go on waiting.
        """
        model = Model(waits=True)
        cache = kept(model)
        replies: list[Reply] = []

        async def one() -> None:
            replies.append(await cache.chat(ask()))

        makes = anyio.CancelScope()

        async def first() -> None:
            with makes:
                await one()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            await model.called.wait()
            for _ in range(3):
                tasks.start_soon(one)
            await anyio.wait_all_tasks_blocked()
            makes.cancel()
            await anyio.wait_all_tasks_blocked()
            model.go_on.set()

        assert (2, 3) == (len(model.calls), len(replies))
        assert {"answer 2"} == {reply.text for reply in replies}
        assert repr(cache).endswith("0 on their way>")

    async def test_those_that_wait_may_go_away(self) -> None:
        """
        A call that stops waiting holds up nobody.
        """
        model = Model(waits=True)
        cache = kept(model)
        replies: list[Reply] = []

        async def one() -> None:
            replies.append(await cache.chat(ask()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            await model.called.wait()
            async with anyio.create_task_group() as impatient:
                impatient.start_soon(one)
                await anyio.wait_all_tasks_blocked()
                impatient.cancel_scope.cancel()
            model.go_on.set()

        assert (1, 1) == (len(model.calls), len(replies))

    async def test_failure_is_waited_for_once(self) -> None:
        """
        When the one fails, each of those that waited tries for itself at once, and not one after the other.
        """
        model = Model(waits=True, reply=_fail_first)
        cache = kept(model)
        replies: list[Reply] = []
        failures: list[BackendError] = []

        async def one() -> None:
            try:
                replies.append(await cache.chat(ask()))
            except BackendError as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(one)
            await anyio.wait_all_tasks_blocked()
            before = len(model.calls)
            model.go_on.set()

        assert (1, 4) == (before, len(model.calls))
        assert (3, 1) == (len(replies), len(failures))
        assert repr(cache).endswith("0 on their way>")

    async def test_what_others_have_made_meanwhile_is_taken(self) -> None:
        """
        One that waited for a failure is given a reply that somebody else has made by then.
        """
        model = Model(waits=True, reply=_fail_first)
        cache = kept(model)
        replies: list[Reply] = []

        async def stubborn() -> None:
            with pytest.raises(Overloaded, match=r"^it raised Overloaded: a text of 7 characters$"):
                await cache.chat(ask())
            # The second answer comes at once, before anybody who waited has woken.
            model.waits = False
            replies.append(await cache.chat(ask()))

        async def patient() -> None:
            replies.append(await cache.chat(ask()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stubborn)
            await model.called.wait()
            tasks.start_soon(patient)
            await anyio.wait_all_tasks_blocked()
            model.go_on.set()

        assert 2 == len(model.calls)
        assert [True, False] == [reply.cache_age_us is None for reply in replies]

    async def test_who_waits_has_sent_nothing(self) -> None:
        """
        The notes of a call say that it waited in a queue and was not sent, so that cutting it off costs nothing.
        """
        clock, model = Clock(), Model(waits=True)
        cache = kept(model, clock_ns=clock)
        makes, waits = CallProgress(), CallProgress()
        replies: list[Reply] = []

        async def one(progress: CallProgress) -> None:
            replies.append(await cache.chat(ask(progress=progress)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, makes)
            await model.called.wait()
            tasks.start_soon(one, waits)
            await anyio.wait_all_tasks_blocked()

            assert (True, False) == (makes.sent, waits.sent)

            clock.ns += 2 * SECOND
            model.go_on.set()

        assert (True, False) == (makes.sent, waits.sent)
        assert (0, 2_000_000) == (makes.queue_us, waits.queue_us)
        assert {0, 2_000_000} == {reply.timing.queue_us for reply in replies}


def _fail_first(number: int) -> Reply:
    if number == 1:
        raise Overloaded("not now", backend="large")

    return Reply(f"answer {number}")


class TestStreams:
    async def test_miss_comes_piece_by_piece_and_hit_as_one(self) -> None:
        """
        What is streamed the first time is given whole the second, with the probabilities of all its tokens.
        """
        model = StreamingModel()
        cache = kept(model)
        first: list[Piece] = []
        second: list[Piece] = []
        made = await cache.stream(ask(), first.append)
        again = await cache.stream(ask(), second.append)

        assert isinstance(cache, StreamingBackend)
        assert 1 == len(model.calls)
        assert [Piece("one ", 2, (0.5, 0.25), (0.1, 0.2)), Piece("two", 1, (1.0,), (0.3,))] == first
        assert [Piece("one two", 3, (0.5, 0.25, 1.0), (0.1, 0.2, 0.3))] == second
        assert ("one two", "one two") == (made.text, again.text)
        assert again.cache_age_us is not None

    async def test_plain_calls_and_streams_share_replies(self) -> None:
        """
        What was asked for whole is found by a stream, and the other way round.
        """
        model = StreamingModel()
        cache = kept(model)
        pieces: list[Piece] = []
        await cache.chat(ask("a"))
        await cache.stream(ask("a"), pieces.append)
        await cache.stream(ask("b"), pieces.append)
        await cache.chat(ask("b"))

        assert 2 == len(model.calls)
        assert Piece("answer 1", 3) == pieces[0]

    async def test_model_that_does_not_stream_gives_one_piece(self) -> None:
        """
        A backend that cannot stream is called as ever, and its reply is one piece.
        """
        pieces: list[Piece] = []
        await kept(Model()).stream(ask(), pieces.append)

        assert [Piece("answer 1", 3)] == pieces

    async def test_broken_stream_is_not_kept(self) -> None:
        """
        A reply that broke off in the middle is nobody's to have again.
        """
        model = StreamingModel(reply=_fail_first)
        cache = kept(model)
        pieces: list[Piece] = []
        with pytest.raises(Overloaded, match=r"^it raised Overloaded: a text of 7 characters$"):
            await cache.stream(ask(), pieces.append)

        assert None is (await cache.chat(ask())).cache_age_us
        assert ["one "] == [piece.text for piece in pieces]


class TestGate:
    async def test_only_misses_go_through_it(self) -> None:
        """
        What bounds the other backend's traffic sees each of its calls, may change it, and sees no hit.
        """
        passed: list[str] = []
        model = Model()

        @asynccontextmanager
        async def enter(request: ChatRequest) -> AsyncIterator[ChatRequest]:
            passed.append("in")
            yield request._replace(endpoint="west")
            passed.append("out")

        cache = kept(model)

        assert (False, "large") == (cache.waits, cache.of)

        cache.enter_through(enter)
        await cache.chat(ask())
        await cache.chat(ask())

        assert cache.waits
        assert ["in", "out"] == passed
        assert ["west"] == [request.endpoint for request in model.calls]


class TestOpening:
    async def test_declared_cache_is_opened_round_another(self) -> None:
        """
        What a graph declares of a cache bounds it.
        """
        spec = CacheSpec(name="kept", span=Span("g.yaml", 1, 1), of="large", ttl_us=5, entries=1, size_bytes=9999)
        model = Model()
        cache = await open_backend(spec, inner=model)
        await cache.chat(ask("a"))
        await cache.chat(ask("b"))

        assert repr(cache).startswith("<CacheBackend kept: 1 replies")

    async def test_without_the_other_there_is_none(self) -> None:
        """
        A cache keeps replies of something.
        """
        spec = CacheSpec(name="kept", span=Span("g.yaml", 1, 1), of="large")

        with pytest.raises(SetupError, match="'kept' keeps the replies of 'large', which has to be opened first"):
            await open_backend(spec)
