"""
Doubles for tests of code that uses meshwalk: the ones that meshwalk's own tests use.
"""

from meshwalk.testing.backends import ScriptedBackend
from meshwalk.testing.clock import FakeClock
from meshwalk.testing.faulty import FaultyServer, faulty_servers
from meshwalk.testing.sinks import RecordList


__all__ = ["FakeClock", "FaultyServer", "RecordList", "ScriptedBackend", "faulty_servers"]
