"""Configurations without what is secret in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

MASK: Final = "***"
_SECRET: Final = re.compile(r"(?:secret|password|passwd|token|key|credential|dsn)(?!.*_file$)", re.IGNORECASE)
"""Names of secrets; `secret_file` only says where one is."""
_IN_URL: Final = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]+(?=@)")

Schema: TypeAlias = Mapping[str, Any]


def without_passwords(value: Any) -> Any:
    """Return a value with every password in a URL as `***`."""
    if isinstance(value, dict):
        return {key: without_passwords(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_passwords(inner) for inner in value]
    return _IN_URL.sub(rf"\1:{MASK}", value) if isinstance(value, str) else value


def hidden(value: Any) -> Any:
    """Return a value with every text as `***`: nobody knows what is secret in it."""
    if isinstance(value, dict):
        return {key: hidden(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [hidden(inner) for inner in value]
    return MASK if isinstance(value, str) and value else value


def masked(value: Any, schema: Schema) -> Any:
    """Return a plugin's table with `***` for what is secret: by its type, by its name, or as a password in a URL.

    Args:
        value: The table.
        schema: The JSON Schema of the plugin's settings, in which a secret is write-only.
    """
    definitions = schema.get("$defs", {})

    def choices(parts: Iterable[Schema]) -> Iterator[Schema]:
        for part in parts:
            yield part
            reference = str(part.get("$ref", "")).removeprefix("#/$defs/")
            inner = [definitions[reference]] if reference in definitions else []
            yield from choices([*inner, *part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())])

    def walk(value: Any, parts: list[Schema]) -> Any:
        if value in (None, ""):
            return value
        if any(part.get("writeOnly") or part.get("format") == "password" for part in parts):
            return MASK
        if isinstance(value, dict):
            return {
                key: MASK if _SECRET.search(key) and inner not in (None, "") else walk(inner, _inner(parts, key))
                for key, inner in value.items()
            }
        if isinstance(value, list):
            items = [one for part in parts for one in (part.get("items"), *part.get("prefixItems", ()))]
            return [walk(inner, list(choices(filter(None, items)))) for inner in value]
        return without_passwords(value)

    def _inner(parts: list[Schema], key: str) -> list[Schema]:
        found = [part.get("properties", {}).get(key) or part.get("additionalProperties") for part in parts]
        return list(choices(one for one in found if isinstance(one, dict)))

    return walk(value, list(choices([schema])))
