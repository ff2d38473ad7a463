"""
Addresses in a graph: they may hold `${NAME}`, and never a secret.

A secret in a graph is a fault, and no message repeats it.
"""

from __future__ import annotations

import re

from meshwalk.loader.messages import faults, traffic_faults
from meshwalk.loader.parts.fit import Part
from meshwalk.loader.yaml.document import Scalar, Table
from meshwalk.model.problems import Problem


_SECRET_KEY = re.compile(r"(.*[_.-])?(key|api_?key|token|secret|password|passwd|bearer|authorization)", re.IGNORECASE)
_NAMED = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")
_SECRET_QUERY = re.compile(r"[?&](api[-_]?key|key|token|access[-_]token|sig)=(?!\$\{)", re.IGNORECASE)
_USER_INFO = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@")
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


def without_secrets(part: Part, problems: list[Problem]) -> Part:
    """
    Return *part* without the keys that can only be meant for secrets, each of which is a fault.
    """
    table = part.table
    secret = [key for key in table.entries if _SECRET_KEY.fullmatch(key)]
    if not secret:
        return part
    public = Table(table.span)
    public.entries = {key: piece for key, piece in table.entries.items() if key not in secret}
    public.key_spans = table.key_spans
    public.merged = table.merged
    for key in secret:
        piece = table.entries[key]
        name = _NAMED.fullmatch(piece.value) if isinstance(piece, Scalar) and isinstance(piece.value, str) else None
        remedy = f"put it into an environment variable and name that: key_env: {name[1] if name else 'NAME'}"
        problems.append(faults.secret_in_graph(table.place(key), part.subject, f"a secret under '{key}'", remedy))

    return part._replace(table=public)


def address_fault(url: str, part: Part, key: str = "base_url") -> Problem | None:
    """
    Return the fault of the address *url* under *key*, if it has one.
    """
    span = part.table.place(key)
    remedy = f"name the variable that holds it: key_env: NAME, or {key}: ${{NAME}}"
    if _USER_INFO.match(url):
        return faults.secret_in_graph(span, part.subject, "a user or a password in its address", remedy)
    if _SECRET_QUERY.search(url):
        return faults.secret_in_graph(span, part.subject, "a key in its address", remedy)
    rest = _VARIABLE.sub("", url)
    if "${" in rest:
        return traffic_faults.bad_address(span, part.subject, "has a '${' that starts no ${NAME}", key)
    if not url.startswith(("http://", "https://", "${")):
        return traffic_faults.bad_address(span, part.subject, "does not start with http://, https:// or ${NAME}", key)

    return None
