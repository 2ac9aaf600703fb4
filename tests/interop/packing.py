"""The encodings of the protocol's section 3, by hand: what a client does before it sends, and after it received."""

from __future__ import annotations

import base64
import gzip
import json
from importlib import import_module
from typing import Any

import msgpack

try:
    zstd: Any = import_module("compression.zstd")
except ImportError:
    zstd = import_module("backports.zstd")

_KINDS = ("json", "msgpack", "bytes")


def pack(value: Any, encoding: str) -> Any:
    """Return the value packed as `encoding` says: a Buffer, or a string."""
    tokens = encoding.split("+")
    if tokens[-1] not in _KINDS:
        tokens.append("json")
    data: Any = value
    for token in reversed(tokens):
        data = _PACK[token](data)
    return data


def unpack(data: Any, encoding: str) -> Any:
    """Return the value that was packed as `encoding` says."""
    tokens = encoding.split("+")
    if tokens[-1] not in _KINDS:
        tokens.append("json")
    if tokens[0] != "base64" and tokens != ["json"] and not isinstance(data, bytes):
        raise TypeError("no Buffer")
    for token in tokens:
        data = _UNPACK[token](data)
    return data


def gz(data: bytes) -> bytes:
    """Return one gzip member, the same bytes every time."""
    return gzip.compress(data, mtime=0)


_PACK = {
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "gzip": gz,
    "zstd": zstd.compress,
    "json": lambda value: json.dumps(value, ensure_ascii=False).encode(),
    "msgpack": lambda value: msgpack.packb(value, use_bin_type=True),
    "bytes": bytes,
}
_UNPACK = {
    "base64": lambda text: base64.b64decode(text, validate=True),
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
    "json": json.loads,
    "msgpack": lambda raw: msgpack.unpackb(raw, raw=False),
    "bytes": bytes,
}
