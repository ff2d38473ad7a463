"""
A plan wired to its backends and sinks: meshwalk inside a process.
"""

from meshwalk.mesh.mesh import RETRY_WINDOW_US, Mesh, load
from meshwalk.mesh.relay import RecordRelay, Sink


__all__ = ["RETRY_WINDOW_US", "Mesh", "RecordRelay", "Sink", "load"]
