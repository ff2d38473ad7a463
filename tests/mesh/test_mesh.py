"""
Meshwalk inside a process: opening, routing, and what is left behind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import anyio
import pytest

import meshwalk
from meshwalk.backends.base import ChatRequest
from meshwalk.budgets.vaults import MemoryVault
from meshwalk.mesh import Mesh
from meshwalk.model.problems import HopFailed, RequestError, SetupError
from meshwalk.plan import Plan
from meshwalk.records.store import TraceReader
from meshwalk.trace import Message, Outcome, Reply, Request, Scopes, ToolCall, Traversal
from tests.support.plans import plan_of
from tests.support.tokenizer import WORDS, trained


pytestmark = pytest.mark.anyio

PLAN = plan_of(
    """
    meshwalk: 1
    name: desk
    start: intake
    request:
      task: {type: string, enum: [prose, proof], default: prose}
    backends:
      little: {kind: simulated, output_tokens: 12, confidence: 0.9, usd_per_mtok: {input: 1, output: 2}}
      broken: {kind: simulated, failure: {rate: 1, class: malformed}}
    nodes:
      intake:
        role: classifier
        use: features
        next:
          - {to: sorry, when: "request.task == 'proof'"}
          - {to: large, when: "signals.complexity > 0.99 || request.correctness == 'strict'"}
          - {to: small}
      small: {role: answer, backend: little, confidence: {from: recorded}, next: done}
      large: {role: primary, backend: broken, next: done}
      sorry: {role: refusal, reason: we do not prove}
    """
)


class Listing:
    def __init__(self) -> None:
        self.traversals: list[Traversal] = []

    def record(self, traversal: Traversal, plan: Plan) -> None:
        assert plan.plan_digest == traversal.plan_digest
        self.traversals.append(traversal)


class Gate:
    """
    Answer when the gate is opened.
    """

    waits = True

    def __init__(self) -> None:
        self.called = anyio.Event()
        self.opened = anyio.Event()

    async def chat(self, request: ChatRequest) -> Reply:
        assert request.messages
        self.called.set()
        await self.opened.wait()

        return Reply("at last")

    async def aclose(self) -> None:
        pass


class Raising:
    def record(self, traversal: Traversal, plan: Plan) -> None:
        raise OSError(f"no room for {traversal} of {plan}")


class Counting:
    """
    Answer with how often it was called.
    """

    waits = False

    def __init__(self) -> None:
        self.calls = 0

    async def chat(self, request: ChatRequest) -> Reply:
        assert request.messages
        self.calls += 1

        return Reply(str(self.calls))

    async def aclose(self) -> None:
        pass


class TestCaches:
    PLAN = plan_of(
        """
        meshwalk: 1
        name: kept
        start: a
        backends:
          great: {kind: simulated, usd_per_mtok: {input: 1, output: 2}}
          kept: {kind: cache, of: great}
        nodes:
          a: {role: answer, backend: kept, next: [{to: b, when: "request.correctness == 'strict'"}, {to: done}]}
          b: {role: primary, backend: great, next: done}
        """
    )

    async def test_second_answer_costs_nothing(self) -> None:
        """
        A request that was answered before has the same answer for nothing, through the cache alone.
        """
        async with Mesh(self.PLAN) as mesh:
            first = await mesh.route("Say hello.")
            second = await mesh.route("Say hello.")

        assert first.answer == second.answer
        assert 0 < first.cost_usd
        assert 0 == second.cost_usd
        assert "kept" == next(second.traversal.attempts()).backend

    async def test_tenants_share_no_replies(self) -> None:
        """
        What one tenant was told is never given to another, not even for the same words.
        """
        async with Mesh(self.PLAN, backends={"great": Counting()}) as mesh:
            asked = [Request((Message("user", "Why?"),), scopes=Scopes(tenant=tenant)) for tenant in ("a", "b", "a", "")]
            answers = [(await mesh.walk(request)).answer for request in asked]

        assert ["1", "2", "1", "3"] == answers

    async def test_the_other_backend_is_opened_once(self) -> None:
        """
        A cache and a node that calls the same backend share one.
        """
        great = Counting()
        async with Mesh(self.PLAN, backends={"great": great}) as mesh:
            answers = [(await mesh.route("Why?", correctness=word)).answer for word in ("strict", "lenient", "strict")]

        assert ["2", "1", "3"] == answers

    async def test_cache_may_be_given(self) -> None:
        """
        Where a backend is given for the cache, nothing is opened behind it.
        """
        async with Mesh(self.PLAN, backends={"kept": Counting(), "great": Counting()}) as mesh:
            assert "1" == (await mesh.route("Why?")).answer

    async def test_what_the_other_lacks_is_said_once(self) -> None:
        """
        If the other backend cannot be opened, that is the fault, and the cache is not blamed as well.
        """
        plan = plan_of(
            """
            meshwalk: 1
            name: kept
            start: a
            backends:
              away: {kind: openai, model: m, base_url: "${MESHWALK_TEST_NOWHERE}"}
              kept: {kind: cache, of: away}
            nodes:
              a: {role: answer, backend: kept, next: done}
            """
        )
        with pytest.raises(SetupError) as lacking:
            await Mesh(plan).__aenter__()

        assert "backend 'away'" in str(lacking.value)
        assert "kept" not in str(lacking.value)


class TestRoute:
    async def test_answers(self) -> None:
        """
        A prompt goes in, and the answer, its path and its cost come out.
        """
        async with Mesh(PLAN) as mesh:
            done = await mesh.route("Say hello.", task="prose", session="s-17")

        assert ("intake", "small") == done.path
        assert "simulated" in done.answer
        assert 0 < done.cost_usd
        assert "s-17" == done.traversal.began.facts.scopes.session

    async def test_a_declared_refusal_is_an_answer(self) -> None:
        """
        A refusal that the graph decided is returned with its reason.
        """
        async with Mesh(PLAN) as mesh:
            done = await mesh.route("Prove it.", task="proof")

        assert (Outcome.REFUSED, "we do not prove", "") == (done.outcome, done.reason, done.answer)

    async def test_a_failed_walk_raises(self) -> None:
        """
        A walk that failed raises the error that names what failed and its record.
        """
        async with Mesh(PLAN) as mesh:
            with pytest.raises(HopFailed) as caught:
                await mesh.route("Prove it.", correctness="strict")

        assert ("large", "malformed") == (caught.value.node, caught.value.error_class)
        assert 32 == len(caught.value.traversal_id)

    async def test_an_unknown_attribute_is_refused(self) -> None:
        """
        What the graph does not declare is named.
        """
        async with Mesh(PLAN) as mesh:
            with pytest.raises(RequestError, match=r"attributes\.tsk"):
                await mesh.route("Hello", tsk="prose")


class TestOpening:
    async def test_a_closed_mesh_says_how_to_open_it(self) -> None:
        """
        Routing outside `async with` is refused with the remedy.
        """
        with pytest.raises(SetupError, match="async with"):
            await Mesh(PLAN).route("Hello")

    async def test_missing_environment_variables_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Backends whose addresses are not set do not open, and the error says for each which variable is missing.
        """
        monkeypatch.delenv("LITTLE_URL", raising=False)
        monkeypatch.delenv("BIG_URL", raising=False)
        plan = plan_of(
            """
            meshwalk: 1
            name: remote
            start: ask
            backends:
              little: {kind: openai, model: m, base_url: "${LITTLE_URL}"}
              big: {kind: openai, model: m, base_url: "${BIG_URL}"}
            nodes:
              ask: {role: answer, backend: little, next: ask_more}
              ask_more: {role: primary, backend: big, next: done}
            """
        )

        with pytest.raises(SetupError, match=r"'big' needs the environment variable BIG_URL.*'little' needs .* LITTLE_URL"):
            async with Mesh(plan):
                pass

    async def test_load_is_the_front_door(self, tmp_path: Path) -> None:
        """
        `meshwalk.load` takes a file, and the mesh it gives stores its traces.
        """
        file = tmp_path / "g.yaml"
        file.write_text(
            "{meshwalk: 1, name: g, start: a, backends: {b: {kind: simulated}}, "
            "nodes: {a: {role: answer, backend: b, next: done}}}",
            encoding="utf-8",
        )
        async with meshwalk.load(file, traces=tmp_path / "traces") as mesh:
            done = await mesh.route("Hello")
        with TraceReader(tmp_path / "traces") as reader:
            stored = reader.get(done.traversal_id)

        assert stored is not None
        assert done.traversal.steps == stored.steps

    async def test_closing_waits_for_walks_under_way(self) -> None:
        """
        A walk that began before the mesh was closed ends and is recorded; none begins after.
        """
        listing, gate = Listing(), Gate()

        async def late(mesh: Mesh) -> None:
            # By now the mesh is being closed, and waits for the walk that is held up.
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(SetupError, match="is not open"):
                await mesh.route("Hello")
            gate.opened.set()

        async with anyio.create_task_group() as tasks, Mesh(PLAN, backends={"little": gate}, sinks=[listing]) as mesh:
            tasks.start_soon(mesh.route, "Hello")
            await gate.called.wait()
            tasks.start_soon(late, mesh)

        assert ["answered"] == [traversal.outcome.value for traversal in listing.traversals]


