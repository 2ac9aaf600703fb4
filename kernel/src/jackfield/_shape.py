"""What a type's schema tells before any value is seen, so that a call does only the work that its types can need.

Everything here is a list of what is known to be harmless. What is not on it, or comes with a later pydantic, is
taken for harmful, and costs time instead of being wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from pydantic_core import CoreSchema

from jackfield._schema import NAMED, OPAQUE, WRITER

_Node: TypeAlias = "dict[str, Any]"  # core schemas are typed dicts of a hundred shapes

_MODELS: Final = frozenset({"model", "dataclass"})
_CONTAINERS: Final = _MODELS | {
    "dataclass-args",
    "dataclass-field",
    "default",
    "definition-ref",
    "definitions",
    "dict",
    "list",
    "model-field",
    "model-fields",
    "nullable",
    "typed-dict",
    "typed-dict-field",
}
_SCALARS: Final[dict[str, type]] = {"bool": bool, "float": float, "int": int, "none": type(None), "str": str}
_LITERALS: Final = frozenset({bool, int, str, type(None)})
_SAME_IN_BOTH_MODES: Final = _CONTAINERS | _SCALARS.keys() | {"any", "literal"}
_HARMLESS_KEYS: Final = frozenset(
    "allow_inf_nan cls cls_name computed_fields config copy_default dataclass_name default default_factory"  # noqa: SIM905 - as a list it has fifty lines
    " default_factory_takes_data definitions expected extra_behavior extras_schema fail_fast fields frozen ge"
    " generic_origin gt init items_schema keys_schema kw_only le lt max_length metadata min_length model_name"
    " multiple_of name pattern ref regex_engine required root_model schema schema_ref serialization serialization_alias"
    " serialization_exclude slots strip_whitespace to_lower to_upper total type validate_default validation_alias"
    " values_schema".split()
)
_HARMLESS_CONFIG: Final = frozenset(
    {
        "extra_fields_behavior",
        "frozen",
        "ser_json_inf_nan",
        "serialize_by_alias",
        "str_max_length",
        "str_min_length",
        "str_strip_whitespace",
        "str_to_lower",
        "str_to_upper",
        "title",
        "validate_by_alias",
        "validate_by_name",
    }
)


class FlatModel(NamedTuple):
    """A model that has nothing but fields of scalars.

    Attributes:
        cls: Its class.
        fields: Their names, with the types that they may have.
        plain: Whether an instance is written as its fields are, each under its own name.
    """

    cls: type
    fields: list[tuple[str, frozenset[type]]]
    plain: bool


def same_in_both_modes(schema: CoreSchema) -> bool:
    """Tell whether whatever pydantic accepts of JSON's values in its Python mode, it accepts likewise in its JSON mode.

    Its messages may still differ: they name Python's types or JSON's.
    """
    return all(map(_same_in_both_modes, _nodes(schema)))


def holds_integers(schema: CoreSchema) -> bool:
    """Tell whether a value may be written with an integer in it."""
    return _may_hold(schema, "int")


def holds_floats(schema: CoreSchema) -> bool:
    """Tell whether a value may be written with a float in it, NaN and the infinities among them."""
    return _may_hold(schema, "float")


def holds_buffers(schema: CoreSchema) -> bool:
    """Tell whether a value may be written with Buffers beside it."""
    return _may_hold(schema, "bytes")


def is_buffer(schema: CoreSchema) -> bool:
    """Tell whether any bytes at all are such a value, and nothing else is."""
    node: Any = schema
    return node.get("serialization") is WRITER and node["type"] != "any" and node["schema"].keys() == {"type"}


def holds_models(schema: CoreSchema) -> bool:
    """Tell whether a value may hold instances whose fields pydantic takes as they are, validated or not."""
    return any(node.get("type") in _MODELS or _writes(node) == "unknown" for node in _nodes(schema))


def flat_model(schema: CoreSchema) -> FlatModel | None:
    """Return the model that a schema is for, if it is a flat one."""
    nodes = {node["ref"]: node for node in _nodes(schema) if "ref" in node}
    node: Any = schema
    while node["type"] in {"definitions", "definition-ref"}:
        node = nodes[node["schema_ref"]] if node["type"] == "definition-ref" else node["schema"]
    inner = node.get("schema", {})
    if node["type"] != "model" or inner.get("type") != "model-fields" or "serialization" in node | inner:
        return None
    if node.get("root_model") or "revalidate_instances" in node.get("config", {}):
        return None
    if "extras_schema" in inner or inner.get("computed_fields"):
        return None
    fields = [(name, frozenset(_scalar(field))) for name, field in inner["fields"].items()]
    if not fields or not all(types for _, types in fields):
        return None
    plain = not any(key.startswith("serialization") for field in inner["fields"].values() for key in field)
    return FlatModel(node["cls"], fields, plain and node.get("config", {}).get("extra_fields_behavior") != "allow")


def _scalar(node: _Node) -> tuple[type, ...]:
    kind = node["type"]
    if "serialization" in node:
        return ()
    if kind in {"model-field", "default"}:
        return _scalar(node["schema"])
    if kind == "nullable":
        inner = _scalar(node["schema"])
        return (*inner, type(None)) if inner else ()
    return (_SCALARS[kind],) if kind in _SCALARS else ()


def _may_hold(schema: CoreSchema, kind: str) -> bool:
    return any(_writes(node) in {kind, "any", "unknown"} for node in _nodes(schema))


def _writes(node: _Node) -> str:
    """Return which kind of thing a node itself is written as; the nodes inside it speak for themselves."""
    kind = node.get("type")
    if node.get("serialization") is WRITER:
        return "any" if kind == "any" else "bytes"
    if "serialization" in node:
        return "unknown"
    if kind in _CONTAINERS:
        return ""
    if kind == "literal":
        kinds = {type(value) for value in node["expected"]}
        return "int" if kinds <= _LITERALS else "unknown"
    return kind if kind in _SCALARS else "unknown"


def _same_in_both_modes(node: _Node) -> bool:
    return (
        node.get("type") in _SAME_IN_BOTH_MODES
        and _set_keys(node) <= _HARMLESS_KEYS
        and _set_keys(node.get("config") or {}) <= _HARMLESS_CONFIG
        and isinstance(node.get("validation_alias"), str | None)
        and {type(value) for value in node.get("expected", ())} <= _LITERALS
        and ("keys_schema" not in node or node["keys_schema"]["type"] in {"str", "any"})
    )


def _set_keys(node: _Node) -> set[str]:
    return {key for key, value in node.items() if value is not None and value is not False}


def _nodes(schema: Any) -> Iterator[_Node]:
    """Yield every node of a schema, each once."""
    seen: set[int] = set()
    waiting: list[Any] = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list | tuple):
            waiting += node
        elif isinstance(node, dict) and id(node) not in seen:
            seen.add(id(node))
            yield node
            if node.get("serialization") is WRITER:
                continue  # a Buffer, or anything: there is nothing more inside
            for key, value in node.items():
                if key in NAMED and isinstance(value, dict):
                    waiting += value.values()
                elif key not in OPAQUE:
                    waiting.append(value)
