"""Small things that become large ones."""

from __future__ import annotations

import gzip
import importlib
import struct
import sys
import zlib
from functools import cache
from typing import Any

zstd: Any = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

MIB = 1024 * 1024


@cache
def gzip_zeroes(size: int = 200 * MIB) -> bytes:
    """Return gzip of so many zero bytes; a thousandth of them, or 272 kB of base64 for 200 MiB."""
    deflater = zlib.compressobj(9, wbits=31)
    whole, rest = divmod(size, MIB)
    return b"".join(
        [*(deflater.compress(bytes(MIB)) for _ in range(whole)), deflater.compress(bytes(rest)), deflater.flush()]
    )


@cache
def zstd_zeroes(size: int = 200 * MIB) -> bytes:
    """Return zstd of so many zero bytes; a thirty-thousandth of them."""
    stream = zstd.ZstdCompressor()
    return b"".join([*(stream.compress(bytes(MIB)) for _ in range(size // MIB)), stream.flush()])


def padded_gzip(raw: bytes, wire: int = 43_000) -> bytes:
    """Return gzip of `raw` with a name of `wire` bytes in its header: enough for four megabytes at a ratio of 100."""
    packed = gzip.compress(raw, 9, mtime=0)
    return packed[:3] + b"\x08" + packed[4:10] + b"n" * wire + b"\0" + packed[10:]


def msgpack_header(count: int, kind: bytes = b"\xdd") -> bytes:
    """Return the header of an array, or of a map (`0xdf`), of so many values."""
    return kind + struct.pack(">I", count)
