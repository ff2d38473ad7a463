"""
YAML as version 1.2 means it, with places, and within bounds.
"""

from __future__ import annotations

import contextlib
import math
import tracemalloc
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.loader.yaml.document import (
    MAX_BYTES,
    MAX_DEPTH,
    Scalar,
    Series,
    Table,
    plain,
    read_document,
    resolve,
    split_lines,
)
from meshwalk.model.problems import GraphError


def tree(text: str) -> Any:
    return read_document(text.encode(), "g.yaml").root


def refusal(text: bytes) -> tuple[str, int, int]:
    with pytest.raises(GraphError) as caught:
        read_document(text, "g.yaml")
    problem = caught.value.problems[-1]

    return problem.code, problem.span.line, problem.span.column


class TestMeaning:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("no", "no"),
            ("yes", "yes"),
            ("on", "on"),
            ("true", True),
            ("FALSE", False),
            ("tRue", "tRue"),
            ("~", None),
            ("null", None),
            ("nULL", "nULL"),
            ("1:30", "1:30"),
            ("190:20:30", "190:20:30"),
            ("2026-11-23", "2026-11-23"),
            ("012", 12),
            ("0o17", 15),
            ("0x1F", 31),
            ("0b11", "0b11"),
            ("1_000", "1_000"),
            ("+12", 12),
            ("-7", -7),
            ("1e3", 1000.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-.5E-1", -0.05),
            ("1.2.3", "1.2.3"),
            (".inf", math.inf),
            ("-.INF", -math.inf),
            ("+", "+"),
            (".", "."),
            ("-", "-"),
            ("9" * 40, int("9" * 40)),
            ("9" * 41, 1e41),
            ("9" * 5000, math.inf),
            ("0x" + "f" * 5000, math.inf),
            ("=", "="),
            ("<<", "<<"),
        ],
    )
    def test_plain_scalars_mean_what_yaml_1_2_says(self, text: str, value: object) -> None:
        """
        A plain scalar is what the core schema of YAML 1.2 makes of it.
        """
        found = resolve(text)

        assert value == found
        assert type(value) is type(found)

    def test_nan(self) -> None:
        """
        `.nan` is a number that is none.
        """
        assert math.isnan(resolve(".nan"))

    @pytest.mark.parametrize("text", ["'1'", '"true"', "!!str 5", "! 5", "|-\n  1", ">-\n  1"])
    def test_quoted_tagged_and_block_scalars_are_text(self, text: str) -> None:
        """
        What is quoted, tagged as text or written as a block is text.
        """
        assert isinstance(tree(f"a: {text}").entries["a"].value, str)

    def test_keys_are_what_was_written(self) -> None:
        """
        A key is its text, though as a value it would be a number, a truth value or nothing.
        """
        assert ["1", "true", "null", "1e3", ""] == list(tree("1: a\ntrue: b\nnull: c\n1e3: d\n'': e\n").entries)

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(10**30), 10**30)
            | st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Z"])),
            lambda inner: (
                st.lists(inner, max_size=4) | st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), inner, max_size=4)
            ),
            max_leaves=15,
        )
    )
    def test_what_a_yaml_library_writes_is_read_back(self, value: object) -> None:
        """
        A document that PyYAML writes with quoted text has the same meaning here.
        """

        class Quoting(yaml.SafeDumper):
            pass

        Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))

        assert value == plain(tree(yaml.dump(value, Dumper=Quoting, allow_unicode=True)))


