"""
A plan wired to its backends and sinks: meshwalk inside a process.
"""

from meshwalk.mesh.clock import Clock, SystemClock
from meshwalk.mesh.mesh import Mesh, load
from meshwalk.mesh.options import RETRY_WINDOW, MeshOptions, in_seconds
from meshwalk.mesh.relay import Sink
from meshwalk.mesh.router import Router
from meshwalk.mesh.status import MeshStatus


__all__ = ["RETRY_WINDOW", "Clock", "Mesh", "MeshOptions", "MeshStatus", "Router", "Sink", "SystemClock", "in_seconds", "load"]
