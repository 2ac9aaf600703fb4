"""The credit that clients have for what they send: how much it may be together, and whose turn it is.

No I/O. Every item that a client may send is memory that the server has promised, so all streams of a connection share
one pool of promises. What a stream has consumed goes back to the pool; whoever has nothing is served first.

    promised  = granted to the client and not yet consumed by the function
    left      = the part of it that the client has not used yet
"""

from __future__ import annotations

from collections.abc import Callable


class Pool:
    """What all streams of one connection may have promised together.

    Args:
        total: Items.
    """

    __slots__ = ("_starved", "free")

    def __init__(self, total: int) -> None:
        self.free = total
        self._starved: dict[Window, None] = {}

    def share(self) -> int:
        """Return how much one stream may take now: half of what is free, so that the next one gets something too."""
        return (self.free + 1) // 2

    def give_back(self, items: int) -> None:
        """Take back promises, and let those go on that had none."""
        self.free += items
        while self.free and self._starved:
            window = next(iter(self._starved))
            del self._starved[window]
            window.grant(1)

    def starve(self, window: Window) -> None:
        """Remember a stream that waits for something to be free."""
        self._starved[window] = None

    def forget(self, window: Window) -> None:
        """Forget a stream that has ended."""
        self._starved.pop(window, None)


class Window:
    """What one stream has promised its client.

    Args:
        pool: What it is taken from.
        tell: Called with the number of items that the client may send more.
    """

    __slots__ = ("_pool", "_promised", "_size", "_tell", "left")

    def __init__(self, pool: Pool, tell: Callable[[int], None]) -> None:
        self.left = 0
        self._pool = pool
        self._promised = 0
        self._size = 0
        self._tell = tell

    def open(self) -> int:
        """Return how many items the client may send at first; it may be none, and then some as soon as there are."""
        items = self._pool.share()
        if items:
            self._take(items)
        else:
            self._pool.starve(self)
        return items

    def use(self) -> bool:
        """Take note of an item that has come; False if the client was not allowed it."""
        if not self.left:
            return False
        self.left -= 1
        return True

    def consumed(self) -> None:
        """Take note that the function has taken an item, and let the client send more once half is gone."""
        self._promised -= 1
        self._pool.give_back(1)
        if self._promised <= self._size // 2:
            items = self._pool.share()
            if items:
                self.grant(items)
            elif not self._promised:
                self._pool.starve(self)

    def grant(self, items: int) -> None:
        """Promise more, and tell the client."""
        self._take(items)
        self._tell(items)

    def finish(self) -> None:
        """Take note that the client sends no more: what it has not used is free for others."""
        self._pool.forget(self)
        unused, self.left = self.left, 0
        self._promised -= unused
        self._size = -1  # what is still consumed is not granted again
        self._pool.give_back(unused)

    def close(self) -> None:
        """Take note that the stream is over."""
        self.finish()
        promised, self._promised = self._promised, 0
        self._pool.give_back(promised)

    def _take(self, items: int) -> None:
        self._pool.free -= items
        self.left += items
        self._promised += items
        self._size = self._promised
