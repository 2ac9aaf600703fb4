"""What a kernel under test stands on: memory, or a port."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from jackfield.client._link import Hear, Link
from jackfield.client._place import Place


class Ground(Protocol):
    """How clients come to a kernel, and what can be done to their connections.

    Attributes:
        url: The address of the kernel.
    """

    url: str

    def served(self) -> AbstractAsyncContextManager[None]:
        """Be in service while a block runs."""

    async def connect(self, place: Place, hear: Hear) -> Link:
        """Connect a client."""

    def cut(self, link: Link) -> None:
        """End a connection as a cable is cut."""

    def hold(self, link: Link) -> None:
        """Let what the server sends wait."""

    def let_go(self, link: Link) -> None:
        """Take what waits."""
