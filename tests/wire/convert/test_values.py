from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshwalk.budgets import Need
from meshwalk.model import Amount, Caps, Limits, Value
from meshwalk.trace import Message, Scopes, ToolCall, Usage
from meshwalk.wire.convert import values
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2 as common
from tests.support.random_records import filled


TEXT = st.text(max_size=8)
VALUE: st.SearchStrategy[Value] = st.one_of(TEXT, st.booleans(), st.floats(allow_nan=False))
COUNT = st.one_of(st.none(), st.integers(0, 2**53))


@given(value=VALUE)
def test_a_value_keeps_its_type(value: Value) -> None:
    """
    A text, a truth and a number come back as they were, and none as another.
    """
    back = values.unpack_value(values.pack_value(value))

    assert (value, type(value)) == (back, type(back))


@given(named=st.dictionaries(TEXT, VALUE))
def test_named_values_are_filled_as_they_are_packed(named: dict[str, Value]) -> None:
    """
    Both ways to write a map write the same, and it is read in order of its names.
    """
    message = common.Value()
    assert values.unpack_value(message) is None

    packed = values.pack_values(named)

    assert dict(sorted(named.items())) == values.unpack_values(packed)
    assert sorted(named) == list(values.unpack_values(packed))


def test_a_value_without_a_kind_is_left_out() -> None:
    """
    A name that a caller sends without a value is passed over.
    """
    assert {"b": True} == values.unpack_values({"a": common.Value(), "b": common.Value(bool_value=True)})


@given(usage=filled(Usage), amount=filled(Amount))
def test_counts_survive(usage: Usage, amount: Amount) -> None:
    """
    Tokens and amounts come back as they were, however they are written.
    """
    message = common.Usage()
    values.fill_usage(message, usage)

    assert usage == values.unpack_usage(message) == values.unpack_usage(values.pack_usage(usage))
    assert amount == values.unpack_amount(values.pack_amount(amount))


@given(counts=st.tuples(COUNT, COUNT, COUNT, COUNT, COUNT))
def test_no_cap_is_not_a_cap_of_nothing(counts: tuple[int | None, ...]) -> None:
    """
    A cap that is not set stays unset, and a cap of zero stays zero.
    """
    caps = Caps(*counts)

    assert caps == values.unpack_caps(values.pack_caps(caps))


@given(cost=COUNT, output_tokens=COUNT, whole=st.tuples(*[st.integers(0, 1000)] * 3))
def test_an_unbounded_worst_case_stays_unbounded(cost: int | None, output_tokens: int | None, whole: tuple[int, ...]) -> None:
    """
    A worst case without a bound on cost or tokens comes back without it.
    """
    need = Need(cost, whole[0], output_tokens, whole[1], whole[2])

    assert need == values.unpack_worst_case(values.pack_worst_case(need))


@given(limits=filled(Limits))
def test_limits_survive(limits: Limits) -> None:
    """
    Limits come back as they were, set or not.
    """
    assert limits == values.unpack_limits(values.pack_limits(limits))


@given(unix_us=st.integers(0, 2**52))
def test_time_is_exact_to_the_microsecond(unix_us: int) -> None:
    """
    A time comes back to the microsecond, from the second before as from the second after.
    """
    message = values.pack_time(unix_us)
    other = values.pack_time(0)
    values.fill_time(other, unix_us)

    assert unix_us == values.unpack_time(message) == values.unpack_time(other)


def test_a_chat_with_tools_survives() -> None:
    """
    Messages come back with their names and tool calls, and scopes with theirs.
    """
    chat = (
        Message("user", "Where?", "ann"),
        Message("assistant", "", "", (ToolCall("1", "find", '{"x": 1}'),), ""),
        Message("tool", "There.", "", (), "1"),
    )

    assert chat == values.unpack_messages(values.pack_messages(chat))
    assert Scopes("s", "w") == values.unpack_scopes(values.pack_scopes(Scopes("s", "w")))
