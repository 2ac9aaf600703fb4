"""`python -m tests.bench`: measure, print a table, write JSON."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from tests.bench import environment, goals, report, targets
from tests.bench.generator import BenchError
from tests.bench.measures import MEASURES, Bench, Measure, Row, Sizes
from tests.bench.results import Results, Sample
from tests.bench.servers import Cores, Target, find_cores
from tests.bench.targets import say

LATEST: Final = Path(__file__).with_name("latest.json")
_FILES: Final = 16_384


@click.command(name="python -m tests.bench")
@click.option("--only", multiple=True, type=click.Choice(list(MEASURES)), help="Take this measure; may be repeated.")
@click.option("--target", "names", multiple=True, help="Measure this server; may be repeated.")
@click.option("--rounds", default=5, show_default=True, help="How often each server is measured.")
@click.option("--seconds", default=Sizes.seconds, show_default=True, help="How long each load lasts.")
@click.option("--output", type=click.Path(path_type=Path), default=LATEST, help="The JSON; tests/bench/latest.json.")
@click.option("--quick", is_flag=True, help="Only hold ratios to the floors in ratios.toml.")
def main(only: Sequence[str], names: Sequence[str], rounds: int, seconds: float, output: Path, quick: bool) -> None:
    """Measure jackfield beside its peers; each server in turn, in several rounds."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended
    try:
        cores = _pin()
        if quick:
            _check(cores)
            return
        found = _chosen([*targets.ours(), *targets.further(), *targets.peers()], names)
        sizes = replace(Sizes(), seconds=seconds)
        results = measure(only or list(MEASURES), found, sizes, rounds, cores=cores, output=output)
    except BenchError as error:
        sys.exit(f"✗ {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    say(f"\n{report.text(results)}\n")
    say(f"{output} holds everything; `python -m tests.bench.report {output}` puts it into docs/performance.md")
    _no_errors(results)


def _check(cores: Cores) -> None:
    """Hold the ratios to their floors; end with status 1 where one has fallen."""
    wanted = goals.ratios()
    found = [target for target in (*targets.ours(), *targets.peers()) if target.name in goals.QUICK_TARGETS]
    results = measure(goals.QUICK_MEASURES, found, goals.QUICK_SIZES, goals.QUICK_ROUNDS, cores=cores)
    say(f"\n{report.text(results)}\n")
    _no_errors(results)
    if sentences := goals.fallen(results, wanted):
        sys.exit("\n".join(f"✗ {sentence}" for sentence in sentences))
    say("✓ every ratio that could be measured is above its floor")


def _no_errors(results: Results) -> None:
    if results.errors:
        sys.exit(f"✗ {results.errors} calls went wrong: the figures are worth nothing")


def measure(
    measures: Sequence[str],
    servers: Sequence[Target],
    sizes: Sizes,
    rounds: int,
    *,
    cores: Cores = Cores(),  # noqa: B008 - it is a tuple
    output: Path | None = None,
) -> Results:
    """Take the measures of the servers.

    Args:
        measures: Their names.
        servers: Who is measured.
        sizes: How large everything is.
        rounds: How often; every other round takes the servers the other way round.
        cores: What is pinned where.
        output: Is written after each round, so that a run that is broken off has not been for nothing.

    Raises:
        BenchError: A server did not do what it was asked to.
    """
    results = Results(environment.describe(servers, cores), {each.name: each.title for each in servers})
    results.meta.update(rounds=rounds, seconds=sizes.seconds)
    with tempfile.TemporaryDirectory(prefix="jackfield-bench-") as folder:
        bench = Bench(Path(folder), cores, sizes)
        for name in measures:
            chosen = MEASURES[name]
            chosen.prepare(bench, {each.name: each for each in servers})
            for number in range(rounds):
                for target in servers if number % 2 == 0 else reversed(servers):
                    if not chosen.fits(target):
                        continue
                    began = time.monotonic()
                    for case, figures, against in _taken(chosen, bench, target):
                        results.samples.append(Sample(name, case, target.name, number, figures, against))
                    say(f"{name:<12} round {number + 1}/{rounds}  {target.title:<26} {time.monotonic() - began:5.1f} s")
                if output:
                    results.write(output)
    return results


def _taken(measure: Measure, bench: Bench, target: Target) -> list[Row]:
    """Take a measure; once more if it fails, since a stall of the machine should not cost the whole run."""
    try:
        return list(measure.take(bench, target))
    except BenchError as error:
        say(f"again: {error}")
        return list(measure.take(bench, target))


def _chosen(found: Sequence[Target], names: Sequence[str]) -> list[Target]:
    known = [target.name for target in found]
    if unknown := set(names) - set(known):
        raise BenchError(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [target for target in found if not names or target.name in names]


def _pin() -> Cores:
    """Pin this process to one core, and return what else is to be pinned; let all float where that cannot be."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = limit[1] if limit[1] != resource.RLIM_INFINITY else _FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit[0], min(_FILES, most)), limit[1]))
    cores = find_cores()
    if cores.generator is None:
        say("servers and generator share their cores (there is one core, or no taskset): figures are worth little")
    else:
        os.sched_setaffinity(0, {cores.generator})
    return cores


if __name__ == "__main__":
    main()
