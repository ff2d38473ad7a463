"""
Regular expressions in a graph, checked, with the place of a fault.
"""

from __future__ import annotations

import re
import warnings

from meshwalk.loader.messages import faults
from meshwalk.loader.yaml.document import Scalar
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
        # Python warns of patterns that a later version may read otherwise; today they are no fault.
        with warnings.catch_warnings(action="ignore"):
            compiled = re.compile(text)
    except re.error as error:
        span = scalar.span
        if scalar.exact and error.pos is not None:
            span = scalar.text_span._replace(column=scalar.text_span.column + error.pos, length=1)
        problems.append(faults.bad_pattern(span, what, error.msg))
    except (OverflowError, RecursionError):
        problems.append(faults.bad_pattern(scalar.span, what, "it repeats or nests too much"))
    else:
        if groups is not None and compiled.groups != groups:
            problems.append(faults.wrong_groups(scalar.span, what, compiled.groups))
