"""
The fast path: a second driver and a second machine for walks in which nothing but the usual happens.

Contract: a walk on the fast path ends with the same path, decisions, entries, wishes, budgets and answer as `WalkDriver` with
`Walk` would give it.  `tests/engine/fastpath/test_driver.py` holds both to that over random plans, scripts and limits; whatever
is added to one of them is added to the other, or leaves the fast path.

A walk never starts on the fast path if its caller passes `on_event` or `on_delta`.  It leaves it at the first of these:

- a node with `stream:` or `hedge:`, a limiter that does not let a call in at once, and a quoted answer that is missing;
- a node that reserves a hop without a call (caps on shared hops);
- a reservation that is denied, that waits for others, or that the walk's own limits do not allow;
- a call that fails, times out, is cancelled, or whose reply cannot be read; a classifier that fails;
- too little time or too few hops for the next node, visits that are used up, and `done` without a reply to serve.

There the walk is handed over (`Handover`), and `WalkDriver` goes on from what happened so far (`Deviation`).  `machine` is
pure: it owns no clock, calls nobody and imports nothing of the engine.
"""
