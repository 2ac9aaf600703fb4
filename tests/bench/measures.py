"""What is measured: for each measure, what a server is started with, and which loads are put on it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import uvloop

from tests.bench import feeds, loads
from tests.bench.channels import Topic
from tests.bench.cluster import can_cluster, clustered, relay
from tests.bench.flows import Acknowledged, Flow, Incoming, Outgoing, Upload
from tests.bench.frames import Request, binary_request, text_request
from tests.bench.generator import BenchError, Load
from tests.bench.loads import Figures
from tests.bench.material import write_bench, write_many, write_padded
from tests.bench.servers import Cores, Running, Target, running
from tests.bench.targets import NODE, PYTHON, with_only

T = TypeVar("T")
Shape: TypeAlias = tuple[int, int]
"""Connections, and calls in flight of each."""

TEXT: Final = 64
"""Characters of the text in a call, where nothing else is said."""
KIB: Final = 1024
MB: Final = 1_000_000
BLOCK: Final = 64 * KIB
"""Bytes of the Buffers that are streamed."""
WINDOW: Final = 256
"""Items that may be on their way to a client."""
PIECE: Final = 256 * KIB
"""Bytes of the Buffers in which the files plugin sends a file."""
BLOCKS: Final = 16
"""Buffers that may be on their way, in either direction: the credit that jackfield opens a stream with."""
WARM: Final = 0.5
ONE: Final[Shape] = (1, 1)
"""One call after another; where a call takes long, more of them would only wait for one another."""

_BODY: Final = {"text": "x" * TEXT}
_LIGHT: Final = 0.5
_HALF: Final = 0.5
_CLUSTER: Final = "cluster"
_HEAVY: Final = 0.7


@dataclass(frozen=True)
class Sizes:
    """How large everything is; the tests of this benchmark make it tiny."""

    seconds: float = 3.0
    warm: float = WARM
    shapes: tuple[Shape, ...] = ((16, 8), (256, 1), (1, 1))
    texts: tuple[int, ...] = (4 * KIB, 64 * KIB)
    buffers: tuple[int, ...] = (4 * KIB,)
    streams: tuple[int, ...] = (1, 16)
    items: int = 4 * KIB
    blocks: int = 256
    subscribers: int = 1_000
    workers: tuple[int, ...] = (1, 2)
    followers: tuple[int, ...] = (1, 50)
    opened: int = 1_000
    idle: tuple[int, ...] = (1_000, 2_000)
    plugins: tuple[int, ...] = (1, 100, 1_000)
    functions: tuple[int, ...] = (10, 10_000)
    modules: tuple[int, ...] = (10, 1_000, 10_000)


@dataclass
class Bench:
    """One run: where it takes place, how large it is, and what it has found that later measures need."""

    folder: Path
    cores: Cores
    sizes: Sizes
    peaks: dict[str, float] = field(default_factory=dict)

    def serve(
        self, target: Target, *path: Path, env: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Running]:
        """Run a server; jackfield with the plugin that is measured, and what else is on the path."""
        plugins = [write_bench(self.folder / "plugin"), *path] if target.ours else []
        return running(target, self.folder, self.cores.servers[:1], path=plugins, env=env)

    def closed(self, server: Running, requests: list[Request], connections: int) -> Figures:
        """Put the ordinary load on a server."""
        sizes = self.sizes
        return run(loads.closed(server, requests, connections, sizes.warm, sizes.seconds))

    def calls(self, server: Running, shape: Shape, function: str = "echo", size: int = TEXT) -> Figures:
        """Call one function with a text of some size."""
        request = text_request(server.target.dialect, function, size)
        return self.closed(server, [request] * (shape[0] * shape[1]), shape[0])

    def flow(self, server: Running, make: Callable[[Load], Flow], connections: int, unit: float = 1.0) -> Figures:
        """Keep streams going."""
        sizes = self.sizes
        return run(loads.flowing(server, make, connections, sizes.warm, sizes.seconds, unit))


class Row(NamedTuple):
    """What one load has brought.

    Args:
        case: What the load was.
        figures: What came out.
        against: The case that it is compared with, if that is another.
    """

    case: str
    figures: Figures
    against: str | None = None


Rows = Iterator[Row]


@dataclass(frozen=True)
class Measure:
    """One table.

    Args:
        name: What it is called on the command line.
        title: The heading.
        take: Takes it of one server.
        fits: Whether a server can be measured so.
        prepare: Finds what has to be known before, once for all servers.
    """

    name: str
    title: str
    take: Callable[[Bench, Target], Rows]
    fits: Callable[[Target], bool]
    prepare: Callable[[Bench, Mapping[str, Target]], None] = lambda bench, targets: None


def run(load: Coroutine[Any, Any, T]) -> T:
    """Run one load in an event loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(load)


