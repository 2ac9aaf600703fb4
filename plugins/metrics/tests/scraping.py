"""Read `/metrics` as Prometheus does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.support.waiting import LIMIT


@dataclass(frozen=True)
class Answer:
    """How a request was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def ask(url: str, path: str = "/metrics", method: str = "GET", **headers: str) -> Answer:
    """Send a request; nothing of the answer is unpacked."""
    named = {"Accept-Encoding": "identity", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(method, url + path, headers=named) as response,
    ):
        return Answer(response.status, response.headers, await response.read())


class Scrape:
    """All samples of one moment."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    @property
    def names(self) -> set[str]:
        """The names of all samples."""
        return {sample.name for sample in self.samples}

    def all(self, name: str, **labels: str) -> list[float]:
        """Return the values of the samples that have these labels, and maybe others."""
        return [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]

    def one(self, name: str, **labels: str) -> float:
        """Return the value of the only such sample."""
        (value,) = self.all(name, **labels)
        return float(value)

    def labels(self, name: str, label: str) -> set[str]:
        """Return the values of a label."""
        return {sample.labels[label] for sample in self.samples if sample.name == name}


async def scrape(url: str, path: str = "/metrics") -> Scrape:
    """Read all metrics."""
    return Scrape((await ask(url, path)).body.decode())


async def until(url: str, holds: Callable[[Scrape], bool], path: str = "/metrics") -> Scrape:
    """Read all metrics again and again, until something holds."""
    end = time.monotonic() + LIMIT
    while not holds(found := await scrape(url, path)):
        assert time.monotonic() < end, "it does not come to hold"
        await asyncio.sleep(0.02)
    return found
