"""Schemas as pydantic writes them, small changes of them, and values that they take; for Hypothesis."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]

NAMES = ("a", "b", "c", "d")
UNKNOWN = "unknown"
"""A property that no schema declares."""
PATTERNS = ("^a", "^b+$", "x")
TEXTS = st.text("abx", max_size=4)
NUMBERS = st.integers(-6, 6)
CONSTANTS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)


_SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS | st.sampled_from(["a", "bb", "ax"]),
    "integer": st.integers(-9, 9),
    "number": st.integers(-18, 18).map(lambda number: number / 2),
    "boolean": st.booleans(),
    "null": st.none(),
}


def _bounded(draw: st.DrawFn, low: str, high: str, most: int, chance: Any) -> Schema:
    found: Schema = {}
    if draw(chance):
        found[low] = draw(st.integers(0, most))
    if draw(chance):
        found[high] = draw(st.integers(found.get(low, 0), most))
    return found


@st.composite
def _strings(draw: st.DrawFn) -> Schema:
    found: Schema = {"type": "string", **_bounded(draw, "minLength", "maxLength", 4, st.booleans())}
    if len(found) == 1 and draw(st.booleans()):
        found["pattern"] = draw(st.sampled_from(PATTERNS))
    return found


@st.composite
def _numbers(draw: st.DrawFn) -> Schema:
    found: Schema = {"type": draw(st.sampled_from(["integer", "number"]))}
    low, high = sorted((draw(NUMBERS), draw(NUMBERS)))
    if draw(st.booleans()):
        found[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        found[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = high + 3
    if draw(st.integers(0, 3)) == 0:
        found["multipleOf"] = draw(st.sampled_from([1, 2, 4, 0.5, 1.5]))
    return found


_FINITE = st.one_of(
    CONSTANTS.map(lambda value: {"const": value}),
    st.lists(CONSTANTS, min_size=1, max_size=3, unique_by=json.dumps).map(lambda values: {"enum": values}),
)
_SCALARS = st.one_of(
    _strings(),
    _numbers(),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    _FINITE,
)


@st.composite
def _arrays(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    if draw(st.booleans()):
        first = draw(st.lists(inner, min_size=1, max_size=3))
        return {"type": "array", "prefixItems": first, "minItems": len(first), "maxItems": len(first)}
    found: Schema = {"type": "array", "items": draw(inner), **_bounded(draw, "minItems", "maxItems", 3, st.booleans())}
    if draw(st.integers(0, 3)) == 0:
        found["uniqueItems"] = True
    return found


@st.composite
def _models(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
    found: Schema = {"type": "object", "properties": {name: draw(inner) for name in names}}
    required = [name for name in names if draw(st.booleans())]
    if required:
        found["required"] = required
    further = draw(st.sampled_from([None, None, False, True]))
    if further is not None:
        found["additionalProperties"] = further
    return found


@st.composite
def _maps(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    match draw(st.integers(0, 3)):
        case 0:
            return {"type": "object", "patternProperties": {draw(st.sampled_from(PATTERNS)): draw(inner)}}
        case 1:
            keys = {"enum": list(draw(st.sets(st.sampled_from(NAMES), min_size=1)))}
            return {"type": "object", "additionalProperties": draw(inner), "propertyNames": keys}
        case _:
            sizes = _bounded(draw, "minProperties", "maxProperties", 2, st.booleans())
            return {"type": "object", "additionalProperties": draw(inner), **sizes}


@st.composite
def _several(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    """Draw a schema of several types at once, as people write them by hand."""
    found = {**draw(_strings()), **draw(_numbers()), **draw(_arrays(inner)), **draw(_models(inner))}
    kinds = draw(st.lists(st.sampled_from([*sorted(_SIMPLE), "array", "object"]), max_size=3, unique=True))
    return {**found, "type": kinds} if kinds else {key: value for key, value in found.items() if key != "type"}


def _unions(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.lists(inner, min_size=2, max_size=3).map(lambda parts: {"anyOf": parts})


_PARTS: st.SearchStrategy[Schema] = st.recursive(
    st.one_of(_SCALARS, st.just({}), st.just({"$ref": "#/$defs/Node"})),
    lambda inner: st.one_of(_arrays(inner), _models(inner), _maps(inner), _unions(inner), _several(inner)),
    max_leaves=6,
)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """Draw a schema; `Node` in it is a model that may hold others of its kind."""
    top: Schema = draw(_PARTS)
    kind = draw(_SCALARS)
    node = {
        "type": "object",
        "properties": {"a": kind, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
        "required": draw(st.sampled_from([[], ["a"]])),
    }
    return {**top, "$defs": {"Node": node}}


@st.composite
def changed(draw: st.DrawFn, schema: Schema) -> Schema:
    """Draw a schema that is much like another."""
    return {**_changed(draw, {k: v for k, v in schema.items() if k != "$defs"}, 0), "$defs": _definitions(draw, schema)}


def _definitions(draw: st.DrawFn, schema: Schema) -> Schema:
    node = schema["$defs"]["Node"]
    return {"Node": _changed(draw, node, 0) if draw(st.integers(0, 3)) == 0 else node}


def _changed(draw: st.DrawFn, schema: Schema, depth: int) -> Schema:
    match draw(st.integers(0, 9)):
        case 0:
            return {"anyOf": [schema, draw(_SCALARS)]}
        case 1 if "anyOf" in schema:
            return dict(draw(st.sampled_from(schema["anyOf"])))
        case 2 if depth:
            return draw(_SCALARS)
        case 3:
            loose = {"pattern", "multipleOf", "uniqueItems", "required", "additionalProperties", "minimum", "maxLength"}
            return {key: value for key, value in schema.items() if key not in loose}
        case 4 if "properties" in schema:
            name = draw(st.sampled_from(NAMES))
            return {**schema, "properties": {**schema["properties"], name: draw(_SCALARS)}}
        case 5 if schema.get("properties"):
            gone = draw(st.sampled_from(sorted(schema["properties"])))
            rest = {name: part for name, part in schema["properties"].items() if name != gone}
            return {**schema, "properties": rest, "required": [n for n in schema.get("required", ()) if n != gone]}
        case 6:
            return _nudged(draw, schema)
        case 7 if schema.get("type") == "object":
            return {**schema, "additionalProperties": draw(st.sampled_from([True, False, {"type": "integer"}]))}
    return _changed_within(draw, schema, depth)


def _changed_within(draw: st.DrawFn, schema: Schema, depth: int) -> Schema:
    new = dict(schema)
    for key in ("anyOf", "prefixItems"):
        if key in new:
            new[key] = [_changed(draw, part, depth + 1) for part in new[key]]
    for key in ("items", "additionalProperties"):
        if isinstance(new.get(key), dict):
            new[key] = _changed(draw, new[key], depth + 1)
    for key in ("properties", "patternProperties"):
        if key in new:
            new[key] = {name: _changed(draw, part, depth + 1) for name, part in new[key].items()}
    return new


def _nudged(draw: st.DrawFn, schema: Schema) -> Schema:
    """Change a bound, a list of values, or the type of numbers."""
    new = dict(schema)
    for key, value in schema.items():
        if key in ("minLength", "minItems", "minProperties", "maxLength", "maxItems", "maxProperties"):
            new[key] = max(0, value + draw(st.integers(-1, 1)))
        elif key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            new[key] = value + draw(st.integers(-1, 1))
        elif key == "enum":
            new[key] = [*value, draw(CONSTANTS)] if draw(st.booleans()) else value[:1]
        elif key == "type" and value in ("integer", "number"):
            new[key] = draw(st.sampled_from(["integer", "number"]))
    return new


def closed(schema: Schema | bool) -> Schema | bool:
    """Return the schema of what is sent by another: no property that it does not speak of."""
    if isinstance(schema, bool):
        return schema
    new = dict(schema)
    for key in ("anyOf", "prefixItems"):
        if key in new:
            new[key] = [closed(part) for part in new[key]]
    for key in ("properties", "patternProperties", "$defs"):
        if key in new:
            new[key] = {name: closed(part) for name, part in new[key].items()}
    for key in ("items", "additionalProperties"):
        if key in new:
            new[key] = closed(new[key])
    is_object = "object" in new["type"] if "type" in new else "properties" in new
    return {"additionalProperties": False, **new} if is_object else new


@st.composite
def values(draw: st.DrawFn, schema: Schema) -> Any:
    """Draw a value that a caller might send by a schema; whether it fits, somebody else has to judge.

    Models get no property that they do not declare, unless they say that there may be others.
    """
    return _value(draw, schema, schema["$defs"], 0)


def _value(draw: st.DrawFn, schema: Schema | bool, definitions: Schema, depth: int) -> Any:
    if isinstance(schema, bool) or not schema.keys() - {"$defs"}:
        return draw(st.one_of(CONSTANTS, st.lists(CONSTANTS, max_size=2), st.dictionaries(st.just(UNKNOWN), CONSTANTS)))
    return _said(draw, definitions["Node"] if "$ref" in schema else schema, definitions, depth)


def _said(draw: st.DrawFn, schema: Schema, definitions: Schema, depth: int) -> Any:
    if "anyOf" in schema:
        # Deep down the last alternative, which ends a list of nodes.
        part = draw(st.sampled_from(schema["anyOf"])) if depth < 4 else schema["anyOf"][-1]
        return _value(draw, part, definitions, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    kind = schema.get("type", ["array", "object", *_SIMPLE])
    if isinstance(kind, list):
        kind = draw(st.sampled_from(kind))
    if kind == "array":
        return _array(draw, schema, definitions, depth)
    if kind == "object":
        return _object(draw, schema, definitions, depth)
    return draw(_SIMPLE[kind])


def _array(draw: st.DrawFn, schema: Schema, definitions: Schema, depth: int) -> list[Any]:
    parts = list(schema.get("prefixItems", ()))
    if "items" in schema:
        least = schema.get("minItems", 0)
        parts += [schema["items"]] * draw(st.integers(least, max(least, schema.get("maxItems", 3))))
    return [_value(draw, part, definitions, depth + 1) for part in parts]


def _object(draw: st.DrawFn, schema: Schema, definitions: Schema, depth: int) -> Schema:
    required = schema.get("required", ())
    found = {
        name: _value(draw, part, definitions, depth + 1)
        for name, part in schema.get("properties", {}).items()
        if name in required or draw(st.booleans())
    }
    for pattern, part in schema.get("patternProperties", {}).items():
        found |= {
            key: _value(draw, part, definitions, depth + 1)
            for key in _keys(draw, {"^a": "ab", "x": "x"}.get(pattern, "b"))
        }
    further = schema.get("additionalProperties", False)
    if further is not False:
        names = [name for name in (*NAMES, UNKNOWN) if name not in schema.get("properties", {})]
        chosen = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
        found |= {name: _value(draw, further, definitions, depth + 1) for name in chosen}
    return found


def _keys(draw: st.DrawFn, key: str) -> list[str]:
    return [key] if draw(st.booleans()) else []
