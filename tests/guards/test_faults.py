"""
Every fault of a guard has its place, its code, a sentence and where possible a remedy.
"""

from __future__ import annotations

import pytest

from meshwalk.guards import GuardFault, GuardFaults, check
from meshwalk.model.signals import Kind, Signal
from tests.guards.guard_samples import VISIBLE, signals


def _faults(text: str) -> tuple[GuardFault, ...]:
    with pytest.raises(GuardFaults) as caught:
        check(text, VISIBLE)

    return caught.value.faults


def _marked(marked: str) -> tuple[str, int, int]:
    """
    Take out the two carets that mark a place in *marked*.
    """
    before, at, after = marked.split("^")

    return before + at + after, len(before), len(at)


@pytest.mark.parametrize(
    ("marked", "code", "words"),
    [
        ("", "guard-syntax", "empty"),
        ("request.urgent ^and^ request.urgent", "guard-syntax", "'and' is not expected"),
        ("request.size ^=^ 1", "guard-syntax", "'=' has no meaning"),
        ("(request.urgent^ ^", "guard-syntax", "ends where more is expected"),
        ("request.urgent &&^ ^", "guard-syntax", "ends where more is expected"),
        ("request.urgent^)^", "guard-syntax", "')' is not expected"),
        ("request.task == ^'reasoning^", "guard-syntax", "never closed"),
        ("request.team == 'a^\\q^'", "guard-syntax", "no escape"),
        ("request.team == '^\\ud800^'", "guard-syntax", "no escape"),
        ("elapsed > ^4s^", "guard-syntax", "runs into 's'"),
        ("request.size > ^1e999^", "guard-syntax", "too large"),
        ("request.team == 'é😀' && ^§^", "guard-syntax", "'§' has no meaning"),
        ("^request.size / 2^ > 1", "not-in-subset", "division"),
        ("^request.size % 2^ == 1", "not-in-subset", "the remainder"),
        ("^request.team[0]^ == 'a'", "not-in-subset", "indexing"),
        ("request.team.matches('a^(^b')", "bad-pattern", "a ( is never closed"),
        ("request.team.matches(^'\\\\1'^)", "bad-pattern", "there is no such escape"),
        ("request.team.matches(^request.task^)", "bad-pattern", "written out"),
        ("[1].^all^(x, x > 1)", "not-in-subset", "the macro all()"),
        ("[1].^exists^(x, x > 1)", "not-in-subset", "the macro exists()"),
        ("[1].^map^(x, x > 1) == 1", "not-in-subset", "the macro map()"),
        ("^dyn^(request.size) > 1", "not-in-subset", "the function dyn()"),
        ("^type^(request.size) == 1", "not-in-subset", "the function type()"),
        ("^timestamp^('2026-01-01T00:00:00Z') == 1", "not-in-subset", "the function timestamp()"),
        ("request.team == ^null^", "not-in-subset", "null"),
        ("request.team == ^b'a'^", "not-in-subset", "bytes"),
        ("request.size == ^1u^", "not-in-subset", "an unsigned number"),
        ("request.size == ^9007199254740993^", "not-in-subset", "a whole number that a double cannot hold"),
        ("request.size == ^0x20000000000001^", "not-in-subset", "a whole number that a double cannot hold"),
        ("^{'a': 1}^ == 1", "not-in-subset", "a map or a message"),
        ("^request.Task{size: 1}^ == 1", "not-in-subset", "a map or a message"),
        ("^'a'(1)^ == 1", "not-in-subset", "a call of what is no function's name"),
        ("request.team.^'a'(1)^ == 1", "not-in-subset", "a call of what is no function's name"),
        (".^size('a')^ == 1", "not-in-subset", "a call of what is no function's name"),
        ("^[1]^ == 1", "not-in-subset", "a list, except"),
        ("request.task in ^request.team^", "not-in-subset", "`in` without a list"),
        ("request.team == ^'a' + 'b'^", "not-in-subset", "texts joined"),
        ("^'a'.length^ == 1", "not-in-subset", "a field of a value"),
        (".^request^ == 1", "not-in-subset", "a leading dot"),
        ("request.^?^team == 'a'", "not-in-subset", "optional values"),
        ("^startsWith^(request.team)", "not-in-subset", "the function startsWith()"),
        ("^request.sise^ > 1", "unknown-signal", "unknown signal 'request.sise'"),
        ("has(^request . sise^)", "unknown-signal", "unknown signal 'request.sise'"),
        ("^error.class^ == 'timeout'", "unknown-signal", "'error.class' cannot be read here"),
        ("request.task == ^'reasonin'^", "unknown-member", "'reasonin' is not a value of 'request.task'"),
        ("^'x'^ != request.task", "unknown-member", "'x' is not a value"),
        ("request.task in ['reasoning', ^'x'^]", "unknown-member", "'x' is not a value"),
        ("^request.size == '800'^", "type-mismatch", "compares a number with text, which is never true"),
        ("^request.size != '800'^", "type-mismatch", "which is always true"),
        ("^1 < request.size < 3^", "type-mismatch", "compares true or false with a number"),
        ("^request.size^ && request.urgent", "type-mismatch", "what stands beside && must be true or false"),
        ("!^elapsed^", "type-mismatch", "what stands after ! must be true or false, and this is a duration"),
        ("-^elapsed^ < elapsed", "type-mismatch", "what stands after - must be a number"),
        ("^elapsed * 2^ > elapsed", "type-mismatch", "* does not take a duration and a number"),
        ("^request.size^ ? true : false", "type-mismatch", "what stands before ? must be true or false"),
        ("(^request.urgent ? 1 : 'a'^) == 1", "type-mismatch", "both values of ?: must have one type"),
        ("request.size in [1, ^'2'^]", "type-mismatch", "each value of this list must be a number"),
        ("size(^request.size^) > 1", "type-mismatch", "what size() counts must be text"),
        ("^size()^ > 1", "type-mismatch", "wrong number of values"),
        ("^request.team.contains('a', 'b')^", "type-mismatch", "wrong number of values"),
        ("^request.size^.contains('a')", "type-mismatch", "what stands before .contains() must be text"),
        ("request.team.contains(^1^)", "type-mismatch", "what contains() looks for must be text"),
        ("has(^1^)", "type-mismatch", "has() takes the name of a signal"),
        ("elapsed > duration(^'4x'^)", "bad-duration", "'4x' is not a duration"),
        ("elapsed > duration(^'1ns'^)", "bad-duration", "finer than a microsecond"),
        ("elapsed > duration(^'999999999999h'^)", "bad-duration", "longer than ten thousand years"),
        ("elapsed > duration(^request.team^)", "bad-duration", "takes a text that is written out"),
        ("^request.size + 1^", "not-a-condition", "this guard is a number"),
        ("(^request.task^)", "not-a-condition", "this guard is text"),
        ("(" * 24 + "^(^" + "true" + ")" * 25, "guard-too-deep", "nested too deeply"),
        ("^1" + " + 1" * 40 + " > 1^", "guard-too-deep", "nested too deeply"),
        ("t" * 4096 + "^ry^", "guard-too-long", "has 4098 characters"),
    ],
)
def test_fault_has_place_code_and_words(marked: str, code: str, words: str) -> None:
    """
    A fault points at the very characters that are wrong, counted in code points.
    """
    text, offset, length = _marked(marked or "^^")

    (fault,) = _faults(text)

    assert (offset, length, code) == fault[:3]
    assert words in fault.message


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("request.sise > 1", "did you mean 'request.size'? the caller writes request: size, task, team, urgent"),
        ("signals.tokns > 1", "did you mean 'signals.tokens'? node 'intake' writes signals: depth, tokens"),
        ("hop.smal.agree", "did you mean 'hop.small.agree'? names here that start with hop: small"),
        ("confidence > 1", "did you mean 'output.confidence'? names here start with: "),
        ("zzz > 1", "names here start with: deadline, elapsed, hop, output, request, signals, thresholds"),
        ("request.task == reasoning", "write text in quotes: 'reasoning' is a value of request.task"),
        ("request.urgent == True", "write true"),
        ("request.task == 'reasonin'", "did you mean 'reasoning'? it is one of: retrieval, reasoning"),
        ("request.size == '800'", "write the number without quotes: request.size == 800"),
        ("'800' > request.size", "write the number without quotes: 800 > request.size"),
        ("request.team == 800", "write the text in quotes: request.team == '800'"),
        ("elapsed > 4", "write a duration with its unit: elapsed > duration('4s')"),
        ("elapsed > '4s'", "write it as a duration: elapsed > duration('4s')"),
        ("request.urgent == 'true'", "write it without quotes: request.urgent == true"),
        ("1 < request.size < 3", "join two comparisons with &&"),
        ("request.size + 1", "compare it: request.size + 1 > 0"),
        ("true ? 1 : 2", "compare it: (true ? 1 : 2) > 0"),
        ("(request.urgent || true) == 'true'", "write it without quotes: (request.urgent || true) == true"),
        ("'true' == (request.size in [1])", "write it without quotes: true == (request.size in [1])"),
        ("request.task", "compare it: request.task == 'retrieval'"),
        ("elapsed", "compare it: elapsed > duration('1s')"),
        ("elapsed > 4s", "write duration('4s')"),
        ("request.urgent and true", "write && for 'and'"),
        ("not request.urgent", "write ! for 'not'"),
        ("request.size = 1", "write == to compare"),
        ("(request.urgent", "the '(' at character 1 is never closed"),
        ("error.class == 'timeout'", "edges of `on_error` are chosen by their `class:`"),
        ("request.size / 2 > 1", "multiply: x * 0.5"),
        ("request.team.matches('a(?=b)')", "match what stands around"),
        ("request.team in request.team", "write in ['a', 'b'], or text.contains('a')"),
        ("startsWith(request.team)", "write text.startsWith(...)"),
        ("9007199254740993 == request.size", "the nearest that it can is 9007199254740992"),
        ("'a'.length == 1", "guards have && || !"),
    ],
)
def test_help_names_the_remedy(text: str, help: str) -> None:
    """
    Where the remedy is known, the help line says what to write instead.
    """
    (fault,) = _faults(text)

    assert fault.help.startswith(help)


