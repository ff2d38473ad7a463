"""
A file of cases: requests, scripted replies and expectations, with every name checked against the graph.

Parts are fitted one by one, as those of a graph are, so that one slip hides no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, get_args

from meshwalk.loader.casebook import AnswerText, Case, EdgeName, Expectation, Script, Scripted, Taking
from meshwalk.loader.messages import case_faults, faults
from meshwalk.loader.parts.budgets import limits_of
from meshwalk.loader.parts.fit import Part, fit, part_of, respelt, spelt_out
from meshwalk.loader.schema.budgets import LimitsShape
from meshwalk.loader.schema.cases import (
    AmountShape,
    CaseShape,
    CasesShape,
    ExpectShape,
    FailedReplyShape,
    GivenShape,
    MessageShape,
    ReplyShape,
    SpentShape,
    UsageShape,
)
from meshwalk.loader.yaml.document import Piece, Scalar, Series, Table, plain, read_document
from meshwalk.model import DONE, Amount, Edge, Graph, Limits, Node, ScopeKind, Value, signals
from meshwalk.model.problems import GraphError, Problem, Span
from meshwalk.model.signals import REQUEST, Section
from meshwalk.trace import Message, Scopes, Usage


_ENDS = re.compile(r"\s*(\w+)\s*(?:->|→)\s*(\w+)\s*")
_POSITION = re.compile(r"\s*(error )?edge ([0-9]{1,6}) of (\w+)\s*")

# Placeholders for the parts of a case that have readers of their own.
_GIVEN_ELSEWHERE = {"messages": "none", "attributes": {}, "limits": {}, "spent": {}, "signals": {}, "replies": {}}
_KINDS: tuple[ScopeKind, ...] = get_args(ScopeKind)
_SPENT_ELSEWHERE: Mapping[str, object] = {kind: {} for kind in _KINDS}
_OF_REQUESTS = {REQUEST: "leave it out: a request begins with nothing spent"}
_OF_REPLIES = dict.fromkeys(ReplyShape.known_keys(), "a call that fails gives nothing else")


def build_cases(text: bytes, graph: Graph, *, file: str) -> tuple[Case, ...]:
    """
    Read the cases in *text*, which are about *graph*.

    Raises:
        GraphError: With every fault found, in file order.
    """
    document = read_document(text, file)
    problems = document.problems
    if not isinstance(document.root, Table):
        raise GraphError([*problems, case_faults.not_cases(document.root.span)])
    part = Part(document.root, "a file of cases", document.root.span._replace(length=1))
    part = respelt(part, CasesShape.known_keys(), problems)
    fit(CasesShape, part, problems, preset=CasesShape.stand_ins)
    reader = _CaseReader(graph, problems)
    cases = tuple(reader.cases(part))
    if problems:
        raise GraphError(problems)

    return cases


class _Whole(NamedTuple):
    """
    The `given` part of a case, read.
    """

    messages: tuple[Message, ...] = ()
    attributes: Mapping[str, Value] = {}
    limits: Limits = Limits()
    scopes: Scopes = Scopes()
    spent: Mapping[ScopeKind, Amount] = {}
    signals: Mapping[str, Value] = {}
    scripts: Mapping[str, Script] = {}


class _CaseReader:
    """
    A reader of cases about *graph*.
    """

    def __init__(self, graph: Graph, problems: list[Problem]) -> None:
        self.graph = graph
        self.problems = problems
        self.ids = {
            edge.id: EdgeName(node.name, section, position)
            for node in graph.nodes.values()
            for section, position, edge in _edges(node)
            if edge.id is not None
        }

    def cases(self, part: Part) -> Iterator[Case]:
        piece = part.table.entries.get("cases")
        if piece is None:
            return
        if not isinstance(piece, Series) or not piece.items:
            self.problems.append(case_faults.no_cases(piece.span))
            return
        names: dict[str, Span] = {}
        for number, item in enumerate(piece.items, 1):
            inner = part_of(item, _subject(item, number), item.span, self.problems)
            if inner is None:
                continue
            case = self.case(inner)
            if case.name in names:
                self.problems.append(case_faults.duplicate_case(case.span, case.name, names[case.name]))
            names.setdefault(case.name, case.span)
            yield case

    def case(self, part: Part) -> Case:
        part = respelt(part, CaseShape.known_keys(), self.problems)
        shape = fit(CaseShape, part, self.problems, preset={key: CaseShape.stand_ins[key] for key in ("given", "expect")}).shape
        whole = self.given(part)

        return Case(
            name=shape.name if "name" in part.table.entries else part.subject,
            span=part.table.place("name"),
            messages=whole.messages,
            attributes=whole.attributes,
            limits=whole.limits,
            scopes=whole.scopes,
            spent=whole.spent,
            signals=whole.signals,
            scripts=whole.scripts,
            expect=self.expectation(part),
        )

    # ---- what is given ------------------------------------------------------------------------------------------

    def given(self, case: Part) -> _Whole:
        part = self.inner(case, "given")
        if part is None:
            return _Whole()
        part = respelt(part, GivenShape.known_keys(), self.problems)
        shape = fit(GivenShape, part, self.problems, preset=_GIVEN_ELSEWHERE).shape
        spent = dict(self.spent(part))

        return _Whole(
            tuple(self.messages(part)),
            dict(self.attributes(part)),
            self.limits(part),
            Scopes(_named(shape.session, "session", spent), _named(shape.workflow, "workflow", spent)),
            spent,
            dict(self.signals(part)),
            dict(self.scripts(part)),
        )

    def messages(self, part: Part) -> Iterator[Message]:
        piece = part.table.entries.get("messages")
        match piece:
            case None:
                return
            case Scalar(value=str() as text):
                yield Message("user", text)
            case Scalar(value=None):
                self.problems.append(faults.no_value(part.table.key_spans["messages"], part.subject, "messages"))
            case Series(items=[_, *_] as items):
                for number, item in enumerate(items, 1):
                    inner = part_of(item, f"message {number} of {part.subject}", item.span, self.problems)
                    if inner is not None:
                        inner = respelt(inner, MessageShape.known_keys(), self.problems)
                        shape = fit(MessageShape, inner, self.problems).shape
                        yield Message(shape.role, shape.content, shape.name or "")
            case _:
                what = f"'messages' of {part.subject}"
                self.problems.append(faults.wrong_type(piece.span, what, plain(piece), "text or a list of messages"))

    def attributes(self, part: Part) -> Iterator[tuple[str, Value]]:
        known = signals.attributes(self.graph)
        for name, span, value in self.values(part, "attributes"):
            if name not in known:
                self.problems.append(case_faults.unknown_attribute(span, name, known))
                continue
            piece = self.entry(part, "attributes", name)
            if not isinstance(value, str | int | float):
                what = f"'{name}' of 'attributes' of {part.subject}"
                self.problems.append(faults.wrong_type(piece.span, what, value, "text, a number, or true or false"))
            elif why := signals.accepts(known[name], value):
                self.problems.append(case_faults.bad_attribute(piece.span, name, why))
            else:
                yield name, value

    def limits(self, part: Part) -> Limits:
        inner = self.inner(part, "limits")
        if inner is None:
            return Limits()
        inner = respelt(inner, LimitsShape.known_keys(), self.problems)

        return limits_of(fit(LimitsShape, inner, self.problems).shape)

    def spent(self, given: Part) -> Iterator[tuple[ScopeKind, Amount]]:
        part = self.inner(given, "spent")
        if part is None:
            return
        part = respelt(part, SpentShape.known_keys(), self.problems)
        fit(SpentShape, part, self.problems, preset=_SPENT_ELSEWHERE, elsewhere=_OF_REQUESTS)
        for scope in _KINDS:
            inner = self.inner(part, scope)
            if inner is not None and self.budgeted(scope, inner.span, part.subject):
                inner = respelt(inner, AmountShape.known_keys(), self.problems)
                shape = fit(AmountShape, inner, self.problems).shape
                yield scope, Amount(shape.cost_usd, shape.input_tokens, shape.output_tokens, shape.calls, shape.hops)

    def signals(self, part: Part) -> Iterator[tuple[str, Value]]:
        known = {signal.name: signal for signal in signals.classified(self.graph)}
        if "signals" in part.table.entries and not known:
            self.problems.append(case_faults.no_classifier(part.table.key_spans["signals"]))
            return
        for name, span, value in self.values(part, "signals"):
            piece = self.entry(part, "signals", name)
            declared = known.get(name)
            if declared is None:
                self.problems.append(case_faults.unknown_signal(span, name, known))
            elif declared.type != "number":
                if not isinstance(value, str | bool | int | float):
                    self.problems.append(faults.wrong_type(piece.span, f"signal '{name}'", value, "text, or true or false"))
                elif why := signals.accepts(declared, value):
                    self.problems.append(case_faults.bad_signal(piece.span, name, why))
                else:
                    yield name, value
            elif isinstance(value, bool) or not isinstance(value, int | float):
                self.problems.append(faults.wrong_type(piece.span, f"signal '{name}'", value, "a number"))
            else:
                low, high = declared.range or (-float("inf"), float("inf"))
                if low <= value <= high and abs(value) != float("inf"):
                    yield name, float(value)
                else:
                    self.problems.append(case_faults.signal_out_of_range(piece.span, name, value, low, high))

    def scripts(self, part: Part) -> Iterator[tuple[str, Script]]:
        table = self.inner(part, "replies")
        for name, piece in table.table.entries.items() if table else ():
            assert table is not None
            span = table.table.key_spans[name]
            node = self.graph.nodes.get(name)
            if node is None:
                self.problems.append(case_faults.unknown_node(span, f"'replies' of {part.subject}", name, self.calling()))
            elif node.backend is None:
                self.problems.append(case_faults.calls_nothing(span, name, node.role))
            else:
                yield name, self.script(node, piece, span)

    def script(self, node: Node, piece: Piece, span: Span) -> Script:
        subject = f"the reply of '{node.name}'"
        if isinstance(piece, Series) and piece.items:
            items = [spelt_out(item, "text", str) for item in piece.items]
            numbered = [(f"reply {number} of '{node.name}'", item) for number, item in enumerate(items, 1)]
            replies = [self.reply(node, part_of(item, what, item.span, self.problems)) for what, item in numbered]
            return Script(tuple(replies), endless=False)
        if isinstance(piece, Series):
            self.problems.append(faults.empty_part(span, subject))
            return Script((), endless=False)

        return Script((self.reply(node, part_of(spelt_out(piece, "text", str), subject, span, self.problems)),), endless=True)

    def reply(self, node: Node, part: Part | None) -> Scripted:
        if part is None:
            return Scripted()
        part = respelt(part, tuple(dict.fromkeys((*ReplyShape.known_keys(), *FailedReplyShape.known_keys()))), self.problems)
        if "error" in part.table.entries:
            failed = fit(FailedReplyShape, part, self.problems, elsewhere=_OF_REPLIES).shape
            return Scripted(error=failed.error, latency_us=failed.latency)
        shape = fit(ReplyShape, part, self.problems).shape
        source = None if node.confidence is None else node.confidence.source
        if shape.confidence is not None and source in (None, "stated", "agreement"):
            span = part.table.key_spans["confidence"]
            self.problems.append(case_faults.unread_confidence(span, node.name, source))
        if shape.samples is not None and source != "agreement":
            self.problems.append(case_faults.unread_samples(part.table.key_spans["samples"], node.name))
        elif shape.samples is not None and "text" in part.table.entries:
            self.problems.append(case_faults.text_beside_samples(part.table.key_spans["text"], node.name))
        samples = tuple(shape.samples or ())

        return Scripted(
            text=samples[0] if samples else shape.text,
            samples=samples,
            confidence=shape.confidence,
            finish_reason=shape.finish_reason,
            usage=self.usage(part, shape.usage),
            cost_nano_usd=shape.cost_usd,
            latency_us=shape.latency,
        )

    def usage(self, reply: Part, shape: UsageShape | None) -> Usage | None:
        if shape is None:
            return None
        inner = reply.table.entries["usage"]
        for key, part, whole in (
            ("cached_input", shape.cached_input, shape.input),
            ("reasoning", shape.reasoning, shape.output),
        ):
            if part > whole and isinstance(inner, Table):
                self.problems.append(case_faults.more_than_all(inner.place(key), key, part, whole))

        return Usage(shape.input, shape.output, shape.cached_input, shape.reasoning)

    # ---- what is expected ---------------------------------------------------------------------------------------

    def expectation(self, case: Part) -> Expectation:
        part = self.inner(case, "expect")
        if part is None:
            return Expectation()
        part = respelt(part, ExpectShape.known_keys(), self.problems)
        shape = fit(ExpectShape, part, self.problems).shape
        if not part.table.entries:
            self.problems.append(case_faults.expects_nothing(part.span, case.subject))
        if shape.path is not None:
            self.check_path(part)
        if shape.served is not None:
            self.check_served(part, shape.served)
        if shape.scope is not None and shape.scope != REQUEST:
            self.budgeted(shape.scope, part.table.place("scope"), f"'scope' of {part.subject}")

        return Expectation(
            path=None if shape.path is None else tuple(shape.path),
            takes=tuple(self.takes(part)) if shape.takes is not None else (),
            outcome=shape.outcome,
            served=shape.served,
            answer=None if shape.answer is None else AnswerText(shape.answer.contains, shape.answer.matches),
            reason=shape.reason,
            cause=shape.cause,
            scope=shape.scope,
            max_cost_nano_usd=shape.max_cost_usd,
            spans=dict(part.table.key_spans),
        )

    def check_path(self, part: Part) -> None:
        what = f"'path' of {part.subject}"
        steps = _texts(part.table.entries["path"])
        for number, (name, span) in enumerate(steps, 1):
            if name == DONE and number < len(steps):
                self.problems.append(case_faults.done_not_last(span, what))
            elif name != DONE:
                self.known(name, span, what)

    def check_served(self, part: Part, name: str) -> None:
        span = part.table.place("served")
        if self.known(name, span, f"'served' of {part.subject}") and self.graph.nodes[name].backend is None:
            self.problems.append(case_faults.serves_nothing(span, name))

    def takes(self, part: Part) -> Iterator[Taking]:
        for text, span in _texts(part.table.entries["takes"]):
            if text in self.ids:
                yield Taking(text, span, (self.ids[text],))
            elif ends := _ENDS.fullmatch(text):
                yield from self.between(text, span, ends[1], ends[2])
            elif position := _POSITION.fullmatch(text):
                section: Section = "on_error" if position[1] else "next"
                yield from self.at(text, span, EdgeName(position[3], section, int(position[2]) - 1))
            else:
                self.problems.append(case_faults.bad_edge_name(span, text))

    def between(self, text: str, span: Span, name: str, to: str) -> Iterator[Taking]:
        if not self.known(name, span, "'takes'"):
            return
        ends = [(place, position, end) for place, position, edge in _edges(self.graph.nodes[name]) for end in _targets(edge)]
        edges = tuple(EdgeName(name, section, position) for section, position, end in ends if end == to)
        if edges:
            yield Taking(text, span, edges, to)
        else:
            self.problems.append(case_faults.no_edge_between(span, name, to, (end for *_, end in ends)))

    def at(self, text: str, span: Span, name: EdgeName) -> Iterator[Taking]:
        if not self.known(name.node, span, "'takes'"):
            return
        node = self.graph.nodes[name.node]
        count = len(node.next if name.section == "next" else node.on_error)
        if 0 <= name.position < count:
            yield Taking(text, span, (name,))
        else:
            kind = "edge" if name.section == "next" else "error edge"
            self.problems.append(case_faults.no_edge_at(span, name.node, kind, name.position + 1, count))

    # ---- small ones ---------------------------------------------------------------------------------------------

    def inner(self, part: Part, key: str) -> Part | None:
        piece = part.table.entries.get(key)
        if piece is None:
            return None

        return part_of(piece, f"'{key}' of {part.subject}", part.table.key_spans[key], self.problems)

    def values(self, part: Part, key: str) -> Iterator[tuple[str, Span, object]]:
        inner = self.inner(part, key)
        for name, piece in inner.table.entries.items() if inner else ():
            assert inner is not None
            span = inner.table.key_spans[name]
            if isinstance(piece, Scalar) and piece.value is None:
                self.problems.append(faults.no_value(span, inner.subject, name))
            else:
                yield name, span, plain(piece)

    def entry(self, part: Part, key: str, name: str) -> Piece:
        table = part.table.entries[key]
        assert isinstance(table, Table)

        return table.entries[name]

    def calling(self) -> list[str]:
        return [node.name for node in self.graph.nodes.values() if node.backend is not None]

    def budgeted(self, scope: str, span: Span, what: str) -> bool:
        if scope in self.graph.budgets:
            return True
        self.problems.append(case_faults.unknown_scope(span, what, scope, self.graph.budgets))

        return False

    def known(self, name: str, span: Span, what: str) -> bool:
        if name in self.graph.nodes:
            return True
        self.problems.append(case_faults.unknown_node(span, what, name, self.graph.nodes))

        return False


def _subject(item: Piece, number: int) -> str:
    name = item.scalar("name") if isinstance(item, Table) else None

    return f"case {number}" if name is None or not isinstance(name.value, str) else f"case {faults.quoted(name.value)}"


def _named(name: str | None, scope: ScopeKind, spent: Mapping[ScopeKind, Amount]) -> str:
    # A case that only says how much is spent needs no name of a session or workflow.
    return name or ("case" if scope in spent else "")


def _texts(piece: Piece) -> list[tuple[str, Span]]:
    items = piece.items if isinstance(piece, Series) else [piece]

    return [(str(plain(item)), item.span) for item in items]


def _targets(edge: Edge) -> tuple[str, ...]:
    return (edge.to,) if edge.otherwise is None else (edge.to, edge.otherwise)


def _edges(node: Node) -> Iterator[tuple[Section, int, Edge]]:
    for position, edge in enumerate(node.next):
        yield "next", position, edge
    for position, edge in enumerate(node.on_error):
        yield "on_error", position, edge
