"""Which names and patterns there may be, and what a pattern stands for."""

from __future__ import annotations

import pytest

from jackfield import CallError
from jackfield_channels.names import check_name, check_name_or_pattern, covers, overlap, patterns_of

RULE = "a name is letters, digits, _, -, : and @, with dots between its parts, and a pattern ends with .*"


@pytest.mark.parametrize("name", ["a", "orders", "orders.7", "a-b_c:d@e.F.9", "x" * 200, "a." * 99 + "a"])
def test_names(name: str) -> None:
    """Parts of letters and digits, and a little more, with dots between them."""
    check_name(name)
    check_name_or_pattern(name)


@pytest.mark.parametrize("name", ["*", "orders.*", "a.b.*", "x" * 198 + ".*"])
def test_patterns(name: str) -> None:
    """All that begin with the same parts; a function that wants one channel says so."""
    check_name_or_pattern(name)
    with pytest.raises(CallError, match="is refused: it is a pattern, and one channel is wanted"):
        check_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "a.", ".a", "a..b", "a b", "a\n", "é", "a.*.b", "a*", "**", "*.a", "a.**", '"', "a\\", "\x00", "٣", ".*"],
)
def test_what_is_neither_is_refused(name: str) -> None:
    """With the rule."""
    with pytest.raises(CallError) as error:
        check_name_or_pattern(name)
    assert (error.value.code, error.value.message) == (
        "invalid_argument",
        f"The channel {name!r} is refused: {RULE}.",
    )


def test_a_long_name_is_refused() -> None:
    """And not repeated as a whole."""
    with pytest.raises(CallError) as error:
        check_name("x" * 100_000)
    assert error.value.message == (f"The channel {'x' * 60!r} is refused: it has 100,000 characters, and may have 200.")


@pytest.mark.parametrize(
    ("pattern", "name", "covered", "overlapping"),
    [
        ("orders.*", "orders.7", True, True),
        ("orders.*", "orders.eu.7", True, True),
        ("orders.*", "orders.eu.*", True, True),
        ("orders.*", "orders.*", True, True),
        ("orders.*", "orders", False, False),
        ("orders.*", "orders2.7", False, False),
        ("orders.*", "*", False, True),
        ("*", "orders", True, True),
        ("*", "orders.*", True, True),
        ("orders", "orders", True, True),
        ("orders.7", "orders.*", False, True),
        ("orders.7", "orders.8", False, False),
        ("orders.eu.*", "orders.*", False, True),
        ("orders.eu.*", "orders.us.*", False, False),
    ],
)
def test_what_a_pattern_stands_for(pattern: str, name: str, covered: bool, overlapping: bool) -> None:
    """Every channel that begins so; two overlap where one stands for the other."""
    assert covers(pattern, name) is covered
    assert overlap(pattern, name) is overlap(name, pattern) is overlapping


def test_the_patterns_of_a_channel() -> None:
    """Those that stand for it, and no others: there are no more than it has parts."""
    assert patterns_of("a.b.c") == ["*", "a.*", "a.b.*"]
    assert patterns_of("a") == ["*"]
    assert all(covers(pattern, "a.b.c") for pattern in patterns_of("a.b.c"))
