"""
The values that guards read on a walk: one for each signal that a guard of the plan names, None while it is undetermined.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshwalk.budgets import pressure, used_share
from meshwalk.model import Value
from meshwalk.model.signals import healthy
from meshwalk.plan import Plan
from meshwalk.trace import Facts, ScopeView


Values = list[Value | None]


def start(plan: Plan, facts: Facts) -> Values:
    """
    Return the values that guards may read when a walk begins.
    """
    values: Values = list(plan.template)
    slots = plan.slots
    for name, value in facts.attributes:
        slot = slots.get(f"request.{name}")
        if slot is not None:
            values[slot] = value
    for slot, fits in plan.fitting(facts):
        values[slot] = fits
    for backend, well in facts.healthy:
        slot = slots.get(healthy(backend))
        if slot is not None:
            values[slot] = well

    return values


def update_time(plan: Plan, values: Values, at_us: int, deadline_at_us: int) -> None:
    """
    Set the values of time to *at_us*.
    """
    slots = plan.slots
    if "elapsed" in slots:
        values[slots["elapsed"]] = at_us
    if "deadline.left" in slots:
        values[slots["deadline.left"]] = deadline_at_us - at_us


def see(plan: Plan, values: Values, views: Sequence[ScopeView]) -> None:
    """
    Set the values of budgets.
    """
    if not plan.reads_budget:
        return
    slots = plan.slots
    for view in views:
        for name, value in _readings(view, plan.pressure_from(view.scope)):
            slot = slots.get(name)
            if slot is not None:
                values[slot] = value


def _readings(view: ScopeView, pressure_from: float) -> tuple[tuple[str, float | None], ...]:
    at_us = f"budget.{view.scope}"
    caps, used = view.caps, view.used
    share = used_share(caps, used)

    return (
        (f"{at_us}.left_usd", None if caps.cost_nano_usd is None else (caps.cost_nano_usd - used.cost_nano_usd) / 1e9),
        (f"{at_us}.left_fraction", None if share is None else 1 - share),
        (f"{at_us}.left_tokens", None if caps.output_tokens is None else float(caps.output_tokens - used.output_tokens)),
        (f"{at_us}.pressure", pressure(share, pressure_from)),
    )
