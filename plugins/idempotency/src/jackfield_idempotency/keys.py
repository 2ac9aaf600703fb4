"""What makes two calls the same: who calls, what, and with which key."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from jackfield import Call, Value
from jackfield_idempotency import faults

HEADER: Final = "idempotency-key"

_LONGEST: Final = 64
_UNGUESSABLE: Final = 22
"""Characters of 128 random bits in base64; so many has a key where nothing else says whose it is."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One call with a key, as a store knows it. From these nobody learns the key, the caller or the data.

    Args:
        name: What calls with the same caller, function and key have in common.
        owner: Whose it is.
        digest: That of the data.
        holder: What no other call has.
    """

    name: str
    owner: str
    digest: str
    holder: str


def key_in(meta: Mapping[str, str]) -> str | None:
    """Return the key that stands in the headers of a call, whichever way its name is written."""
    return next((text for name, text in meta.items() if name.lower() == HEADER), None)


def ticket(call: Call, key: str, data: Value) -> Ticket:
    """Return what a store is to know of a call.

    Raises:
        CallError: The call may have no such key.
    """
    if not (0 < len(key) <= _LONGEST and key.isprintable()):
        raise faults.bad_key(_LONGEST)
    if call.principal is None and len(key) < _UNGUESSABLE:
        raise faults.short_key(_UNGUESSABLE)
    owner = () if call.principal is None else (call.principal.id,)
    text = json.dumps(data, sort_keys=True, default=_buffer)
    return Ticket(_digest(repr((owner, call.event, key))), _digest(repr(owner)), _digest(text), secrets.token_hex(8))


def _buffer(value: object) -> list[str]:
    """Return what stands for a Buffer."""
    assert isinstance(value, bytes)  # noqa: S101 - a message holds nothing else that JSON does not
    return ["Buffer", value.hex()]


def _digest(text: str) -> str:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
