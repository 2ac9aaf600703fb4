"""The functions of `api.metrics`: live figures, for operators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from jackfield import Call, CallError, Code, Kernel, Service
from jackfield_metrics.figures import Meter
from jackfield_metrics.messages import Figures, Watch, Window

OPERATOR: Final = "jackfield:operator"
"""The scope of those who may look; where nobody has to say who they are, clients on this machine may."""

METERS: Final[dict[Kernel, Meter]] = {}
"""The meter of each server that runs in this process: one, but where several are mounted in a host."""

service = Service("api.metrics")

_SINCE_START: Final = Window()
_EVERY_SECOND: Final = Watch()


@service.function(requires=OPERATOR, errors=[Code.PERMISSION_DENIED])
async def snapshot(call: Call, data: Window = _SINCE_START) -> Figures:
    """Tell what the server is doing: rates since its start, or over an interval that begins now."""
    meter = _meter(call)
    since = meter.start
    if data.interval is not None:
        since = meter.read()
        await asyncio.sleep(data.interval)
    return meter.figures(since, meter.read(), data.functions)


@service.function(requires=OPERATOR, errors=[Code.PERMISSION_DENIED])
async def watch(call: Call, data: Watch = _EVERY_SECOND) -> AsyncIterator[Figures]:
    """Tell again and again what the server is doing: rates over the time since the item before."""
    meter = _meter(call)
    since = meter.read()
    while True:
        await asyncio.sleep(data.interval)
        until = meter.read()
        yield meter.figures(since, until, data.functions)
        since = until


def _meter(call: Call) -> Meter:
    if call.principal is None and call.client is not None and not call.client.local:
        raise CallError(
            Code.PERMISSION_DENIED,
            "Only clients on the server's own machine may look, where nobody has to say who they are.",
        )
    return METERS[call.kernel]
