"""
Limits of one walk, and budgets that many walks share, read from a graph.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshwalk.loader.messages import faults
from meshwalk.loader.parts.fit import Findings, Fitted, Part, fit, part_of, respelt
from meshwalk.loader.schema.budgets import BudgetShape, BudgetsShape, LimitsShape, TenantBudgetShape
from meshwalk.loader.yaml.document import Table
from meshwalk.model import Budget, Caps, Limits, ScopeKind
from meshwalk.model.signals import REQUEST


_SHAPES: Mapping[ScopeKind, type[TenantBudgetShape]] = {
    "session": BudgetShape,
    "workflow": BudgetShape,
    "tenant": TenantBudgetShape,
}
_CAPS = ("cost_usd", "input_tokens", "output_tokens", "calls", "hops")
_OF_WALKS = {REQUEST: "what one request may use up stands under 'limits'"}
_NOT_OF_TENANTS = {"required": "leave it out: every request has a tenant"}


def limits_of(shape: LimitsShape) -> Limits:
    """
    Return the limits that *shape* holds.
    """
    return Limits(
        hops=shape.hops,
        deadline_us=shape.deadline,
        cost_nano_usd=shape.cost_usd,
        input_bytes=shape.input_bytes,
        output_tokens=shape.output_tokens,
        input_tokens=shape.input_tokens,
        calls=shape.calls,
    )


def read_budgets(part: Part, findings: Findings) -> dict[str, Budget]:
    """
    Read the budgets in *part*, by scope; whatever order they were written in, it is the same here.
    """
    budgets: dict[str, Budget] = {}
    part = respelt(part, BudgetsShape.known_keys(), findings.problems)
    for name in part.table.entries.keys() - _SHAPES.keys():
        remedy = _OF_WALKS.get(name, "")
        fault = faults.unknown_key(part.table.key_spans[name], part.subject, name, BudgetsShape.known_keys(), remedy)
        findings.problems.append(fault)
        findings.broken.add(name)
    for scope, shape in _SHAPES.items():
        if scope in part.table.entries:
            budget = _read(scope, shape, part.table, findings)
            if budget is not None:
                budgets[scope] = budget

    return budgets


def _read(scope: ScopeKind, shape: type[TenantBudgetShape], section: Table, findings: Findings) -> Budget | None:
    part = part_of(section.entries[scope], f"budget '{scope}'", section.key_spans[scope], findings.problems)
    if part is None:
        findings.broken.add(scope)
        return None
    part = respelt(part, shape.known_keys(), findings.problems)
    elsewhere = {} if "required" in shape.known_keys() else _NOT_OF_TENANTS
    fitted = fit(shape, part, findings.problems, elsewhere=elsewhere)
    if not any(key in part.table.entries for key in _CAPS) and not part.table.merged:
        findings.problems.append(faults.caps_nothing(part.span, scope, _CAPS))

    return _budget(scope, fitted, part)


def _budget(scope: ScopeKind, fitted: Fitted[TenantBudgetShape], part: Part) -> Budget:
    shape = fitted.shape

    return Budget(
        scope=scope,
        span=part.span,
        caps=Caps(shape.cost_usd, shape.input_tokens, shape.output_tokens, shape.calls, shape.hops),
        window_us=shape.window,
        pressure_from=shape.pressure_from,
        required=isinstance(shape, BudgetShape) and shape.required,
        away=shape.away,
        places={key: piece.span for key, piece in part.table.entries.items()},
    )
