"""
A chat server on loopback that answers as a script says, and fails as real endpoints do.

    async with faulty_servers(little='429 retry-after=1 | reset | ok "Paris" 10+5') as servers:
        url = servers["little"].base_url   # for a backend of kind `openai`
        …
        assert [] == servers["little"].unused
"""

from meshwalk.testing.faulty.script import VERBS, Act, Seen, script
from meshwalk.testing.faulty.server import FaultyServer, faulty_servers


__all__ = ["VERBS", "Act", "FaultyServer", "Seen", "faulty_servers", "script"]
