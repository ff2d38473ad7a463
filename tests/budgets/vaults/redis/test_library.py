"""
The library of functions that runs inside the server.
"""

from __future__ import annotations

import re

from meshwalk.budgets.vaults.redis.library import library


class TestLibrary:
    def test_name_follows_the_text(self) -> None:
        """
        Every function is called by the library's name, which is a hash.
        """
        head = re.match(r"#!lua name=(meshwalk_[0-9a-f]{12})\n", library().text)

        assert head
        assert f"{head[1]}_" == library().prefix
        assert library().text.count(head[1]) == 2
