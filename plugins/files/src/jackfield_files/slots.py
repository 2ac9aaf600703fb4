"""How many transfers may hold much in memory at once; the others hold one piece, and are a little slower."""

from __future__ import annotations


class Slots:
    """Places for the fast, first come, first served; nobody waits for one.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._free = count

    def take(self) -> bool:
        """Take a place, if one is free; `give_back` gives it back."""
        if not self._free:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        """Give a place back."""
        self._free += 1
