"""
The shapes of edges: those of `next`, which guards choose, and those of `on_error`, which classes do.
"""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from meshwalk.loader.schema.shape import Shape
from meshwalk.loader.schema.values import Classes, Name, Text
from meshwalk.model.problems import ErrorClass


class EdgeShape(Shape):
    """
    An edge of `next`.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"to": "done"}

    to: Text = Field(description="The next node, or done to serve an answer.")
    when: Text | None = Field(
        None, description="A guard in CEL; the last edge has none.", examples=["output.confidence >= 0.8"]
    )
    answer: Text | None = Field(
        None, description="With `to: done`, the node whose reply is served instead of the latest answer."
    )
    id: Name | None = Field(None, description="A name for the edge in traces, digests and dashboards.")


class ErrorEdgeShape(Shape):
    """
    An edge of `on_error`.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"to": "done"}

    class_: Annotated[list[ErrorClass], Field(min_length=1), Classes] | None = Field(
        None, alias="class", description="The error classes that take this edge; without it, all."
    )
    to: Text = Field(description="The next node, or done to serve an answer.")
    answer: Text | None = Field(None, description="With `to: done`, the node whose reply is served.")
    else_: Text | None = Field(None, alias="else", description="Where to go if the node of `answer` gave no reply.")
    id: Name | None = Field(None, description="A name for the edge in traces, digests and dashboards.")


def _one_edge(value: Any) -> Any:
    return [{"to": value}] if isinstance(value, str) else value


Next = Annotated[list[EdgeShape], BeforeValidator(_one_edge, json_schema_input_type=Text | list[EdgeShape])]
OnError = Annotated[list[ErrorEdgeShape], BeforeValidator(_one_edge, json_schema_input_type=Text | list[ErrorEdgeShape])]