class TestSinks:
    async def test_get_every_walk(self) -> None:
        """
        Answered, refused and failed walks are handed over, each once, by the time the mesh is closed.
        """
        listing = Listing()
        async with Mesh(PLAN, sinks=[listing]) as mesh:
            await mesh.route("Hello")
            await mesh.route("Hello", task="proof")
            with pytest.raises(HopFailed, match=r"backend 'broken' pretends to fail with class 'malformed'$"):
                await mesh.route("Hello", correctness="strict")

        assert ["answered", "refused", "failed"] == [traversal.outcome.value for traversal in listing.traversals]

    async def test_are_fed_as_a_walk_ends(self) -> None:
        """
        Whoever has an answer finds its walk recorded.
        """
        listing = Listing()
        async with Mesh(PLAN, sinks=[listing]) as mesh:
            done = await mesh.route("Hello")

            assert [done.traversal] == listing.traversals

    async def test_are_fed_together_where_somebody_says_when(self) -> None:
        """
        Of walks that end in between one call is made for all of them, and whoever cannot wait for it need not.
        """
        listing, calls = Listing(), list[Callable[[], None]]()
        async with Mesh(PLAN, sinks=[listing]) as mesh:
            mesh.defer_records(calls.append)
            done = [(await mesh.route("Hello")).traversal for _ in range(3)]

            assert ([], 1) == (listing.traversals, len(calls))
            calls.pop()()
            assert done == listing.traversals

            done.append((await mesh.route("Hello")).traversal)
            mesh.flush_records()
            assert (done, 1) == (listing.traversals, len(calls))

            # What was asked for comes all the same, and finds nothing to do.
            calls.pop()()
            done.append((await mesh.route("Hello")).traversal)

        assert done == listing.traversals

    async def test_what_nobody_catches_holds_up_no_record_behind_it(self) -> None:
        """
        After a sink that raises what is no `Exception`, whoever says when is asked once more, for the records that are left.
        """

        class Stopping(Listing):
            def record(self, traversal: Traversal, plan: Plan) -> None:
                super().record(traversal, plan)
                if len(self.traversals) == 1:
                    raise GeneratorExit

        listing, calls = Stopping(), list[Callable[[], None]]()
        async with Mesh(PLAN, sinks=[listing]) as mesh:
            mesh.defer_records(calls.append)
            for _ in range(3):
                await mesh.route("Hello")
            with pytest.raises(GeneratorExit):
                calls.pop()()
            calls.pop()()

            assert (3, []) == (len(listing.traversals), calls)

    async def test_one_sinks_fault_is_its_own(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        A sink that raises stops neither the walk nor the other sinks.
        """
        listing = Listing()
        async with Mesh(PLAN, sinks=[Raising(), listing]) as mesh:
            await mesh.route("Hello")

        assert 1 == len(listing.traversals)
        assert "a sink did not take a traversal" in caplog.text


def without_digits(text: str) -> str:
    """
    Redact digits.
    """
    return "".join("#" if char.isdigit() else char for char in text)


def failing(text: str) -> str:
    """
    Fail on everything.
    """
    raise ValueError(text)


def giving_up(text: str) -> str:
    """
    Raise what is no `Exception`.
    """
    raise GeneratorExit(text)


def leaving(text: str) -> str:
    """
    Ask to exit.
    """
    raise SystemExit(text)


def recording(text: str) -> Plan:
    return plan_of(
        f"""
        meshwalk: 1
        name: recording
        start: ask
        record: {text}
        backends: {{little: {{kind: simulated}}}}
        nodes: {{ask: {{role: answer, backend: little, next: done}}}}
        """
    )


class TestContent:
    @pytest.fixture(autouse=True)
    def _importable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "redacting", sys.modules[__name__])

    async def walked(self, text: str, *more: Message) -> Traversal:
        listing = Listing()
        async with Mesh(recording(text), sinks=[listing]) as mesh:
            await mesh.route((Message("user", "Call 555-0199"), *more))

        return listing.traversals[0]

    async def test_is_not_recorded_unless_the_graph_says_so(self) -> None:
        """
        By default a record holds no words of anyone.
        """
        assert (await self.walked("{content: false}")).content is None

    async def test_is_redacted_first(self) -> None:
        """
        Where content is recorded, each text has been through the graph's functions.
        """
        content = (await self.walked("{content: true, redact: ['redacting:without_digits']}")).content

        assert content is not None
        assert "Call ###-####" == content.messages[0].content
        assert "simulated" in content.answer
        assert not any(char.isdigit() for char in content.answer)

    async def test_what_a_tool_was_called_with_is_redacted(self) -> None:
        """
        The arguments of a model's tool calls are made of what was said, and go through the same functions.
        """
        called = Message("assistant", "", tool_calls=(ToolCall("c1", "dial", '{"number": "555-0199"}'),))
        content = (await self.walked("{content: true, redact: ['redacting:without_digits']}", called)).content

        assert content is not None
        assert (ToolCall("c1", "dial", '{"number": "###-####"}'),) == content.messages[1].tool_calls

    @pytest.mark.parametrize(
        ("function", "raised"), [("failing", "ValueError"), ("leaving", "SystemExit"), ("giving_up", "GeneratorExit")]
    )
    async def test_that_cannot_be_redacted_is_not_recorded(
        self, caplog: pytest.LogCaptureFixture, function: str, raised: str
    ) -> None:
        """
        A function that fails costs the record its words, and its own words stay out of the log.
        """
        traversal = await self.walked(f"{{content: true, redact: ['redacting:{function}']}}")

        assert traversal.content is None
        assert raised in caplog.text
        assert "555" not in caplog.text

    async def test_a_missing_function_is_named(self) -> None:
        """
        A mesh whose redacting function is not there does not open.
        """
        with pytest.raises(SetupError, match=r"record\.redact: 'redacting:nothing' cannot be found"):
            await self.walked("{content: true, redact: ['redacting:nothing']}")


class TestTokenizers:
    async def test_tighten_what_is_reserved(self, tmp_path: Path) -> None:
        """
        Where a backend declares a tokenizer, its counts bound the input of its calls and stand in the record; else bytes do.
        """
        trained(tmp_path)
        text = """
            meshwalk: 1
            name: counted
            start: only
            limits: {cost_usd: 10}
            backends:
              one: {kind: simulated, %s context_tokens: 4000, usd_per_mtok: {input: 1000, output: 0}}
            nodes:
              only: {role: primary, backend: one, max_tokens: 10, next: done}
        """
        prompt = f"{WORDS} " * 20
        reserved = []
        for said in ("tokenizer: tokenizer.json,", ""):
            file = tmp_path / "counted.yaml"
            file.write_text(dedent(text % said), encoding="utf-8")
            async with meshwalk.load(file) as mesh:
                done = await mesh.route(prompt)
            counted = dict(done.traversal.began.facts.counted)
            reserved.append((next(done.traversal.attempts()).reserved_nano_usd, counted.get("only")))
        (tight, tokens), (loose, nothing) = reserved

        assert tokens is not None
        assert nothing is None
        assert ((tokens + 16) * 1_000_000, (len(prompt) + 16) * 1_000_000) == (tight, loose)
        assert 2 * tight < loose

    async def test_one_that_is_missing_is_said_at_once(self, tmp_path: Path) -> None:
        """
        A tokenizer that went away after the graph was checked is told when the mesh opens.
        """
        file = trained(tmp_path)
        graph = tmp_path / "counted.yaml"
        graph.write_text(
            dedent(
                """
                meshwalk: 1
                name: counted
                start: only
                backends:
                  one: {kind: simulated, tokenizer: tokenizer.json}
                nodes:
                  only: {role: primary, backend: one, next: done}
                """
            ),
            encoding="utf-8",
        )
        mesh = meshwalk.load(graph)
        file.unlink()

        with pytest.raises(SetupError, match="tokenizer"):
            await mesh.__aenter__()


class Reminded(MemoryVault):
    """
    Say when it was asked to tell what it has not told.
    """

    waits = True

    def __init__(self) -> None:
        super().__init__()
        self.faulty = True
        self.flushed = anyio.Event()

    async def flush(self) -> None:
        if self.faulty:
            self.faulty = False
            raise ValueError("oh")
        self.flushed.set()


class TestVault:
    @pytest.mark.slow
    async def test_is_minded_while_nobody_asks(self) -> None:
        """
        A vault that was away is told what it missed though no walk comes by, also after one time that went wrong.
        """
        vault = Reminded()
        async with Mesh(PLAN, vault=vault):
            with anyio.fail_after(20):
                await vault.flushed.wait()
