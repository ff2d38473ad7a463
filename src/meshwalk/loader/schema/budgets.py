"""
The shapes of what may be used up: by one walk (`limits`), and by all walks of a scope together (`budgets`).
"""

from typing import Annotated

from pydantic import Field

from meshwalk.loader.schema.shape import Shape
from meshwalk.loader.schema.values import Money, SharedMoney, Time, Whole, Window
from meshwalk.model import MAX_SHARED_COUNT, PRESSURE_FROM, AwayPolicy


# The least and the most of what is counted over many walks.
_Count = Annotated[int, Field(ge=1, le=MAX_SHARED_COUNT), Whole]
# Pressure rises from here to the end, so that there must be something between them.
_PressureFrom = Annotated[
    float,
    Field(ge=0, lt=1, allow_inf_nan=False, description="The used share from which the pressure rises above 0."),
]


class LimitsShape(Shape):
    """
    The limits of one walk.
    """

    hops: Annotated[int, Field(ge=1, le=1000), Whole] | None = Field(None, description="The most nodes a walk may visit.")
    deadline: Time | None = Field(None, description="The most time a walk may take.")
    cost_usd: Money | None = Field(None, description="The most a walk may cost, in USD.")
    input_bytes: Annotated[int, Field(ge=1, le=1 << 30), Whole] | None = Field(
        None, description="The most bytes the messages may have; each after the first counts 16 more."
    )
    output_tokens: Annotated[int, Field(ge=1, le=1_000_000_000), Whole] | None = Field(
        None, description="The most tokens that all replies together may have."
    )
    input_tokens: Annotated[int, Field(ge=1, le=1_000_000_000), Whole] | None = Field(
        None, description="The most tokens that all calls together may send."
    )
    calls: Annotated[int, Field(ge=1, le=1_000_000), Whole] | None = Field(
        None, description="The most calls a walk may make, retries counted."
    )


class WalkLimitsShape(LimitsShape):
    """
    The limits of one walk, and the share from which it is under pressure.
    """

    pressure_from: _PressureFrom = PRESSURE_FROM


class TenantBudgetShape(Shape):
    """
    A budget for all walks of one tenant together.
    """

    cost_usd: SharedMoney | None = Field(None, description="The most they may cost, in USD.")
    input_tokens: _Count | None = Field(None, description="The most tokens they may send.")
    output_tokens: _Count | None = Field(None, description="The most tokens they may be sent back.")
    calls: _Count | None = Field(None, description="The most model calls they may make, retries counted.")
    hops: _Count | None = Field(None, description="The most nodes they may visit.")
    window: Window | None = Field(
        None, description="How long one count lasts; without it, it lasts for ever.", examples=["1h", "24h", "720h"]
    )
    pressure_from: _PressureFrom = PRESSURE_FROM
    away: AwayPolicy = Field(
        "closed",
        description="While the vault does not answer: grant nothing, grant all uncounted, or count on each server alone.",
    )


class BudgetShape(TenantBudgetShape):
    """
    A budget for all walks of one session or one workflow together.
    """

    required: bool = Field(False, description="Whether a request must name it; one that does not is not capped by it.")


class BudgetsShape(Shape):
    """
    The budgets that many walks share.
    """

    session: BudgetShape | None = Field(None, description="What one session may use up.")
    workflow: BudgetShape | None = Field(None, description="What one workflow may use up.")
    tenant: TenantBudgetShape | None = Field(None, description="What one tenant may use up.")
