"""
YAML bytes become a `Graph`, with every fault in its place.

`yaml` reads the text into a tree that knows its places, `schema` declares the shape of each part, `build` fits the parts to
their shapes one by one and makes the model of them, and `messages` holds the sentence of every fault.  PyYAML and pydantic
are used in this folder and nowhere else.

A graph with faults still becomes a `Graph`, as far as it can be read.  Its `problems` hold the faults, and later checks add
theirs, so that an author sees all of them in one run.
"""

from __future__ import annotations

from meshwalk.loader.load import (
    cases_path,
    holds_settings,
    load_cases,
    load_graph,
    load_settings,
    read_cases,
    read_graph,
    source_lines,
)


__all__ = [
    "cases_path",
    "holds_settings",
    "load_cases",
    "load_graph",
    "load_settings",
    "read_cases",
    "read_graph",
    "source_lines",
]
