"""
The JSON Schemas of a graph, of its cases and of a server's settings, for editors: made of the same shapes that the loader fits.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from meshwalk.loader.schema.cases import CasesShape
from meshwalk.loader.schema.graph import GraphShape
from meshwalk.loader.schema.server import ServerShape
from meshwalk.loader.schema.shape import Shape


class _Generator(GenerateJsonSchema):
    """
    A generator without null: an optional key is left out, never written as nothing.
    """

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])

        return super().default_schema(schema)

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)

        return made | {"additionalProperties": False} if "patternProperties" in made else made

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """
        Choose the shape by the value of its tag: validators ignore OpenAPI's discriminator, and tell of every shape then.
        """
        tag = str(schema["discriminator"])
        shapes = {str(word): self.generate_inner(inner) for word, inner in schema["choices"].items()}
        choices = [
            {"if": {"properties": {tag: {"const": word}}, "required": [tag]}, "then": shape} for word, shape in shapes.items()
        ]

        return {"type": "object", "required": [tag], "properties": {tag: {"enum": list(shapes)}}, "allOf": choices}

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the signature is pydantic's
        return False


def json_schema() -> dict[str, Any]:
    """
    Return the JSON Schema (draft 2020-12) of a graph.
    """
    return _schema(GraphShape, "meshwalk.schema.json")


def cases_schema() -> dict[str, Any]:
    """
    Return the JSON Schema (draft 2020-12) of a file of cases.
    """
    return _schema(CasesShape, "meshwalk-cases.schema.json")


def settings_schema() -> dict[str, Any]:
    """
    Return the JSON Schema (draft 2020-12) of a server's settings.
    """
    return _schema(ServerShape, "meshwalk-server.schema.json")


def _schema(shape: type[Shape], id: str) -> dict[str, Any]:
    schema = shape.model_json_schema(schema_generator=_Generator, mode="validation")

    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": id} | schema
