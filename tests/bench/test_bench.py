"""The benchmark works, and counts what it says that it counts. No time is looked at here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.bench import feeds, goals, plot, report
from tests.bench.__main__ import measure
from tests.bench.channels import Book, Follower, Teller, Topic
from tests.bench.feeds import Feed, Item, Streaming
from tests.bench.flows import Outgoing, Upload
from tests.bench.frames import Dialect, Request, bare
from tests.bench.generator import BenchError, Load
from tests.bench.material import padded
from tests.bench.measures import MEASURES, OPERATORS, Bench, Sizes
from tests.bench.results import Results, Sample
from tests.bench.servers import Cores, Target, running
from tests.bench.targets import ASGI, NODE, OURS, PYTHON, ROOT, missing_for_node, ours, peers
from tests.support.redis import need_redis

TINY = Sizes(
    seconds=0.06,
    warm=0.02,
    shapes=((2, 2),),
    texts=(4096,),
    buffers=(4096,),
    streams=(1, 2),
    items=300,
    blocks=20,
    subscribers=3,
    followers=(1, 3),
    opened=5,
    idle=(3, 6),
    plugins=(2,),
    functions=(3,),
    modules=(10,),
)
DESIGNS = [
    f"{design}, {lines} lines"
    for lines in TINY.modules
    for design in ("loaded once", "instance per call", "imported per call", "imported per call, no bytecode")
]
CASES = {
    "unary": ["2 × 2", "2 × 2, 4 KiB", "2 × 2, Buffer of 4 KiB", "2 × 2, suspends once"],
    "streams": ["1 stream", "2 streams"],
    "transfer": ["upload, 1 stream", "download, 1 stream", "upload, 2 streams", "download, 2 streams"],
    "broadcast": ["3 subscribers"],
    "workers": ["1 process", "2 processes"],
    "startup": ["2 plugins", "no plugins"],
    "functions": ["3 functions, 3 called"],
    "operators": [case + how for how in ("", ", suspends once") for case in OPERATORS],
    "designs": DESIGNS,
}


@pytest.fixture(name="servers")
def _servers() -> dict[str, Target]:
    return {target.name: target for target in (*ours(), *peers())}


@pytest.fixture(name="bench")
def _bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, Cores(), TINY, {PYTHON: 200.0, "cluster": 200.0})


def sample(target: str, rate: float, number: int = 0, case: str = "16 × 8", **figures: float) -> Sample:
    return Sample("unary", case, target, number, {"rate": rate, "cpu_us": 1e6 / rate, **figures})


def made_up(*samples: Sample) -> Results:
    titles = {OURS: "jackfield", ASGI: "ASGI", NODE: "Node", PYTHON: "python-socketio"}
    return Results({}, titles, list(samples))


@pytest.mark.parametrize(
    "names",
    [pytest.param(["unary", "streams"], id="few"), pytest.param(list(CASES), id="all", marks=[pytest.mark.full])],
)
def test_a_run_measures_jackfield_and_its_peer(names: list[str], servers: dict[str, Target], tmp_path: Path) -> None:
    """All calls are answered rightly, nothing is left out, and what is written can be read and shown."""
    output = tmp_path / "results.json"
    expected = {name: CASES[name] for name in names}

    taken = measure(names, [servers[OURS], servers[PYTHON]], TINY, 1, output=output)

    assert taken.errors == 0
    assert {name: taken.cases(name) for name in taken.measures()} == expected
    assert taken.targets("unary", "2 × 2") == [OURS, PYTHON]
    assert all(one.figures["count"] > 0 for one in taken.samples if one.measure != "startup")
    assert str(ROOT) not in output.read_text(encoding="utf-8")
    written = Results.read(output)
    assert [one.case for one in written.samples] == [one.case for one in taken.samples]
    shown = report.text(written)
    assert all(case in shown for cases in expected.values() for case in cases)
    assert "| 2 × 2 | jackfield |" in report.renewed(report.DOCUMENT.read_text(encoding="utf-8"), written)


@pytest.mark.parametrize(
    ("name", "count"), [("latency", 1), ("connections", 1), ("memory", 2)], ids=["latency", "connections", "memory"]
)
def test_connections_are_measured(name: str, count: int, bench: Bench, servers: dict[str, Target]) -> None:
    """What takes a server as it comes works with any of them."""
    rows = list(MEASURES[name].take(bench, servers[PYTHON]))

    assert len(rows) == count
    assert all(row.figures["errors"] == 0 for row in rows)


@pytest.mark.full
def test_the_servers_on_node_are_measured(bench: Bench, servers: dict[str, Target], require_all: bool) -> None:
    """Each is called in its own way."""
    if missing := missing_for_node():
        assert not require_all, missing
        pytest.skip(missing)
    for measure_name in ("streams", "transfer", "workers"):
        for row in MEASURES[measure_name].take(bench, servers[NODE]):
            assert row.figures["count"] > 0
            assert row.figures["errors"] == 0, row.case
    bench.sizes = replace(TINY, texts=(), buffers=())
    for name in (NODE, "moleculer", "feathers"):
        (row,) = MEASURES["unary"].take(bench, servers[name])
        assert row.figures["count"] > 0
        assert row.figures["errors"] == 0, name


@pytest.mark.full
def test_files_are_measured(bench: Bench, servers: dict[str, Target]) -> None:
    """What is uploaded has the checksum that it should have, and what is downloaded the contents."""
    pytest.importorskip("jackfield_files", reason="the files plugin is not installed")
    rows = list(MEASURES["files"].take(bench, servers[OURS]))

    assert [row.case for row in rows] == CASES["transfer"]
    assert all(row.figures["count"] > 0 for row in rows)
    assert all(row.figures["errors"] == 0 for row in rows)


@pytest.mark.parametrize(
    ("name", "cases"),
    [
        pytest.param(OURS, ["", ", with history", ", kernel.emit"], id="jackfield"),
        pytest.param(NODE, [""], id="node", marks=[pytest.mark.full]),
    ],
)
def test_publications_are_measured(
    name: str, cases: list[str], bench: Bench, servers: dict[str, Target], require_all: bool
) -> None:
    """Across two servers; each publication gets to all subscribers once."""
    need_redis()
    if name == NODE and (missing := missing_for_node()):
        assert not require_all, missing
        pytest.skip(missing)
    bench.sizes = replace(TINY, seconds=0.5)
    paced = [f"3 subscribers{how}{case}" for case in cases for how in ("", ", half of what Node can do")]

    rows = list(MEASURES["cluster"].take(bench, servers[name]))

    assert sorted(row.case for row in rows) == sorted([f"1 subscriber{case}" for case in cases] + paced)
    assert all(row.figures["count"] > 0 for row in rows)
    assert all(row.figures["errors"] == 0 for row in rows)


async def test_a_publication_that_is_not_what_was_sent_is_an_error() -> None:
    """One that is missing or comes twice, or with other data."""
    books = [Book(Load(), Topic("c"), "text", followers=1) for _ in range(4)]
    for book in books:
        teller = Teller(book, 2, paced=True)
        numbers = [book.publish(teller, slot, 0.0) for slot in range(2)]
    one, two = (f'42["channel",{{"channel":"c","data":{{"n":{number},"text":"text"}}}}]'.encode() for number in numbers)
    right, twice, altered, missed = books

    assert [right.read(message) is None for message in (one, two)] == [False, False]
    assert [twice.read(message) is None for message in (one, one + b" ")] == [False, True]
    assert altered.read(one.replace(b"text", b"tixt")) is None
    assert missed.read(one) is not None
    second = missed.read(two)
    assert second is not None
    Follower(missed).took(second, two)

    assert [bool(book.load.errors) for book in books] == [False, True, True, True]


def test_a_wrong_reply_is_an_error(bench: Bench, servers: dict[str, Target]) -> None:
    """The contents of replies are looked at, not only their number."""
    dialect: Dialect = lambda *call: Request(bare(*call).arguments, [{"data": "another"}])  # noqa: E731

    row = next(MEASURES["unary"].take(bench, replace(servers[PYTHON], dialect=dialect)))

    assert row.figures["errors"] > 0


@pytest.mark.parametrize(("name", "streaming"), [(OURS, feeds.jackfield), (PYTHON, feeds.bare)])
def test_an_item_out_of_turn_is_an_error(
    name: str, streaming: Streaming, bench: Bench, servers: dict[str, Target]
) -> None:
    """The contents of items are looked at, and their order."""

    def swapped(function: str, data: dict[str, Any], items: Sequence[Item], window: int) -> Feed:
        return streaming(function, data, [items[1], items[0], *items[2:]], window)

    row = next(MEASURES["streams"].take(bench, replace(servers[name], streaming=swapped)))

    assert row.figures["errors"] > 0


async def test_a_wrong_result_of_an_upload_is_an_error() -> None:
    """A function has to tell that it has taken as many bytes as were sent to it."""
    load = Load()

    Outgoing(load, Upload("bench.take", b"block", 2, 10)).other(b'42["stream",{"id":1,"end":true,"data":5}]')

    assert load.problem == 'a wrong answer to 0 items: b\'42["stream",{"id":1,"end":true,"data":5}]\''


def test_a_server_that_dies_is_reported_with_its_log(tmp_path: Path) -> None:
    """So that one knows why there is no table."""
    dying = Target("dying", "A dying server", (sys.executable, "-c", "import sys; sys.exit('no more')"), bare)

    with (
        pytest.raises(BenchError, match=r"A dying server ended with status 1:\nno more"),
        running(dying, tmp_path, ()),
    ):
        pass


def test_ratios_are_taken_round_by_round() -> None:
    """The median of the ratios, not the ratio of the medians; less is more where time is compared."""
    results = made_up(
        *(sample(OURS, rate, number) for number, rate in enumerate([100.0, 300.0, 200.0])),
        *(sample(NODE, rate, number) for number, rate in enumerate([100.0, 100.0, 50.0])),
    )

    found = results.ratio("unary", "16 × 8", OURS, NODE)
    assert found is not None
    assert (found.median, found.least, found.most) == (3.0, 1.0, 4.0)
    by_time = results.ratio("unary", "16 × 8", OURS, NODE, "cpu_us")
    assert by_time is not None
    assert by_time.median == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({"server_share": 0.99, "generator_share": 0.99}, 1.0),
        ({"server_share": 0.8, "generator_share": 0.5}, 1.0),
        ({"server_share": 0.8, "generator_share": 0.99}, 4.0),
        ({"server_share": 0.8, "generator_share": 0.5, "others_share": 0.3}, 4.0),
    ],
    ids=["server busy", "nobody busy", "generator busy", "others busy"],
)
def test_processor_time_is_compared_where_the_server_was_held_up(shares: dict[str, float], expected: float) -> None:
    """Then, and only then: a server that waits for nobody but itself gains nothing by it."""
    results = made_up(replace(sample(OURS, 100.0), figures={"rate": 100, "cpu_us": 2.5, **shares}), sample(NODE, 100.0))
    results.samples[1] = replace(results.samples[1], figures={"rate": 100, "cpu_us": 10.0})

    found = results.ratio("unary", "16 × 8", OURS, NODE)

    assert found is not None
    assert found.median == expected


def test_clock_times_are_not_compared_where_other_programs_were_busy() -> None:
    """What a call took there says nothing of the server."""
    disturbed = sample(OURS, 100.0, p99_ms=9.0, server_share=0.5, others_share=0.5)

    assert made_up(disturbed, sample(NODE, 100.0, p99_ms=1.0)).ratio("unary", "16 × 8", OURS, NODE, "p99_ms") is None


def test_a_case_of_its_own_is_compared_with_the_usual_one() -> None:
    """Peers have no function that suspends."""
    results = made_up(replace(sample(OURS, 50.0, case="suspends"), against="16 × 8"), sample(NODE, 100.0))

    found = results.ratio("unary", "suspends", OURS, NODE)

    assert found is not None
    assert found.median == 0.5


def test_a_measure_taken_by_itself_takes_the_place_of_the_older_one() -> None:
    """The others stay, with their setup; nothing stays of a run that is left with none."""
    older = made_up(sample(OURS, 1.0), replace(sample(OURS, 2.0), measure="operators"))
    newer = Results({"rounds": 9}, {OURS: "new"}, [replace(sample(OURS, 3.0), measure="operators")])
    whole = Results({"rounds": 9}, {OURS: "new"}, [*newer.samples, sample(OURS, 4.0)])

    found = newer.into(older)

    assert (found.meta, found.titles) == (older.meta, older.titles)
    assert found.samples == [older.samples[0], newer.samples[0]]
    assert whole.into(older) == whole


def test_a_ratio_below_its_floor_is_named() -> None:
    """With its range; what holds is not, nor what was not asked of these servers."""
    wanted = [
        goals.Ratio("unary", "16 × 8", OURS, NODE, goal=1.5, floor=1.2),
        goals.Ratio("unary", "16 × 8", OURS, PYTHON, goal=9, floor=6),
        goals.Ratio("unary", "256 × 1", OURS, NODE, goal=1.4, floor=1.1),
        goals.Ratio("unary", "16 × 8", OURS, "feathers", goal=2, floor=2),
        goals.Ratio("unary", "16 × 8", NODE, OURS, goal=2),
    ]
    results = made_up(sample(OURS, 110.0), sample(NODE, 100.0), sample(PYTHON, 10.0))

    assert goals.fallen(results, wanted) == [
        "unary, 16 × 8: jackfield against node is 1.10 (1.10 to 1.10), below its floor of 1.2",
        "unary, 256 × 1: jackfield against node was not measured",
    ]


def test_every_floor_is_one_that_the_quick_check_measures() -> None:
    """And no goal is below its floor."""
    floors = [ratio for ratio in goals.ratios() if ratio.floor is not None]

    assert {ratio.measure for ratio in floors} == set(goals.QUICK_MEASURES)
    assert {name for ratio in floors for name in (ratio.server, ratio.peer)} == set(goals.QUICK_TARGETS)
    assert all(ratio.floor <= ratio.goal for ratio in floors if ratio.floor is not None)


def test_the_plot_has_a_bar_for_each_server() -> None:
    """And is well-formed XML."""
    root = ElementTree.fromstring(plot.svg(made_up(sample(OURS, 150.0), sample(NODE, 100.0), sample(PYTHON, 10.0))))

    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in ("1.50", "1.00", "0.10")] == ["1.50", "1.00", "0.10"]
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == 3


@pytest.mark.parametrize("lines", [10, 1_000, 10_000])
def test_a_padded_module_has_the_lines_that_it_says(lines: int) -> None:
    """And can be compiled."""
    text = padded(lines)

    compile(text, "padded.py", "exec")
    assert text.count("\n") == lines


def test_the_document_shows_the_results_beside_it() -> None:
    """Nothing in docs/performance.md is typed by hand where a result stands."""
    document = report.DOCUMENT.read_text(encoding="utf-8")
    results = Results.read(report.RESULTS)

    assert document == report.renewed(document, results), "python -m tests.bench.report"
    assert report.PLOT.read_text(encoding="utf-8") == plot.svg(results), "python -m tests.bench.report"
