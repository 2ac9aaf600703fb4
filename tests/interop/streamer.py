"""Goes through the flows with `jackfield.client`; the same as streamer.cjs, in Python.

What the fields of a plan and of a report mean is told in `flows`; nothing is compared here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from jackfield import CallError
from jackfield.client import Client, connect
from tests.interop.flows import Flow
from tests.interop.scenario import from_neutral, to_neutral

LIMIT = 45.0

Report = dict[str, Any]


def run_python(flows: Sequence[Flow], mode: str, url: str) -> dict[str, Report]:
    """Let the Python client go through flows, and return its reports by the name of the flow.

    Args:
        flows: Flows.
        mode: `websocket` or `polling`.
        url: The server's.
    """
    return {report["name"]: report for report in asyncio.run(_run_all(flows, mode, url))}


async def _run_all(flows: Sequence[Flow], mode: str, url: str) -> list[Report]:
    async with asyncio.timeout(LIMIT), connect(url, transports=[mode], reconnect=False) as client:
        return await asyncio.gather(*(_run(client, flow.plan()) for flow in flows))


async def _run(client: Client, plan: Mapping[str, Any]) -> Report:
    report: Report = {"name": plan["name"], "items": [], "ended": "end", "result": None, "progress": []}

    def progress(done: float, total: float | None, message: str | None) -> None:
        report["progress"].append(done)

    event = plan["event"]
    options: dict[str, Any] = {
        "items": None if plan["sends"] is None else from_neutral(plan["sends"]),
        "data": from_neutral(plan["data"]),
        "timeout": plan["timeout"] and plan["timeout"] / 1000,
        "accept": plan["accept"],
        "progress": progress if plan["progress"] else None,
    }
    try:
        if plan["gives"]:
            await _take(client, report, event, plan, options)
        else:
            report["result"] = to_neutral(await client.call(event, **options))
    except CallError as error:
        report["ended"] = error.code.value
    return report


async def _take(client: Client, report: Report, event: str, plan: Mapping[str, Any], options: dict[str, Any]) -> None:
    if plan["credit"] is not None:
        options["credit"] = plan["credit"]
    last = plan["cancel_after"]
    async with client.stream(event, **options) as stream:
        while len(report["items"]) != last:
            try:
                report["items"].append(to_neutral(await anext(stream)))
            except StopAsyncIteration:
                return
    report["ended"] = "canceled"
