"""Buckets in common never give more than the page about limits says, whatever comes in which order."""

from __future__ import annotations

from collections import deque

from hypothesis import strategies as st

from jackfield_ratelimit.settings import Rule
from jackfield_ratelimit.shares import Report, SharedBuckets
from tests.support.properties import always

RATE = 4.0
KEY = "a"


class Centre:
    """What Redis knows: the moment at which the one bucket is full."""

    def __init__(self) -> None:
        self.full: float | None = None

    def take(self, report: Report, now: float) -> float:
        full = now + max(0.0, report.known) if self.full is None else self.full
        self.full = max(full, now) + report.count * report.interval
        return self.full - now


class Member:
    """A server whose reports, and the answers to them, take their time."""

    def __init__(self, rule: Rule, ahead: float, centre: Centre) -> None:
        self.buckets = SharedBuckets(rule, ahead, lambda: None)
        self.buckets.connected = True
        self._centre = centre
        self._sent: deque[tuple[Report, float]] = deque()
        self._answers: deque[tuple[Report, float]] = deque()

    def go_on(self, now: float) -> None:
        """Do what comes next: send a report, let it arrive, or hear the answer; then comes the next report."""
        if self._answers:
            report, full = self._answers.popleft()
            self.buckets.heard(report, full)
        elif self._sent:
            report, at = self._sent.popleft()
            self._answers.append((report, at + self._centre.take(report, now)))
        else:
            self._sent.extend((report, now) for report in self.buckets.reports(now, 10))


steps = st.one_of(
    st.tuples(st.just("call"), st.integers(0, 2)),
    st.tuples(st.just("call"), st.integers(0, 2)),
    st.tuples(st.just("go on"), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.integers(1, 8)),
)


@always(
    few=300,
    many=2_000,
    members=st.integers(1, 3),
    burst=st.integers(1, 8),
    ahead=st.sampled_from([0.01, 0.25, 0.5, 1.0]),
    schedule=st.lists(steps, max_size=120),
)
def test_no_more_than_said_is_let_in(members, burst, ahead, schedule):
    """A burst, what flowed in, and of each further server what it may let in ahead."""
    rule = Rule(rate=RATE, burst=burst)
    centre = Centre()
    servers = [Member(rule, ahead, centre) for _ in range(members)]
    most_ahead = servers[0].buckets.ahead
    start = now = 1000.0
    let_in = 0
    for what, number in schedule:
        if what == "wait":
            now += number / 64
        elif what == "call":
            let_in += servers[number % members].buckets.take(KEY, now) == 0.0
        else:
            servers[number % members].go_on(now)
        assert let_in <= burst + (now - start) * RATE + (members - 1) * most_ahead + 1e-6

    for server in servers:
        for _ in range(6):  # what is under way, and whatever is to be told then
            server.go_on(now)
    owed = let_in - burst - (now - start) * RATE
    if owed > 0:  # that is a debt, which is paid before there is a token for anybody
        assert centre.full is not None
        assert centre.full - now >= (burst + owed) / RATE - 1e-6


def test_one_server_alone_gives_what_the_limit_says():
    """All of a burst, in parts, as fast as it is heard."""
    member = Member(Rule(rate=RATE, burst=8), 0.25, Centre())
    let_in = 0
    for _ in range(40):
        let_in += member.buckets.take(KEY, 1000.0) == 0.0
        member.go_on(1000.0)
    assert let_in == 8


def test_what_was_forgotten_is_told_anew():
    """A centre that has lost everything learns from the next report what the server knows."""
    member = Member(Rule(rate=RATE, burst=8), 1.0, Centre())
    for _ in range(6):
        assert member.buckets.take(KEY, 1000.0) == 0.0
    for _ in range(3):  # a report, its arrival, the answer
        member.go_on(1000.0)
    member.buckets.part()
    other = Centre()
    member._centre = other
    member.buckets.connected = True
    assert member.buckets.take(KEY, 1000.0) == 0.0
    for _ in range(3):
        member.go_on(1000.0)
    assert other.full == 1000.0 + 7 / RATE
