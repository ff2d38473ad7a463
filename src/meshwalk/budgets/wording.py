"""
Texts: amounts of money, and the wording of refusals.
"""

from __future__ import annotations

from meshwalk.model import Amount
from meshwalk.model.signals import REQUEST


_PARTS = Amount._fields
# For each part: why it is unbounded and how to bound it; the name of the capped quantity.
_UNBOUNDED = {
    "cost_nano_usd": ("in cost (declare usd_per_mtok, and max_tokens or context_tokens)", "the cost{of} is capped"),
    "input_tokens": ("in input (declare context_tokens)", "input tokens{of} are capped"),
    "output_tokens": ("in output (declare max_tokens)", "output tokens{of} are capped"),
    "calls": ("in model calls", "model calls{of} are capped"),
    "hops": ("in hops", "hops{of} are capped"),
}


def usd(nano_usd: int) -> str:
    """
    Format nano-dollars as dollars, exactly and without trailing zeros.
    """
    sign, whole = ("-", -nano_usd) if nano_usd < 0 else ("", nano_usd)
    text = f"{sign}{whole // 1_000_000_000}.{whole % 1_000_000_000:09}"

    return text.rstrip("0").rstrip(".")


def unbounded(part: int, kind: str) -> str:
    """
    Word the refusal of a need with an unbounded part that is capped.
    """
    reason, capped = _UNBOUNDED[_PARTS[part]]

    return f"cannot be bounded {reason}, and {capped.format(of='' if kind == REQUEST else f' of its {kind}')}"


def unfitting(
    part: int, kind: str, name: str, *, requested: int, cap: int, spent: int, reserved: int, resets_in_us: int | None
) -> str:
    """
    Word the refusal of a need that does not fit, with figures and a remedy.
    """
    # An overrun may have passed the cap; a negative remainder would not help the reader.
    left = max(0, cap - spent - reserved)
    of_cap = f"{_amount_text(part, left)} of {_amount_text(part, cap)}"
    figures = f"{_need_text(part, requested)} and {of_cap} are left{_scope_text(kind, name)}"
    if spent + requested <= cap:
        others = _amount_text(part, reserved)
        return f"{figures} while {others} are reserved for calls under way; try again when they are settled"

    return figures if resets_in_us is None else f"{figures}; a new window begins in {_wait_text(resets_in_us)}"


def _scope_text(kind: str, name: str) -> str:
    if kind == REQUEST:
        return ""

    # Callers choose the name; `repr` keeps line ends out of logs.
    return f" of {kind} {name!r}" if name else f" of the {kind}"


def _need_text(part: int, requested: int) -> str:
    match _PARTS[part]:
        case "cost_nano_usd":
            return f"may cost up to {usd(requested)} USD"
        case "input_tokens":
            return f"may send up to {requested} tokens"
        case "output_tokens":
            return f"may write up to {requested} tokens"
        case "calls":
            return f"makes {requested} model call{'' if requested == 1 else 's'}"
        case _:
            return f"makes {requested} hop{'' if requested == 1 else 's'}"


def _amount_text(part: int, amount: int) -> str:
    return usd(amount) if _PARTS[part] == "cost_nano_usd" else str(amount)


def _wait_text(us: int) -> str:
    """
    Format a waiting time, rounded up so that a retry is never too early.
    """
    for unit, length in (("s", 1_000_000), ("min", 60_000_000), ("h", 3_600_000_000)):
        count = -(-us // length)
        if count < 120:
            return f"{count} {unit}"

    return f"{-(-us // 86_400_000_000)} days"
