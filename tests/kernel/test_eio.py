"""Engine.IO without I/O: the machine of one session, and what a poll carries."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jackfield._transport import eio
from jackfield._transport.eio import EngineError, Machine, Phase, Refused, Terms
from tests.support.properties import always

TERMS = Terms(ping_interval=10.0, ping_timeout=5.0, max_payload=1000)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make(*, websocket: bool = False) -> tuple[Machine, Clock]:
    clock = Clock()
    return Machine("sid", TERMS, clock, websocket=websocket), clock


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", 5),
        ("transport=polling", 5),
        ("EIO=3&transport=polling", 5),
        ("EIO=abc&transport=polling", 5),
        ("EIO=4", 0),
        ("EIO=4&transport=abc", 0),
        ("EIO=4&transport=websocket", 0),
        ("&".join(["EIO=4"] * 65), 3),
    ],
)
def test_a_query_that_no_client_makes_is_refused(query: str, code: int) -> None:
    """Each fault has Engine.IO's own number."""
    with pytest.raises(Refused) as refused:
        eio.read_query(query, ["polling"])
    assert (refused.value.status, f'"code":{code},'.encode() in refused.value.body) == (400, True)


def test_of_a_parameter_that_comes_twice_the_first_counts() -> None:
    """So that nothing appended to an address changes what it asks for."""
    assert eio.read_query("EIO=4&transport=polling&sid=a&sid=b&transport=websocket", ["polling"]) == ("polling", "a")


@pytest.mark.parametrize(("interval", "told"), [(0.3, 300), (1.0, 1000), (1.5, 1500), (25.0, 25000), (0.0001, 1)])
def test_intervals_are_told_in_milliseconds(interval: float, told: int) -> None:
    """A fraction of a second is told as it is, and never as nothing."""
    machine = Machine("sid", Terms(interval, 0.2, 9), Clock(), websocket=True)
    assert f'"pingInterval":{told},"pingTimeout":200,"maxPayload":9'.encode() in machine.greeting(upgrades=False)


def test_a_client_that_answers_is_pinged_on() -> None:
    """The next ping follows the answer by the interval."""
    machine, clock = make()
    for _ in range(3):
        assert machine.tick() is None
        clock.now = machine.due
        assert machine.tick() == b"2"
        clock.now += 4.9
        machine.control(b"3")
        assert machine.due == clock.now + 10.0


def test_a_client_that_does_not_answer_is_given_up() -> None:
    """Its time is that of the timeout, whatever else it sends."""
    machine, clock = make()
    clock.now += 10
    assert machine.tick() == b"2"
    machine.control(b"6")
    clock.now += 4.9
    assert machine.tick() is None
    clock.now += 0.2
    with pytest.raises(TimeoutError):
        machine.tick()


def test_an_answer_without_a_ping_changes_nothing() -> None:
    """Otherwise a client could put off its next ping for ever."""
    machine, clock = make()
    due = machine.due
    clock.now += 9
    machine.control(b"3")
    assert machine.due == due


@pytest.mark.parametrize("packet", [b"", b"0", b"2", b"2probe", b"3x", b"5", b"7", b"9", b"abc", b"\xff"])
def test_what_no_client_says_ends_the_session(packet: bytes) -> None:
    """Only PONG, CLOSE and NOOP come beside messages."""
    machine, _ = make()
    with pytest.raises(EngineError):
        machine.control(packet)


def test_an_upgrade_takes_along_what_waits() -> None:
    """In its order, and nothing of it stays for polls."""
    machine, _ = make()
    for packet in (b"4a", b"4b"):
        machine.queue(packet)
    assert machine.probe()
    assert not machine.probe()
    machine.probed()
    assert machine.polled
    assert machine.upgrade() == [b"4a", b"4b"]
    assert (machine.phase, machine.size, machine.polled, machine.take()) == (Phase.WEBSOCKET, 0, False, [])


def test_a_failed_probe_leaves_the_session_as_it_was() -> None:
    """Another websocket may try after it."""
    machine, _ = make()
    assert machine.probe()
    machine.probed()
    machine.probe_failed()
    assert machine.phase is Phase.POLLING
    assert machine.probe()


def test_the_last_poll_says_goodbye() -> None:
    """What was queued comes first, in portions that stock clients read."""
    machine, _ = make()
    for number in range(17):
        machine.queue(b"4%d" % number)
    machine.close(linger=True)
    assert not machine.open
    assert machine.take() == [b"4%d" % number for number in range(16)]
    assert machine.polled
    assert machine.take() == [b"416", b"1"]
    assert not machine.polled


def test_what_does_not_linger_is_closed() -> None:
    """A websocket never lingers; a poll only where somebody may still come for it."""
    for websocket, linger in ((False, False), (True, True), (True, False)):
        machine, _ = make(websocket=websocket)
        machine.close(linger=linger)
        assert machine.phase is Phase.CLOSED


@always(
    100,
    2000,
    messages=st.lists(
        st.binary(max_size=40) | st.text(alphabet=st.characters(exclude_characters="\x1e", codec="utf-8"))
    ),
)
def test_a_payload_is_read_as_it_was_written(messages: list[bytes | str]) -> None:
    """Text and Buffers come out in their order, whatever they hold."""
    packets = [
        eio.encode_buffer(message) if isinstance(message, bytes) else b"4" + message.encode() for message in messages
    ]
    read = eio.read_payload(eio.write_payload(packets)) if packets else []
    seen = [(eio.decode_buffer(packet), packet) for packet in read]
    assert [packet[1:].decode() if buffer is None else buffer for buffer, packet in seen] == messages


@pytest.mark.parametrize("packet", [b"b=", b"bA", b"bAAA", b"bAAA=x", b"b AAA=", b"b****"])
def test_a_buffer_is_strict_base64(packet: bytes) -> None:
    """Nothing is repaired."""
    with pytest.raises(EngineError):
        eio.decode_buffer(packet)


class Sessions(RuleBasedStateMachine):
    """Any order of events: nothing that is queued is lost, doubled or moved while the session is open."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.machine = Machine("sid", TERMS, self.clock, websocket=False)
        self.expected: deque[bytes] = deque()
        self.number = 0

    @precondition(lambda self: self.machine.open and self.machine.polled)
    @rule()
    def queue(self) -> None:
        """The server says something."""
        self.number += 1
        packet = b"4%d" % self.number
        self.machine.queue(packet)
        self.expected.append(packet)

    @rule()
    def poll(self) -> None:
        """The client fetches something."""
        for packet in self.machine.take():
            assert packet == (self.expected.popleft() if self.expected else b"1")

    @rule()
    def probe(self) -> None:
        """A websocket comes."""
        if self.machine.probe():
            self.machine.probed()

    @rule()
    def fail(self) -> None:
        """The websocket goes."""
        self.machine.probe_failed()

    @precondition(lambda self: self.machine.phase is Phase.UPGRADING)
    @rule()
    def upgrade(self) -> None:
        """The websocket takes over."""
        assert self.machine.upgrade() == list(self.expected)
        self.expected.clear()

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        """Time goes by, with a client that answers."""
        self.clock.now += seconds
        if self.machine.tick() is not None:
            self.machine.control(b"3")

    @rule(linger=st.booleans())
    def close(self, linger: bool) -> None:
        """Somebody ends it."""
        self.machine.close(linger=linger)

    @invariant()
    def sizes_add_up(self) -> None:
        """The size is that of what waits, as long as anybody may fetch it."""
        if self.machine.polled:
            assert self.machine.size == sum(map(len, self.expected))


TestSessions = Sessions.TestCase
