"""
Tests look at what is public: the few looks at private names stand here, each with its reason.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path


TESTS = Path(__file__).parent
LOOK = re.compile(r"\b(?!self\b|cls\b|os\b|sys\b)[a-z_]+(?:\[[^\]]*\])?\._(?!replace\b|asdict\b|make\b|fields\b)[a-z]\w*")

# By file: how many looks it may have, and why.
BOUNDED = "what is kept for callers is bounded, and no caller sees how much that is"
ALLOWED = {
    "backends/test_local.py": (1, "a child process that forgets to close its model, and has to end all the same"),
    "budgets/test_ledger.py": (2, BOUNDED),
    "budgets/vault_machine.py": (3, "draws an open reservation of the model ledger, not of what is tested"),
    "budgets/vaults/redis/test_memory_limit.py": (5, "a library of another version, as an older server would load it"),
    "budgets/vaults/redis/test_vault.py": (1, "a sentence of the server that no server of today says"),
    "budgets/vaults/sqlite/test_database.py": (2, "a full disk, made by a pragma of the connection"),
    "budgets/vaults/test_fifo.py": (1, BOUNDED),
    "budgets/vaults/test_memory.py": (1, BOUNDED),
    "budgets/vaults/test_opening.py": (2, "the vault that the address named, behind the policy round it"),
    "checks/reachability/test_prove.py": (2, "formulas as the solver has them, compared with an evaluator of our own"),
    "engine/test_recent_durations.py": (1, BOUNDED),
    "records/store/test_reader.py": (1, "a statement that no method would send"),
    "records/store/test_writer.py": (9, "a queue that is full and a full disk, each waited for without sleeping"),
    "server/test_in_flight.py": (1, BOUNDED),
    "server/test_reuseport.py": (1, "the listeners found in the kernel's tables, which no caller asks for"),
}


def looks() -> Counter[str]:
    """
    Count the looks at private names by file.
    """
    files = (file for file in TESTS.rglob("*.py") if file != Path(__file__))
    counts = {str(file.relative_to(TESTS)): len(LOOK.findall(file.read_text(encoding="utf-8"))) for file in files}

    return Counter({name: count for name, count in counts.items() if count})


def test_looks_at_private_names_have_a_reason() -> None:
    """
    Each file with such looks stands on the list, and has no more of them than that says.
    """
    more = {name: count for name, count in looks().items() if count > ALLOWED.get(name, (0, ""))[0]}

    assert {} == more
    assert {} == {name: reason for name, (_, reason) in ALLOWED.items() if not (TESTS / name).is_file()}


def test_a_look_is_seen() -> None:
    """
    The expression finds looks, and leaves named tuples and a class's own names alone.
    """
    text = "client._call self._mine row._replace mesh._opened() gates[0]._wait cls._x"

    assert ["client._call", "mesh._opened", "gates[0]._wait"] == LOOK.findall(text)