@pytest.mark.parametrize(
    ("name", "visible", "help"),
    [
        ("output.confidence", ["elapsed"], "the node that this edge leaves writes no outputs"),
        ("signals.tokens", ["elapsed"], "no node of this graph writes signals"),
        ("thresholds.high", ["elapsed"], "this graph declares no thresholds"),
        ("whatever", [], "no name can be read here"),
    ],
)
def test_name_that_is_elsewhere(name: str, visible: list[str], help: str) -> None:
    """
    A name that exists on other edges, or would with another node, is told apart from a misspelt one.
    """
    here = signals(*(Signal(one, Kind.TEXT, one, "the walk") for one in visible))

    with pytest.raises(GuardFaults) as caught:
        check(f"has({name})", here)

    assert caught.value.faults[0].help.startswith(help)


def test_long_lists_are_cut() -> None:
    """
    A help line names a dozen signals and says how many there are besides.
    """
    many = signals(*(Signal(f"request.a{index:02}", Kind.TEXT, f"request.a{index:02}", "the caller") for index in range(15)))

    with pytest.raises(GuardFaults) as caught:
        check("has(request.zzz)", many)

    assert caught.value.faults[0].help.endswith("a10, a11 and 3 more")


@pytest.mark.parametrize(
    ("name", "help"),
    [
        ("hop.n7.confidense", "did you mean 'hop.n7.confidence'?"),
        ("hup.n7.confidence", "did you mean 'hop.n7.confidence'?"),
        ("n7.confidence", "did you mean 'hop.n7.confidence'?"),
    ],
)
def test_misspelling_is_understood_among_thousands(name: str, help: str) -> None:
    """
    A large graph's names are narrowed to the room or the last word before they are compared; the meant one is still found.
    """
    many = signals(*(Signal(slot, Kind.NUMBER, slot, "it") for slot in (f"hop.n{index}.confidence" for index in range(3000))))

    with pytest.raises(GuardFaults) as caught:
        check(f"has({name})", many)

    assert caught.value.faults[0].help.startswith(help)


def test_all_faults_of_one_guard() -> None:
    """
    Every fault of a guard is found at once and said in the order of the text.
    """
    text = "request.sise > 1 && request.task == 'x' || elapsed > duration('4x') || request.size / 2 > 1 || hop.smal.agree"
    found = _faults(text)
    codes = [fault.code for fault in found]

    assert ["unknown-signal", "unknown-member", "bad-duration", "not-in-subset", "unknown-signal"] == codes
    assert sorted(one.offset for one in found) == [one.offset for one in found]


def test_one_fault_is_said_once() -> None:
    """
    What follows from a fault is no fault of its own.
    """
    (fault,) = _faults("!(request.sise + 1 > 2 ? 1 > 0 : request.urgent) && 1 > 0")

    assert "unknown-signal" == fault.code


def test_error_prints_every_fault() -> None:
    """
    The exception's own text says each fault with its code.
    """
    with pytest.raises(GuardFaults, match=r"unknown signal 'a' \[unknown-signal\]; unknown signal 'b' \[unknown-signal\]"):
        check("a || b", VISIBLE)
