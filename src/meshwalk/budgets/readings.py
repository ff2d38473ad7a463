"""
Budget signals for guards: the used share of the nearest cap, and the pressure derived from it.
"""

from __future__ import annotations

from meshwalk.model import Amount, Caps


def used_share(caps: Caps, used: Amount) -> float | None:
    """
    Return the used share of the cap that is closest to exhaustion, or None if nothing is capped.
    """
    shares = [part / cap if cap else 1.0 for part, cap in zip(used, caps, strict=True) if cap is not None]

    return max(shares) if shares else None


def pressure(share: float | None, pressure_from: float) -> float:
    """
    Return max(0, (*share* - from) / (1 - from)), at most 1; without a cap the pressure is 0.
    """
    if share is None or share <= pressure_from:
        return 0.0

    return 1.0 if pressure_from >= 1 else min(1.0, (share - pressure_from) / (1 - pressure_from))
