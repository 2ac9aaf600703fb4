"""Streams as each server carries them: what asks for one, and every message that has to come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from tests.bench.frames import PLACEHOLDER

BLOCKS: Final = 4
"""How many Buffers a server gives in turn, each filled with its number."""
STREAM: Final = 1
"""The id of every stream; each connection has one at a time."""

Item: TypeAlias = dict[str, Any] | bytes
"""What a stream brings; bytes are a Buffer."""


@dataclass(frozen=True)
class Feed:
    """A stream that comes from a server.

    Args:
        opening: The array of the event that asks for it.
        messages: What has to come, in this order: the arrays of events and acknowledgements, and the Buffers.
        first: How many messages come before those of the first item.
        items: How many items come.
        grant: The array of the event that lets a server send half a window more; None where it asks for
            acknowledgements itself.
        window: Items that may be on their way.

    Attributes:
        known: The messages as they come from this server, once they have been read in full; one more than there are.
    """

    opening: list[Any]
    messages: Sequence[list[Any] | bytes]
    first: int
    items: int
    grant: list[Any] | None
    window: int
    known: list[bytes | None] = field(init=False)

    def __post_init__(self) -> None:
        known = [message if isinstance(message, bytes) else None for message in self.messages]
        object.__setattr__(self, "known", [*known, None])

    @property
    def each(self) -> int:
        """How many messages an item has: a Buffer follows the text that announces it."""
        return (len(self.messages) - self.first - 1) // self.items


Streaming: TypeAlias = Callable[[str, dict[str, Any], Sequence[Item], int], Feed]
"""How a server is asked for a stream: the name of the function, its argument, what has to come, the window."""


def jackfield(function: str, data: dict[str, Any], items: Sequence[Item], window: int) -> Feed:
    """Open a stream of jackfield, and grant it credit; a name with a namespace is another plugin's."""
    event = function if "." in function else f"bench.{function}"
    envelope = {"event": event, "data": data, "id": STREAM, "credit": window}
    events = _messages(items, lambda item: ["stream", {"id": STREAM, "data": item}])
    return Feed(
        ["event", envelope],
        [[{"id": STREAM, "stream": "server"}], *events, ["stream", {"id": STREAM, "end": True}]],
        first=1,
        items=len(items),
        grant=["stream", {"id": STREAM, "credit": window // 2}],
        window=window,
    )


def bare(function: str, data: dict[str, Any], items: Sequence[Item], window: int) -> Feed:
    """Have a bare Socket.IO server emit in a loop; it has an acknowledgement for each half of a window."""
    return Feed(
        [function, {**data, "window": window}],
        [*_messages(items, lambda item: ["item", item]), [{"data": None}]],
        first=0,
        items=len(items),
        grant=None,
        window=window,
    )


def texts(streaming: Streaming, count: int, size: int, window: int) -> Feed:
    """Return a stream of so many numbered items with a text of so many characters."""
    text = "x" * size
    return streaming("items", {"count": count, "text": text}, [{"n": n, "text": text} for n in range(count)], window)


def buffers(streaming: Streaming, count: int, size: int, window: int) -> Feed:
    """Return a stream of so many Buffers of so many bytes."""
    blocks = [bytes([number]) * size for number in range(BLOCKS)]
    return streaming("give", {"count": count, "size": size}, [blocks[n % BLOCKS] for n in range(count)], window)


def _messages(items: Sequence[Item], event: Callable[[Any], list[Any]]) -> list[list[Any] | bytes]:
    found: list[list[Any] | bytes] = []
    for item in items:
        found += [event(PLACEHOLDER), item] if isinstance(item, bytes) else [event(item)]
    return found
