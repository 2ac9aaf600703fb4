"""`jackfield doctor`: is this machine fit to serve, and does what stands before a server let its clients through."""

from __future__ import annotations

import asyncio
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import click

from jackfield._cli import remote
from jackfield._cli.diagnosis import finding
from jackfield._cli.diagnosis.finding import Finding
from jackfield._cli.options import json_option, read_settings, target_options
from jackfield._cli.remote import Target
from jackfield._cli.terminal import columns, complain, end, write, write_json
from jackfield._configuration import load
from jackfield._errors import StartError

_PACKAGES: Final = (
    *("jackfield", "python-socketio", "python-engineio", "uvicorn", "pydantic", "orjson", "websockets"),
    *("picows", "uvloop", "httptools", "aiohttp", "structlog", "tomlkit", "rich", "jackfield-system"),
)


@click.command("doctor")
@target_options
@json_option
def command(target: Target, *, as_json: bool) -> None:
    """Look for what would keep a server from working well, and say what to do about each thing.

    Without --url this machine is examined: which implementations are live and what is missing, the limits of the
    system, the configuration file and its permissions, the certificate, the port.

    With --url the running server there is examined from outside, through whatever proxy stands before it: whether
    websockets come through, whether polling stays on one server, whether answers are held back, whose address the
    server sees, how large a message may be. A few connections are opened for that.

    Exit status: 0 there is no fault, 1 there is one; what could be better is none.
    """
    if target.url is not None:
        from jackfield._cli.diagnosis.proxies import examine

        at = remote.place(target, read_settings(target.config).server)
        findings = asyncio.run(examine(at))
    else:
        findings = _examine_here(target.config)
    faults = [one for one in findings if one.status == "fault"]
    if as_json:
        write_json(
            {
                "ok": not faults,
                "versions": _versions(),
                "findings": [one.as_dict() for one in findings],
            }
        )
    else:
        for text in [*(_version_lines() if target.url is None else ()), *finding.lines(findings)]:
            write(text)
        if faults:
            complain(f"{len(faults)} faults" if len(faults) > 1 else "1 fault")
    end(failed=bool(faults))


def _examine_here(config: Path | None) -> list[Finding]:
    from jackfield._cli.diagnosis import machine

    try:
        settings = load(config)
    except StartError as error:
        faults = [finding.fault("configuration", one, "mend it, and try again") for one in error.faults]
        return [*machine.implementations("auto"), *faults]
    return [
        *machine.implementations(settings.server.websocket),
        *machine.system(settings),
        *machine.configuration(settings),
        *machine.certificate(settings.server),
        *machine.address(settings, remote.place),
    ]


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _version_lines() -> list[str]:
    known = [f"{name} {number}" for name, number in _versions().items() if number is not None]
    rows = [known[start : start + 4] for start in range(0, len(known), 4)]
    return [*columns([[*row, *[""] * (4 - len(row))] for row in rows]), ""]
