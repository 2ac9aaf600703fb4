"""`jackfield serve`."""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from jackfield._cli import logs
from jackfield._cli.contract import carried
from jackfield._cli.notify import notify
from jackfield._cli.options import config_option, json_option
from jackfield._cli.terminal import fail
from jackfield._configuration import load
from jackfield._errors import StartError
from jackfield._guard import EXIT_START_FAILED
from jackfield._host import PluginInfo
from jackfield._settings import PREFIX, Settings

if TYPE_CHECKING:
    from jackfield._kernel import JackfieldKernel

_ANEW: Final = "anew"
_CHECKED: Final = "checked"
"""The option of the process that `--dev` starts."""
_WORKERS: Final = f"{PREFIX}WORKERS"
"""The variable that tells a worker, and the plugins in it, how many there are."""
_LENIENT: Final[Mapping[str, Mapping[str, object]]] = {
    "quarantine": {"failures": 0, "blocked": 0},
    "watchdog": {"threshold": 0.1},
}
"""What that process has whatever the configuration says: an author's plugin stays in service whatever it does."""


def _end_with(_context: click.Context, _option: click.Parameter, parent_fd: int | None) -> None:
    """Let the server end as it would by SIGTERM when its parent has, which may have been killed."""

    def wait(fd: int) -> None:
        os.read(fd, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    if parent_fd is not None:
        threading.Thread(target=wait, args=[parent_fd], daemon=True).start()


@click.command("serve")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option("--fd", type=click.IntRange(0), help="Descriptor of a socket that was handed over, to listen on.")
@click.option("--workers", type=click.IntRange(1), default=1, help="Processes that serve, side by side; 1 if left out.")
@click.option("--dev", flag_value=_ANEW, help="For authors of plugins: start anew on every change, with checks on.")
@click.option("--checked", "dev", flag_value=_CHECKED, hidden=True)
@click.option(
    "--ready-fd", type=click.IntRange(0), help="Descriptor to write the line of --json to, and close, when it is ready."
)
@click.option("--parent-fd", type=click.IntRange(0), callback=_end_with, expose_value=False, hidden=True)
@config_option
@json_option
def command(
    host: str | None,
    port: int | None,
    fd: int | None,
    workers: int,
    dev: str | None,
    ready_fd: int | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Start the server. SIGTERM and Ctrl+C let running calls end; a second one does not wait."""
    if fd is not None and (host, port) != (None, None):
        raise click.UsageError("--fd excludes --host and --port: the socket is bound already.")
    if dev and workers > 1:
        raise click.UsageError("--dev runs one worker, and excludes --workers.")
    if ready_fd is None and _WORKERS in os.environ:
        fail([f"{_WORKERS} is no setting: jackfield serve --workers tells its processes by it"], EXIT_START_FAILED)
    try:
        settings = load(config, {"server": {"host": host, "port": port}, **(_LENIENT if dev == _CHECKED else {})})
        announcement = _Announcement(settings, workers, ready_fd, as_json=as_json)
        if dev == _CHECKED:
            from jackfield._cli.dev.kernel import DevKernel
            from jackfield._cli.dev.traces import shortened

            context = logs.configure(settings.log, trace=shortened)
            _serve(DevKernel(settings), fd, announcement, context)
        else:
            context = logs.configure(settings.log, worker=ready_fd is not None)
            if dev:
                _develop(settings, fd, config, announcement)
            elif workers > 1:
                _supervise(settings, fd, config, announcement)
            else:
                from jackfield._kernel import JackfieldKernel

                _serve(JackfieldKernel(settings), fd, announcement, context)
    except StartError as error:
        fail([_with_hint(fault) for fault in error.faults], EXIT_START_FAILED)
    except KeyboardInterrupt:
        fail("interrupted before the server was up", EXIT_START_FAILED)
    _leave()


def _with_hint(fault: str) -> str:
    if fault.endswith(f"{os.strerror(errno.EADDRINUSE)} (server.host, server.port)"):
        return f"{fault}   → stop what listens there, or take another port: --port 0 takes a free one"
    return fault


def _serve(kernel: JackfieldKernel, fd: int | None, announcement: _Announcement, context: logs.Context) -> None:
    from jackfield._process import run
    from jackfield._transport.server import implementations

    kernel.load()
    served = kernel.served()
    context.plugins = {function.event: function.plugin for function in served}
    carried.warn(kernel.plugins(), served)
    live = implementations(kernel.settings.server.websocket)
    run(
        kernel,
        lambda: announcement(
            {
                "url": kernel.url,
                "admin": kernel.admin_url,
                **live,
                "plugins": [asdict(info) for info in kernel.plugins()],
            }
        ),
        fd,
    )


def _supervise(settings: Settings, fd: int | None, config: Path | None, announcement: _Announcement) -> None:
    import asyncio

    from jackfield._cli.supervise import CannotStart, Workers, worker_command
    from jackfield._transport.listener import listening

    workers = announcement.workers
    if "polling" in settings.server.transports:
        raise StartError(
            [
                f"--workers {workers}: the requests of a client that polls would meet a different worker each time; "
                'set server.transports = ["websocket"], or run one server for each port behind a proxy that keeps '
                "each client with one of them"
            ]
        )
    if settings.server.admin:
        raise StartError(
            [
                f"--workers {workers} and server.admin: health and metrics are those of one process, and nobody could "
                "tell whose the listener shows; run one server for each port behind a proxy, or leave server.admin out"
            ]
        )
    os.environ[_WORKERS] = str(workers)
    with listening(settings.server, fd) as listener:
        try:
            asyncio.run(Workers(worker_command(_named(config)), listener.fileno(), announcement, workers).run())
        except CannotStart as error:
            if error.status != EXIT_START_FAILED:
                raise StartError([str(error)]) from None
            sys.exit(EXIT_START_FAILED)  # the worker has said why


def _develop(settings: Settings, fd: int | None, config: Path | None, announcement: _Announcement) -> None:
    import asyncio

    from jackfield._cli.dev import warn
    from jackfield._cli.dev.reload import Reloader
    from jackfield._cli.supervise import worker_command
    from jackfield._transport.listener import listening

    warn(settings.server)
    with listening(settings.server, fd) as listener:
        command = worker_command([f"--{_CHECKED}", *_named(config)])
        asyncio.run(Reloader(command, listener.fileno(), announcement, Path.cwd(), settings.file).run())


def _named(config: Path | None) -> list[str]:
    return [] if config is None else ["--config", str(config)]


class _Announcement:
    """Says that clients can connect, for people or for programs.

    Args:
        settings: The configuration.
        workers: How many processes serve.
        ready_fd: A descriptor to say it on, in the place of standard output.
        as_json: Whether to say it in JSON.
    """

    def __init__(self, settings: Settings, workers: int, ready_fd: int | None, *, as_json: bool) -> None:
        self.workers = workers
        self._settings = settings
        self._ready_fd = ready_fd
        self._as_json = as_json
        self._said = False
        self._last: list[str] = []

    def __call__(self, said: dict[str, Any]) -> None:
        """Say it.

        Args:
            said: What the line of `--json` holds.
        """
        if self._ready_fd is not None:
            if self._said:  # whoever waited has been told, and the descriptor is closed
                return
            with open(self._ready_fd, "w", encoding="utf-8") as pipe:
                pipe.write(f"{json.dumps(said)}\n")
        elif self._as_json:
            click.echo(json.dumps(said))
        else:
            self._write(said)
        self._said = True
        sys.stdout.flush()
        if self._ready_fd is None:  # a worker speaks to who started it
            notify(f"READY=1\nSTATUS={said['url']}")

    def _write(self, said: dict[str, Any]) -> None:
        plugins = plugin_lines([PluginInfo(**plugin) for plugin in said["plugins"]])
        before, self._last = self._last, plugins
        if before:  # it was started anew, so what is as it was need not be said again
            for line in plugins:
                if line not in before:
                    click.echo(f"  {'plugin':<9} {line}")
            click.echo(f"  ready     {click.style(said['url'], bold=True)}   again")
            return
        parts = [
            f"Python {platform.python_version()}",
            f"uvicorn {version('uvicorn')}",
            f"websocket: {said['websocket']}",
            f"loop: {said['loop']}",
            *([f"{self.workers} workers"] if self.workers > 1 else []),
        ]
        click.echo(f"  {click.style('jackfield', bold=True)} {version('jackfield')}   {' · '.join(parts)}")
        for number, line in enumerate(plugins):
            click.echo(f"  {'' if number else 'plugins':<9} {line}")
        file = self._settings.file
        source = str(file) if file else "defaults (`jackfield config init` writes a file)"
        click.echo(f"  config    {source}")
        if said["admin"]:
            click.echo(f"  admin     {said['admin']}")
        click.echo(f"  ready     {click.style(said['url'], bold=True)}   (Ctrl+C stops)")


def plugin_lines(plugins: Sequence[PluginInfo]) -> list[str]:
    """Return a line for each plugin: what it serves, or why it does not."""
    if not plugins:
        return ["none is installed   → pip install jackfield-demo"]
    names = [f"{plugin.name} {plugin.version}" for plugin in plugins]
    width = max(map(len, names))
    spaces = max(len(", ".join(plugin.namespaces)) for plugin in plugins)
    lines = []
    for plugin, name in zip(plugins, names, strict=True):
        if plugin.state == "started":
            count = f"{plugin.functions} function{'' if plugin.functions == 1 else 's'}"
            rest = f"{', '.join(plugin.namespaces):<{spaces}}   {count}"
            mark = click.style("✓", fg="green")
        elif plugin.state == "disabled":
            rest, mark = "disabled", click.style("-", dim=True)
        else:
            hint = f"   → {plugin.hint}" if plugin.hint else ""
            rest = f"{plugin.state}: {plugin.reason}{hint}"
            mark = click.style("✗", fg="red")
        lines.append(f"{mark} {name:<{width}}   {rest}")
    return lines


def _leave() -> None:
    """End the process, even where a plugin has left behind a thread that Python would wait for."""
    sys.stdout.flush()
    stuck = [t.name for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
    if stuck:
        logging.getLogger("jackfield").warning("these threads do not end and are abandoned: %s", ", ".join(stuck))
        logging.shutdown()
        os._exit(0)