class TestPlaces:
    def test_scalar_knows_its_quotes(self) -> None:
        """
        The span covers the quotes, the text's span starts behind them.
        """
        scalar = tree('key: "text"\n').entries["key"]

        assert (1, 6, 6) == scalar.span[1:]
        assert (1, 7, 4) == scalar.text_span[1:]
        assert scalar.exact

    @pytest.mark.parametrize(
        ("text", "exact"),
        [
            ("plain words", True),
            ("'quoted'", True),
            ("'it''s'", False),
            (r'"a\tb"', False),
            ("|\n  block", False),
            (">\n  folded", False),
            ("two\n  lines", False),
            ('"two\n  lines"', False),
            ('"é🙂"', True),
        ],
    )
    def test_exact_says_whether_columns_map(self, text: str, exact: bool) -> None:
        """
        Columns inside a text map one to one unless it has escapes or goes over lines.
        """
        assert exact is tree(f"a: {text}\n").entries["a"].exact

    def test_columns_count_code_points(self) -> None:
        """
        A character outside the basic plane takes one column, and a byte order mark none.
        """
        found = tree("\ufeffé🙂: {a: 1}\n")

        assert (1, 1, 2) == found.key_spans["é🙂"][1:]
        assert (1, 5, 6) == found.entries["é🙂"].span[1:]

    def test_block_covers_what_stands_on_its_first_line(self) -> None:
        """
        A block's span ends with its first line's content, not with the comment behind it.
        """
        items = tree("- to: x  # why\n  when: y\n").items

        assert (1, 3, 5) == items[0].span[1:]

    @given(st.text(alphabet=st.sampled_from("ab \n\r\x85\u2028\u2029\x0b\x0c")))
    def test_lines_are_yaml_lines(self, text: str) -> None:
        """
        Text is split into lines where libyaml counts one.
        """
        source = "a: 1\n" + "".join(f"# {char}" if char not in "\n\r\x85\u2028\u2029" else char for char in text) + "\nb: 2\n"
        with contextlib.suppress(GraphError):
            assert "b: 2" == split_lines(source)[tree(source).key_spans["b"].line - 1]


class TestSharing:
    def test_alias_is_what_it_stands_for(self) -> None:
        """
        An alias repeats its anchor, with the anchor's places.
        """
        found = tree("a: &x {k: 1}\nb: *x\n")

        assert found.entries["a"] is found.entries["b"]

    def test_anchor_may_be_set_again(self) -> None:
        """
        An alias means the anchor that was set last.
        """
        assert {"a": 1, "b": 2, "c": 2} == plain(tree("a: &x 1\nb: &x 2\nc: *x\n"))

    def test_unknown_alias(self) -> None:
        """
        An alias without an anchor before it ends the reading, at its place.
        """
        assert ("unknown-alias", 2, 4) == refusal(b"a: 1\nb: *x\nc: &x 1\n")

    def test_alias_inside_what_it_stands_for(self) -> None:
        """
        An alias of the collection it stands in is refused, for it has no end.
        """
        assert ("recursive-alias", 1, 9) == refusal(b"a: &x [ *x ]\n")

    def test_alias_bomb(self) -> None:
        """
        Aliases of aliases are counted as what they stand for, so that few bytes cannot become many parts.
        """
        rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]

        assert "too-many-parts" == refusal("\n".join(rows).encode())[0]

    def test_aliases_count_towards_depth(self) -> None:
        """
        An alias is as deep as what it stands for.
        """
        rows = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, MAX_DEPTH + 5))]

        assert ("too-deep", MAX_DEPTH) == refusal("\n".join(rows).encode())[:2]


class TestBounds:
    @pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- ", b"? "])
    def test_deep_nesting_is_refused(self, opening: bytes) -> None:
        """
        Nesting past the bound is refused where it goes too deep, however much of it follows.
        """
        code, line, column = refusal(opening * 200_000)

        assert ("too-deep", 1) == (code, line)
        # libyaml from 0.2.6 on reads ahead up to a bound of its own.
        assert column in {len(opening) * MAX_DEPTH + 1, len(opening) * 1000 + 1}

    def test_deepest_that_is_taken(self) -> None:
        """
        Nesting up to the bound is taken.
        """
        found = tree("[" * MAX_DEPTH + "]" * MAX_DEPTH)

        assert MAX_DEPTH == found.height

    def test_large_text_is_refused_unread(self) -> None:
        """
        Fifty megabytes are refused without a copy of them, so nobody looks into them.
        """
        text = b"a" * 50_000_000
        tracemalloc.start()
        refused = refusal(text)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert ("file-too-large", 1, 1) == refused
        assert peak < 1_000_000

    def test_largest_text_that_is_taken(self) -> None:
        """
        Text of the most bytes is read.
        """
        assert isinstance(tree("a: 1\n#" + "x" * (MAX_BYTES - 6)), Table)


