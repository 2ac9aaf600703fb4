"""JSON Schemas as text."""

from __future__ import annotations

from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from jackfield._cli.schemas import describe


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    size: Annotated[int, Field(gt=0, le=9)] = 1


class Tree(BaseModel):
    name: str = Field(description="What it is called.\nBy whom.")
    colour: Colour = Colour.RED
    leaves: list[Leaf] = []
    children: list[Tree] = []
    planted: date | None = None
    kind: Literal["oak"] = "oak"
    photo: bytes = b""


@pytest.mark.parametrize(
    ("type_", "lines"),
    [
        (int, ["integer"]),
        (None, ["null"]),
        (bytes, ["Buffer"]),
        (object, ["anything"]),
        (list[int], ["array of integer"]),
        (dict[str, float], ["object of number"]),
        (int | str, ["integer | string"]),
        (Annotated[str, Field(max_length=3)], ["string, at most 3 long"]),
        (Leaf, ["size  integer  default 1, more than 0, at most 9"]),
        (list[Leaf], ["size  integer  default 1, more than 0, at most 9"]),
        (Leaf | bytes, ["Leaf | Buffer", "size  integer  default 1, more than 0, at most 9"]),
        (Leaf | None, ["Leaf | null", "size  integer  default 1, more than 0, at most 9"]),
        (list[Leaf] | bytes, ["array of Leaf | Buffer", "size  integer  default 1, more than 0, at most 9"]),
    ],
)
def test_types_have_short_names(type_: Any, lines: list[str]) -> None:
    """What is no object is its type; what holds objects is their fields."""
    assert describe(TypeAdapter(type_).json_schema()) == lines


def test_a_model_is_a_line_a_field() -> None:
    """Nested fields are indented, and a model that holds itself is shown once."""
    assert describe(Tree.model_json_schema()) == [
        "name      string          required, What it is called. By whom.",
        'colour    "red" | "blue"  default "red"',
        "leaves    array of Leaf   default []",
        "  size    integer         default 1, more than 0, at most 9",
        "children  array of Tree   default []",
        "planted   date | null     default null",
        'kind      "oak"           default "oak"',
        'photo     Buffer          default ""',
    ]


@pytest.mark.parametrize(
    "schema",
    [{}, {"$ref": "#/$defs/Lost"}, {"type": ["string", "null"]}, {"properties": {"a": {}}}, {"items": {}}],
)
def test_no_schema_is_too_odd(schema: dict[str, Any]) -> None:
    """Whatever a server sends is described in some way."""
    assert all(isinstance(line, str) for line in describe(schema))
