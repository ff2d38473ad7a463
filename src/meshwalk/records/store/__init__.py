"""
The trace store: traversals in an SQLite file, with a writer and a reader.

A folder contains one SQLite file in WAL mode.  `TraceWriter` writes it from one thread, in batches.  Any number of
`TraceReader`s read it meanwhile, in this process or in others, and several processes may write.  Each traversal is one encoded
record beside the columns that lists filter by.  Each canonical plan is stored once, committed with the first record that needs
it, so the file alone is enough to list, show and replay.

Guarantees: while nothing is dropped, a traversal is committed within one second of its reply, and a commit survives the death
of the process (`kill -9` included).  `synchronous` is NORMAL, so a power cut or a crash of the operating system may lose the
last commits, but never the consistency of the file.
"""

from __future__ import annotations

from meshwalk.records.store.reader import SHORTEST_PREFIX, TraceReader
from meshwalk.records.store.summary import Damaged, StoredPlan, Summary
from meshwalk.records.store.writer import TraceWriter


__all__ = ["SHORTEST_PREFIX", "Damaged", "StoredPlan", "Summary", "TraceReader", "TraceWriter"]
