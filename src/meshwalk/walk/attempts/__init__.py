"""
Retries, hedges, breakers and pools between a hop and its calls, as pure machines: time and chance are their arguments.

`calls` decides on the calls of one hop.  `pool` shares one backend's endpoints among all calls of this process, with a
`breaker` and two `meter`s for each endpoint; `engine.limiter` waits where it says so.
"""

from meshwalk.walk.attempts.breaker import Circuit, Ticket
from meshwalk.walk.attempts.calls import RETRIABLE, Attempts, Closed, Try
from meshwalk.walk.attempts.meter import Meter
from meshwalk.walk.attempts.pool import Ask, Pick, Pool, Waiting
from meshwalk.walk.attempts.refusals import Refused


__all__ = [
    "RETRIABLE",
    "Ask",
    "Attempts",
    "Circuit",
    "Closed",
    "Meter",
    "Pick",
    "Pool",
    "Refused",
    "Ticket",
    "Try",
    "Waiting",
]
