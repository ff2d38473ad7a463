"""
Definite assignment of signals: a proof, per node and way of leaving it, of what a walk has when a guard reads it.

A node writes its outputs all at once, when it replies.  So the analysis spreads the set of nodes that have certainly replied
(and, for `signals.*`, whether any classifier that writes it has): leaving by `next` adds the node, by `on_error` nothing,
and where ways meet their intersection stays.  A written value is never unwritten: a visit that fails
leaves the outputs of an earlier one.

A guard may itself settle the matter.  Taking an edge whose guard cannot hold without a node's reply proves that reply, and
a read is no fault where the missing value cannot touch the verdict (`guards.outcomes`): beside a false `has(…)`, beside
a false `hop.<node>.status == 'ok'`, in the branch of `?:` not chosen, or behind an edge that is certainly taken.

- `unassigned-signal`, an error: some way leads here on which the node read has not replied.
- `unassigned-answer`, an error: some way leads here on which a node has not replied whose answer the prompt shows.
- `maybe-undetermined`, a warning: it has replied, and a reply may come without this value.  A warning, because an
  undetermined guard is not taken, which is lawful and often what was meant; the author should have said so.

What other signals may be is not looked at, so a way that only unlucky values close counts as a way.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from meshwalk import guards
from meshwalk.guards import Name, Supposition
from meshwalk.model import Edge, Graph, Node, signals
from meshwalk.model.problems import Problem


Trees = Mapping[tuple[str, int], guards.Checked]

_NOT_OK = ("none", "failed")
# Starts what stands among the names of nodes for "any of these classifiers"; no node can have such a name.
_CLASSIFIERS = "signals:"

# Showing a path takes a search each; past this many the author has seen what is going on.
_MAX_PATHS = 10


class _Transfer(NamedTuple):
    """
    One way of leaving a node.

    Args:
        adds: Who has certainly replied once it was taken, as bits.
        unless: Closed where these have replied, as bits; an `else` is taken only where there is no answer.
    """

    origin: str
    to: str
    failed: bool
    adds: int
    unless: int = 0


def check(graph: Graph, trees: Trees) -> list[Problem]:
    """
    Find the guards that read what may not have been written.

    Args:
        trees: The checked guards by node and position in `next`; others are not looked at.
    """
    quoting = any(node.quotes for node in graph.nodes.values())
    if not (trees or quoting) or graph.broken or graph.start not in graph.nodes:
        return []

    return list(_Assignment(graph, trees).problems())


def replied(graph: Graph, trees: Trees) -> Mapping[str, frozenset[str]]:
    """
    Name, for each node that the edges lead to, the signals that have been written on every way there.
    """
    if graph.broken or graph.start not in graph.nodes:
        return {}
    assignment = _Assignment(graph, trees)

    return {
        name: frozenset(slot for writer in assignment.writers_in(bits) for slot in assignment.slots[writer])
        for name, bits in assignment.certain.items()
    }


def rings(graph: Graph) -> Mapping[str, int]:
    """
    Number the nodes so that two have the same number if, and only if, a walk may come from each to the other.
    """
    following: dict[str, list[str]] = {name: [] for name in graph.nodes}
    before: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for node in graph.nodes.values():
        for edge in (*node.next, *node.on_error):
            for to in (edge.to, edge.otherwise):
                if to in before:
                    following[node.name].append(to)
                    before[to].append(node.name)
    numbers: dict[str, int] = {}
    # Kosaraju's algorithm: a search against the edges starts at the node that was finished last.  It meets only nodes of the
    # same ring, and nodes of rings that have a number already.
    for name in reversed(_backwards(following, following)):
        if name not in numbers:
            number, waiting = len(numbers), [name]
            numbers[name] = number
            while waiting:
                for other in before[waiting.pop()]:
                    if other not in numbers:
                        numbers[other] = number
                        waiting.append(other)

    return numbers


def _backwards(following: Mapping[str, Sequence[str]], starts: Iterable[str]) -> list[str]:
    """
    List the nodes that edges lead to from *starts*, each after those it leads on to where no cycle forbids it.
    """
    seen: set[str] = set()
    done: list[str] = []
    for start in starts:
        stack = [(start, iter(following[start]))] if start not in seen else []
        seen.add(start)
        while stack:
            name, targets = stack[-1]
            to = next((to for to in targets if to not in seen), None)
            if to is None:
                done.append(name)
                stack.pop()
            else:
                seen.add(to)
                stack.append((to, iter(following[to])))

    return done


class _Assignment:
    """
    The nodes that have certainly replied, for each place of a walk.
    """

    def __init__(self, graph: Graph, trees: Trees) -> None:
        self.graph = graph
        self.trees = trees
        self.rings = rings(graph)
        # Signals with the same classifiers behind them come together, so they are asked for together.
        self.classified: dict[str, list[str]] = {}
        for signal, writers in signals.classified(graph).items():
            self.classified.setdefault(_CLASSIFIERS + ",".join(writers), []).append(f"signals.{signal.name}")
        self.writer_of = {slot: writer for writer, slots in self.classified.items() for slot in slots}
        self.mentioned = self._mentioned()
        edges = (edge for node in graph.nodes.values() for edge in node.on_error if edge.otherwise is not None)
        named = {writer for writers in self.mentioned.values() for writer in writers} | {edge.answer for edge in edges}
        self.bits = {writer: 1 << number for number, writer in enumerate(sorted(name for name in named if name))}
        self.verdicts: dict[tuple[int, str, str], int] = {}
        self.slots = {writer: self._slots(writer) for writer in self.bits}
        self.leaving = {node.name: [way for way in self._ways(node) if way.to in graph.nodes] for node in graph.nodes.values()}
        self.certain = self._spread()
        self.shown = 0

    def writers_in(self, bits: int) -> list[str]:
        """
        Name the writers that *bits* stand for.
        """
        return [writer for writer, bit in self.bits.items() if bits & bit]

    def problems(self) -> Iterator[Problem]:
        """
        Go through what is wrong, node by node.
        """
        for name in self.certain:
            node = self.graph.nodes[name]
            known = self.certain[name] | self._written_by(node)
            for writer in self.mentioned.get(name, ()):
                owed = {}
                if not known & self.bits[writer]:
                    if writer in node.quotes:
                        yield self._unquotable(node, writer)
                    owed = dict(self._owed(node, writer))
                    yield from (self._unassigned(node, writer, *place, read) for place, read in owed.items())
                yield from self._undetermined(node, writer, owed)

    # ---- who writes what ----------------------------------------------------------------------------------------

    def _mentioned(self) -> dict[str, list[str]]:
        mentioned: dict[str, set[str]] = {}
        for (name, _), checked in self.trees.items():
            mentioned.setdefault(name, set()).update(self._writer_of(slot) for slot in checked.reads)
        for node in self.graph.nodes.values():
            if node.quotes:
                mentioned.setdefault(node.name, set()).update(node.quotes)

        return {name: sorted(writers - {""}) for name, writers in mentioned.items()}

    def _writer_of(self, slot: str) -> str:
        """
        Name who writes *slot*, or nobody.
        """
        head, _, rest = slot.partition(".")
        if head == "hop":
            return rest.partition(".")[0]

        return self.writer_of.get(slot, "")

    def _slots(self, writer: str) -> tuple[str, ...]:
        if writer in self.classified:
            return tuple(self.classified[writer])
        node = self.graph.nodes.get(writer)

        return () if node is None else tuple(output.slot for output in signals.outputs(node))

    def _written_by(self, node: Node) -> int:
        bit = self.bits.get(node.name, 0)
        for signal in signals.written(node):
            bit |= self.bits.get(self.writer_of[f"signals.{signal.name}"], 0)

        return bit

    # ---- ways ---------------------------------------------------------------------------------------------------

    def _ways(self, node: Node) -> Iterator[_Transfer]:
        bit = self._written_by(node)
        proved = self._proved(node)
        for edge, adds in zip(node.next, proved, strict=True):
            yield _Transfer(node.name, edge.to, failed=False, adds=bit | adds)
        for edge in node.on_error:
            yield _Transfer(node.name, edge.to, failed=True, adds=0)
            if edge.otherwise is not None:
                yield _Transfer(node.name, edge.otherwise, failed=True, adds=0, unless=self.bits.get(edge.answer or "", 0))

    def _proved(self, node: Node) -> list[int]:
        """
        Return the nodes that must have replied for each edge of `next` to be taken.
        """
        proved = [0] * len(node.next)
        for writer in self.mentioned.get(node.name, ()):
            taken = False
            for position, edge in enumerate(node.next):
                verdicts = self._without(node, position, writer)
                if taken or not verdicts & guards.TRUE:
                    proved[position] |= self.bits[writer]
                taken = taken or (verdicts == guards.TRUE and not self._may_be_spent(node, edge))

        return proved

    def _without(self, node: Node, position: int, writer: str) -> int:
        """
        Return the results that a guard can have if *writer* has not replied.
        """
        checked = self.trees.get((node.name, position))
        if checked is None:
            return guards.TRUE if node.next[position].when is None else guards.TRUE | guards.LACKING

        return self._supposing(checked, writer, "")

    def _supposing(self, checked: guards.Checked, writer: str, blamed: str) -> int:
        # Graphs repeat themselves, and equal guards over equal signals are one object.
        key = (id(checked), writer, blamed)
        if key not in self.verdicts:
            supposed = Supposition(blamed, frozenset(self.slots[writer]), {f"hop.{writer}.status": _NOT_OK})
            self.verdicts[key] = guards.outcomes(checked.tree, supposed)

        return self.verdicts[key]

    def _may_be_spent(self, node: Node, edge: Edge) -> bool:
        """
        Return whether a walk may have been at the target of *edge*: only if a way leads back from there.
        """
        return edge.to in self.rings and self.rings[edge.to] == self.rings[node.name]

    def _spread(self) -> dict[str, int]:
        # Cycles aside, a node comes after all from which a walk may come to it, so that each is nearly always met once.
        order = _backwards({name: [way.to for way in ways] for name, ways in self.leaving.items()}, [self.graph.start])[::-1]
        place = {name: number for number, name in enumerate(order)}
        known = {self.graph.start: 0}
        waiting, queued = [0], {0}
        while waiting:
            number = heapq.heappop(waiting)
            queued.discard(number)
            name = order[number]
            for way in self.leaving[name]:
                if way.unless & known[name]:
                    continue
                brought = known[name] | way.adds
                had = known.get(way.to)
                has = brought if had is None else had & brought
                if has != had:
                    known[way.to] = has
                    if (to := place[way.to]) not in queued:
                        queued.add(to)
                        heapq.heappush(waiting, to)

        return known

    # ---- reads --------------------------------------------------------------------------------------------------

    def _owed(self, node: Node, writer: str) -> Iterator[tuple[tuple[int, str], Name]]:
        """
        Go through the reads that matter where *writer* has not replied, by position and slot.
        """
        for position, edge in enumerate(node.next):
            checked = self.trees.get((node.name, position))
            for read in _reads(checked, self.slots[writer]):
                assert checked is not None
                slot = read.signal.slot
                if self._supposing(checked, writer, slot) & guards.OWED:
                    yield (position, slot), read
            if self._without(node, position, writer) == guards.TRUE and not self._may_be_spent(node, edge):
                return

    def _unassigned(self, node: Node, writer: str, position: int, slot: str, read: Name) -> Problem:
        edge = node.next[position]
        name = read.signal.name
        self.shown += 1
        path = self._witness(node.name, self.bits[writer]) if self.shown <= _MAX_PATHS else f"to {node.name}"
        who, through = f"'{writer}' has not replied", f"a reply of '{writer}'"
        if writer in self.classified:
            classifiers = sum(other.role == "classifier" for other in self.graph.nodes.values())
            which = "" if writer.count(",") + 1 == classifiers else " that gives it"
            who, through = f"no classifier{which} has run", f"a classifier{which}"
        message = f"on the way {path}, {who}, so '{name}' has no value in the guard on edge {node.name} → {edge.to}"
        help = f"ask has({name}) && … first, or lead every way here through {through}"
        source = self.graph.nodes[writer].confidence if writer in self.graph.nodes else None
        if source is not None and source.missing is not None and slot.endswith((".confidence", ".score")):
            help += "; its `missing:` stands for a reply without one, not for no reply"

        return Problem(edge.place(read.offset, read.length), "unassigned-signal", message, help)

    def _unquotable(self, node: Node, writer: str) -> Problem:
        self.shown += 1
        path = self._witness(node.name, self.bits[writer]) if self.shown <= _MAX_PATHS else f"to {node.name}"
        message = f"on the way {path}, '{writer}' has not replied, and the prompt of '{node.name}' shows its answer"
        span = node.places.get(f"of.{node.of.index(writer)}", node.span)

        return Problem(span, "unassigned-answer", message, f"lead every way here through a reply of '{writer}'")

    def _undetermined(self, node: Node, writer: str, owed: Mapping[tuple[int, str], Name]) -> Iterator[Problem]:
        if writer not in self.graph.nodes:
            return
        for output in signals.outputs(self.graph.nodes[writer]):
            if not output.optional:
                continue
            supposed = Supposition(output.slot)
            for position, edge in enumerate(node.next):
                checked = self.trees.get((node.name, position))
                verdicts = guards.TRUE | guards.LACKING if checked is None else guards.outcomes(checked.tree, supposed)
                if verdicts & guards.OWED and (position, output.slot) not in owed:
                    read = next(_reads(checked, (output.slot,)))
                    message = (
                        f"a reply of '{writer}' may come without '{read.signal.name}', and then the guard on edge "
                        f"{node.name} → {edge.to} is undetermined and not taken"
                    )
                    what = "score" if self.graph.nodes[writer].role == "verifier" else "confidence"
                    help = f"give node '{writer}' a {what} with missing:, or ask has({read.signal.name}) && … first"
                    place = edge.place(read.offset, read.length)
                    yield Problem(place, "maybe-undetermined", message, help, "warning")
                if verdicts == guards.TRUE and not self._may_be_spent(node, edge):
                    break

    def _witness(self, to: str, missing: int) -> str:
        """
        Show the shortest way to a node on which *missing* has not replied.
        """
        came: dict[str, _Transfer | None] = {self.graph.start: None}
        waiting = deque(came)
        while waiting and to not in came:
            for way in self.leaving[waiting.popleft()]:
                if not way.adds & missing and not way.unless & self.certain[way.origin] and way.to not in came:
                    came[way.to] = way
                    waiting.append(way.to)
        steps = [to]
        while (step := came.get(to)) is not None:
            to = step.origin
            steps.append(f"{to} (failed)" if step.failed else to)

        return " → ".join(reversed(steps))


def _reads(checked: guards.Checked | None, slots: tuple[str, ...]) -> Iterator[Name]:
    """
    Go through the first read of each of *slots*, `has` aside.
    """
    seen: set[str] = set()
    for name in guards.reads(checked.tree) if checked is not None else ():
        slot = name.signal.slot
        if slot in slots and slot not in seen:
            seen.add(slot)
            yield name
