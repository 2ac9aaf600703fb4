"""Buckets give what a bucket of tokens would give, and forget what need not be known."""

from __future__ import annotations

from fractions import Fraction
from itertools import count

import pytest
from hypothesis import strategies as st

from jackfield_ratelimit.buckets import Buckets
from tests.support.properties import always

RATES = [1 / 64, 0.5, 1.0, 4.0, 256.0]
"""Powers of two, with which floats reckon exactly."""


class Model:
    """A bucket as the books draw it: so many tokens, and the moment of the last look."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = Fraction(rate), burst
        self.tokens, self.seen = Fraction(burst), Fraction(0)

    def take(self, now: float) -> float:
        moment = Fraction(now)
        self.tokens = min(Fraction(self.burst), self.tokens + (moment - self.seen) * self.rate)
        self.seen = moment
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return float((1 - self.tokens) / self.rate)


@always(
    few=200,
    many=1_500,
    rate=st.sampled_from(RATES),
    burst=st.integers(1, 5),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 300)), max_size=60),
)
def test_a_bucket_is_one(rate, burst, steps):
    """Whatever comes when: what is let in, and how long the others have to wait, is as in the model."""
    buckets = Buckets(rate, burst)
    models = {key: Model(rate, burst) for key in "abc"}
    now = 1000.0
    for key, step in steps:
        now += step / 64
        expected = models[key].take(now)
        assert buckets.wait(key, now) == pytest.approx(expected, abs=1e-6)
        assert buckets.take(key, now) == pytest.approx(expected, abs=1e-6)


@always(
    few=200,
    many=1_500,
    rate=st.floats(0.001, 50_000),
    burst=st.integers(1, 50),
    start=st.floats(1.0, 1e7),
    more=st.integers(0, 20),
)
def test_who_comes_when_told_is_let_in(rate, burst, start, more):
    """After just so many milliseconds as the answer says, and no bucket gives more than burst and rate allow."""
    buckets = Buckets(rate, burst)
    let_in = 0
    now = start
    while not (wait := buckets.take("a", now)):
        let_in += 1
    assert let_in == burst
    for _ in range(more):
        now += wait
        assert buckets.take("a", now) == 0.0
        let_in += 1
        wait = buckets.take("a", now)
        if not wait:  # a wait is rounded up by less than what a call may be early
            let_in += 1
            wait = buckets.wait("a", now)
    assert let_in <= burst + (now - start) * rate + 1


def test_a_token_that_is_given_back_is_there_again():
    """As if it had never been taken."""
    buckets = Buckets(0.5, 2)
    assert [buckets.take("a", 10.0) for _ in range(2)] == [0.0, 0.0]
    buckets.give_back("a")
    assert [bool(buckets.take("a", 10.0)) for _ in range(2)] == [False, True]


def test_any_number_of_keys_takes_the_same_memory():
    """Far more keys than are remembered, each of them once."""
    buckets = Buckets(0.001, 1, keys=1000)
    most = 0
    for key in range(100_000):
        assert buckets.take(key, 5.0) == 0.0
        most = max(most, len(buckets))
    assert most == 2000


def test_who_keeps_coming_is_not_forgotten():
    """A caller who is refused stays so, whatever crowd passes by between two of its calls."""
    buckets = Buckets(0.001, 1, keys=1000)
    assert buckets.take("greedy", 5.0) == 0.0
    crowd = count()
    for _ in range(50):
        for _ in range(900):
            buckets.take(next(crowd), 5.0)
        assert buckets.take("greedy", 5.0) > 0
