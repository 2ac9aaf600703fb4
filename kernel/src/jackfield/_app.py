"""The server as a part of another ASGI application, or under an ASGI server of somebody's choice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jackfield._kernel import JackfieldKernel
    from jackfield._transport.asgi import Receive, Scope, Send


def plugin_table(name: str, file: Path | None = None) -> dict[str, Any]:
    """Return what the configuration says to a plugin, for the commands that it brings; its own model validates it.

    Args:
        name: The plugin's name.
        file: The configuration file; left out, the one that `jackfield serve` would read in this folder.

    Raises:
        JackfieldError: The configuration is wrong, or cannot be read.
    """
    from jackfield._configuration import load  # noqa: PLC0415 - as below

    return dict(load(file).plugins.tables.get(name, {}))


def create_app(config: Path | str | None = None) -> App:
    """Make the server an ASGI application, to be run by an ASGI server or mounted in another application.

    The plugins are imported now, so call it in the main thread. They start with the application's lifespan and stop
    with it. The listening socket, TLS and signals are the host's, and `[server]` has no say in them.

    Args:
        config: The configuration file; `jackfield.toml` where the process runs, if that is there and this is left out.

    Returns:
        The ASGI 3 application. Hosts that do not pass their lifespan on to what is mounted in them hold its
        `async with app.lifespan():` while they serve.

    Raises:
        JackfieldError: The server cannot start, with all faults at once.

    Example:
        In a module `main`, for `uvicorn main:app`:

            import jackfield

            app = jackfield.create_app()
    """
    # Here, since a plugin that imports jackfield pays for no web server.
    from jackfield._configuration import load  # noqa: PLC0415
    from jackfield._kernel import JackfieldKernel  # noqa: PLC0415

    kernel = JackfieldKernel(load(None if config is None else Path(config)))
    kernel.load()
    return App(kernel)


class App:
    """The server as an ASGI 3 application.

    Args:
        kernel: The server, with its plugins loaded.
    """

    def __init__(self, kernel: JackfieldKernel) -> None:
        self._kernel = kernel
        self._endpoint = kernel.endpoint()
        self._begun = False
        self._in_service = False

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Start the plugins; after the block let calls end, close the connections, and stop the plugins.

        Raises:
            JackfieldError: `plugins.strict` is set and a plugin did not start.
            RuntimeError: It has begun before.
        """
        if self._begun:
            raise RuntimeError("the lifespan of this application has begun before; make another with create_app()")
        self._begun = True
        async with self._kernel.attached():
            self._in_service = True
            try:
                yield
            finally:
                self._in_service = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection, or follow the host's lifespan.

        Raises:
            RuntimeError: A client came outside the lifespan.
        """
        if scope["type"] == "lifespan":
            await self._follow(receive, send)
        elif self._in_service:
            await self._endpoint(scope, receive, send)
        else:
            raise RuntimeError(
                "a client came outside the lifespan: a host that does not pass its own on "
                "holds `async with app.lifespan():` while it serves"
            )

    async def _follow(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self.lifespan())
            except Exception as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                raise
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
