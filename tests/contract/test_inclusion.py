"""The comparison of schemas against an independent judge: what was valid stays valid where no fault is found."""

from __future__ import annotations

from typing import Any

from hypothesis import event
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from jackfield._cli.inclusion import Inclusion, Role
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


@always(few=120, many=5_000, data=st.data())
def test_what_callers_could_send_is_taken(data: st.DataObject) -> None:
    """Where no fault is found, the new schema takes every value of the old one."""
    old = data.draw(schemas(), label="old")
    _holds(data, old, data.draw(changed(old), label="new"), "input")


@always(few=120, many=5_000, data=st.data())
def test_what_callers_get_is_what_they_were_told_of(data: st.DataObject) -> None:
    """Where no fault is found, every value of the new schema is one of the old."""
    old = data.draw(schemas(), label="old")
    _holds(data, data.draw(changed(old), label="new"), old, "output")


@always(few=80, many=2_000, schema=schemas())
def test_a_schema_takes_what_it_takes(schema: Schema) -> None:
    """Whatever it is made of, and also where it is written down anew."""
    again = {**schema, "$defs": {**schema["$defs"], "Unused": {}}}
    assert Inclusion(schema, again, "input").faults() == []
    assert Inclusion(schema, again, "output").faults() == []