def shape_name(shape: Shape) -> str:
    """Return how a number of connections and of calls in flight is written."""
    return f"{shape[0]} × {shape[1]}"


def _unary(bench: Bench, target: Target) -> Rows:
    sizes, first = bench.sizes, bench.sizes.shapes[0]
    usual = shape_name(first)
    with bench.serve(target) as server:
        for shape in sizes.shapes:
            yield Row(shape_name(shape), bench.calls(server, shape))
        for size in sizes.texts:
            yield Row(f"{usual}, {size // KIB} KiB", bench.calls(server, first, size=size))
        for size in sizes.buffers if "bytes" in target.functions else ():
            requests = [binary_request(target.dialect, "echo_bytes", size)] * (first[0] * first[1])
            yield Row(f"{usual}, Buffer of {size // KIB} KiB", bench.closed(server, requests, first[0]))
        if "once" in target.functions:
            yield Row(f"{usual}, suspends once", bench.calls(server, first, "echo_once"), against=usual)


def _latency(bench: Bench, target: Target) -> Rows:
    rates = {
        f"half of what {PYTHON} can do": _LIGHT * bench.peaks[PYTHON],
        "70 % of what Node can do": _HEAVY * bench.peaks.get(NODE, 0.0),
    }
    sizes = bench.sizes
    connections = sizes.shapes[0][0]
    request = text_request(target.dialect, "echo", TEXT)
    with bench.serve(target) as server:
        peak = _peak(bench, server)
        for case, rate in rates.items():
            if rate and peak > rate:  # who cannot keep up has no latency but that of its queue
                figures = run(loads.fixed_rate(server, request, connections, rate, sizes.warm, sizes.seconds))
                yield Row(case, figures)


def _peak(bench: Bench, server: Running) -> float:
    """Return how many calls a second a server can do, were it never held up by other programs."""
    figures = bench.calls(server, bench.sizes.shapes[0])
    return max(figures["rate"], 1e6 / figures["cpu_us"] if figures["cpu_us"] else 0.0)


def _broadcast(bench: Bench, target: Target) -> Rows:
    sizes = bench.sizes
    with bench.serve(target) as server:
        request = target.dialect("broadcast", _BODY, None)
        found = run(loads.broadcast(server, request, _BODY, sizes.subscribers, sizes.seconds))
        yield Row(f"{sizes.subscribers} subscribers", found)


def _workers(bench: Bench, target: Target) -> Rows:
    assert target.workers is not None
    shape = bench.sizes.shapes[0]
    for count in bench.sizes.workers:
        if count == 1:
            with bench.serve(target) as server:
                yield Row("1 process", bench.calls(server, shape))
            continue
        cores = bench.cores.servers
        plugins = [write_bench(bench.folder / "plugin")] if target.ours else []
        command, env = target.workers(count), {"JACKFIELD_SERVER__TRANSPORTS": '["websocket"]'}
        with running(target, bench.folder, cores, command=command, path=plugins, env=env) as server:
            server.wait_for_workers(count)
            figures = bench.calls(server, shape)
        yield Row(f"{count} processes", {**figures, "shared": float(bench.cores.shared)})


PLAIN: Final = "bench.plain"
KEPT: Final = "bench.kept"
TOPICS: Final = {"": Topic(PLAIN), ", with history": Topic(KEPT), ", kernel.emit": Topic(PLAIN, "bench")}
"""What is published to; the first is what others have too."""
_CHANNELS: Final = f"""
[server]
transports = ["websocket"]
[plugins.redis]
url = "{{url}}"
[plugins.channels]
store = "redis"
redis_url = "{{url}}"
[[plugins.channels.rules]]
match = "{KEPT}"
history = 1000
publish = true
[[plugins.channels.rules]]
match = "{PLAIN}"
publish = true
"""


def _cluster(bench: Bench, target: Target) -> Rows:
    sizes = bench.sizes
    topics = TOPICS if target.ours else {"": TOPICS[""]}
    plugins = [write_bench(bench.folder / "plugin")] if target.ours else []
    rate = _HALF * bench.peaks.get(_CLUSTER, 0.0)
    with clustered(target, bench.folder, bench.cores.servers[:1], config=_CHANNELS, path=plugins) as cluster:
        for followers in sizes.followers:
            usual = f"{followers} subscriber{'' if followers == 1 else 's'}"
            for suffix, topic in topics.items():
                load = partial(relay, cluster, topic, _BODY["text"], followers, sizes.warm, sizes.seconds)
                found = run(load())
                yield Row(f"{usual}{suffix}", found, against=usual)
                if followers == sizes.followers[-1] and found["rate"] > rate > 0:  # as with calls
                    paced = f"{usual}, half of what Node can do"
                    yield Row(f"{paced}{suffix}", run(load(rate)), against=paced)


