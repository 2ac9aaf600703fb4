"""What servers tell each other through Redis: one message as JSON, checked before anything is done for it."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic_core import from_json
from socketio.packet import Packet

Room: TypeAlias = str | int


class _Message(BaseModel):
    """What every message has.

    Args:
        v: The version; what is of another one is refused.
        sender: The id of the link that it went out by.
        number: Its place among the messages of that link.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    v: Literal[1]
    sender: str = Field(alias="from", max_length=64)
    number: int = Field(alias="n", ge=1)
    namespace: str
    host_id: str
    volatile: bool = False


class _Emit(_Message):
    method: Literal["emit"]
    event: str
    data: list[Any]
    binary: bool
    room: Room | list[Room] | None
    skip_sid: str | list[str] | None
    callback: Annotated[list[Any], Field(min_length=3, max_length=3)] | None


class _Callback(_Message):
    method: Literal["callback"]
    sid: str
    id: int
    args: list[Any]
    binary: bool


class _Disconnect(_Message):
    method: Literal["disconnect"]
    sid: str


class _Enter(_Message):
    method: Literal["enter_room", "leave_room"]
    sid: str
    room: Room


class _Close(_Message):
    method: Literal["close_room"]
    room: Room


_any: Final[TypeAdapter[_Message]] = TypeAdapter(
    Annotated[_Emit | _Callback | _Disconnect | _Enter | _Close, Field(discriminator="method")]
)


class Malformed(ValueError):
    """Bytes that are no message."""


def encode(sender: str, number: int, message: Mapping[str, Any]) -> bytes:
    """Return a message of python-socketio's as bytes.

    Args:
        sender: The id of the link that it goes out by.
        number: Its place among the messages of that link.
        message: It; the Buffers of an event are in it as python-socketio has them, those of an answer as bytes.

    Raises:
        TypeError: There is something in it that JSON has not.
        ValueError: So is a number.
    """
    whole = {"v": 1, "from": sender, "n": number, **message}
    if whole["method"] == "callback":
        whole["args"], whole["binary"] = _apart(list(whole["args"]))
    return json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def decode(content: bytes) -> dict[str, Any]:
    """Return the message that the bytes are, as python-socketio's managers take it, with the Buffers in their places.

    Raises:
        Malformed: They are none, or one of another version.
    """
    try:
        message = from_json(content, allow_inf_nan=False)
        _any.validate_python(message)
        for key in ("data", "args"):
            if message.get("binary") and key in message:
                message[key] = _together(message[key])
                message["binary"] = False
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise Malformed(type(error).__name__) from None
    found: dict[str, Any] = message
    return found


def _apart(values: list[Any]) -> tuple[list[Any], bool]:
    if not Packet.data_is_binary(values):
        return values, False
    rest, buffers = Packet.deconstruct_binary(values)
    return [rest, *(b64encode(buffer).decode() for buffer in buffers)], True


def _together(parts: list[Any]) -> list[Any]:
    rest, *buffers = parts
    found = Packet.reconstruct_binary(rest, [b64decode(buffer, validate=True) for buffer in buffers])
    if not isinstance(found, list):
        raise TypeError("arguments are a list")
    return found
