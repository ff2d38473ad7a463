"""
Precompiled serializers for protobuf messages that differ in few fields only: spans and replies about compact walks.
"""

from __future__ import annotations

from meshwalk.records.templates.compact import calls_of, open_outputs, summed, unpacked
from meshwalk.records.templates.message import Path, Template, Text, opening


__all__ = ["Path", "Template", "Text", "calls_of", "open_outputs", "opening", "summed", "unpacked"]
