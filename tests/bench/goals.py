"""The ratios of ratios.toml, held against what was measured."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.measures import Sizes
from tests.bench.results import Results, Spread
from tests.bench.targets import ASGI, NODE, OURS, PYTHON

FILE: Final = Path(__file__).with_name("ratios.toml")
QUICK_ROUNDS: Final = 3
QUICK_SIZES: Final = Sizes(
    seconds=0.7, warm=0.3, shapes=((16, 8), (256, 1)), texts=(), buffers=(), streams=(16,), items=1024
)
QUICK_TARGETS: Final = (OURS, ASGI, PYTHON, NODE)
QUICK_MEASURES: Final = ("unary", "streams", "broadcast")


@dataclass(frozen=True)
class Ratio:
    """How many times as good a server is meant to be as a peer.

    Args:
        measure: As in `Sample`.
        case: As in `Sample`.
        server: The server.
        peer: What it is compared with.
        goal: What it is meant to be.
        figure: What is compared.
        floor: What it must not fall below in a quick check; None where that does not look.
    """

    measure: str
    case: str
    server: str
    peer: str
    goal: float
    figure: str = "rate"
    floor: float | None = None

    def of(self, results: Results) -> Spread | None:
        """Return what it is, or None where it was not measured."""
        return results.ratio(self.measure, self.case, self.server, self.peer, self.figure)

    def __str__(self) -> str:
        figure = "" if self.figure == "rate" else f" ({self.figure})"
        return f"{self.measure}, {self.case}{figure}: {self.server} against {self.peer}"


def ratios(file: Path = FILE) -> list[Ratio]:
    """Read the file."""
    return [Ratio(**entry) for entry in tomllib.loads(file.read_text(encoding="utf-8"))["ratio"]]


def fallen(results: Results, wanted: list[Ratio]) -> list[str]:
    """Return a sentence for each ratio that is below its floor, or was not measured although its servers were."""
    sentences = []
    for ratio in wanted:
        if ratio.floor is None or not {ratio.server, ratio.peer} <= results.titles.keys():
            continue
        found = ratio.of(results)
        if found is None:
            sentences.append(f"{ratio} was not measured")
        elif found.median < ratio.floor:
            span = f"{found.least:.2f} to {found.most:.2f}"
            sentences.append(f"{ratio} is {found.median:.2f} ({span}), below its floor of {ratio.floor:g}")
    return sentences
