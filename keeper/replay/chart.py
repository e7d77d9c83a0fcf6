"""Lead time against needless calls, one point a setting, as SVG: no more than a page needs, and no library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 860, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 250, 40, 60
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Point:
    """needless: calls per position and month. ahead: share of breaches called an hour ahead."""

    label: str
    needless: float
    ahead: float
    best: bool


def draw(points: Sequence[Point]) -> str:
    most = max((point.needless for point in points), default=0.0) * 1.1 or 1.0
    least = max(0.0, min((point.ahead for point in points), default=0.0) - 0.02)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
            'font-size="12">',
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
            f'<text x="{_LEFT}" y="24" font-size="15">Breaches called an hour ahead, against needless calls</text>',
            *_axes(most, least),
            *_marks(sorted(points, key=lambda point: -point.ahead), most, least),
            "</svg>",
            "",
        ]
    )


def _axes(most: float, least: float) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for tick in range(_TICKS + 1):
        x, y = _LEFT + (right - _LEFT) * tick / _TICKS, bottom - (bottom - _TOP) * tick / _TICKS
        needless, ahead = most * tick / _TICKS, least + (1 - least) * tick / _TICKS
        yield f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>'
        yield f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{needless:.2f}</text>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * ahead:.0f} %</text>'
    yield (
        f'<text x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 16}" text-anchor="middle">'
        "needless calls per position and month</text>"
    )


def _marks(points: Sequence[Point], most: float, least: float) -> Iterator[str]:
    """Numbered circles, and what the numbers mean beside them."""
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for number, point in enumerate(points, 1):
        x = _LEFT + (right - _LEFT) * point.needless / most
        y = bottom - (bottom - _TOP) * (point.ahead - least) / ((1 - least) or 1)
        colour = "#c0392b" if point.best else "#2c6fbb"
        yield (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="{colour}"><title>{escape(point.label)}</title></circle>'
            f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" fill="white">{number}</text>'
        )
        beside = _TOP + 18 * number
        best = " (best)" if point.best else ""
        yield f'<text x="{right + 16}" y="{beside}" fill="{colour}">{number}: {escape(point.label)}{best}</text>'