def _streams(bench: Bench, target: Target) -> Rows:
    assert target.streaming is not None
    with bench.serve(target) as server:
        for connections in bench.sizes.streams:
            feed = feeds.texts(target.streaming, bench.sizes.items, TEXT, WINDOW)
            yield Row(_streams_name(connections), bench.flow(server, partial(Incoming, feed=feed), connections))


def _transfer(bench: Bench, target: Target) -> Rows:
    assert target.streaming is not None
    block = bytes(range(256)) * (BLOCK // 256)
    count = bench.sizes.blocks
    upload: Callable[[Load], Flow] = (
        partial(Outgoing, upload=Upload("bench.take", block, count, count * BLOCK))
        if target.ours
        else partial(Acknowledged, block=block, window=BLOCKS)
    )
    with bench.serve(target) as server:
        for connections in bench.sizes.streams:
            feed = feeds.buffers(target.streaming, count, BLOCK, BLOCKS)
            makers: dict[str, Callable[[Load], Flow]] = {
                "upload": upload,
                "download": partial(Incoming, feed=feed),
            }
            for direction, make in makers.items():
                figures = bench.flow(server, make, connections, BLOCK / MB)
                yield Row(f"{direction}, {_streams_name(connections)}", figures)


def _files(bench: Bench, target: Target) -> Rows:
    count = bench.sizes.blocks
    block = bytes(range(256)) * (BLOCK // 256)
    sha256 = hashlib.sha256(block * count).hexdigest()
    root = bench.folder / "files"
    root.mkdir(exist_ok=True)
    pieces = [bytes([number % 256]) * PIECE for number in range(count * BLOCK // PIECE)]
    (root / "served").write_bytes(b"".join(pieces))
    feed = feeds.jackfield("api.files.download", {"name": "served"}, pieces, BLOCKS)
    numbers = itertools.count()

    def upload(load: Load) -> Flow:
        name = f"taken-{next(numbers)}"
        result = {"name": name, "size": count * BLOCK, "sha256": sha256}
        head = {"name": name, "replace": True}
        return Outgoing(load, Upload("api.files.upload", block, count, result, head))

    with bench.serve(target, env={"JACKFIELD_PLUGINS__FILES__ROOT": str(root)}) as server:
        for connections in bench.sizes.streams:
            case = _streams_name(connections)
            yield Row(f"upload, {case}", bench.flow(server, upload, connections, BLOCK / MB))
            yield Row(f"download, {case}", bench.flow(server, partial(Incoming, feed=feed), connections, PIECE / MB))


def _streams_name(connections: int) -> str:
    return "1 stream" if connections == 1 else f"{connections} streams"


def _connections(bench: Bench, target: Target) -> Rows:
    with bench.serve(target) as server:
        yield Row("opened and joined", run(loads.connecting(server, bench.sizes.opened)))


def _memory(bench: Bench, target: Target) -> Rows:
    with bench.serve(target) as server:
        for count, figures in run(loads.idle(server, bench.sizes.idle)).items():
            yield Row(f"{count} idle connections", figures)


def _startup(bench: Bench, target: Target) -> Rows:
    request = text_request(target.dialect, "echo", TEXT)
    for count in bench.sizes.plugins if target.ours else (0,):
        more = [write_many(bench.folder / f"many-{count}", count)] if count else []
        began = time.perf_counter()
        with bench.serve(target, *more) as server:
            run(loads.first_answer(server, request))
            taken = {"seconds": time.perf_counter() - began, "mib": server.rss / KIB / KIB}
        yield Row("1 plugin" if count == 1 else f"{count} plugins" if count else "no plugins", taken)


def _functions(bench: Bench, target: Target) -> Rows:
    connections, window = bench.sizes.shapes[0]
    slots = connections * window
    few = bench.sizes.functions[0]
    for count in bench.sizes.functions:
        with bench.serve(target, env={"BENCH_FUNCTIONS": str(count)}) as server:
            for called in sorted({few, min(count, slots)}):
                apart = count // called
                numbers = [slot * called // slots * apart for slot in range(slots)]
                requests = [text_request(target.dialect, f"filler.f{number}", TEXT) for number in numbers]
                figures = bench.closed(server, requests, connections)
                yield Row(f"{count} functions, {called} called", figures, against=f"{few} functions, {few} called")


DESIGNS: Final = {
    "loaded": "loaded once",
    "instance": "instance per call",
    "imported": "imported per call",
    "compiled": "imported per call, no bytecode",
}


def _designs(bench: Bench, target: Target) -> Rows:
    sizes = bench.sizes
    modules = write_padded(bench.folder / "padded", sizes.modules)
    env = {"BENCH_SIZES": " ".join(map(str, sizes.modules))}
    with bench.serve(target, modules, env=env) as server:
        for lines in sizes.modules:
            usual = f"loaded once, {lines} lines"
            for design, title in DESIGNS.items():
                figures = bench.calls(server, ONE, f"{design}_{lines}")
                yield Row(f"{title}, {lines} lines", figures, against=usual)


OPERATORS: Final[dict[str, tuple[str, ...]]] = {"nothing": (), "metrics": ("metrics",), "ratelimit": ("ratelimit",)}
"""The plugins that are switched on; the first case is what the others are held against."""
_LIMITED: Final = '[plugins.ratelimit]\nrules = [{ per = "connection", rate = 100_000 }]\n'
"""A limit that every call is held to, and none comes near."""


def _operators(bench: Bench, target: Target) -> Rows:
    sizes, (usual, *_) = bench.sizes, OPERATORS
    connections, window = sizes.shapes[0]
    config = bench.folder / "operators.toml"
    config.write_text(_LIMITED, encoding="utf-8")
    envs = [{**with_only(*plugins), "JACKFIELD_CONFIG": str(config)} for plugins in OPERATORS.values()]
    with ExitStack() as stack:
        servers = [stack.enter_context(bench.serve(target, env=env)) for env in envs]
        for suffix, function in (("", "echo"), (", suspends once", "echo_once")):
            requests = [text_request(target.dialect, function, TEXT)] * (connections * window)
            found = run(loads.side_by_side(servers, requests, connections, sizes.warm, sizes.seconds))
            for case, figures in zip(OPERATORS, found, strict=True):
                yield Row(case + suffix, figures, against=usual + suffix)


def _everybody(target: Target) -> bool:
    del target
    return True


def _plain(target: Target) -> bool:
    """Jackfield as it comes, and not on other carriers and other Pythons."""
    return target.name == "jackfield"


def _streams_at_all(target: Target) -> bool:
    return target.streaming is not None


def _with_files(target: Target) -> bool:
    return _plain(target) and find_spec("jackfield_files") is not None


def _with_workers(target: Target) -> bool:
    return target.workers is not None and (_plain(target) or not target.ours)


def _with_channels(target: Target) -> bool:
    if target.channels is None or not can_cluster():
        return False
    return _plain(target) and find_spec("jackfield_channels") is not None if target.ours else True


def _broadcasts(target: Target) -> bool:
    return "broadcast" in target.functions


def _find_peaks(bench: Bench, targets: Mapping[str, Target]) -> None:
    """Find how many calls a second those can do by whom the fixed rates are set."""
    for name in (PYTHON, NODE):
        if name in targets and name not in bench.peaks:
            with bench.serve(targets[name]) as server:
                bench.peaks[name] = _peak(bench, server)
    if PYTHON not in bench.peaks:
        raise BenchError(f"latency is measured at rates set by {PYTHON}, which is left out")


def _find_cluster_peak(bench: Bench, targets: Mapping[str, Target]) -> None:
    """Find how many publications a second Node can do, by which the fixed rate is set; there is none without it."""
    if NODE in targets and _CLUSTER not in bench.peaks and _with_channels(targets[NODE]):
        *_, last = _cluster(bench, targets[NODE])
        bench.peaks[_CLUSTER] = last.figures["rate"]


MEASURES: Final = {
    measure.name: measure
    for measure in (
        Measure("unary", "Calls", _unary, _everybody),
        Measure("latency", "Latency at equal load", _latency, _everybody, _find_peaks),
        Measure("streams", "Stream items", _streams, _streams_at_all),
        Measure("transfer", "Buffers", _transfer, _streams_at_all),
        Measure("files", "Files", _files, _with_files),
        Measure("broadcast", "Broadcast", _broadcast, _broadcasts),
        Measure("workers", "Several processes", _workers, _with_workers),
        Measure("cluster", "Publications across two servers", _cluster, _with_channels, _find_cluster_peak),
        Measure("connections", "Connections", _connections, _everybody),
        Measure("memory", "Memory of an idle connection", _memory, _everybody),
        Measure("startup", "Start until the first answer", _startup, _everybody),
        Measure("functions", "Functions registered", _functions, _plain),
        Measure("operators", "What plugins for operators cost", _operators, _plain),
        Measure("designs", "Dynamic or manual registration", _designs, _plain),
    )
}
