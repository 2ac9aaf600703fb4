"""A kernel that is given its plugins, and that nobody watches but the test."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

from jackfield._dispatch import Dispatcher
from jackfield._kernel import JackfieldKernel
from jackfield._life import own_task
from jackfield._plugins import Plugin
from jackfield._settings import Settings
from jackfield._transport.engine import Engine
from jackfield._transport.listener import listening
from jackfield._transport.server import HttpServer
from jackfield.testing._given import Given
from jackfield.testing._principals import Principals
from jackfield.testing._undeclared import GivenDispatcher


def _end_tests(culprit: str) -> None:
    """End the process because this does not come back: as a server would, but tests that did not end have failed."""
    sys.stderr.write(
        f"jackfield.testing: {culprit} does not come back and cannot be interrupted; the tests end here, as failed.\n"
    )
    sys.stderr.flush()
    os._exit(1)


class GivenKernel(JackfieldKernel):
    """A kernel with these plugins, whatever is installed.

    Args:
        settings: The configuration.
        given: The plugins.
        principals: Who takes the test's word for who clients are, if anybody does.
    """

    last_resort = staticmethod(_end_tests)
    dispatcher = GivenDispatcher
    _dispatcher: GivenDispatcher | None

    def __init__(self, settings: Settings, given: Sequence[Given], principals: Principals | None) -> None:
        super().__init__(settings, [one.found for one in given])
        self.principals = principals
        objects = {one.name: one.object for one in given}
        for plugin in self._plugins:
            plugin.object = objects[plugin.name]

    def plugin(self, name: str) -> Plugin:
        """Return a plugin, whatever has become of it."""
        return next(plugin for plugin in self._plugins if plugin.name == name)

    @property
    def engine(self) -> Engine:
        """The Engine.IO server."""
        return self._border.eio

    def warn(self) -> None:
        """Warn of what functions have answered with and do not declare."""
        if self._dispatcher is not None:
            self._dispatcher.warn()

    @property
    def draining(self) -> bool:
        """Whether calls are turned away because the kernel is going to end."""
        return self._dispatcher is not None and self._dispatcher.draining

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Be in service on the port of the settings while a block runs, in an event loop that is the host's.

        Yields:
            The address.
        """
        settings = self.settings.server
        with listening(settings) as listener:
            beside = self._routes.at("both")
            server = HttpServer(settings, self.settings.limits, self.engine, listener=listener, beside=beside)
            async with self._in_service(server.stop, own_task):
                await server.start()
                self.url = server.url
                yield server.url

    def _watched(self, dispatcher: Dispatcher) -> AbstractContextManager[object]:
        limits = self.settings.limits
        if self.settings.watchdog.threshold or limits.loop_lag or limits.memory:
            return super()._watched(dispatcher)
        return nullcontext()  # its beats would be all that happens while time is moved
