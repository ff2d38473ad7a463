"""
A graph as a picture: in the languages that most tools read, and as SVG that needs no other program.

All are drawn from one list of arrows (`arrows`).  `languages` writes Mermaid and Graphviz' DOT, whose readers find places
themselves; for SVG `layout` finds them and `svg` draws.
"""

from __future__ import annotations

from meshwalk.draw.languages import dot, mermaid
from meshwalk.draw.svg import svg


__all__ = ["dot", "mermaid", "svg"]
