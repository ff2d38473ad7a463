"""
YAML bytes become a `Graph`, with every fault in its place.

`document` reads the text into a tree that knows its places, `shapes` says what each part looks like, `fit` brings the two
together part by part, `nodes`, `edges` and `backends` turn what fits into the model, and `faults` holds every sentence said
on the way.  PyYAML and pydantic are used in this folder and nowhere else.

A graph with faults still becomes a `Graph`, as far as it can be read: its `problems` say what is wrong, and later rooms
add theirs, so that an author sees all of them in one run.
"""

from __future__ import annotations

from meshwalk.loader.load import cases_path, load_cases, load_graph, read_cases, read_graph, source_lines


__all__ = ["cases_path", "load_cases", "load_graph", "read_cases", "read_graph", "source_lines"]
