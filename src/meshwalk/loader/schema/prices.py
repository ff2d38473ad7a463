"""
The shapes of prices: of one, of a table of them, and of what a graph says of them.
"""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from meshwalk.loader.schema.shape import Shape
from meshwalk.loader.schema.values import FreeText, Listed, Money, Text, Whole


class RatesShape(Shape):
    """
    The prices of a million tokens of each kind, in USD.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"input": 0, "output": 0}

    input: Money = Field(description="USD for a million tokens of input.")
    output: Money = Field(description="USD for a million tokens of output.")
    cached_input: Money | None = Field(
        None, description="USD for a million tokens of input that the provider had in a cache; without it, as other input."
    )
    reasoning: Money | None = Field(
        None, description="USD for a million tokens of output that the caller does not see; without it, as other output."
    )
    cache_write: Money | None = Field(
        None, description="USD for a million tokens of input that the provider writes to a cache; without it, as other input."
    )


class MarkShape(RatesShape):
    """
    The price of calls whose input is longer than a mark; it holds for all tokens of such a call.
    """

    stand_ins: ClassVar[dict[str, Any]] = {**RatesShape.stand_ins, "input_tokens": 1}

    input_tokens: Annotated[int, Field(ge=1, le=1_000_000_000), Whole] = Field(
        description="The mark: a call with more tokens of input is priced so.", examples=[200_000]
    )
    inclusive: bool = Field(False, description="Whether a call with exactly so many tokens of input is priced so, too.")


class PriceShape(RatesShape):
    """
    The price of a million tokens, in USD.
    """

    above: Annotated[list[MarkShape], Field(min_length=1), Listed] | None = Field(
        None,
        description="Other prices for calls with a long input; one mark, or a list of them.",
        examples=[{"input_tokens": 200_000, "input": 2.5, "output": 15}],
    )
    tiers: dict[str, RatesShape] | None = Field(
        None,
        description="Prices of further tiers, by their names; 'tier' says which of them is paid.",
        examples=[{"batch": {"input": 0.5, "output": 2}}],
    )
    tier: Text | None = Field(None, description="The tier that is paid; without it, the price itself.")


class PriceColumns(Shape):
    """
    The price of a million tokens, as the columns of a CSV table name it.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}

    input: Money = Field(alias="input_usd_per_mtok")
    output: Money = Field(alias="output_usd_per_mtok")
    cached_input: Money | None = Field(None, alias="cached_input_usd_per_mtok")
    reasoning: Money | None = Field(None, alias="reasoning_usd_per_mtok")
    cache_write: Money | None = Field(None, alias="cache_write_usd_per_mtok")

    @classmethod
    def required(cls) -> tuple[str, ...]:
        """
        List the columns that every table has.
        """
        return tuple(cls.stand_ins)


class PriceTableShape(Shape):
    """
    A table of prices in YAML.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"models": {}}

    version: FreeText | None = Field(None, description="The name of this version of the prices.")
    models: dict[str, PriceShape] = Field(description="The price of each model, by its name.")


class PricesShape(Shape):
    """
    The version of the graph's prices, and the table that holds them.
    """

    table: Text | None = Field(
        None, description="A table of prices (YAML or CSV); backends name its rows as their usd_per_mtok."
    )
    version: FreeText | None = Field(
        None, description="The name of this version of the prices, for records; without it, the table's own, or a hash."
    )


def _same(value: Any) -> Any:
    return value


# A row's name is looked up before the shape is fitted.
PriceOrRow = Annotated[PriceShape | None, BeforeValidator(_same, json_schema_input_type=Text | PriceShape)]
PricesOrFile = Annotated[PricesShape | None, BeforeValidator(_same, json_schema_input_type=Text | PricesShape)]
