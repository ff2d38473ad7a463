"""
`python -m meshwalk` is `meshwalk`.
"""

from __future__ import annotations

import sys

from meshwalk.cli import main


if __name__ == "__main__":
    sys.exit(main())
