"""
The faults of a graph's text: every sentence, code and remedy in one place.

Each function is named for its fault and returns it.
"""
# ruff: noqa: D103 (a docstring would say the sentence a second time)

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from meshwalk.loader.messages.remedies import number_in, table_for, type_for
from meshwalk.model.problems import Problem, Span
from meshwalk.model.spelling import did_you_mean


_LONGEST_QUOTE = 60


# The code of a pattern that an earlier version took; a stored plan may hold it.
FOREIGN_PATTERN = "foreign-pattern"


def quoted(text: object) -> str:
    """
    Quote *text* in single quotes, on one line, cut short if it is long.
    """
    shown = str(text)
    shown = shown if len(shown) <= _LONGEST_QUOTE else shown[: _LONGEST_QUOTE - 1] + "…"

    return "'" + "".join(char if char.isprintable() else repr(char)[1:-1] for char in shown) + "'"


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)


# ---- the file -------------------------------------------------------------------------------------------------------


def too_large(file: str, max_bytes: int) -> Problem:
    return Problem(
        Span(file, 1, 1),
        "file-too-large",
        f"a graph has at most {max_bytes:,} bytes, and this file has more",
        "keep data in files of their own and name them in the graph",
    )


def not_utf8(span: Span) -> Problem:
    return Problem(span, "not-utf8", "this file is not UTF-8 from here on", "save it as UTF-8")


def not_yaml(span: Span, problem: str, context: str) -> Problem:
    remedy = ""
    if "cannot start any token" in problem:
        remedy = "indent with spaces, not tabs, and quote text that starts with @, ` or %"
    elif "scanning a tag" in context:
        remedy = 'quote a guard or a text that begins with !, as in when: "!request.vip"'

    return Problem(
        span,
        "bad-yaml",
        f"this is not YAML: {problem}{f' {context}' if context else ''}",
        remedy,
    )


def too_many_parts(span: Span, max_parts: int) -> Problem:
    return Problem(
        span,
        "too-many-parts",
        f"a graph has at most {max_parts:,} keys and values, aliases counted as what they stand for",
        "split the graph, or repeat less through aliases",
    )


def nested_too_deep(span: Span, max_depth: int) -> Problem:
    return Problem(
        span, "too-deep", f"a graph is nested at most {max_depth} deep", "no part of a graph needs to be nested deeper than 8"
    )


def second_document(span: Span) -> Problem:
    return Problem(span, "second-document", "a second document starts here, and a file holds one graph", "remove the '---'")


def tag_not_taken(span: Span, tag: str) -> Problem:
    shown = tag.replace("tag:yaml.org,2002:", "!!")

    return Problem(span, "yaml-tag", f"the tag {quoted(shown)} is not taken", "leave the tag out, and quote what shall be text")


def unknown_alias(span: Span, anchor: str) -> Problem:
    return Problem(span, "unknown-alias", f"no anchor '&{anchor}' stands before this alias")


def refers_to_itself(span: Span, anchor: str) -> Problem:
    return Problem(span, "recursive-alias", f"the alias '*{anchor}' stands inside what it refers to")


def key_is_no_text(span: Span) -> Problem:
    return Problem(span, "bad-key", "a key is text, not a list or a table")


def already_there(span: Span, key: str, first: Span) -> Problem:
    return Problem(
        span,
        "duplicate-key",
        f"the key {quoted(key)} is already there, in line {first.line}",
        "remove one of them; this one was not read",
    )


def merge_key(span: Span) -> Problem:
    return Problem(span, "merge-key", "merge keys are no part of YAML 1.2", "write the keys out")


def control_character(span: Span, code: int) -> Problem:
    return Problem(
        span,
        "control-character",
        f"this text holds the control character U+{code:04X}",
        "of those, a graph takes tabs and line breaks only",
    )


def empty_file(span: Span) -> Problem:
    return not_a_graph(span, "there is nothing in this file, and ")


def not_a_graph(span: Span, why: str = "") -> Problem:
    return Problem(
        span,
        "not-a-graph",
        f"{why}a graph is a table of keys",
        "start with 'meshwalk: 1', 'name:', 'start:', 'backends:' and 'nodes:'",
    )


# ---- keys and values ------------------------------------------------------------------------------------------------


def unknown_key(span: Span, subject: str, key: str, known: Iterable[str], elsewhere: str = "") -> Problem:
    known = tuple(known)
    remedy = elsewhere or did_you_mean(key, known) or (f"it takes: {_list(known)}" if known else "")

    return Problem(span, "unknown-key", f"{subject} takes no key {quoted(key)}", remedy)


