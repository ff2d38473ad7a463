"""
Which part takes which key, and what each number may be.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.loader.schema.backends import BACKEND_SHAPES
from meshwalk.loader.schema.graph import NODE_SHAPES, USE_SHAPES
from meshwalk.loader.schema.values import RESERVED, why_no_identifier
from meshwalk.model.problems import in_file_order
from tests.loader.reading import BACKENDS, HEAD, NODES, places, read, with_node
from tests.support.instruction_counts import instructions


_SHAPES = [*NODE_SHAPES.values(), *(shape for uses in USE_SHAPES.values() for shape in uses.values())]
NODE_KEYS = sorted({key for shape in _SHAPES for key in shape.known_keys()} - {"role"})
BACKEND_KEYS = sorted({key for shape in BACKEND_SHAPES.values() for key in shape.known_keys()} - {"kind"})


class TestWhoTakesWhat:
    @pytest.mark.parametrize("role", NODE_SHAPES)
    @pytest.mark.parametrize("key", NODE_KEYS)
    def test_key_of_a_node(self, role: str, key: str) -> None:
        """
        A key that a role does not take is marked, with the roles that do; one it takes is not.
        """
        problems = read(HEAD + f"nodes:\n  a:\n    role: {role}\n    {key}: x\n").problems
        unknown = [problem for problem in problems if problem.code == "unknown-key"]
        takes = key in NODE_SHAPES[role].known_keys()

        assert ([] if takes else [(7, 5, len(key))]) == [problem.span[1:] for problem in unknown]
        assert all(problem.help.startswith(f"'{key}' is for: ") for problem in unknown)
        # Its own role is named only with the use that takes the key.
        assert not any(problem.help.endswith(role) or f"{role}," in problem.help for problem in unknown)

    @pytest.mark.parametrize(("role", "use"), [(role, use) for role, uses in USE_SHAPES.items() for use in uses])
    def test_key_of_a_use(self, role: str, use: str) -> None:
        """
        Where a role has several uses, each takes its own keys, and a key of another is marked with that.
        """
        others = {key: other for other, shape in USE_SHAPES[role].items() for key in shape.known_keys()}
        for key in others.keys() - {"role", "use"}:
            problems = read(HEAD + f"nodes:\n  a:\n    role: {role}\n    use: {use}\n    {key}: x\n").problems
            unknown = [problem for problem in problems if problem.code == "unknown-key"]

            assert (key in USE_SHAPES[role][use].known_keys()) == (not unknown)
            assert all(f"'{key}' is for: " in problem.help and f"use: {use}" not in problem.help for problem in unknown)

    @pytest.mark.parametrize("kind", BACKEND_SHAPES)
    @pytest.mark.parametrize("key", BACKEND_KEYS)
    def test_key_of_a_backend(self, kind: str, key: str) -> None:
        """
        A key that a kind does not take is marked, with the kinds that do; one it takes is not.
        """
        problems = read(HEAD + f"backends:\n  s:\n    kind: {kind}\n    {key}: x\n" + NODES).problems
        unknown = [problem for problem in problems if problem.code == "unknown-key"]
        takes = key in BACKEND_SHAPES[kind].known_keys()

        assert ([] if takes else [(7, 5, len(key))]) == [problem.span[1:] for problem in unknown]
        assert all(problem.help.startswith(f"'{key}' is for: ") and kind not in problem.help for problem in unknown)

    def test_another_word_is_not_taken_for_a_key(self) -> None:
        """
        A key that only resembles a known one is asked about and left alone, so that its value raises no further fault.
        """
        graph = read(HEAD + "nodes:\n  a: {role: refusal, reason: none, notes: ask Eve}\n")

        assert [("unknown-key", 5, 36)] == places(graph.problems)


class TestNumbers:
    @pytest.mark.parametrize(
        ("key", "sound", "faulty"),
        [
            ("max_tokens", ["1", "10000000", "1e6"], ["0", "10000001", "1.5", "'1'", "true"]),
            ("temperature", ["0", "2", "0.7"], ["-0.1", "2.1", ".nan", "hot"]),
            ("top_p", ["0", "1", "0.5"], ["-1", "1.1", ".inf"]),
            ("seed", ["-9223372036854775808", "9223372036854775807"], ["-9223372036854775809", "9223372036854775808", "0.5"]),
            ("retries", ["0", "10"], ["-1", "11"]),
            ("visits", ["1", "1000"], ["0", "1001"]),
        ],
    )
    def test_keys_of_nodes(self, key: str, sound: list[str], faulty: list[str]) -> None:
        """
        A number is taken up to its bounds and refused past them, at its place.
        """
        column = len(f"  a: {{role: answer, backend: s, next: done, {key}: ") + 1

        assert [[]] * len(sound) == [places(with_node(f"{key}: {value}").problems) for value in sound]
        assert [[(7, column)]] * len(faulty) == [
            [problem.span[1:3] for problem in with_node(f"{key}: {value}").problems] for value in faulty
        ]

    @pytest.mark.parametrize(
        ("key", "sound", "faulty"),
        [
            ("hops", ["1", "1000"], ["0", "1001"]),
            ("cost_usd", ["0", "0.5", "1000000000"], ["-1", "1000000001"]),
            ("input_bytes", ["1", "1073741824"], ["0", "1073741825"]),
            ("output_tokens", ["1", "1000000000"], ["0", "1000000001"]),
            ("deadline", ["1us", "168h"], ["0s", "169h", "5"]),
        ],
    )
    def test_limits(self, key: str, sound: list[str], faulty: list[str]) -> None:
        """
        A limit is taken up to its bounds and refused past them, at its place.
        """

        def found(value: str) -> list[tuple[int, int]]:
            return [problem.span[1:3] for problem in read(HEAD + f"limits: {{{key}: {value}}}\n" + BACKENDS + NODES).problems]

        assert [[]] * len(sound) == [found(value) for value in sound]
        assert [[(4, len(f"limits: {{{key}: ") + 1)]] * len(faulty) == [found(value) for value in faulty]


class TestNames:
    @pytest.mark.parametrize("word", sorted(RESERVED))
    def test_reserved_words_name_nothing(self, word: str) -> None:
        """
        No reserved word of CEL names a node.
        """
        graph = read(f"meshwalk: 1\nname: g\nstart: '{word}'\nnodes:\n  {word}: {{role: refusal, reason: none}}\n")

        assert [("bad-name", 5, 3)] == places(graph.problems)

    @given(st.text(max_size=70))
    def test_names_are_identifiers(self, name: str) -> None:
        """
        A name is taken exactly if it is an ASCII identifier, short enough and not reserved.
        """
        lawful = name.isascii() and name.isidentifier() and len(name) <= 64 and name not in RESERVED

        assert lawful == (not why_no_identifier(name))


class TestHostile:
    @pytest.mark.parametrize(
        "hostile",
        [
            lambda size: "\n".join(["meshwalk: 1", *(f"start{number}: 1" for number in range(20 * size))]),
            lambda size: "nodes:\n  a:\n    role: answer\n" + "".join(f"    next{number}: 1\n" for number in range(20 * size)),
            lambda size: "nodes:\n" + "".join(f"  n{number}: {{rol: x}}\n" for number in range(10 * size)),
            lambda size: "meshwalk: 1\n" + "start: a\n" * 20 * size,
            lambda size: "nodes: {a: {role: answer, prompt: '" + "{{ a " * 200 * size + "'}}",
            lambda size: "nodes: {a: {role: verifier, of: [" + "a, " * 50 * size + "a]}}",
            lambda size: "meshwalk: " + "9" * 1000 * size,
        ],
        ids=["keys", "node-keys", "nodes", "duplicates", "placeholders", "items", "digits"],
    )
    def test_work_grows_with_the_text(self, hostile: Callable[[int], str]) -> None:
        """
        A text made to be slow is answered with problems in file order, and twice of it in about twice the work.
        """

        def work(size: int) -> int:
            text = hostile(size)
            problems = read(text).problems
            assert problems
            assert in_file_order(problems) == problems

            return instructions(lambda: read(text))

        assert work(40) < 2.5 * work(20)
