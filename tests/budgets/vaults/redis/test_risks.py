"""
The risks of a server's settings, as they are told.
"""

from __future__ import annotations

import pytest

from meshwalk.budgets.vaults.redis.risks import risks_of


KEEPS_ALL = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory": "0", "maxmemory-policy": "noeviction"}


class TestRisks:
    @pytest.mark.parametrize(
        ("changed", "replicas", "said"),
        [
            ({}, "0", []),
            ({"maxmemory-policy": "allkeys-lru"}, "0", []),
            ({"maxmemory": "1", "maxmemory-policy": "volatile-ttl"}, "0", ["when its memory is full (volatile-ttl)"]),
            ({"appendfsync": "no"}, "0", ["a crash may take minutes"]),
            ({"appendonly": "no", "save": "60 1"}, "2", ["since its last snapshot", "does not wait for its 2 replica(s)"]),
            ({"appendonly": "no"}, "0", ["neither append-only file nor snapshots"]),
        ],
    )
    def test_each_way_to_forget_is_a_sentence(self, changed: dict[str, str], replicas: str, said: list[str]) -> None:
        """
        What a setting puts at risk is told with the setting that would mend it, and nothing else is.
        """
        risks = risks_of("redis://r:1/0", {**KEEPS_ALL, **changed}, {"connected_slaves": replicas})

        assert len(said) == len(risks)
        assert all(words in risk for words, risk in zip(said, risks, strict=True))

    def test_silence_is_a_risk(self) -> None:
        """
        A server that does not tell its settings is not taken to keep anything.
        """
        assert 1 == len(risks_of("redis://r:1/0", None, {}))
