"""Pydantic as the wire wants it: Buffers stay Buffers, and no NaN gets in.

Pydantic's own JSON mode turns bytes into text and NaN into null. The schema that it makes for a type is
therefore rewritten once, when a plugin is loaded: `bytes` takes a Buffer only and is written as a
placeholder, the Buffer put aside; floats are finite; where anything is allowed, bytes are found too.

This module is the one place that touches what pydantic does not promise: the layout of core schemas and
`_use_prebuilt`, without which a nested model would bring along the validator that pydantic made for it.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, cast

from pydantic import SerializationInfo, TypeAdapter
from pydantic_core import CoreSchema, PydanticCustomError, SchemaSerializer, SchemaValidator, core_schema

from jackfield._json import to_plain

_Node: TypeAlias = "dict[str, Any]"  # core schemas are typed dicts of a hundred shapes

OPAQUE: Final = frozenset({"cls", "config", "default", "expected", "function", "members", "metadata", "serialization"})
"""Keys whose values are not schemas, or not to be rewritten."""

NAMED: Final = frozenset({"choices", "fields"})
"""Keys whose values may be schemas by name, and the names anything at all."""

_ITEMS: Final = {"list": "items_schema", "set": "items_schema", "frozenset": "items_schema", "dict": "values_schema"}
_FINITE_OUTPUT: Final[core_schema.CoreConfig] = {"ser_json_inf_nan": "constants"}
"""NaN is written as NaN, so that the check of the text finds it; the default is a silent null."""


def rewritten(adapter: TypeAdapter[Any]) -> CoreSchema:
    """Return the schema of a type for values that may hold Buffers."""
    return cast(CoreSchema, _Rewriter().rewrite(adapter.core_schema, extra=False))


def validator(schema: CoreSchema) -> SchemaValidator:
    """Return the validator of a rewritten schema."""
    return SchemaValidator(schema, _use_prebuilt=False)


def serializer(schema: CoreSchema) -> SchemaSerializer:
    """Return the serialiser of a rewritten schema; its `to_json` collects Buffers in the list given as `context`."""
    return SchemaSerializer(schema, _FINITE_OUTPUT, _use_prebuilt=False)


def _buffer_only(value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise PydanticCustomError("buffer_type", "Input should be a Buffer")


def _write(value: object, info: SerializationInfo[list[bytes]]) -> object:
    return to_plain(value, info.context)


WRITER: Final = core_schema.plain_serializer_function_ser_schema(_write, info_arg=True, when_used="json")
_ANYTHING: Final = core_schema.any_schema(serialization=WRITER)


def _is_buffer(node: Any) -> bool:
    return isinstance(node, dict) and node.get("serialization") is WRITER and node["type"] != "any"


class _Rewriter:
    """Rewrites one core schema. Shared parts are rewritten once, so that their number stays what it was."""

    def __init__(self) -> None:
        self._done: dict[tuple[int, bool], Any] = {}

    def rewrite(self, node: Any, *, extra: bool) -> Any:
        """Return the node rewritten; `extra` tells whether the model around it allows unknown fields."""
        if isinstance(node, list | tuple):
            return type(node)(self.rewrite(item, extra=extra) for item in node)
        if not isinstance(node, dict):
            return node
        key = (id(node), extra)
        if key not in self._done:
            self._done[key] = self._node(node, extra=extra)
        return self._done[key]

    def _node(self, node: _Node, *, extra: bool) -> _Node:
        config = node.get("config")
        if isinstance(config, dict):
            extra = config.get("extra_fields_behavior") == "allow"
            node = {**node, "config": {**config, **_FINITE_OUTPUT}}
        kind = node.get("type")
        if "serialization" in node and kind != "model":
            # Somebody's own form, such as pydantic's Base64Bytes: what is inside is theirs.
            return node
        if kind == "bytes":
            return cast(
                _Node,
                core_schema.no_info_before_validator_function(
                    _buffer_only, cast(CoreSchema, node), serialization=WRITER
                ),
            )
        if kind == "any":
            return {**node, "serialization": WRITER}
        new = {key: self._inside(key, value, extra=extra) for key, value in node.items()}
        if kind == "float":
            new["allow_inf_nan"] = False
        if kind in _ITEMS:
            new.setdefault(_ITEMS[kind], _ANYTHING)
        if kind == "union":  # the name of an alternative stands in the path of its faults
            new["choices"] = [(one, "Buffer") if _is_buffer(one) else one for one in new["choices"]]
        if kind in {"model-fields", "typed-dict"} and (extra or new.get("extra_behavior") == "allow"):
            new.setdefault("extras_schema", _ANYTHING)
        return new

    def _inside(self, key: str, value: Any, *, extra: bool) -> Any:
        if key in OPAQUE:
            return value
        if key in NAMED and isinstance(value, dict):
            return {name: self.rewrite(child, extra=extra) for name, child in value.items()}
        return self.rewrite(value, extra=extra)
