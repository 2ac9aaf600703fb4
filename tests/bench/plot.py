"""The plot of docs/performance.md: how many times Node's Socket.IO each server is, as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from tests.bench.results import Results, Spread
from tests.bench.targets import NODE

PANELS: Final = {
    "Calls, 16 connections × 8 in flight": ("unary", "16 × 8"),
    "Calls, 256 connections × 1 in flight": ("unary", "256 × 1"),
    "Calls, 1 connection × 1 in flight": ("unary", "1 × 1"),
    "Stream items, 16 streams": ("streams", "16 streams"),
    "Upload in Buffers, 16 streams": ("transfer", "upload, 16 streams"),
    "Download in Buffers, 16 streams": ("transfer", "download, 16 streams"),
    "Broadcast to 1 000 subscribers": ("broadcast", "1000 subscribers"),
}
"""What is shown, if it was measured: the title, the measure, the case."""

_WIDTH: Final = 760
_LEFT: Final = 190
_RIGHT: Final = 70
_BAR: Final = 16
_STEP: Final = 24
_HEAD: Final = 34
_TOP: Final = 34
_OURS: Final = "#2563a8"
_THEIRS: Final = "#9aa4ae"


def svg(results: Results) -> str:
    """Return the plot: a panel for each case, a bar for each server, a line for the range over the rounds."""
    panels = [
        (title, bars)
        for title, (measure, case) in PANELS.items()
        if (bars := [(t, r) for t in results.targets(measure, case) if (r := results.ratio(measure, case, t, NODE))])
    ]
    most = max((ratio.most for _, bars in panels for _, ratio in bars), default=1.0)
    height = _TOP + sum(_HEAD + _STEP * len(bars) for _, bars in panels) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="22" fill="#57606a">Times Socket.IO on Node, in the same run; '
        "the thin line is the range over the rounds</text>",
    ]
    y = _TOP
    for title, bars in panels:
        lines.append(f'<text x="12" y="{y + 20}" font-weight="600" fill="#1f2328">{escape(title)}</text>')
        y += _HEAD
        for target, ratio in bars:
            lines += _bar(results.titles[target], ratio, (_WIDTH - _LEFT - _RIGHT) / most, y, "jackfield" in target)
            y += _STEP
    return "\n".join([*lines, "</svg>", ""])


def _bar(title: str, ratio: Spread, scale: float, y: int, ours: bool) -> Iterator[str]:
    middle = y + _BAR / 2
    yield f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end" fill="#1f2328">{escape(title)}</text>'
    yield (
        f'<rect x="{_LEFT}" y="{y}" width="{ratio.median * scale:.1f}" height="{_BAR}" '
        f'fill="{_OURS if ours else _THEIRS}"/>'
    )
    left, right = _LEFT + ratio.least * scale, _LEFT + ratio.most * scale
    yield f'<path d="M{left:.1f} {middle}H{right:.1f}" stroke="#1f2328" stroke-width="1.5"/>'
    yield f'<text x="{right + 6:.1f}" y="{y + 13}" fill="#1f2328">{ratio.median:.2f}</text>'
