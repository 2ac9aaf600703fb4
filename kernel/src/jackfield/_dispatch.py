"""The dispatcher: lets clients in, finds functions, starts calls, and brings them to an end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from functools import partial

from jackfield._audience import Audience, Reporter
from jackfield._breaker import Breaker
from jackfield._bulkhead import Bulkheads
from jackfield._call import Call, Client
from jackfield._connection import Connection
from jackfield._contract import Kind
from jackfield._culprit import Culprits
from jackfield._envelope import MAX_EVENT, CallId, Envelope
from jackfield._errors import CallError, Code
from jackfield._facade import Hooks
from jackfield._frames import Writer
from jackfield._host import FunctionInfo, Kernel, PluginStats
from jackfield._identity import Handshake, Principal
from jackfield._inside import Inside
from jackfield._invocation import WATCH, Answer, Invocation, Outcome, Places, finish, run_inline
from jackfield._pipeline import Ends, Pipeline, Work
from jackfield._plugins import Plugin
from jackfield._progress import Progress
from jackfield._quick import Caller, Shortcuts, make_quick
from jackfield._reception import Reception, retry_after
from jackfield._registry import Entry, Registry
from jackfield._session import Session
from jackfield._settings import Settings
from jackfield._streams import Channel, Stream
from jackfield._watchdog import Block
from jackfield._workers import Workers


class Dispatcher:
    """Everything between a connection and a function.

    Args:
        kernel: What functions see as `call.kernel`.
        registry: The frozen table.
        hooks: The hooks of all plugins in service.
        settings: The configuration.
        plugins: The plugins in service.
        closed: Why nobody is let in, where that is so.

    Attributes:
        client, reporter, audience: The classes of clients, of what writes the log of failures, of who hears of calls.
        limits: The limits of the protocol.
        bounds: The limits of unpacking.
        inside: What functions call one another through.
        authenticates: Whether clients have to say who they are.
        events: The names of all functions.
        culprits: What knows whose code is whose.
        shortcuts: The shortest ways through those that have one; all are shut when nothing new is taken.
    """

    client = Client
    reporter = Reporter
    audience = Audience

    def __init__(
        self,
        kernel: Kernel,
        registry: Registry,
        hooks: Hooks,
        settings: Settings,
        plugins: Iterable[Plugin],
        closed: str | None = None,
    ) -> None:
        self.kernel = kernel
        self.limits = limits = settings.limits
        self.bounds = limits.bounds
        self.inside = Inside(self)
        self.authenticates = hooks.authenticates or closed is not None
        self._registry = registry
        self._reporter = self.reporter()
        self._reception = Reception(kernel, hooks, limits, self._reporter, closed)
        self._audience = self.audience(hooks.observers(), self._reporter, self._blame)
        self._bulkheads = Bulkheads(settings.bulkhead)
        in_service = list(plugins)
        self._breakers = {plugin.name: Breaker(plugin, settings.quarantine, self._switched) for plugin in in_service}
        handlers = {event: (entry.plugin, entry.served.function.handler) for event, entry in registry.table.items()}
        self.culprits = Culprits([(plugin.name, plugin.manifest.module) for plugin in in_service], handlers)
        self._workers = {plugin: Workers(plugin, limits.threads) for plugin in self._breakers}
        self._pipelines = {event: self._pipeline(event, entry, hooks) for event, entry in registry.table.items()}
        self.events: Mapping[str, object] = self._pipelines
        self.shortcuts = Shortcuts(
            {
                event: (pipeline, quick)
                for event, pipeline in self._pipelines.items()
                if (quick := make_quick(pipeline, self.inside, self._audience, self._launch)) is not None
            }
        )
        self._sessions: set[Session] = set()
        self._running: set[Invocation] = set()
        self._watch: asyncio.TimerHandle | None = None
        self.draining = False
        self._shedding: str | None = None

    def accept(self) -> None:
        """Raise `CallError` if the server takes nothing new, because it is going away or has too much to do."""
        if self.draining:
            raise CallError(Code.UNAVAILABLE, "The server is going away.", retry_after=retry_after())
        if self._shedding is not None:
            raise CallError(Code.UNAVAILABLE, f"The server is {self._shedding}.", retry_after=retry_after())

    def shed(self, reason: str | None) -> None:
        """Take no new calls and clients for a while, or take them again; what runs goes on.

        Args:
            reason: Why, such as «overloaded»; None to take them again.
        """
        self._shedding = reason
        if reason is not None:
            self.shortcuts.shut()
        elif not self.draining:
            self.shortcuts.open()

    def held(self, block: Block) -> None:
        """Take note that somebody's code has held the event loop."""
        if block.plugin in self._breakers:
            self._breakers[block.plugin].held(block.seconds, f"{block.what} ({block.file}:{block.line})")

    def breaker(self, plugin: str) -> Breaker | None:
        """Return what stands between callers and a plugin, if it was in service when the server started."""
        return self._breakers.get(plugin)

    def stats(self) -> dict[str, PluginStats]:
        """Tell what each plugin's functions are doing."""
        running = Counter(run.pipeline.info.plugin for run in self._running)
        streams = Counter(run.pipeline.info.plugin for run in self._running if run.pipeline.streams)
        queued = Counter(run.pipeline.info.plugin for run in self._running if run.waiting)
        return {name: PluginStats(running[name] - queued[name], queued[name], streams[name]) for name in self._breakers}

    async def connect(self, connection: Connection, handshake: Handshake) -> Session:
        """Let a client in.

        Raises:
            CallError: It is refused, and this is what it is told.
        """
        self.accept()
        principal = await self._reception.authenticate(handshake)
        client = self.client(connection, address=handshake.address, local=handshake.local, principal=principal)
        self._reception.count(client)
        return Session(self, connection, client)

    def connected(self, session: Session) -> None:
        """Take note of a client that now knows that it is connected, and tell the plugins."""
        self._sessions.add(session)
        self._reception.arrived(session.client)

    def disconnect(self, session: Session, reason: str) -> None:
        """Bring a client's calls to an end, and tell the plugins."""
        if session in self._sessions:
            self._sessions.remove(session)
            session.close()
            self._reception.left(session.client, reason)

    def find(self, event: str, principal: Principal | None) -> Pipeline:
        """Return the function that `event` names.

        Raises:
            CallError: `not_found` if there is none that this principal may see, `unavailable` if its plugin is not in
                service.
        """
        pipeline = self._pipelines.get(event)
        if pipeline is not None and (pipeline.open or self._allows(pipeline, principal)):
            if pipeline.breaker.shut:
                pipeline.breaker.check(event)
            return pipeline
        if pipeline is None and (reason := self._registry.out_of_service(event, principal)):
            raise CallError(Code.UNAVAILABLE, reason)

        nearest = self._registry.nearest(event[:MAX_EVENT], lambda name: self._shows(self._pipelines[name], principal))
        hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
        raise CallError(Code.NOT_FOUND, f"There is no function {event[:MAX_EVENT]!r}.{hint}")

    def functions(self, principal: Principal | None) -> list[FunctionInfo]:
        """Return the functions that the principal may call."""
        return [pipeline.info for pipeline in self._pipelines.values() if self._shows(pipeline, principal)]

    def start(self, pipeline: Pipeline, envelope: Envelope, buffers: bool, caller: Caller, answer: Answer) -> None:
        """Start a call of a client; one that suspends takes a place until its function is over."""
        call, answer = self._call(pipeline, envelope, caller, answer)
        self.run(pipeline, call, envelope, buffers, answer, caller.running)

    def open(
        self,
        pipeline: Pipeline,
        envelope: Envelope,
        buffers: bool,
        caller: Caller,
        channel: Channel,
        ended: Callable[[CallId, bool], None],
    ) -> None:
        """Start a stream of a client; see `Stream` for `ended`."""
        pipeline = pipeline.headed if envelope.options.meta else pipeline
        call, answer = self._call(pipeline, envelope, caller, channel.finish)
        answer = self._counted(pipeline, call, answer)
        work = partial(pipeline.stream, call, envelope, buffers, channel)
        stream = Stream(pipeline, call, work, answer, self._audience, channel, self.limits.stream_idle, ended)
        self._launch(stream, caller.running)

    def run(
        self,
        pipeline: Pipeline,
        call: Call,
        envelope: Envelope,
        buffers: bool,
        answer: Answer,
        places: Places,
        ends: Ends | None = None,
    ) -> None:
        """Run a call, with a stream if it has `ends`."""
        pipeline = pipeline.headed if envelope.options.meta else pipeline
        answer = self._counted(pipeline, call, answer)
        if ends is not None:
            work: Work = partial(pipeline.stream, call, envelope, buffers, ends)
        else:
            work = pipeline.work(call, envelope, buffers)
        if pipeline.inline:
            # In a context of its own, as a task would be: what it sets is not seen by the next call.
            copy_context().run(finish, run_inline(pipeline, call, work, answer, self._audience))
        else:
            self._launch(Invocation(pipeline, call, work, answer, self._audience), places)

    async def drain(self, timeout: float) -> None:
        """Take no new calls, tell the clients, and give what runs `timeout` seconds to end.

        What runs even then is answered with `unavailable` and cancelled.
        """
        self.draining = True
        self.shortcuts.shut()
        for session in self._sessions:
            session.notify("server", {"state": "draining", "reconnect_in": retry_after()})
        await self._settled(timeout)
        for invocation in list(self._running):
            invocation.cancel(CallError(Code.UNAVAILABLE, "The server is going away.", retry_after=retry_after()))

    async def close(self, timeout: float) -> list[str]:
        """Say goodbye to every client, wait for what is still ending, and name what does not end.

        Args:
            timeout: Seconds to wait.
        """
        for session in list(self._sessions):
            self.disconnect(session, "server shutting down")
        await self._settled(timeout)
        await self._reception.close(timeout)
        for workers in self._workers.values():
            workers.close()
        return sorted({invocation.call.event for invocation in self._running})

    def _call(self, pipeline: Pipeline, envelope: Envelope, caller: Caller, answer: Answer) -> tuple[Call, Answer]:
        """Return what the function is given, and how its caller is answered."""
        options = envelope.options
        seconds = pipeline.seconds if options.timeout is None else min(options.timeout / 1000, self.limits.max_timeout)
        client, now = caller.client, time.monotonic()
        deadline = None if seconds is None else now + seconds
        if not options.progress or options.id is None:
            return Call(envelope, client.principal, client, now, deadline, self.inside), answer
        writer, emit = Writer(options.id), caller.connection.emit
        progress = Progress(lambda told: emit("stream", writer.progress(told)))

        def last(outcome: Outcome) -> None:
            progress.end()
            answer(outcome)

        return Call(envelope, client.principal, client, now, deadline, self.inside, progress=progress), last

    def _pipeline(self, event: str, entry: Entry, hooks: Hooks) -> Pipeline:
        streams = entry.info.kind is not Kind.UNARY
        bulkheads = self._bulkheads.of_function(entry.plugin, event, streams=streams)
        workers, breaker = self._workers[entry.plugin], self._breakers[entry.plugin]
        return Pipeline(entry, hooks, workers, self.limits, bulkheads, breaker, self._audience.meters(entry.info))

    def _counted(self, pipeline: Pipeline, call: Call, answer: Answer) -> Answer:
        """Count a call that begins; one of a plugin out of service is a trial, which its answer ends."""
        breaker = pipeline.breaker
        breaker.calls += 1
        if not breaker.shut:
            return answer
        tried = breaker.try_out(call, None if pipeline.streams else pipeline.seconds)

        def answered(outcome: Outcome) -> None:
            # An error that does not come from the plugin's own code says nothing of that.
            tried(not isinstance(outcome, CallError) or self.culprits.raised(outcome) == pipeline.info.plugin)
            answer(outcome)

        return answered

    def _blame(self, call: Call, what: str, error: BaseException | None) -> None:
        """Count a call that failed against the plugin whose code raised; it may have been another's hook."""
        breaker = self._pipelines[call.event].breaker
        raised = None if error is None else self.culprits.raised(error)
        (breaker if raised is None else self._breakers.get(raised, breaker)).failed(call, what)

    def _switched(self, breaker: Breaker) -> None:
        """Open or shut the ways to a plugin; while it is out of service, it watches no calls either."""
        self.shortcuts.switch(breaker.plugin.name)
        self._audience.tell({name for name, each in self._breakers.items() if not each.shut})

    def _launch(self, invocation: Invocation, places: Places) -> None:
        invocation.start(self._running, places)
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(WATCH, self._look)

    def _look(self) -> None:
        """Set timers for those calls whose time is up before the next look."""
        self._watch = None
        for invocation in self._running:
            invocation.watch()
        if self._running:
            self._watch = asyncio.get_running_loop().call_later(WATCH, self._look)

    async def _settled(self, timeout: float) -> None:
        """Return when nothing runs any more, or after `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while tasks := [run.task for run in self._running if run.task is not None]:
                    await asyncio.wait(tasks)

    def _allows(self, pipeline: Pipeline, principal: Principal | None) -> bool:
        try:
            return pipeline.allows(principal)
        except CallError:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; sys.exit() must not end the server
            self._reporter.complain(error, "jackfield_authorize")
            return False

    def _shows(self, pipeline: Pipeline, principal: Principal | None) -> bool:
        with contextlib.suppress(CallError):
            return self._allows(pipeline, principal)
        return False
