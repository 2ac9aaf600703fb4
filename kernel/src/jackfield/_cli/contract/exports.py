"""A contract in the words of others: as one JSON Schema, and as an AsyncAPI document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from jackfield._cli.contract.document import Document, FunctionContract, PluginContract, Schema
from jackfield._cli.contract.wellformed import LISTS, MAPS, NODES

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ASYNCAPI: Final = "3.1.0"
_PROTOCOL: Final = "5"
"""Of Socket.IO."""

_LOCAL: Final = "#/$defs/"
_UNFIT: Final = re.compile(r"[^\w.\-]", re.ASCII)
"""What the names of components cannot hold."""


def json_schema(contract: Document) -> dict[str, Any]:
    """Return all schemas of a contract as one JSON Schema (2020-12).

    Under `$defs` stand `EVENT.input` and `EVENT.output` of each function, `EVENT.emits.NAME` for what it emits, and
    what these refer to.
    """
    found: dict[str, Any] = {}
    for event, function in contract.functions.items():
        for name, schema in _schemas(event, function):
            found |= _hoisted(name, schema, _LOCAL)
    return {"$schema": _DIALECT, "$defs": found}


def asyncapi(contract: Document, url: str | None = None) -> dict[str, Any]:
    """Return a contract as an AsyncAPI document.

    AsyncAPI has no words for Socket.IO: what it lacks stands under `x-jackfield`. Its schemas are those of draft-07.

    Args:
        contract: The contract.
        url: The address of the server that it is of, if it is of one.
    """
    schemas: dict[str, Any] = {}
    for event, function in contract.functions.items():
        for name, schema in _schemas(event, function):
            schemas |= {key: _draft7(one) for key, one in _hoisted(name, schema, "#/components/schemas/").items()}
    channels = {
        namespace: _channel(namespace, plugin) for plugin in contract.plugins for namespace in plugin.namespaces
    }
    operations: dict[str, Any] = {}
    for event, function in contract.functions.items():
        operations |= _operations(event, function)
    return {
        "asyncapi": _ASYNCAPI,
        "info": _info(contract),
        **({"servers": {"jackfield": _server(url)}} if url else {}),
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"schemas": schemas},
    }


def _schemas(event: str, function: FunctionContract) -> Iterator[tuple[str, Schema]]:
    yield f"{event}.input", function.input
    yield f"{event}.output", function.output
    yield from ((f"{event}.emits.{name}", schema) for name, schema in function.emits.items())


# --- JSON Schema ---


def _hoisted(name: str, schema: Schema, at: str) -> dict[str, Any]:
    """Return a schema and its definitions beside one another, by names that no other schema's have.

    Args:
        name: The name of the schema; those of its definitions begin with it.
        schema: The schema.
        at: Where references find them.
    """

    def renamed(reference: str) -> str:
        if not reference.startswith(_LOCAL):
            return reference
        return f"{at}{_fit(f'{name}.{reference.removeprefix(_LOCAL)}')}"

    def visit(node: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in node:
            node["$ref"] = renamed(node["$ref"])
        tag = node.get("discriminator")
        if tag and "mapping" in tag:
            node["discriminator"] = {**tag, "mapping": {key: renamed(ref) for key, ref in tag["mapping"].items()}}
        return node

    definitions = schema.get("$defs", {})
    top = {key: value for key, value in schema.items() if key != "$defs"}
    found = {_fit(name): _rewritten(top, visit)}
    for inner, part in definitions.items():
        found[_fit(f"{name}.{inner}")] = _rewritten(part, visit)
    return found


def _rewritten(node: Any, visit: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a schema with every schema within it, and then itself, as `visit` makes it."""
    if not isinstance(node, Mapping):
        return node
    new: dict[str, Any] = {}
    for key, value in node.items():
        if key in MAPS:
            new[key] = {name: _rewritten(part, visit) for name, part in value.items()}
        elif key in LISTS:
            new[key] = [_rewritten(part, visit) for part in value]
        elif key in NODES:
            new[key] = _rewritten(value, visit)
        else:
            new[key] = value
    return visit(new)


def _draft7(node: Any) -> Any:
    """Return a schema of 2020-12 in the words of draft-07, as AsyncAPI has them."""
    return _rewritten(node, _in_draft7)


def _in_draft7(node: dict[str, Any]) -> dict[str, Any]:
    node.pop("contentSchema", None)
    if "prefixItems" in node:
        first = node.pop("prefixItems")
        rest = node.pop("items", node.get("maxItems") != len(first))
        node |= {"items": first, "additionalItems": rest}
    if isinstance(node.get("discriminator"), Mapping):
        node["discriminator"] = node["discriminator"]["propertyName"]
    if "$ref" in node and len(node) > 1:  # in draft-07 a reference has nothing beside it
        node["allOf"] = [*node.get("allOf", ()), {"$ref": node.pop("$ref")}]
    return node


def _fit(name: str) -> str:
    return _UNFIT.sub("_", name)


# --- AsyncAPI ---


def _info(contract: Document) -> dict[str, Any]:
    if len(contract.plugins) == 1:
        plugin = contract.plugins[0]
        return {"title": plugin.distribution or plugin.name, "version": plugin.version}
    # What is made of several plugins has no version of its own.
    named = ", ".join(f"{plugin.name} {plugin.version}" for plugin in contract.plugins)
    return {"title": "jackfield", "version": "0", "description": f"Plugins: {named or 'none'}."}


def _server(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "host": parts.netloc,
        "protocol": "socketio",
        "protocolVersion": _PROTOCOL,
        "pathname": parts.path or "/socket.io",
    }


def _channel(namespace: str, plugin: PluginContract) -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for event, function in plugin.functions.items():
        if event.rpartition(".")[0] == namespace:
            messages |= _messages(event, function)
    return {"address": namespace, "title": namespace, "messages": messages, "x-jackfield": {"plugin": plugin.name}}


def _messages(event: str, function: FunctionContract) -> dict[str, Any]:
    name = event.rpartition(".")[2]

    def message(what: str, called: str, schema: str) -> dict[str, Any]:
        return {"name": called, "title": what, "payload": {"$ref": f"#/components/schemas/{_fit(schema)}"}}

    return {
        f"{name}.input": message(f"{name}: what it takes", event, f"{event}.input"),
        f"{name}.output": message(f"{name}: what it gives", f"{event}.output", f"{event}.output"),
        **{
            f"{name}.emits.{_fit(one)}": message(f"{name}: what it emits", one, f"{event}.emits.{one}")
            for one in function.emits
        },
    }


def _operations(event: str, function: FunctionContract) -> dict[str, Any]:
    namespace, _, name = event.rpartition(".")
    channel = {"$ref": f"#/channels/{namespace}"}

    def message(what: str) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/{namespace}/messages/{name}.{what}"}]

    known = function.model_dump(mode="json", exclude={"doc", "input", "output", "emits"})
    summary = function.doc.partition("\n")[0]
    found = {
        event: {
            "action": "receive",
            "channel": channel,
            "title": name,
            **({"summary": summary} if summary else {}),
            **({"description": function.doc} if function.doc != summary else {}),
            "messages": message("input"),
            "reply": {"channel": channel, "messages": message("output")},
            "x-jackfield": known,
        }
    }
    for one in function.emits:
        found[f"{event}.emits.{_fit(one)}"] = {
            "action": "send",
            "channel": channel,
            "title": f"{name} emits {one}",
            "messages": message(f"emits.{_fit(one)}"),
        }
    return found
