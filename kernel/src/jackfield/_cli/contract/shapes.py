"""JSON Schemas taken apart: references followed, unions spread out, so that two of them can be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, TypeAlias

from jackfield._cli import schemas

Schema: TypeAlias = Mapping[str, Any]
Node: TypeAlias = "Schema | bool"
Path: TypeAlias = tuple[str, ...]

ANYTHING: Final[Schema] = {}
TEXT: Final[Schema] = {"type": "string"}
KINDS: Final = ("null", "boolean", "number", "string", "buffer", "array", "object")
"""What a value can be; whole numbers are numbers."""

REMARKS: Final = frozenset(
    {"$comment", "$defs", "$id", "$schema", "contentSchema", "deprecated", "description", "discriminator", "examples"}
    | {"readOnly", "title", "writeOnly"}
)
"""Keywords that take no value away."""

_UNDECIDABLE: Final = (
    *("$dynamicRef", "allOf", "contains", "dependentRequired", "dependentSchemas", "else", "if", "maxContains"),
    *("minContains", "not", "oneOf", "then", "unevaluatedItems", "unevaluatedProperties"),
)
"""Keywords that say something, and that are not followed here."""

_SPREAD: Final = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
_NO_FORMATS: Final = frozenset({"password", "path"})
"""Formats that are only remarks."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why values of one schema are not, or may not be, values of another.

    Attributes:
        path: Where: names of properties, indexes, `[]` for every item, `{}` for every key.
        rule: What it is about: `absent`, `bound`, `closed`, `default`, `name`, `pattern`, `required`, `type` …
        sub: What the one says, in a few words.
        sup: What the other says.
        certain: Whether there are such values; otherwise nobody can tell.
    """

    path: Path
    rule: str
    sub: str
    sup: str
    certain: bool = True


class Reader:
    """Reads one schema with its `$defs`. What it returns for a part is the same object each time."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._spread: dict[int, tuple[Node, list[Schema]]] = {}

    def branches(self, node: Node) -> list[Schema]:
        """Return the alternatives that a value can be: schemas without references and unions at their top."""
        if isinstance(node, bool):
            return [ANYTHING] if node else []
        if id(node) not in self._spread:
            # The node is kept, so that its id stays its own.
            self._spread[id(node)] = node, list(self._spread_out(node))
        return self._spread[id(node)][1]

    def _spread_out(self, node: Schema) -> Iterator[Schema]:
        rest = {key: value for key, value in node.items() if key not in _SPREAD and key not in REMARKS}
        rest.pop("default", None)
        if rest.get("format") in _NO_FORMATS:
            del rest["format"]
        if not _SPREAD & node.keys():
            yield _titled(rest, node) if rest else ANYTHING
            return
        factors: list[list[Schema]] = [[rest]] if rest else []
        if "$ref" in node:
            factors.append(self.branches(self._target(node["$ref"])))
        for keyword in ("anyOf", "oneOf"):
            if keyword in node:
                spread = [branch for part in node[keyword] for branch in self.branches(part)]
                if keyword == "oneOf" and "discriminator" not in node:
                    spread = [{**branch, "oneOf": node["oneOf"]} for branch in spread]
                factors.append(spread)
        factors += [self.branches(part) for part in node.get("allOf", ())]
        yield from _product(factors)

    def _target(self, reference: str) -> Node:
        node: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, Mapping) or name not in node:
                return {"not": {"$ref": reference}}  # nobody can tell what that is
            node = node[name]
        found: Node = node
        return found

    def types(self, schema: Schema) -> list[str]:
        """Return what values of an alternative can be."""
        said = schema.get("type")
        if said is None:
            return list(KINDS)
        kinds = [said] if isinstance(said, str) else list(said)
        if schema.get("format") == "binary":
            kinds = ["buffer" if kind == "string" else kind for kind in kinds]
        return [kind for kind in kinds if kind != "integer" or "number" not in kinds]

    def takes(self, kind: str, schema: Schema) -> bool:
        """Tell whether some values of a kind may be values of an alternative."""
        values = values_of(schema)
        if values is not None:
            return any(kind_of(value) == ("number" if kind == "integer" else kind) for value in values)
        types = self.types(schema)
        return kind in types or (kind in ("integer", "number") and bool({"integer", "number"} & set(types)))

    def undecidable(self, schema: Schema) -> list[str]:
        """Return the keywords of an alternative that are not followed here."""
        return [keyword for keyword in _UNDECIDABLE if keyword in schema]

    def brief(self, branches: Iterable[Schema]) -> str:
        """Return what the alternatives are, in a few words."""
        words = dict.fromkeys(_word(branch, self._root) for branch in branches)
        return " | ".join(words) or "nothing"


