"""`jackfield serve`."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import click

from jackfield._call import PluginInfo
from jackfield._cli import EXIT_START_FAILED
from jackfield._cli.options import config_option, json_option
from jackfield._cli.terminal import fail
from jackfield._errors import StartError
from jackfield._kernel import JackfieldKernel, run
from jackfield._settings import Settings, load
from jackfield._transport.server import implementations

_LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s  %(message)s"


@click.command("serve")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@config_option
@json_option
def command(host: str | None, port: int | None, config: Path | None, as_json: bool) -> None:
    """Start the server. SIGTERM and Ctrl+C let running calls end; a second one does not wait."""
    try:
        settings = load(config, {"server": {"host": host, "port": port}})
        logging.basicConfig(level=settings.log.level.upper(), format=_LOG_FORMAT, stream=sys.stderr)
        logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger().level))
        kernel = JackfieldKernel(settings)
        kernel.load()
        run(kernel, lambda: _announce(kernel, settings, as_json=as_json))
    except StartError as error:
        fail(error.faults, EXIT_START_FAILED)
    except KeyboardInterrupt:
        fail("interrupted before the server was up", EXIT_START_FAILED)
    _leave()


def _announce(kernel: JackfieldKernel, settings: Settings, *, as_json: bool) -> None:
    live = implementations()
    if as_json:
        click.echo(json.dumps({"url": kernel.url, **live, "plugins": [asdict(info) for info in kernel.plugins()]}))
    else:
        parts = [
            f"Python {platform.python_version()}",
            f"uvicorn {version('uvicorn')}",
            f"websocket: {live['websocket']}",
            f"loop: {live['loop']}",
        ]
        click.echo(f"  {click.style('jackfield', bold=True)} {kernel.version}   {' · '.join(parts)}")
        for number, line in enumerate(plugin_lines(kernel.plugins())):
            click.echo(f"  {'' if number else 'plugins':<9} {line}")
        source = str(settings.file) if settings.file else "defaults (`jackfield config init` writes a file)"
        click.echo(f"  config    {source}")
        click.echo(f"  ready     {click.style(kernel.url, bold=True)}   (Ctrl+C stops)")
    sys.stdout.flush()


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
