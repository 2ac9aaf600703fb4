"""Is this a JSON Schema? Documents come from anywhere, and whoever reads schemas relies on their form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

MAPS: Final = frozenset({"$defs", "dependentSchemas", "patternProperties", "properties"})
"""Keywords that hold schemas by name."""
LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
"""Keywords that hold a list of schemas."""
NODES: Final = frozenset(
    {"additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
"""Keywords that hold a schema."""


def check(schema: object) -> None:
    """See that a schema has the form of one, in all of its parts.

    Raises:
        ValueError: It has not; the message names the keyword.
    """
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        raise ValueError(f"a schema is an object, and not {schema!r:.40}")  # noqa: TRY004 - pydantic takes a ValueError
    for keyword, value in schema.items():
        fits = _FORMS.get(keyword)
        if fits is not None and not fits(value):
            raise ValueError(f"{keyword!r} of a schema cannot be {value!r:.40}")
        if keyword in MAPS:
            for part in value.values():
                check(part)
        elif keyword in LISTS:
            for part in value:
                check(part)
        elif keyword in NODES:
            check(value)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _step(value: object) -> bool:
    return isinstance(value, int | float) and _number(value) and value > 0


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text(value: object) -> bool:
    return isinstance(value, str)


def _texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_text, value))


def _list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _types(value: object) -> bool:
    return _text(value) or _texts(value)


def _map(value: object) -> bool:
    return isinstance(value, Mapping)


def _tag(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    mapping: Any = value.get("mapping", {})
    return _text(value.get("propertyName")) and _map(mapping) and all(map(_text, mapping.values()))


_FORMS: Final[dict[str, Callable[[object], bool]]] = {
    **dict.fromkeys(MAPS, _map),
    **dict.fromkeys(LISTS, _list),
    **dict.fromkeys(("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum"), _number),
    **dict.fromkeys(("maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"), _count),
    **dict.fromkeys(("$ref", "contentEncoding", "contentMediaType", "format", "pattern", "title"), _text),
    "discriminator": _tag,
    "enum": _list,
    "multipleOf": _step,
    "required": _texts,
    "type": _types,
}
"""By keyword, what its value has to be; of other keywords nothing is asked."""