class TestFaults:
    def test_duplicate_key_is_marked_and_not_read(self) -> None:
        """
        The first of two equal keys counts, the second is a fault at its own place.
        """
        document = read_document(b"a: 1\nb: 2\n'a': 3\n", "g.yaml")
        problem = document.problems[0]

        assert {"a": 1, "b": 2} == plain(document.root)
        assert ("duplicate-key", 3, 1) == (problem.code, *problem.span[1:3])
        assert "line 1" in problem.message

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (b"", ("not-a-graph", 1, 1)),
            (b"# nothing\n", ("not-a-graph", 1, 1)),
            (b"a: [1, 2\nb: 3\n", ("bad-yaml", 2, 2)),
            (b"a: 'open\n", ("bad-yaml", 2, 1)),
            (b"a: 1\n\tb: 2\n", ("bad-yaml", 2, 1)),
            (b"a: @x\n", ("bad-yaml", 1, 4)),
            (b"a: \xff\n", ("not-utf8", 1, 4)),
            (b"a: \xc3\xa9\nb: \xe2\x82", ("not-utf8", 2, 4)),
            (b"a: 1\nb: \x00\n", ("bad-yaml", 2, 4)),
            (b"\xff\xfea\x00", ("not-utf8", 1, 1)),
            (b"%YAML 3.0\n--- a\n", ("bad-yaml", 1, 1)),
        ],
    )
    def test_what_is_no_yaml_is_refused_at_its_place(self, text: bytes, expected: tuple[str, int, int]) -> None:
        """
        Text that cannot be read is refused with the place where reading ended.
        """
        assert expected == refusal(text)

    @pytest.mark.parametrize("char", ["\0", "\x08", "\x1b", "\r", "\x7f", "\x85", "\x9b"])
    def test_escaped_control_characters_are_refused(self, char: str) -> None:
        """
        What would reach a terminal as a command is one fault at the text that holds it, in a key and in a value.
        """
        escaped = f'"one\\x{ord(char):02x}two\\x00"'
        document = read_document(f"a: {escaped}\n{escaped}: 1\n".encode(), "g.yaml")

        assert [("control-character", 1, 4), ("control-character", 2, 1)] == [
            (problem.code, problem.span.line, problem.span.column) for problem in document.problems
        ]
        assert {"a": "onetwo", "onetwo": 1} == plain(document.root)
        assert f"U+{ord(char):04X}" in document.problems[0].message

    def test_tabs_and_line_breaks_are_text(self) -> None:
        """
        Escaped as well as written out, they are no fault.
        """
        document = read_document(b'a: "one\\ttwo\\n"\nb: |\r\n  three\r\n', "g.yaml")

        assert [] == document.problems
        assert {"a": "one\ttwo\n", "b": "three\n"} == plain(document.root)

    def test_faults_before_the_end_are_kept(self) -> None:
        """
        What was found before the text broke off is said too.
        """
        with pytest.raises(GraphError) as caught:
            read_document(b"a: 1\na: 2\nb: [\n", "g.yaml")

        assert ["duplicate-key", "bad-yaml"] == [problem.code for problem in caught.value.problems]

    def test_tab_has_a_remedy(self) -> None:
        """
        Who indents with a tab is told to use spaces.
        """
        with pytest.raises(GraphError) as caught:
            read_document(b"a:\n\tb: 1\n", "g.yaml")

        assert "spaces, not tabs" in caught.value.problems[0].help


class TestFuzz:
    @given(st.binary(max_size=200))
    def test_bytes_are_read_or_refused(self, text: bytes) -> None:
        """
        Any bytes are a tree or a `GraphError`, never another error.
        """
        with contextlib.suppress(GraphError):
            assert isinstance(read_document(text, "g.yaml").root, Scalar | Table | Series)

    @given(st.text(alphabet=st.sampled_from("ab01:-?,[]{}#&*!|>'\"%@` \n\t.~<"), max_size=60))
    def test_marks_of_the_language_are_read_or_refused(self, text: str) -> None:
        """
        Any jumble of YAML's own marks is a tree or a `GraphError`, with places inside the text.
        """
        try:
            problems = read_document(text.encode(), "g.yaml").problems
        except GraphError as error:
            problems = list(error.problems)
        lines = split_lines(text)

        assert all(1 <= problem.span.line <= len(lines) and problem.span.column >= 1 for problem in problems)
