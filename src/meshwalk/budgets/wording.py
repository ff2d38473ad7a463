"""
How money is written, and how a refusal is worded.
"""

from __future__ import annotations

from meshwalk.model import Amount
from meshwalk.model.signals import REQUEST


_PARTS = Amount._fields
# What nothing bounds, how to bound it, and what is capped.
_UNBOUNDED = {
    "cost_nano_usd": ("in cost (declare usd_per_mtok, and max_tokens or context_tokens)", "the cost{of} is capped"),
    "input_tokens": ("in input (declare context_tokens)", "input tokens{of} are capped"),
    "output_tokens": ("in output (declare max_tokens)", "output tokens{of} are capped"),
    "calls": ("in model calls", "model calls{of} are capped"),
    "hops": ("in hops", "hops{of} are capped"),
}


def usd(nano_usd: int) -> str:
    """
    Write nano-dollars as dollars, exactly and without trailing zeros.
    """
    sign, whole = ("-", -nano_usd) if nano_usd < 0 else ("", nano_usd)
    text = f"{sign}{whole // 1_000_000_000}.{whole % 1_000_000_000:09}"

    return text.rstrip("0").rstrip(".")


def unbounded(part: int, kind: str) -> str:
    """
    Say that a capped part of a need cannot be bounded.
    """
    what, capped = _UNBOUNDED[_PARTS[part]]

    return f"cannot be bounded {what}, and {capped.format(of='' if kind == REQUEST else f' of its {kind}')}"


def unfitting(part: int, kind: str, name: str, *, asked: int, cap: int, spent: int, held: int, resets_in_us: int | None) -> str:
    """
    Say that a need does not fit, with the figures, and what may help.
    """
    # An overrun may have gone past the cap; nobody is helped by what is left below nothing.
    left = max(0, cap - spent - held)
    figures = f"{_asking(part, asked)} and {_figure(part, left)} of {_figure(part, cap)} are left{_of(kind, name)}"
    if spent + asked <= cap:
        return f"{figures} while {_figure(part, held)} are reserved for calls under way; try again when they are settled"

    return figures if resets_in_us is None else f"{figures}; a new window begins in {_time(resets_in_us)}"


def _of(kind: str, name: str) -> str:
    if kind == REQUEST:
        return ""

    # Callers choose the name, so it is quoted in a way that keeps line ends out of logs.
    return f" of {kind} {name!r}" if name else f" of the {kind}"


def _asking(part: int, asked: int) -> str:
    match _PARTS[part]:
        case "cost_nano_usd":
            return f"may cost up to {usd(asked)} USD"
        case "input_tokens":
            return f"may send up to {asked} tokens"
        case "output_tokens":
            return f"may write up to {asked} tokens"
        case "calls":
            return f"makes {asked} model call{'' if asked == 1 else 's'}"
        case _:
            return f"makes {asked} hop{'' if asked == 1 else 's'}"


def _figure(part: int, amount: int) -> str:
    return usd(amount) if _PARTS[part] == "cost_nano_usd" else str(amount)


def _time(us: int) -> str:
    """
    Write a time to wait, rounded up, so that nobody comes too early.
    """
    for unit, length in (("s", 1_000_000), ("min", 60_000_000), ("h", 3_600_000_000)):
        count = -(-us // length)
        if count < 120:
            return f"{count} {unit}"

    return f"{-(-us // 86_400_000_000)} days"
