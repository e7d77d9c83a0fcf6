"""The sizes of `scale` as an SVG: two panels of lines on logarithmic axes, readable on light and on dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .scale import Size

_WIDTH, _HEIGHT, _PANEL, _LEFT, _TOP, _BOTTOM = 860, 380, 330, 64, 44, 300
_COLOURS = ("#3b82c4", "#c2702e", "#6a9a3b")
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #444 }
  .title { font-weight: 600; font-size: 13px }
  .grid { stroke: #8885; stroke-width: 1 }
  polyline { fill: none; stroke-width: 2 }
  .full { stroke-dasharray: 5 4; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) { text { fill: #ccc } }
"""


def svg(sizes: Sequence[Size], where: str) -> str:
    """Left: milliseconds of a block, pruned and (dashed) screened in full. Right: MiB that the book takes."""
    by_reserves = {size.reserves: [one for one in sizes if one.reserves == size.reserves] for size in sizes}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="Cost of a block and memory against the number of accounts">',
        f"<style>{_STYLE}</style>",
    ]
    for number, (title, unit, values) in enumerate(
        (
            (
                "a block, in ms (dashed: every row looked at)",
                "ms",
                (lambda s: s.block_s * 1e3, lambda s: s.full_s * 1e3),
            ),
            ("resident memory of the book, in MiB", "MiB", (lambda s: (s.resident - s.bare) / 2**20,)),
        )
    ):
        parts += _panel(_LEFT + number * (_PANEL + 90), title, unit, by_reserves, values)
    for number, reserves in enumerate(by_reserves):
        x = _LEFT + number * 130
        parts.append(f'<polyline points="{x},345 {x + 24},345" stroke="{_COLOURS[number]}"/>')
        parts.append(f'<text x="{x + 30}" y="349">{reserves} reserves</text>')
    parts.append(f'<text x="{_LEFT}" y="372">{where}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    left: int,
    title: str,
    unit: str,
    lines: dict[int, list[Size]],
    values: Sequence[Callable[[Size], float]],
) -> list[str]:
    every = [max(value(size), 1e-3) for sizes in lines.values() for size in sizes for value in values]
    accounts = [size.accounts for sizes in lines.values() for size in sizes]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    first, last = math.log10(min(accounts)), math.log10(max(accounts))

    def x(count: float) -> float:
        return left + (math.log10(count) - first) / max(last - first, 1e-9) * _PANEL

    def y(value: float) -> float:
        return _BOTTOM - (math.log10(max(value, 1e-3)) - low) / max(high - low, 1) * (_BOTTOM - _TOP)

    parts = [f'<text class="title" x="{left}" y="{_TOP - 18}">{title}</text>']
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts.append(f'<line class="grid" x1="{left}" x2="{left + _PANEL}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    parts += [
        f'<text x="{x(count):.1f}" y="{_BOTTOM + 18}" text-anchor="middle">{_count(count)}</text>'
        for count in sorted(set(accounts))
    ]
    for number, sizes in enumerate(lines.values()):
        for which, value in enumerate(values):
            points = " ".join(f"{x(size.accounts):.1f},{y(value(size)):.1f}" for size in sizes)
            dashed = ' class="full"' if which else ""
            parts.append(f'<polyline{dashed} points="{points}" stroke="{_COLOURS[number]}"/>')
    return parts


def _count(accounts: int) -> str:
    return f"{accounts // 1_000_000}M accounts" if accounts >= 1_000_000 else f"{accounts // 1_000}k"
