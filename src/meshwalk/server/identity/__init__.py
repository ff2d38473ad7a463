"""
The callers of a server: their credentials, their tenants and their rights.

A credential is checked once, and remembered for as long as it holds: a request then costs one look into a table.  No credential
stands in an error, a log or a record.
"""

from __future__ import annotations

from meshwalk.server.identity.book import IdentityBook
from meshwalk.server.identity.caller import Caller, caller
from meshwalk.server.identity.keys import NewKey, new_key


__all__ = ["Caller", "IdentityBook", "NewKey", "caller", "new_key"]
