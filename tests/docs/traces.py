"""Play a trace of the wire: send what the client sends in it, and compare what the server answers.

    → event#1  {"event": "api.services.test.add", "data": {"a": 1, "b": 2}}
    ← ack#1    {"data": {"sum": 3}}

`→` is the client's line and `←` the server's; after it the Socket.IO event and its argument. `#1` is an
acknowledgement. `<Buffer 1f 8b>` is binary data, as Node prints it. `·` is what happens elsewhere, in the words of
`Stage.happen`. A trace begins connected, unless it begins with `→ connect`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.docs.matching import ANYTHING, json_matches
from tests.support.wire import Wire, wire

_ELSEWHERE: Final = "· "
_LINE: Final = re.compile(r"([→←]) +([A-Za-z_][\w.]*)(?:#(\d+))? *(.*)", re.DOTALL)
_BUFFER: Final = re.compile(r"<Buffer((?: [0-9a-f]{2})*|…)>")
_BARE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|…')
_PACKET: Final = re.compile(r"4(\d)(?:(\d+)-)?(\d+)?(.*)", re.DOTALL)
_NAMES: Final = {0: "connect", 1: "disconnect", 4: "connect_error"}


@dataclass(frozen=True)
class Line:
    """One line of a trace."""

    sent: bool
    name: str
    ack: str | None
    argument: Any
    text: str


def read_trace(source: str) -> list[Line]:
    """Read a trace; lines that begin with a space go on with the one before."""
    lines = []
    for text in re.split(r"\n(?! )", source.strip("\n")):
        if text.startswith(_ELSEWHERE):
            lines.append(Line(True, "", None, text.removeprefix(_ELSEWHERE), text))
            continue
        match = _LINE.fullmatch(text)
        assert match, f"no line of a trace: {text!r}"
        arrow, name, ack, argument = match.groups()
        lines.append(Line(arrow == "→", name, ack, _value(argument) if argument.strip() else None, text))
    return lines


async def play(source: str, url: str, happen: Callable[[str], None]) -> None:
    """Play a trace against a server; `happen` does what happens elsewhere."""
    lines = read_trace(source)
    async with wire(url, join=lines[0].name != "connect") as opened:
        for line in lines:
            if not line.name:
                happen(line.argument)
            elif line.sent:
                await opened.send(*_packet(line))
            elif line.name == "close":
                came: tuple[str, str | None, Any] = ("close", None, await opened.closed())
                assert came[2] == line.argument, f"{line.text}\n  came: {came[2]}"
            else:
                came = await _next(opened)
                matches = came[:2] == (line.name, line.ack) and json_matches(line.argument, came[2])
                assert matches, f"{line.text}\n  came: {came[0]}{'#' + came[1] if came[1] else ''} {_show(came[2])}"
        if lines[-1].name not in ("close", "connect_error"):
            await opened.send('42999["api.system.ping"]')  # whatever else the server had to say comes before this
            came = await _next(opened)
            assert came[:2] == ("ack", "999"), f"the server also sent {came[0]} {_show(came[2])}"


def _value(text: str) -> Any:
    text = _BUFFER.sub(lambda m: json.dumps({"$buffer": m[1].strip()}), text)
    # A bare … becomes a string, and a field of that name where it stands for more fields.
    text = re.sub(r"([,{])\s*…\s*\}", rf'\1 "{ANYTHING}": 0}}', text)
    text = _BARE.sub(lambda m: m[0] if m[0].startswith('"') else f'"{ANYTHING}"', text)
    return _buffers(json.loads(text))


def _buffers(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"$buffer"}:
            return ANYTHING if value["$buffer"] == ANYTHING else bytes.fromhex(value["$buffer"])
        return {key: _buffers(item) for key, item in value.items()}
    return [_buffers(item) for item in value] if isinstance(value, list) else value


def _packet(line: Line) -> list[str | bytes]:
    if line.name == "connect":
        return ["40" + ("" if line.argument is None else json.dumps(line.argument))]
    buffers: list[bytes] = []

    def put(value: object) -> object:
        assert isinstance(value, bytes), value
        buffers.append(value)
        return {"_placeholder": True, "num": len(buffers) - 1}

    if line.name == "ack":
        text = json.dumps([line.argument], default=put)
        return [f"{'46' + str(len(buffers)) + '-' if buffers else '43'}{line.ack}{text}", *buffers]
    arguments = [line.name] if line.argument is None else [line.name, line.argument]
    text = json.dumps(arguments, default=put)
    return [f"{'45' + str(len(buffers)) + '-' if buffers else '42'}{line.ack or ''}{text}", *buffers]


async def _next(opened: Wire) -> tuple[str, str | None, Any]:
    message = await opened.receive()
    assert isinstance(message, str), message
    match = _PACKET.fullmatch(message)
    assert match, message
    kind, attachments, ack, text = int(match[1]), int(match[2] or 0), match[3], match[4]
    buffers = [await opened.receive() for _ in range(attachments)]
    value: Any = _filled(json.loads(text), buffers) if text else None
    if kind in _NAMES:
        return _NAMES[kind], None, value
    if kind in (3, 6):
        return "ack", ack, value[0]
    return value[0], ack, value[1] if len(value) > 1 else None


def _filled(value: Any, buffers: list[str | bytes]) -> Any:
    if isinstance(value, dict):
        if value.get("_placeholder") is True:
            return buffers[value["num"]]
        return {key: _filled(item, buffers) for key, item in value.items()}
    return [_filled(item, buffers) for item in value] if isinstance(value, list) else value


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=lambda raw: f"<Buffer {raw.hex(' ')}>")
