"""
Traversals on disk and back: a sink that writes, and a shelf to read from.

A folder holds one SQLite file in WAL mode.  `TraceWriter` writes it from one thread, in batches; any number of `TraceReader`s
read it meanwhile, in this process or in others, and several processes may write.  Each traversal lies there as one encoded
record, beside the columns that lists filter by, and the canonical plan it walked lies there once, committed with
the first record that needs it: the file alone is enough to list, show and replay.

What is promised: a traversal is committed within one second of its reply, while nothing was dropped, and a commit outlives the
death of the process (`kill -9` included).  `synchronous` is NORMAL, so a commit is not yet pressed to the platter: a
power cut or a crash of the operating system may take back the last commits, never the file's consistency.
"""

from __future__ import annotations

from meshwalk.records.store.reader import SHORTEST_PREFIX, TraceReader
from meshwalk.records.store.summary import Damaged, StoredPlan, Summary
from meshwalk.records.store.writer import TraceWriter


__all__ = ["SHORTEST_PREFIX", "Damaged", "StoredPlan", "Summary", "TraceReader", "TraceWriter"]
