"""The encodings of `data`: base64, gzip, zstd, JSON, MessagePack and plain bytes, in any order that makes sense.

No I/O. Every function either returns or raises `CodecError`, and every limit is applied while unpacking:
no more than `Bounds.unpacked` bytes are ever produced from one value.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from types import ModuleType
from typing import Any, Final, NoReturn, Protocol, TypeAlias, cast

from jackfield import _json
from jackfield._errors import Code, CodecError, EncodeError
from jackfield._json import Json, Value


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one value may unpack to.

    Args:
        unpacked: Bytes, absolute.
        ratio: Unpacked bytes per packed byte, counted past the first 64 KiB unpacked.
        depth: Arrays and objects inside one another.
    """

    unpacked: int = 4 * 1024 * 1024
    ratio: int = 100
    depth: int = 64

    @property
    def values(self) -> int:
        """How many values packed JSON or MessagePack may hold: a tiny one takes many times its bytes in memory."""
        return max(_FEW_VALUES, self.unpacked // 8)


@dataclass(frozen=True, slots=True)
class Encoding:
    """A parsed `encoding` or `accept`: what was done to a value, from the outside in."""

    base64: bool
    compressions: tuple[str, ...]
    kind: str


_Container: TypeAlias = "list[object] | dict[object, object]"

_RATIO_FREE: Final = 64 * 1024
_FEW_VALUES: Final = 8192
_MAX_TOKENS: Final = 4
_KINDS: Final = ("json", "msgpack", "bytes")
_MSGPACK_TYPES: Final = frozenset({type(None), bool, int, float, str, bytes, list, dict})
_MAGIC: Final = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_ZSTD_WINDOW_LOG: Final = 23
"""8 MiB: what every decoder must support (RFC 8878); a frame may ask for gigabytes."""


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _optional(*names: str) -> ModuleType | None:
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


_msgpack: Any = _optional("msgpack")
_zstd: Any = _optional("compression.zstd", "backports.zstd")


_INFLATERS: dict[str, Callable[[], _Inflater]] = {"gzip": lambda: cast(_Inflater, zlib.decompressobj(wbits=31))}
_DEFLATERS: dict[str, Callable[[bytes], bytes]] = {"gzip": lambda raw: gzip.compress(raw, 6, mtime=0)}
_BROKEN: tuple[type[Exception], ...] = (zlib.error, EOFError)
if _zstd is not None:
    _INFLATERS["zstd"] = partial(
        _zstd.ZstdDecompressor, options={_zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    )
    _DEFLATERS["zstd"] = _zstd.compress
    _BROKEN += (_zstd.ZstdError,)

SUPPORTED: Final[tuple[str, ...]] = (
    "base64",
    *_INFLATERS,
    *(kind for kind in _KINDS if kind != "msgpack" or _msgpack is not None),
)
"""The tokens that this server understands."""


@lru_cache(maxsize=256)
def parse_encoding(encoding: str) -> Encoding:
    """Parse the text of `encoding` or `accept`.

    Raises:
        CodecError: `unimplemented` for an unknown token, `invalid_argument` for an order that cannot be.
    """
    if len(encoding) > 64:
        _refuse("encoding is too long: at most 4 tokens joined by '+'.")
    tokens = encoding.split("+")
    unknown = [token for token in tokens if token not in SUPPORTED]
    if unknown:
        raise CodecError(Code.UNIMPLEMENTED, f"Unknown encoding {unknown[0]!r}. Supported: {', '.join(SUPPORTED)}.")
    if len(tokens) > _MAX_TOKENS:
        _refuse(f"encoding {encoding!r} has more than {_MAX_TOKENS} tokens.")
    rest = list(tokens)
    outer = rest[0] == "base64"
    if outer:
        rest.pop(0)
    kind = rest.pop() if rest and rest[-1] in _KINDS else "json"
    if any(token not in _INFLATERS for token in rest):
        _refuse(f"encoding {encoding!r} is in the wrong order: it goes base64, then gzip or zstd, then the kind.")
    return Encoding(outer, tuple(rest), kind)


def unpack(data: Value, encoding: Encoding, bounds: Bounds) -> Value:
    """Undo what `encoding` says was done to `data`.

    Raises:
        CodecError: `invalid_argument` where the bytes are not what they claim, `resource_exhausted` past a limit.
    """
    raw = _raw(data, encoding, bounds)
    packed = len(raw)
    for compression in encoding.compressions:
        raw = _inflate(raw, compression, packed, bounds)
    if encoding.kind == "bytes":
        return raw
    if encoding.kind == "msgpack":
        return _from_msgpack(raw, bounds)
    return _from_json(raw, bounds)


def unpack_text(data: str | bytes, bounds: Bounds) -> Value:
    """Decode a whole envelope that came as a string or a Buffer: UTF-8 JSON, or (Buffer only) gzip of it.

    Raises:
        CodecError: As `unpack`.
    """
    if isinstance(data, str):
        return _json.loads(_utf8(data), bounds.depth)
    if data.startswith(_MAGIC["gzip"]):
        return _from_json(_inflate(data, "gzip", len(data), bounds), bounds)
    return _json.loads(data, bounds.depth)


def pack(data: Json, encoding: Encoding) -> Json:
    """Do to a result what the caller asked for with `accept`.

    Raises:
        CodecError: `invalid_argument`: the result does not fit the kind that was asked for.
        EncodeError: The result cannot be carried by MessagePack.
    """
    raw = _raw_result(data, encoding)
    for compression in reversed(encoding.compressions):
        raw = _DEFLATERS[compression](raw)
    if encoding.base64:
        return Json(b'"' + base64.b64encode(raw) + b'"')
    if encoding.kind == "json" and not encoding.compressions:
        return _json.dumps(raw.decode())
    return Json(_json.placeholder(0), (raw,))


def _raw(data: Value, encoding: Encoding, bounds: Bounds) -> bytes:
    if encoding.base64:
        if not isinstance(data, str):
            _refuse("base64 takes a string.")
        return _from_base64(data, bounds)
    if isinstance(data, bytes):
        return data
    if encoding.kind == "json" and not encoding.compressions:
        if isinstance(data, str):
            return _utf8(data)
        _refuse("json takes a string or a Buffer.")
    outermost = (*encoding.compressions, encoding.kind)[0]
    _refuse(f"{outermost} takes a Buffer; as a string it goes under base64.")


def _raw_result(data: Json, encoding: Encoding) -> bytes:
    if encoding.kind == "msgpack":
        return _to_msgpack(data)
    if encoding.kind == "bytes":
        if len(data.buffers) != 1 or data.text != _json.placeholder(0):
            _refuse("accept asks for bytes, but the result is no Buffer.")
        return data.buffers[0]
    if data.buffers:
        _refuse("accept asks for JSON, but the result holds Buffers: ask for msgpack.")
    return data.text


def _from_base64(text: str, bounds: Bounds) -> bytes:
    if len(text) // 4 * 3 - text[-2:].count("=") > bounds.unpacked:
        _too_large(bounds)
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:  # binascii.Error is one; so is a character beyond ASCII
        _refuse(f"Not valid base64: {error}.")
    # The decoder lets pass bits that no encoder leaves in the last group.
    if text.endswith("=") and base64.b64encode(raw[len(raw) // 3 * 3 :]).decode() != text[-4:]:
        _refuse("Not valid base64: the last group has stray bits.")
    return raw


def _inflate(raw: bytes, compression: str, packed: int, bounds: Bounds) -> bytes:
    ratio_limit = max(_RATIO_FREE, packed * bounds.ratio)
    limit = min(bounds.unpacked, ratio_limit)
    if not raw.startswith(_MAGIC[compression]):
        _refuse(f"Not valid {compression}: it does not begin as {compression} does.")
    inflater = _INFLATERS[compression]()
    try:
        unpacked = inflater.decompress(raw, limit + 1)
    except _BROKEN as error:
        _refuse(f"Not valid {compression}: {error}.")
    if len(unpacked) > limit:
        if limit == bounds.unpacked:
            _too_large(bounds)
        raise CodecError(
            Code.RESOURCE_EXHAUSTED,
            f"The data unpacks to more than {bounds.ratio} times its size (limits.unpack_ratio).",
        )
    if not inflater.eof:
        _refuse(f"Not valid {compression}: it ends too early.")
    if inflater.unused_data:
        _refuse(f"Not valid {compression}: something follows its end.")
    return unpacked


def _from_json(raw: bytes, bounds: Bounds) -> Value:
    if _json.has_more_values(raw, bounds.values):
        _too_many(bounds)
    return _json.loads(raw, bounds.depth)


def _from_msgpack(raw: bytes, bounds: Bounds) -> Value:
    try:
        # Read once without making anything: a header may promise much more than there is.
        scanner = _msgpack.Unpacker(max_buffer_size=len(raw))
        scanner.feed(raw)
        scanner.skip()
        count = _counter(bounds) if len(raw) > bounds.values else None
        value = _msgpack.unpackb(
            raw,
            raw=False,
            strict_map_key=True,
            ext_hook=_refuse_extension,
            list_hook=count,
            object_hook=count,
        )
    except CodecError:
        raise
    except _msgpack.StackError:
        _json.too_deep(bounds.depth)
    except _msgpack.OutOfData:
        _refuse("Not valid msgpack: it ends too early.")
    except _msgpack.ExtraData:
        _refuse("Not valid msgpack: something follows its end.")
    except Exception as error:  # noqa: BLE001 - the library's errors have no common base: ValueError, OverflowError…
        _refuse(f"Not valid msgpack: {str(error) or type(error).__name__}.")
    _check_msgpack(value, bounds.depth)
    return cast(Value, value)


def _counter(bounds: Bounds) -> Callable[[_Container], _Container]:
    left = bounds.values

    def count(container: _Container) -> _Container:
        nonlocal left
        left -= len(container) or 1
        if left < 0:
            _too_many(bounds)
        return container

    return count


def _check_msgpack(value: object, max_depth: int) -> None:
    level: list[_Container] = [[value]]
    for _ in range(max_depth + 1):
        inside: list[_Container] = []
        for container in level:
            if isinstance(container, dict) and not all(type(key) is str for key in container):
                _refuse("msgpack: the keys of a map must be strings.")
            items = container.values() if isinstance(container, dict) else container
            kinds = set(map(type, items))
            if not kinds <= _MSGPACK_TYPES:
                _refuse("msgpack: extension types are refused.")
            if float in kinds and not all(math.isfinite(item) for item in items if isinstance(item, float)):
                _refuse("msgpack: NaN and infinities are refused.")
            if list in kinds or dict in kinds:
                inside += [item for item in items if isinstance(item, list | dict)]
        if not inside:
            return
        level = inside
    _json.too_deep(max_depth)


def _refuse_extension(code: int, data: bytes) -> NoReturn:
    _refuse(f"msgpack: extension types are refused (type {code}).")


def _to_msgpack(data: Json) -> bytes:
    try:
        return cast(bytes, _msgpack.packb(data.value(), use_bin_type=True))
    except (OverflowError, ValueError, TypeError) as error:
        raise EncodeError(f"the result does not fit msgpack: {error}") from error


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        _refuse("Not valid UTF-8: a lone surrogate.")


def _too_many(bounds: Bounds) -> NoReturn:
    raise CodecError(
        Code.RESOURCE_EXHAUSTED,
        f"The data unpacks to more than {bounds.values} values (an eighth of limits.unpacked_size).",
    )


def _too_large(bounds: Bounds) -> NoReturn:
    raise CodecError(
        Code.RESOURCE_EXHAUSTED,
        f"The data unpacks to more than {bounds.unpacked} bytes (limits.unpacked_size).",
    )


def _refuse(message: str) -> NoReturn:
    raise CodecError(Code.INVALID_ARGUMENT, message)
