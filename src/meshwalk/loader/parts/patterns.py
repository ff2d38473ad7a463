"""
Regular expressions in a graph, checked, with the place of a fault.
"""

from __future__ import annotations

from meshwalk.loader.messages import faults
from meshwalk.loader.yaml.document import Scalar
from meshwalk.model.patterns import PatternFault, compile_pattern
from meshwalk.model.problems import Problem


_LONGEST = 1000


def check_pattern(scalar: Scalar, what: str, problems: list[Problem], *, groups: int | None = None) -> None:
    """
    Add a problem if *scalar* holds no regular expression, or one without exactly *groups* groups.
    """
    text = scalar.raw
    if len(text) > _LONGEST:
        problems.append(faults.bad_pattern(scalar.span, what, f"it has more than {_LONGEST} characters"))
        return
    try:
        compiled = compile_pattern(text)
    except PatternFault as fault:
        span = scalar.span
        if scalar.exact and fault.position is not None:
            span = scalar.text_span._replace(column=scalar.text_span.column + fault.position, length=1)
        if fault.foreign:
            problems.append(faults.foreign_pattern(span, what, fault.reason, fault.remedy))
        else:
            problems.append(faults.bad_pattern(span, what, fault.reason))
    else:
        if groups is not None and compiled.groups != groups:
            problems.append(faults.wrong_groups(scalar.span, what, compiled.groups))
