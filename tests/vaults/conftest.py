"""
What the tests of all vaults share.
"""

from __future__ import annotations

import pytest


# It asserts like a test, so it should fail like one, with both sides shown.
pytest.register_assert_rewrite("vaulting")
