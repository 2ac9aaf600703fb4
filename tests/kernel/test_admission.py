"""How many sessions there may be."""

from __future__ import annotations

import pytest

from jackfield._settings import Limits
from jackfield._transport.admission import Admission
from jackfield._transport.eio import Refused


class Clock:
    """Seconds that the test lets pass."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def refused(admission: Admission, address: str = "192.0.2.1", pending: int = 0) -> str | None:
    """Return the limit in the way of one more, if there is one."""
    found = None
    try:
        admission.check(address, pending)
    except Refused as error:
        found = error
    assert found is None or (found.status, found.headers) == (503, {"retry-after": "5"})
    return None if found is None else str(found).rpartition("(")[2][:-1]


def test_all_connections() -> None:
    """Who leaves makes room."""
    admission = Admission(Limits(connections=2))
    for address in ("192.0.2.1", ""):
        assert refused(admission, address) is None
        admission.opened(address)
    assert refused(admission) == refused(admission, "") == "limits.connections"
    admission.closed("")
    assert refused(admission) is None


def test_connections_of_an_address() -> None:
    """Each has its own count; those of a Unix socket have none."""
    admission = Admission(Limits(connections_per_address=1))
    for address in ("192.0.2.1", "2001:db8::1", ""):
        admission.opened(address)
    assert refused(admission, "192.0.2.1") == refused(admission, "2001:db8::2") == "limits.connections_per_address"
    assert refused(admission, "192.0.2.2") is refused(admission, "2001:db8:0:1::1") is refused(admission, "") is None
    admission.closed("2001:db8::1")
    assert refused(admission, "2001:db8::2") is None


def test_clients_that_have_not_said_who_they_are() -> None:
    """They are counted by whoever asks."""
    admission = Admission(Limits(pending=3))
    assert refused(admission, pending=2) is None
    assert refused(admission, pending=3) == "limits.pending"


def test_no_limit() -> None:
    """Nothing is refused until somebody says so."""
    admission = Admission(Limits())
    for _ in range(10_000):
        assert refused(admission) is None
        admission.knock()
        admission.opened("192.0.2.1")


@pytest.mark.parametrize(("rate", "burst", "wait"), [(10.0, 10, "1"), (0.1, 1, "5")])
def test_connects(rate: float, burst: int, wait: str) -> None:
    """As many at once as in a second, and then one after the other; who is too early hears when to come again."""
    clock = Clock()
    admission = Admission(Limits(connects=rate), clock)

    def knocks() -> int:
        for count in range(1000):
            try:
                admission.knock()
            except Refused:
                return count
        raise AssertionError("there is no limit")

    assert knocks() == burst
    clock.now += 0.5 / rate
    with pytest.raises(Refused, match=r"limits\.connects") as refusal:
        admission.knock()
    assert refusal.value.headers == {"retry-after": wait}
    clock.now += 0.6 / rate
    assert knocks() == 1
    clock.now += 3600
    assert knocks() == burst
