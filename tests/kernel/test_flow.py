"""Promises to clients: never more than there are, and nobody waits while something is free."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from jackfield._flow import Pool, Window
from tests.support.properties import always


class Client:
    """Keeps count of what one stream was told, and of what it has sent."""

    def __init__(self, pool: Pool) -> None:
        self.told = 0
        self.sent = 0
        self.consumed = 0
        self.finished = False
        self.closed = False
        self.window = Window(pool, self._tell)
        self.told += self.window.open()

    def _tell(self, items: int) -> None:
        assert items > 0
        assert not self.closed
        assert not self.finished
        self.told += items

    @property
    def promised(self) -> int:
        """What is granted and not consumed; of what a client that has ended was granted, only what it has sent."""
        if self.closed:
            return 0
        return (self.sent if self.finished else self.told) - self.consumed


_steps = st.lists(st.tuples(st.sampled_from(["open", "send", "consume", "finish", "close"]), st.integers(0, 9)))


@always(few=300, many=10_000, total=st.integers(1, 20), steps=_steps)
def test_promises_are_kept_and_never_exceeded(total: int, steps: list[tuple[str, int]]) -> None:
    """Together the streams have promised at most the pool; a client may send what it was told, and not one more."""
    pool = Pool(total)
    clients: list[Client] = []
    for what, which in steps:
        if what == "open":
            clients.append(Client(pool))
        elif clients:
            _take_step(what, clients[which % len(clients)])
        promised = sum(client.promised for client in clients)
        assert promised + pool.free == total
        assert pool.free >= 0
        waiting = [c for c in clients if not c.closed and not c.finished and c.told == c.consumed]
        assert not waiting or pool.free == 0


def _take_step(what: str, client: Client) -> None:
    if client.closed:
        return
    if what == "send" and not client.finished:
        allowed = client.sent < client.told
        assert client.window.use() is allowed
        client.sent += allowed
    elif what == "consume" and client.consumed < client.sent:
        client.consumed += 1
        client.window.consumed()
    elif what == "finish" and not client.finished:
        client.finished = True
        client.window.finish()
    elif what == "close":
        client.closed = True
        client.window.close()


def _opened(pool: Pool, told: list[Any]) -> Window:
    window = Window(pool, told.append)
    told.append(window.open())
    return window


def test_one_stream_leaves_something_for_the_next() -> None:
    """A stream gets half of what is free; when nothing is, it opens with none, and gets the first that becomes free."""
    pool = Pool(4)
    told: list[list[int]] = [[], [], [], []]
    first, *_ = (_opened(pool, each) for each in told)
    assert told == [[2], [1], [1], [0]]
    assert first.use()
    first.consumed()
    assert told == [[2], [1], [1], [0, 1]]


def test_credit_comes_in_portions() -> None:
    """A frame of credit goes out when half of the last portion is consumed, not for every item."""
    pool = Pool(16)
    told: list[int] = []
    window = _opened(pool, told)
    assert told == [8]
    for _ in range(3):
        assert window.use()
        window.consumed()
    assert told == [8]
    assert window.use()
    window.consumed()
    assert told == [8, 6]