def missing_key(span: Span, subject: str, key: str, remedy: str = "") -> Problem:
    return Problem(span, "missing-key", f"{subject} needs the key '{key}'", remedy)


def no_value(span: Span, subject: str, key: str) -> Problem:
    return Problem(span, "no-value", f"{quoted(key)} of {subject} has no value", "write one, or leave the key out")


def wrong_type(span: Span, what: str, value: Any, wanted: str, remedy: str = "") -> Problem:
    if not remedy and wanted == "text" and isinstance(value, bool | int | float):
        remedy = "put it in quotes"
    if not remedy and wanted == "a table of keys":
        remedy = table_for(what)
    if not remedy and wanted == "a number" and isinstance(value, str):
        remedy = number_in(value)
    if wanted == "true or false" and value in ("yes", "no", "on", "off"):
        remedy = f"YAML 1.2 reads '{value}' as text; write {'true' if value in ('yes', 'on') else 'false'}"

    return Problem(span, "wrong-type", f"{what} is {worded(value)}, and takes {wanted}", remedy)


def worded(value: Any) -> str:
    """
    Return the kind of *value*, in words.
    """
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a table of keys"


_KINDS_OF_WORD = {
    "class": "class",
    "role": "role",
    "kind": "kind",
    "use": "use",
    "extract": "extractor",
    "type": "type",
    "from": "source",
    "sampling": "parameter",
    "error": "error",
    "away": "policy",
    "scope": "scope",
    "sticky": "scope",
    "outcome": "outcome",
    "cause": "cause",
    "cost": "source",
    "takes": "kind",
    "rights": "right",
    "algorithms": "algorithm",
}


def unknown_word(span: Span, what: str, key: str, word: str, known: Iterable[str]) -> Problem:
    known = tuple(known)
    kind = _KINDS_OF_WORD[key]
    takes = f"'{known[0]}' is the only one" if len(known) == 1 else f"there are: {_list(known)}"

    remedy = type_for(word) if kind == "type" else ""

    return Problem(
        span,
        f"unknown-{kind}",
        f"{what} is {quoted(word)}, and there is no such {kind}",
        remedy or did_you_mean(word, known) or takes,
    )


# The type that was wanted, by pydantic's name of the fault.
_WANTED: Mapping[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table of keys",
    "model_type": "a table of keys",
}

_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def from_pydantic(error: Mapping[str, Any], span: Span, what: str, key: str) -> Problem:
    """
    Return pydantic's finding in our words.

    Args:
        what: The value, in words.
        key: The key it stands under.
    """
    kind, value, context = str(error["type"]), error["input"], error.get("ctx", {})
    if kind in _WANTED:
        return wrong_type(span, what, value, _WANTED[kind])
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        if isinstance(value, str):
            return unknown_word(span, what, key, value, known)
        return wrong_type(span, what, value, f"one of: {_list(known)}")
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return out_of_range(span, what, value, f"{word} {_number(context[bound])}")
    if kind == "finite_number":
        return out_of_range(span, what, value, "a finite number")
    if kind == "too_short":
        return Problem(span, "list-too-short", f"{what} has {_too_few(context)}")
    if kind == "too_long":
        return Problem(span, "list-too-long", f"{what} has more than {context['max_length']} items")

    # Our own validators give code, sentence and remedy themselves.
    return Problem(span, kind.replace("_", "-"), f"{what} {error['msg']}", context.get("help", ""))


def _too_few(context: Mapping[str, Any]) -> str:
    minimum, actual = context["min_length"], context["actual_length"]

    return "nothing in it" if actual == 0 else f"{actual} item, and needs at least {minimum}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def out_of_range(span: Span, what: str, value: Any, wanted: str, remedy: str = "") -> Problem:
    shown = quoted(value) if isinstance(value, str) else _number(value)

    return Problem(span, "out-of-range", f"{what} is {shown}, and takes {wanted}", remedy)


# ---- names ----------------------------------------------------------------------------------------------------------


def bad_name(span: Span, what: str, name: str, why: str) -> Problem:
    return Problem(
        span, "bad-name", f"{quoted(name)} cannot name {what}: {why}", "guards speak this name: use letters, digits and _"
    )


def reserved_name(span: Span, name: str, why: str, remedy: str) -> Problem:
    return Problem(span, "reserved-name", f"{quoted(name)} {why}", remedy)


def reserved_attribute(span: Span, name: str) -> Problem:
    return Problem(
        span,
        "attribute-reserved",
        f"an attribute cannot be called {quoted(name)}: the calls that route a request have an argument of that name",
        "take another name, here and in the guards that read it",
    )


