"""What was measured, and what follows from it: medians, spreads, and ratios to the peers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

LOWER_IS_BETTER: Final = frozenset({"cpu_us", "p50_ms", "p99_ms", "max_ms", "kib", "seconds"})
_BUSY: Final = 0.95
_DISTURBED: Final = 0.1


@dataclass(frozen=True)
class Sample:
    """One measurement of one server.

    Args:
        measure: Which table it belongs to, such as `unary`.
        case: Which row of it, such as `16 × 8`.
        target: The server.
        round: In which round, from 0.
        figures: What came out.
        against: The case that other servers are compared by, where they have not this one.
    """

    measure: str
    case: str
    target: str
    round: int
    figures: Mapping[str, float]
    against: str | None = None

    @property
    def held_up(self) -> bool:
        """Whether something else than the server was the limit: the load generator, or another program."""
        figures = self.figures
        if figures.get("shared"):
            return True
        if figures.get("server_share", 1.0) > _BUSY:
            return False
        return figures.get("generator_share", 0.0) > _BUSY or figures.get("others_share", 0.0) > _DISTURBED


@dataclass(frozen=True)
class Spread:
    """The median of several rounds, and how far they lie apart."""

    median: float
    least: float
    most: float

    @property
    def percent(self) -> float:
        """Half of the range, in percent of the median."""
        return 50 * (self.most - self.least) / self.median if self.median else 0.0


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of some values, at least one."""
    return Spread(median(values), min(values), max(values))


@dataclass
class Results:
    """Everything that one run has measured.

    Args:
        meta: The machine, the versions, the date, the commands.
        titles: What each server is called in tables.
        samples: The measurements.
    """

    meta: dict[str, Any]
    titles: dict[str, str]
    samples: list[Sample] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read what `write` wrote."""
        raw = json.loads(path.read_text(encoding="utf-8"))
        return cls(raw["meta"], raw["titles"], [Sample(**sample) for sample in raw["samples"]])

    def write(self, path: Path) -> None:
        """Write everything as JSON, one line a sample."""
        lines = ",\n".join(f"  {json.dumps(_rounded(asdict(sample)))}" for sample in self.samples)
        head = json.dumps({"meta": self.meta, "titles": self.titles}, indent=1)[:-2]
        path.write_text(f'{head},\n "samples": [\n{lines}\n ]\n}}\n', encoding="utf-8")

    def into(self, others: Results) -> Results:
        """Return these with those measures of others that are not among them; the setup is theirs, if there are any."""
        kept = [sample for sample in others.samples if sample.measure not in self.measures()]
        return Results(others.meta, others.titles, kept + self.samples) if kept else self

    @property
    def errors(self) -> int:
        """How many calls went wrong, in all measurements together."""
        return int(sum(sample.figures.get("errors", 0) for sample in self.samples))

    def measures(self) -> list[str]:
        """Return the measures, in the order in which they were taken."""
        return list(dict.fromkeys(sample.measure for sample in self.samples))

    def cases(self, measure: str) -> list[str]:
        """Return the cases of a measure, in the order in which they were taken."""
        return list(dict.fromkeys(sample.case for sample in self.samples if sample.measure == measure))

    def targets(self, measure: str, case: str) -> list[str]:
        """Return who was measured so, in the order of `titles`."""
        there = {sample.target for sample in self.samples if (sample.measure, sample.case) == (measure, case)}
        return [target for target in self.titles if target in there]

    def spread(self, measure: str, case: str, target: str, figure: str) -> Spread | None:
        """Return a figure over all rounds, or None where it was not measured."""
        values = [s.figures[figure] for s in self._of(measure, case, target) if figure in s.figures]
        return spread(values) if values else None

    def ratio(self, measure: str, case: str, target: str, peer: str, figure: str = "rate") -> Spread | None:
        """Return how many times as good as a peer, round by round; None where there is nothing to compare.

        Where something else than a server was the limit of its `rate`, processor time is compared in its place; for
        how long calls took there is no such thing, and the round is left out.
        """
        mine = {sample.round: sample for sample in self._of(measure, case, target)}
        theirs = {sample.round: sample for sample in self._of(measure, self._against(measure, case, target), peer)}
        ratios = [_ratio(mine[number], theirs[number], figure) for number in mine if number in theirs]
        known = [ratio for ratio in ratios if ratio is not None]
        return spread(known) if known else None

    def held_up(self, measure: str, case: str, *targets: str) -> bool:
        """Tell whether something else than one of the servers was the limit, in some round."""
        cases = {target: self._against(measure, case, targets[0]) for target in targets[1:]} | {targets[0]: case}
        return any(sample.held_up for target in targets for sample in self._of(measure, cases[target], target))

    def _against(self, measure: str, case: str, target: str) -> str:
        return next((s.against for s in self._of(measure, case, target) if s.against), case)

    def _of(self, measure: str, case: str, target: str) -> Iterator[Sample]:
        wanted = (measure, case, target)
        return (sample for sample in self.samples if (sample.measure, sample.case, sample.target) == wanted)


def _ratio(mine: Sample, theirs: Sample, figure: str) -> float | None:
    if figure == "rate" and "offered" in mine.figures:
        return None  # it says nothing of the server
    if mine.held_up or theirs.held_up:
        if figure.endswith("_ms"):
            return None
        figure = "cpu_us" if figure == "rate" else figure
    one, other = mine.figures.get(figure), theirs.figures.get(figure)
    if not one or not other:
        return None
    return other / one if figure in LOWER_IS_BETTER else one / other


def _rounded(sample: dict[str, Any]) -> dict[str, Any]:
    figures = {name: float(f"{value:.5g}") for name, value in sample["figures"].items()}
    return {name: value for name, value in {**sample, "figures": figures}.items() if value is not None}
