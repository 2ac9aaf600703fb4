"""The tables of the shortest ways: who has which, and what shuts and opens them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from jackfield import Principal
from jackfield._access import Access
from jackfield._pipeline import Pipeline
from jackfield._quick import Quick, Shortcuts


def make(**requires: tuple[str, ...] | None) -> tuple[Shortcuts, dict[str, Any]]:
    """Return shortcuts to functions of two plugins, and what stands before each plugin."""
    breakers = {name: SimpleNamespace(shut=False) for name in ("one", "two")}
    ways = {}
    for number, (event, scopes) in enumerate(requires.items()):
        plugin = "two" if number % 2 else "one"
        pipeline = SimpleNamespace(info=SimpleNamespace(plugin=plugin), access=Access(scopes), breaker=breakers[plugin])
        ways[event] = cast(Pipeline, pipeline), cast(Quick, event)
    return Shortcuts(ways), breakers


def somebody(*scopes: str) -> Principal:
    return Principal("somebody", frozenset(scopes))


def test_a_table_has_what_its_scopes_open() -> None:
    """And scopes that no function requires make no table of their own."""
    shortcuts, _ = make(free=(), read=("r",), both=("r", "w"), unsaid=None)
    assert set(shortcuts.of(somebody()).ways) == {"free"}
    assert set(shortcuts.of(somebody("r")).ways) == {"free", "read"}
    assert set(shortcuts.of(somebody("r", "w")).ways) == {"free", "read", "both"}
    assert shortcuts.of(somebody("r", "x")) is shortcuts.of(somebody("r", "y"))
    assert shortcuts.of(None) is not shortcuts.of(somebody())


def test_all_ways_are_shut_and_opened_at_once() -> None:
    """Those too whose table is made in between."""
    shortcuts, _ = make(free=(), read=("r",))
    before = shortcuts.of(somebody())
    shortcuts.shut()
    between = shortcuts.of(somebody("r"))
    assert (dict(before.ways), dict(between.ways)) == ({}, {})
    shortcuts.open()
    assert (set(before.ways), set(between.ways)) == ({"free"}, {"free", "read"})


def test_a_plugin_that_goes_takes_its_own_ways_with_it() -> None:
    """Whether or not all are shut meanwhile; when it is back, so are they, and nobody may more than before."""
    shortcuts, breakers = make(of_one=(), of_two=(), hidden=("r",))
    table = shortcuts.of(somebody())
    breakers["one"].shut = True
    shortcuts.switch("one")
    assert set(table.ways) == {"of_two"}
    shortcuts.shut()
    breakers["one"].shut = False
    shortcuts.switch("one")
    assert dict(table.ways) == {}
    shortcuts.open()
    assert set(table.ways) == {"of_one", "of_two"}


def test_beyond_so_many_sets_of_scopes_everybody_goes_the_longer_way() -> None:
    """The tables stay within bounds, and those that are there stay as they are."""
    shortcuts, _ = make(**{f"f{number}": (f"s{number}",) for number in range(300)})
    tables = [shortcuts.of(somebody(f"s{number}")) for number in range(300)]
    assert [len(table.ways) for table in tables] == [1] * 256 + [0] * 44
    shortcuts.shut()
    shortcuts.open()
    assert [len(table.ways) for table in tables] == [1] * 256 + [0] * 44
