"""What is written of the metrics is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jackfield.testing import RunningKernel
from plugins.metrics.tests.conftest import beside
from plugins.metrics.tests.scraping import Scrape, scrape

ROOT = Path(__file__).parents[3]


def metrics(found: Scrape) -> set[str]:
    """Return the names under which the metrics of a scrape are written of."""
    return {f"{name}_total" if family.type == "counter" else name for name, family in found.families.items()}


@beside
@pytest.mark.jackfield(network=True)
async def test_every_metric_is_documented(jackfield_kernel: RunningKernel) -> None:
    """In the table, and nothing else is in it."""
    written = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    table = written.partition("## The metrics\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == metrics(await scrape(jackfield_kernel.url))
