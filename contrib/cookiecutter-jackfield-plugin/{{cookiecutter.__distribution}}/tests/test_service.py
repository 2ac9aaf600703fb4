"""What the plugin does, without jackfield."""

from __future__ import annotations

import pytest

from {{ cookiecutter.__package }}.service import Tally, TooMany


def test_there_are_as_many_things_as_there_may_be() -> None:
    """Those that are known are counted on."""
    tally = Tally(max_things=1)
    assert tally.add("apple", 1) == 1
    with pytest.raises(TooMany):
        tally.add("pear", 1)
    assert tally.add("apple", 1) == 2
    assert tally.total("pear") == 0