def values_of(schema: Schema) -> list[Any] | None:
    """Return all values of an alternative, if they are written down."""
    if "const" in schema:
        return [schema["const"]]
    if "enum" in schema:
        return list(schema["enum"])
    return None


def kind_of(value: object) -> str:
    """Return which of `KINDS` a JSON value is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def key_of(value: object) -> str:
    """Return the same text for the same JSON value, and for no other; 1 and 1.0 are one value, `true` is another."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def accepts(value: object, schema: Schema, reader: Reader) -> bool | None:
    """Tell whether an alternative takes a value; None if that cannot be told."""
    known = values_of(schema)
    if known is not None and key_of(value) not in map(key_of, known):
        return False
    kind = kind_of(value)
    if not _has_type(value, kind, schema, reader):
        return False
    if reader.undecidable(schema):
        return None
    if known is not None:
        return True
    if isinstance(value, str):
        return _takes_text(value, schema)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _takes_number(Fraction(str(value)), schema)
    # An array or an object in an enumeration is too rare to be looked into.
    return True if kind in ("null", "boolean") or not schema.keys() - {"type", "title"} else None


def _has_type(value: object, kind: str, schema: Schema, reader: Reader) -> bool:
    types = reader.types(schema)
    if kind != "number":
        return kind in types
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return "number" in types or ("integer" in types and whole)


def _takes_text(value: str, schema: Schema) -> bool | None:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return False
    if "pattern" in schema:
        try:
            if not re.search(schema["pattern"], value):
                return False
        except re.error:
            return None
    return None if {"format", "contentMediaType", "contentEncoding"} & schema.keys() else True


def _takes_number(value: Fraction, schema: Schema) -> bool:
    def said(keyword: str) -> Fraction | None:
        return Fraction(str(schema[keyword])) if keyword in schema else None

    least, above, most, below = map(said, ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"))
    step = said("multipleOf")
    return (
        (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
        and (below is None or value < below)
        and (step is None or (value / step).denominator == 1)
    )


def _titled(rest: dict[str, Any], node: Schema) -> Schema:
    """Keep the title of an object: it is what people know it by."""
    return {**rest, "title": node["title"]} if "properties" in rest and "title" in node else rest


def _word(branch: Schema, root: Schema) -> str:
    title = branch.get("title")
    return str(title) if title else schemas.type_of(branch, root)


def _product(factors: Sequence[list[Schema]]) -> Iterator[Schema]:
    """Yield what is one of each: the alternatives of all parts, each with each."""
    if not factors:
        yield ANYTHING
        return
    for first in factors[0]:
        if len(factors) == 1:
            yield first
            continue
        for others in _product(factors[1:]):
            both = _both(first, others)
            if both is not None:
                yield both


def _both(one: Schema, other: Schema) -> Schema | None:
    """Return the schema of what two schemas take; None if that is nothing. What has no short form is marked so."""
    if not one or not other:
        return one if one else other
    found = {**other, **one}
    for keyword in one.keys() & other.keys() - {"title"}:
        a, b = one[keyword], other[keyword]
        if key_of(a) == key_of(b):
            continue
        if keyword == "required":
            found[keyword] = list(dict.fromkeys([*a, *b]))
        elif keyword == "properties" and not a.keys() & b.keys():
            found[keyword] = {**b, **a}
        elif keyword == "type" and isinstance(a, str) and isinstance(b, str):
            if {a, b} != {"integer", "number"}:
                return None
            found[keyword] = "integer"
        else:
            found["allOf"] = [*one.get("allOf", []), *other.get("allOf", []), {keyword: a}, {keyword: b}]
    return found
