"""
The only use of the CEL library: our questions to it, and its answers in our words.

The library sees a *shape*: one short word a token, `x >= x && f ( x )` where the author wrote
`output.confidence >= 0.8 && has(request.task)`.  So names, numbers and texts need no escaping, a place in the shape is a
token's index, and a graph's thousand guards share a few shapes, each parsed once.  `parse` asks for the grammar; `judge` asks
for the types, with each word standing for its kind, after our own check has found nothing wrong: our wording, the library's
verdict.  `x`, `f` and the kinds' words are no names of CEL's own, so no macro is expanded and no container is searched.

Why two questions: a type fault hides the tree, and the library's own sentences would name `n` and `t`.

The library gives its tree as a serialised `cel.expr.ParsedExpr` and ships no descriptor for it, so the few fields that we
read are described here, in a pool of their own.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from cel_expr_python import cel
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

from meshwalk.guards.tokens import Sort, Token
from meshwalk.model.signals import Kind


class Leaf(NamedTuple):
    """
    A name or a literal; *first* and *last* are token indexes, as everywhere in a form.
    """

    first: int
    last: int


class Apply(NamedTuple):
    """
    An operator, a function or a method with its operands; a method's first operand is its receiver.

    Args:
        op: CEL's name of an operator (`_&&_`), `f()` for a function, `.f()` for a method.
        at: The token that names it.
    """

    first: int
    last: int
    op: str
    at: int
    operands: tuple[Term, ...]


class Listing(NamedTuple):
    """
    A list literal.
    """

    first: int
    last: int
    items: tuple[Term, ...]


class Foreign(NamedTuple):
    """
    A construct that guards do not have, in words.
    """

    first: int
    last: int
    construct: str


Term = Leaf | Apply | Listing | Foreign


class Refused(Exception):
    """
    The library's refusal of a shape.

    Args:
        index: The token it stumbled at; one past the last for the end, None for no place.
    """

    def __init__(self, message: str, index: int | None) -> None:
        self.index = index
        super().__init__(message)


class Checker(Protocol):
    """
    An implementation of the language; anything that parses and types CEL can stand here.
    """

    def parse(self, shape: str) -> Term:
        """
        Read the grammar of an untyped *shape*.

        Raises:
            Refused: Where it is not CEL, or too deep to read.
        """

    def judge(self, shape: str) -> None:
        """
        Check that a typed *shape* is a condition.

        Raises:
            Refused: Where its types do not go together, or it is no condition.
        """


# The words that shapes are made of, by kind, for `judge`.  `size` is an int in CEL, which does not compare with a double.
_KINDS: Mapping[Kind, str] = {Kind.NUMBER: "n", Kind.TEXT: "t", Kind.BOOL: "b", Kind.DURATION: "d"}
_ALIASES: Mapping[str, str] = {"has": "has_", "size": "size_"}
_OPERATORS = {"!_", "-_", "_?_:_", "@in", "_[_]"} | {
    f"_{op}_" for op in ("&&", "||", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%")
}
_LED = "a leading dot"
_CALLS = {Sort.FUNCTION, Sort.METHOD}


def shape(tokens: Sequence[Token]) -> str:
    """
    Write *tokens* for `Checker.parse`.
    """
    return " ".join(_word(token) for token in tokens)


def _word(token: Token) -> str:
    if token.sort is Sort.MARK:
        return token.text

    return "f" if token.sort in _CALLS else "x"


def typed_shape(tokens: Sequence[Token], kinds: Mapping[int, Kind]) -> str:
    """
    Write *tokens* for `Checker.judge`.

    Args:
        kinds: What each name and literal is, by token index.
    """
    return " ".join(
        _KINDS[kinds[index]] if index in kinds else _ALIASES.get(token.text, token.text) for index, token in enumerate(tokens)
    )


def checker() -> Checker:
    """
    Return the checker this process uses.
    """
    return _cel()


@lru_cache(maxsize=1)
def _cel() -> Checker:
    # An environment costs a hundred milliseconds to make the first time, and nothing that only draws or lists needs it.
    return _Cel()


class _Cel:
    def __init__(self) -> None:
        types = {
            Kind.NUMBER: cel.Type.DOUBLE,
            Kind.TEXT: cel.Type.STRING,
            Kind.BOOL: cel.Type.BOOL,
            Kind.DURATION: cel.Type.DURATION,
        }
        has = [cel.Overload(f"has_{_KINDS[kind]}", cel.Type.BOOL, [type]) for kind, type in types.items()]
        size = [
            cel.Overload("size_t", cel.Type.DOUBLE, [cel.Type.STRING]),
            cel.Overload("t_size", cel.Type.DOUBLE, [cel.Type.STRING], is_member=True),
        ]
        self._env = cel.NewEnv(
            variables={_KINDS[kind]: type for kind, type in types.items()},
            functions=[cel.FunctionDecl("has_", has), cel.FunctionDecl("size_", size)],
        )
        # Shapes repeat: methods are cached per instance, and there is one instance.
        self.parse = lru_cache(maxsize=4096)(self._parse)
        self.judge = lru_cache(maxsize=4096)(self._judge)

    def _parse(self, shape: str) -> Term:
        return _Reader(shape).read(self._compile(shape, typed=False).serialize())

    def _judge(self, shape: str) -> None:
        if self._compile(shape, typed=True).return_type() != cel.Type.BOOL:
            raise Refused("it is no condition", None)

    def _compile(self, shape: str, *, typed: bool) -> Any:
        try:
            return self._env.compile(shape, disable_check=not typed)
        except RuntimeError as error:
            raise _refused(shape, str(error)) from None


_FAULT = re.compile(r"ERROR: <input>:1:(\d+): (?:Syntax error: )?(.*)")


def _refused(shape: str, message: str) -> Refused:
    """
    Read the library's report, which is text only; nesting past its limit has no place in it.
    """
    fault = _FAULT.search(message)
    if fault is None or "recursion" in message:
        return Refused("too deep", None)

    return Refused(fault[2], _index(_starts(shape), int(fault[1]) - 1))


def _starts(shape: str) -> list[int]:
    """
    Return the index of each word's first character, and the shape's length behind them.
    """
    starts = [0]
    for word in shape.split(" "):
        starts.append(starts[-1] + len(word) + 1)

    return [*starts[:-1], len(shape)]


def _index(starts: Sequence[int], position: int) -> int:
    return bisect_right(starts, position) - 1


class _Reader:
    """
    A reader of the library's tree: it makes a form, whose parts know their first and last tokens.
    """

    def __init__(self, shape: str) -> None:
        self._words = shape.split(" ")
        self._starts = _starts(shape)
        self._closing = _closing(self._words)
        self._positions: dict[int, int] = {}

    def read(self, serialised: bytes) -> Term:
        parsed = _PARSED.FromString(any_pb2.Any.FromString(serialised).value)
        self._positions = {entry.key: entry.value for entry in parsed.source_info.positions}

        return self._form(parsed.expr)

    def _form(self, expr: Any) -> Term:
        at = _index(self._starts, self._positions[expr.id])
        match expr.WhichOneof("kind"):
            case "ident":
                return Leaf(at, at)
            case "list":
                return Listing(at, self._closing[at], tuple(self._form(item) for item in expr.list.elements))
            case "call":
                return self._call(expr.call, at)
            case "select":
                return self._select(self._form(expr.select.operand), at)
            case _:
                brace = self._words.index("{", at)
                return Foreign(at, self._closing[brace], "a map or a message")

    def _select(self, operand: Term, at: int) -> Term:
        led = isinstance(operand, Leaf) and operand.first > 0 and self._words[operand.first - 1] == "."
        if led or (isinstance(operand, Foreign) and operand.construct == _LED):
            return Foreign(operand.first, at + 1, _LED)

        return Foreign(self._wide(operand)[0], at + 1, "a field of a value")

    def _call(self, call: Any, at: int) -> Term:
        target = [call.target] if call.HasField("target") else []
        operands = tuple(self._form(operand) for operand in (*target, *call.args))
        if call.function in _OPERATORS:
            first, last = self._wide(operands[0])[0], self._wide(operands[-1])[1]
            if call.function == "_[_]":
                last = self._closing[at]
            return Apply(min(first, at), last, call.function, at, operands)
        if call.function != "f":
            # In a shape a literal is a word like a name, so `'a'(1)` and `.size('a')` reach this line.
            return Foreign(at - 1, self._closing[at], "a call of what is no function's name")
        if target:
            return Apply(self._wide(operands[0])[0], self._closing[at], ".f()", at - 1, operands)

        return Apply(at - 1, self._closing[at], "f()", at - 1, operands)

    def _wide(self, form: Term) -> tuple[int, int]:
        """
        Take in the parentheses that stand round an operand and nothing else.
        """
        first, last = form.first, form.last
        while first > 0 and self._words[first - 1] == "(" and self._closing[first - 1] == last + 1:
            first, last = first - 1, last + 1

        return first, last


def _closing(words: Sequence[str]) -> dict[int, int]:
    open: list[int] = []
    closing: dict[int, int] = {}
    for index, word in enumerate(words):
        if word in {"(", "[", "{"}:
            open.append(index)
        elif word in {")", "]", "}"} and open:
            closing[open.pop()] = index

    return closing


_WIRE: Mapping[str, Sequence[tuple[int, str, str]]] = {
    "Expr": [
        (2, "id", "int64"),
        (4, "ident", "Ident"),
        (5, "select", "Select"),
        (6, "call", "Call"),
        (7, "list", "List"),
    ],
    "Ident": [(1, "name", "string")],
    "Select": [(1, "operand", "Expr")],
    "Call": [(1, "target", "Expr"), (2, "function", "string"), (3, "args", "Expr*")],
    "List": [(1, "elements", "Expr*")],
    "Position": [(1, "key", "int64"), (2, "value", "int32")],
    "SourceInfo": [(4, "positions", "Position*")],
    "ParsedExpr": [(2, "expr", "Expr"), (3, "source_info", "SourceInfo")],
}


def _described() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    plain = {"int64": field.TYPE_INT64, "int32": field.TYPE_INT32, "string": field.TYPE_STRING}
    file = descriptor_pb2.FileDescriptorProto(name="parsed.proto", package="guard", syntax="proto3")
    for name, fields in _WIRE.items():
        message = file.message_type.add(name=name)
        for number, label, type in fields:
            added = message.field.add(name=label, number=number, label=field.LABEL_OPTIONAL)
            if type.endswith("*"):
                added.label = field.LABEL_REPEATED
            if type in plain:
                added.type = plain[type]
            else:
                added.type, added.type_name = field.TYPE_MESSAGE, f".guard.{type.removesuffix('*')}"
            if name == "Expr" and added.type == field.TYPE_MESSAGE:
                added.oneof_index = 0
        if name == "Expr":
            message.oneof_decl.add(name="kind")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)

    return message_factory.GetMessageClass(pool.FindMessageTypeByName("guard.ParsedExpr"))


_PARSED = _described()
