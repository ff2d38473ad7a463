"""
Settings of the documentation: Markdown pages, built with every broken link as an error.
"""

from __future__ import annotations


project = "meshwalk"
author = "The meshwalk authors"
extensions = ["myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]

# Headings of four levels can be linked to, as on the pages of a code host.
myst_heading_anchors = 4
