"""
The names that attributes may not have.
"""

from __future__ import annotations

import inspect

from meshwalk.mesh import Mesh
from meshwalk.model.reserved import RESERVED_ATTRIBUTES
from meshwalk.wire.client import Client, Many


def arguments(cls: type, *methods: str) -> set[str]:
    """
    Return the names of the arguments of *methods*, but for the attributes that are given as keywords.
    """
    signatures = [inspect.signature(getattr(cls, method)) for method in methods]

    return {
        parameter.name
        for signature in signatures
        for parameter in signature.parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


def test_every_argument_of_a_routing_call_is_reserved() -> None:
    """
    An attribute that is given as a keyword is never taken for an argument, in process or over the wire.
    """
    in_process = arguments(Mesh, "route", "stream", "decide")
    over_the_wire = arguments(Client, "route", "stream", "decide") | arguments(Many, "route")

    assert RESERVED_ATTRIBUTES == in_process | over_the_wire
