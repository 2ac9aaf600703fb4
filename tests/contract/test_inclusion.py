"""The comparison of schemas against an independent judge: what was valid stays valid where no fault is found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from jackfield._cli.contract.inclusion import Inclusion, Role
from tests.contract.schemas import Schema, changed, closed, schemas, values
from tests.support.properties import always


def _fits(value: object, schema: Schema | bool) -> bool:
    return Draft202012Validator(schema).is_valid(value)


def _holds(data: st.DataObject, sub: Schema, sup: Schema, role: Role) -> None:
    if Inclusion(sub, sup, role).faults():
        event("a fault is found")
        return
    sent = closed(sub)
    for _ in range(4):
        value: Any = data.draw(values(sub), label="value")
        if _fits(value, sent):
            event("a value is tried")
            assert _fits(value, sup)


@always(few=120, many=1_500, data=st.data())
def test_what_callers_could_send_is_taken(data: st.DataObject) -> None:
    """Where no fault is found, the new schema takes every value of the old one."""
    old = data.draw(schemas(), label="old")
    _holds(data, old, data.draw(changed(old), label="new"), "input")


@always(few=120, many=1_500, data=st.data())
def test_what_callers_get_is_what_they_were_told_of(data: st.DataObject) -> None:
    """Where no fault is found, every value of the new schema is one of the old."""
    old = data.draw(schemas(), label="old")
    _holds(data, data.draw(changed(old), label="new"), old, "output")


@always(few=80, many=600, schema=schemas())
def test_a_schema_takes_what_it_takes(schema: Schema) -> None:
    """Whatever it is made of, and also where it is written down anew."""
    again = {**schema, "$defs": {**schema["$defs"], "Unused": {}}}
    assert Inclusion(schema, again, "input").faults() == []
    assert Inclusion(schema, again, "output").faults() == []


INTEGERS: Schema = {"type": "array", "items": {"type": "integer"}}
TEXTS: Schema = {"type": "array", "items": {"type": "string"}}


@pytest.mark.parametrize(
    ("sub", "sup"),
    [
        ({"items": {"type": "integer"}}, {"items": {"type": "string"}}),
        ({"type": ["null", "array"], "items": {"type": "integer"}}, {"type": ["null", "array"], "items": {"const": 1}}),
        ({"type": ["string", "integer"], "minimum": 0}, {"type": ["string", "integer"], "minimum": 1}),
        ({"type": ["string", "integer"]}, {"type": "string"}),
        ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, {"type": "integer", "minimum": 4}),
        ({"type": "integer"}, {"allOf": [{"type": "integer"}, {"minimum": 0}]}),
        ({"type": "integer"}, {"allOf": [{"type": "integer"}, {"type": "string"}]}),
        ({"anyOf": [INTEGERS, TEXTS]}, INTEGERS),
        ({"type": "array"}, {"anyOf": [INTEGERS, TEXTS]}),
        ({"const": {"a": 1}}, {"const": {"a": True}}),
        ({"const": [1]}, INTEGERS),
        ({"enum": ["2026-01-01"]}, {"type": "string", "format": "date"}),
        ({"type": "integer"}, {"oneOf": [{"type": "integer"}, {"type": "number"}]}),
        ({"type": "object", "minProperties": 1}, {"type": "object", "minProperties": 2}),
        ({"type": "string"}, False),
        (True, {"type": "string"}),
        ({"type": "string"}, {"type": "string", "contentMediaType": "application/json"}),
    ],
)
def test_what_is_not_included_is_found(sub: Any, sup: Any) -> None:
    """Or cannot be told, also in schemas that people write by hand."""
    wrapped: tuple[Schema, Schema] = {"properties": {"a": sub}}, {"properties": {"a": sup}}
    for role in ("input", "output"):
        assert Inclusion(*wrapped, role).faults()


@pytest.mark.parametrize(
    ("sub", "sup"),
    [
        ({"type": ["string", "integer"], "minimum": 1}, {"anyOf": [{"type": "string"}, {"type": "number"}]}),
        ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, {"type": "number", "minimum": 2}),
        ({"allOf": [{"type": "integer"}, {"type": "string"}]}, {"type": "null"}),
        ({"type": "integer", "minimum": 3}, {"allOf": [{"type": "integer"}, {"minimum": 0}]}),
        (INTEGERS, {"anyOf": [TEXTS, INTEGERS]}),
        ({"enum": [1, 2.0]}, {"type": "integer"}),
        ({"enum": ["ab", "abc"]}, {"type": "string", "minLength": 2, "pattern": "^a"}),
        ({"const": {"a": 1, "b": 2}}, {"enum": [{"b": 2, "a": 1}]}),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1}),
        ({"type": "string", "format": "password"}, {"type": "string"}),
        ({"type": "string"}, {"type": "string", "format": "password"}),
        (False, {"type": "string"}),
        ({"type": "string"}, True),
    ],
)
def test_what_is_included_passes(sub: Any, sup: Any) -> None:
    """Where schemas say the same in other words, or less."""
    wrapped: tuple[Schema, Schema] = {"properties": {"a": sub}}, {"properties": {"a": sup}}
    for role in ("input", "output"):
        assert Inclusion(*wrapped, role).faults() == []
