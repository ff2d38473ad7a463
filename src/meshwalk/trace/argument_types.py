"""
The types of a request's arguments, for callers that have no type checker.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshwalk.model import Limits, Sampling
from meshwalk.model.arguments import checked_request, count_fault, fault_of, mapping_fault, text_fault
from meshwalk.trace.exchange import ResponseFormat, Tool


_LIMITS = "meshwalk.Limits, as in meshwalk.Limits.of(hops=4, deadline=30.0, cost_usd=0.05)"
_SAMPLING = "meshwalk.Sampling, as in meshwalk.Sampling(temperature=0.2)"
_FORMAT = "meshwalk.ResponseFormat, as in meshwalk.ResponseFormat('json_object')"
_TOOLS = "a list of meshwalk.Tool, as in [meshwalk.Tool('weather')]"
_ATTRIBUTES = "a mapping from names to values, as in {'urgency': 'realtime'}"


def refuse_types(
    attributes: object,
    limits: object,
    sampling: object,
    tools: object,
    response_format: object,
    texts: Mapping[str, object],
) -> None:
    """
    Refuse arguments that are not of their types, every one of them named.

    Args:
        texts: Arguments that are texts, by their names.

    Raises:
        RequestError: If there are any.
    """
    checked_request(
        **{
            "attributes": mapping_fault(attributes, _ATTRIBUTES),
            "limits": fault_of(limits, (Limits,), _LIMITS),
            "sampling": fault_of(sampling, (Sampling,), _SAMPLING),
            "tools": fault_of(tools, (list, tuple), _TOOLS),
            "response_format": "" if response_format is None else fault_of(response_format, (ResponseFormat,), _FORMAT),
            **{name: text_fault(value) for name, value in texts.items()},
        }
    )
    faults: dict[str, str] = {}
    if isinstance(limits, Limits):
        # A limit below nothing is the request's own check to tell.
        given = {name: value for name, value in limits._asdict().items() if value is not None}
        faults |= {f"limits.{name}": fault_of(value, (int,), "a whole number") for name, value in given.items()}
    if isinstance(sampling, Sampling):
        faults |= _of_sampling(sampling)
    if isinstance(tools, list | tuple):
        for place, tool in enumerate(tools):
            faults |= _of_tool(tool, f"tools[{place}]")
    if isinstance(response_format, ResponseFormat):
        # The boolean is the only field that is no text.
        fields = response_format._asdict()
        faults["response_format.strict"] = fault_of(fields.pop("strict"), (bool,), "True or False")
        faults |= {f"response_format.{name}": text_fault(value) for name, value in fields.items()}
    checked_request(**faults)


def _of_sampling(sampling: Sampling) -> dict[str, str]:
    faults = {}
    for name in ("max_tokens", "seed"):
        value = getattr(sampling, name)
        faults[f"sampling.{name}"] = "" if value is None or (name == "seed" and type(value) is int) else count_fault(value)
    for name in ("temperature", "top_p"):
        value = getattr(sampling, name)
        faults[f"sampling.{name}"] = "" if value is None else fault_of(value, (int, float), "a number")
    stop = sampling.stop
    if stop is not None:
        faults["sampling.stop"] = fault_of(stop, (tuple,), "a tuple of texts, as in ('END',)")
        if isinstance(stop, tuple):
            faults |= {f"sampling.stop[{place}]": text_fault(text) for place, text in enumerate(stop)}

    return faults


def _of_tool(tool: object, field: str) -> dict[str, str]:
    if not isinstance(tool, Tool):
        return {field: fault_of(tool, (Tool,), "a meshwalk.Tool, as in meshwalk.Tool('weather')")}

    return {f"{field}.{name}": text_fault(value) for name, value in tool._asdict().items()}
