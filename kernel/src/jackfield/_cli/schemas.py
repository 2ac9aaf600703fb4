"""JSON Schemas as text that a person reads: one line a field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from jackfield._cli.terminal import columns, line, to_json

Schema: TypeAlias = Mapping[str, Any]

_DEEPEST: Final = 6
_FORMATS: Final = {"binary": "Buffer", "date": "date", "date-time": "date and time", "uuid": "UUID", "uri": "URL"}
_BOUNDS: Final = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "more than {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "less than {}"),
    ("multipleOf", "a multiple of {}"),
    ("minLength", "at least {} long"),
    ("maxLength", "at most {} long"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
    ("pattern", "matching {}"),
)


def describe(schema: Schema) -> list[str]:
    """Return the lines that describe a schema: its fields where it is an object, its type, or both in a union."""
    reader = _Reader(schema)
    rows = list(reader.fields(schema, 0, frozenset()))
    if rows:
        return [*([reader.type_of(schema)] if reader.is_union(schema) else []), *columns(rows)]
    return [", ".join([reader.type_of(schema), *reader.bounds(schema)])]


def type_of(schema: Schema, root: Schema) -> str:
    """Return the type of a part of a schema in a few words."""
    return _Reader(root).type_of(schema)


class _Reader:
    def __init__(self, root: Schema) -> None:
        self._definitions: Schema = root.get("$defs", {})

    def fields(self, schema: Schema, depth: int, inside: frozenset[str]) -> Iterator[list[str]]:
        """Yield name, type and remarks of each field of an object, of an array's objects, of a union's."""
        for name, part in self._parts(schema, inside):
            if name in inside or depth >= _DEEPEST:
                continue
            within = inside | {name} if name else inside
            required = part.get("required", ())
            for field, inner in part.get("properties", {}).items():
                remarks = ["required"] if field in required else []
                if "default" in inner:
                    remarks.append(f"default {to_json(inner['default'])}")
                remarks += self.bounds(inner)
                if description := inner.get("description"):
                    remarks.append(line(str(description)))
                yield ["  " * depth + line(field), self.type_of(inner), ", ".join(remarks)]
                yield from self.fields(inner, depth + 1, within)

    def type_of(self, schema: Schema) -> str:
        """Return the type in a few words."""
        schema = self._resolved(schema)
        if "const" in schema:
            return to_json(schema["const"])
        if "enum" in schema:
            return " | ".join(to_json(value) for value in schema["enum"])
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            return " | ".join(dict.fromkeys(self._short(choice) for choice in choices))
        kind = schema.get("type")
        if kind == "array":
            return f"array of {self._short(schema['items'])}" if schema.get("items") else "array"
        if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
            return f"object of {self._short(schema['additionalProperties'])}"
        if kind == "string":
            return _FORMATS.get(schema.get("format", ""), "string")
        if isinstance(kind, list):
            return " | ".join(map(str, kind))
        return line(str(kind)) if kind else "anything"

    def is_union(self, schema: Schema) -> bool:
        """Tell whether a value can be one thing or another."""
        schema = self._resolved(schema)
        return bool(schema.get("anyOf") or schema.get("oneOf"))

    def bounds(self, schema: Schema) -> list[str]:
        """Return what a value has to keep to."""
        schema = self._resolved(schema)
        found = [words.format(to_json(schema[key])) for key, words in _BOUNDS if key in schema]
        for choice in schema.get("anyOf", ()):
            found += [bound for bound in self.bounds(choice) if "$ref" not in choice]
        return list(dict.fromkeys(found))

    def _short(self, schema: Schema) -> str:
        """Return the type of a part; a definition that holds others by its name, for it may hold itself."""
        name = _definition(schema)
        resolved = self._resolved(schema)
        if name is not None and (resolved.get("anyOf") or resolved.get("oneOf")):
            return line(name)
        if resolved.get("type") in ("array", "object") and name is not None:
            return line(name)
        return self.type_of(resolved)

    def _parts(self, schema: Schema, inside: frozenset[str]) -> Iterator[tuple[str, Schema]]:
        """Yield the objects that a value can be or hold, each with the name of its definition or an empty one."""
        name = _definition(schema)
        if name is not None:
            if name in inside:
                return
            inside |= {name}
        schema = self._resolved(schema)
        if "properties" in schema:
            yield name or "", schema
        inner = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
        inner += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
        for part in inner:
            yield from self._parts(part, inside)

    def _resolved(self, schema: Schema) -> Schema:
        name = _definition(schema)
        found = self._definitions.get(name) if name is not None else None
        return found if isinstance(found, dict) else schema


def _definition(schema: Schema) -> str | None:
    reference = schema.get("$ref")
    return str(reference).removeprefix("#/$defs/") if reference else None
