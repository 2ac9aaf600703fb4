"""Runs scenarios with python-socketio's client; the same as runner.cjs, in Python.

What the operations are is told in `scenario`; nothing is compared here.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
import socketio

from tests.interop.scenario import from_neutral, to_neutral

LIMIT = 20.0
AT_ONCE = 8

Plan = Mapping[str, Any]
Report = dict[str, Any]


class _Client:
    def __init__(self, plan: Plan) -> None:
        # Headers belong to the HTTP session: those given to `connect` are shown by the first request alone.
        self.http = aiohttp.ClientSession(headers=dict(plan["headers"]))
        self.sio = socketio.AsyncClient(reconnection=False, http_session=self.http)
        self.events: list[tuple[str, list[Any]]] = []
        self.arrived = asyncio.Condition()
        self.acks: dict[str, asyncio.Future[list[Any]]] = {}
        self.order: list[str] = []
        self.refused: Any = None
        self.gone = asyncio.Event()
        self._answers: Mapping[str, list[Any] | None] = from_neutral(plan["answers"])
        self._namespace = plan["namespace"]
        self.sio.on("*", self._keep, self._namespace)
        self.sio.on("connect_error", self._refuse, self._namespace)
        self.sio.on("disconnect", self._leave, self._namespace)

    async def _keep(self, event: str, *arguments: Any) -> Any:
        grants = event == "stream" and isinstance(arguments[0], dict) and "credit" in arguments[0]
        self.events.append(("credit" if grants else event, [to_neutral(argument) for argument in arguments]))
        async with self.arrived:
            self.arrived.notify_all()
        if event not in self._answers:
            return None
        answer = self._answers[event]
        if answer is None:
            await self.gone.wait()  # python-socketio acknowledges whatever a handler returns
            return None
        return tuple(answer)

    async def _refuse(self, data: Any) -> None:
        self.refused = data

    async def _leave(self, reason: str) -> None:
        self.gone.set()

    async def emit_with_ack(self, event: str, arguments: list[Any], label: str | None = None) -> asyncio.Future[Any]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

        def acknowledged(*reply: Any) -> None:
            if label is not None:
                self.order.append(label)
            future.set_result([to_neutral(one) for one in reply])

        await self.sio.emit(event, tuple(map(from_neutral, arguments)), self._namespace, acknowledged)
        return future

    async def take(self, step: Mapping[str, Any]) -> Any:
        match step["op"]:
            case "call":
                return await self._unless_gone(await self.emit_with_ack(step["event"], step["args"]))
            case "start":
                future = await self.emit_with_ack(step["event"], step["args"], step["label"])
                self.acks[step["label"]] = future
            case "ack":
                return await self._unless_gone(self.acks[step["label"]])
            case "emit":
                await self.sio.emit(step["event"], tuple(map(from_neutral, step["args"])), self._namespace)
            case "next":
                return await self._next(step["event"])
            case "order":
                return list(self.order)
        return None

    async def _next(self, event: str) -> list[Any]:
        async with self.arrived:
            while True:
                for index, (name, arguments) in enumerate(self.events):
                    if name == event:
                        del self.events[index]
                        return arguments
                await self.arrived.wait()

    async def _unless_gone(self, future: asyncio.Future[Any]) -> Any:
        gone = asyncio.ensure_future(self.gone.wait())
        await asyncio.wait([future, gone], return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not future.done():
            raise ConnectionError("the connection ended")
        return future.result()


async def run_all(plans: Iterable[Plan], mode: str, urls: Mapping[str, str]) -> list[Report]:
    """Run the scenarios, some at a time.

    Args:
        plans: What `Scenario.plan` returns.
        mode: `default`, `websocket` or `polling`.
        urls: The servers, by name.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(plan: Plan) -> Report:
        async with slots:
            return await _run(plan, mode, urls)

    return await asyncio.gather(*map(one, plans))


async def _run(plan: Plan, mode: str, urls: Mapping[str, str]) -> Report:
    client = _Client(plan)
    report: Report = {"name": plan["name"], "seen": []}
    doing = "connect"
    try:
        async with asyncio.timeout(LIMIT):
            await client.sio.connect(
                urls[plan["server"]],
                auth=plan["auth"],
                transports=None if mode == "default" else [mode],
                namespaces=[plan["namespace"]],
            )
        for number, step in enumerate(plan["steps"], 1):
            doing = f"step {number}, {step!r:.200}"
            async with asyncio.timeout(LIMIT):
                report["seen"].append(await client.take(step))
        doing = "the last call"
        async with asyncio.timeout(LIMIT):
            await client.take({"op": "call", "event": "api.system.ping", "args": []})
        report["transport"] = client.sio.transport()
        report["left"] = [[event, *arguments] for event, arguments in client.events if event != "credit"]
    except socketio.exceptions.ConnectionError:
        report["refused"] = client.refused
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is this scenario's, and is reported
        report["failed"] = f"{doing}: {error!r}; read so far: {report['seen']!r:.500}"
    finally:
        client.gone.set()
        await client.sio.disconnect()
        await client.http.close()
    return report


def group(reports: Iterable[Report]) -> dict[str, Report]:
    """Return the reports by the name of their scenario."""
    found: dict[str, list[Report]] = defaultdict(list)
    for report in reports:
        found[report["name"]].append(report)
    return {name: one for name, (one,) in found.items()}
