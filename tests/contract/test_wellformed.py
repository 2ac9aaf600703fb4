"""Schemas in documents come from anywhere: what has not the form of one is refused, and named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import strategies as st

from jackfield._cli.contract import exports, wellformed
from jackfield._cli.contract.comparing import compare
from jackfield._cli.contract.document import DocumentError, parse
from tests.contract.schemas import Schema, schemas
from tests.support.properties import always, json_values

KEYWORDS = (
    *wellformed.MAPS,
    *wellformed.LISTS,
    *wellformed.NODES,
    *("$ref", "const", "default", "discriminator", "enum", "exclusiveMinimum", "format", "maxItems", "maximum"),
    *("minLength", "minProperties", "multipleOf", "pattern", "required", "type", "uniqueItems"),
)


def _document(schema: object) -> str:
    function = {"kind": "unary", "input": schema, "output": schema, "emits": {"moved": schema}}
    plugin = {"name": "seats", "version": "1", "namespaces": ["api"], "functions": {"api.f": function}}
    return json.dumps({"contract": 1, "plugins": [plugin]})


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ([], "Input should be a valid dictionary"),
        ({"properties": []}, "'properties' of a schema cannot be []"),
        ({"anyOf": {}}, "'anyOf' of a schema cannot be {}"),
        ({"items": {"anyOf": [7]}}, "a schema is an object, and not 7"),
        ({"properties": {"a": None}}, "a schema is an object, and not None"),
        ({"maxLength": -1}, "'maxLength' of a schema cannot be -1"),
        ({"maximum": True}, "'maximum' of a schema cannot be True"),
        ({"multipleOf": 0}, "'multipleOf' of a schema cannot be 0"),
        ({"type": 3}, "'type' of a schema cannot be 3"),
        ({"required": [1]}, "'required' of a schema cannot be [1]"),
        ({"$ref": 1}, "'$ref' of a schema cannot be 1"),
        ({"discriminator": {"mapping": {"a": 1}}}, "'discriminator' of a schema cannot be {'mapping': {'a': 1}}"),
    ],
)
def test_what_is_no_schema_is_named(schema: object, said: str) -> None:
    """With the place in the document."""
    with pytest.raises(DocumentError) as caught:
        parse(_document(schema), "c.json")
    assert f"plugins.0.functions.api.f.input: {'' if said.startswith('Input') else 'Value error, '}{said}" in str(
        caught.value
    )


def _nested(depth: int) -> str:
    return _document(0).replace("0", '{"type": "array", "items": ' * depth + "{}" + "}" * depth)


def test_a_schema_that_is_nested_too_deeply() -> None:
    """It is refused; what no model has is still worked with."""
    with pytest.raises(DocumentError, match=r"nested too deeply|is no JSON"):
        parse(_nested(5_000), "c.json")
    deep, other = parse(_nested(100), "c.json"), parse(_nested(101), "c.json")
    assert compare(deep, deep) == []
    assert {change.rule for change in compare(deep, other)} == {"input-narrowed", "output-narrowed", "event-narrowed"}


_WILD: st.SearchStrategy[Any] = st.recursive(
    json_values,
    lambda inner: st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=8,
)


@always(few=150, many=1_500, one=_WILD | schemas(), other=schemas())
def test_whatever_a_document_holds_is_refused_or_worked_with(one: Any, other: Schema) -> None:
    """Nothing in a schema stops the comparison or the other formats with an error of their own."""
    try:
        wild = parse(_document(one), "c.json")
    except DocumentError:
        return
    tame = parse(_document(other), "c.json")
    assert all(change.reason for change in [*compare(wild, tame), *compare(tame, wild)])
    assert compare(wild, wild) == []
    json.dumps([exports.asyncapi(wild), exports.json_schema(wild)])
