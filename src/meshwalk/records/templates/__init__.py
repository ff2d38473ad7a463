"""
Protobuf messages that differ in little, written as bytes: what spans and replies about walks that went straight are made by.
"""

from __future__ import annotations

from meshwalk.records.templates.compact import calls_of, open_outputs, summed, unpacked
from meshwalk.records.templates.message import Path, Template, Text, opening


__all__ = ["Path", "Template", "Text", "calls_of", "open_outputs", "opening", "summed", "unpacked"]