def duplicate_id(span: Span, name: str, first: Span) -> Problem:
    return Problem(
        span,
        "duplicate-id",
        f"another edge, in line {first.line}, has the id {quoted(name)}",
        "give each edge an id of its own",
    )


# ---- patterns, prompts, secrets, files ------------------------------------------------------------------------------


def bad_pattern(span: Span, what: str, why: str) -> Problem:
    return Problem(span, "bad-pattern", f"{what} is no regular expression: {why}")


def foreign_pattern(span: Span, what: str, why: str, remedy: str) -> Problem:
    return Problem(span, FOREIGN_PATTERN, f"{what} cannot be used: {why}", remedy)


def stated_without_pattern(span: Span, node: str, key: str) -> Problem:
    return Problem(
        span,
        "missing-key",
        f"the stated {key} of node '{node}' needs the key 'pattern'",
        r'for example pattern: "CONF: ([0-9.]+)"',
    )


def pattern_without_stated(span: Span, node: str, key: str, source: str) -> Problem:
    return Problem(
        span,
        "unknown-key",
        f"the {key} of node '{node}' is '{source}', which takes no 'pattern'",
        "a pattern is for 'from: stated'",
    )


def agreement_without_samples(span: Span, node: str) -> Problem:
    return Problem(
        span,
        "missing-key",
        f"the confidence of node '{node}' is the agreement of several answers, and needs the key 'samples'",
        "for example samples: 5; each is paid for as output",
    )


def key_of_agreement(span: Span, node: str, key: str, source: str) -> Problem:
    return Problem(
        span,
        "unknown-key",
        f"the confidence of node '{node}' is '{source}', which takes no '{key}'",
        f"'{key}' is for 'from: agreement'",
    )


def wrong_groups(span: Span, what: str, groups: int) -> Problem:
    return Problem(
        span,
        "wrong-groups",
        f"{what} has {groups or 'no'} group{'' if groups == 1 else 's'}, and needs exactly one, round the number",
        r'for example "CONF: ([0-9.]+)"; a group that is not the number is written (?:…)',
    )


def secret_in_graph(span: Span, subject: str, what: str, remedy: str) -> Problem:
    return Problem(span, "secret-in-graph", f"{subject} holds {what}, and a graph holds no secrets", remedy)


def missing_file(span: Span, name: str, folder: str, why: str) -> Problem:
    return Problem(
        span,
        "missing-file",
        f"the file {quoted(name)} {why}",
        f"paths start at the graph's folder, {quoted(folder)}",
    )


def bad_times(span: Span, node: str, longer: str, shorter: str) -> Problem:
    return Problem(
        span, "out-of-range", f"'{longer}' of node '{node}' is longer than its '{shorter}'", f"it has to fit in '{shorter}'"
    )


def quantiles_crossed(span: Span, subject: str) -> Problem:
    return Problem(
        span, "out-of-range", f"'latency.p99' of {subject} is shorter than its 'latency.p50'", "p99 is the longer of the two"
    )


# ---- sections -------------------------------------------------------------------------------------------------------


def empty_part(span: Span, subject: str) -> Problem:
    return Problem(span, "no-value", f"{subject} has nothing under it", "write its keys, or leave it out")


def built_in(span: Span, name: str) -> Problem:
    return reserved_name(span, name, "is an attribute that every graph has", "remove it here; guards can read it as it is")


def node_named_done(span: Span) -> Problem:
    return reserved_name(span, "done", "is where answers are served, so no node can have this name", "name it otherwise")


def no_nodes(span: Span) -> Problem:
    return Problem(span, "no-nodes", "the graph has no nodes", "a walk needs a node to start at")


def caps_nothing(span: Span, scope: str, caps: Iterable[str]) -> Problem:
    return Problem(span, "no-cap", f"budget '{scope}' caps nothing", f"give it at least one of: {_list(caps)}")


def key_of_other_type(span: Span, subject: str, key: str, type: str, owner: str) -> Problem:
    return Problem(span, "unknown-key", f"{subject} is a {type}, which takes no '{key}'", f"'{key}' is for 'type: {owner}'")


def bad_default(span: Span, subject: str, why: str) -> Problem:
    return Problem(span, "bad-default", f"the default of {subject} {why}")


def outside_own_range(span: Span, subject: str, value: float, range: tuple[float, float]) -> Problem:
    return Problem(span, "out-of-range", f"{subject} is {value:g}, outside its own range {range[0]:g} to {range[1]:g}")
