"""As much SVG as the pictures need. Colours follow the reader's light or dark preference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
  :root { --paper: #fff; --ink: #26323a; --soft: #6b7a84; --line: #c9d2d8; --box: #f2f5f7; --accent: #00796b;
    --warn: #b26a00; --bad: #b3261e; --shade: #e4efed; }
  @media (prefers-color-scheme: dark) { :root { --paper: #1c2126; --ink: #dfe6ea; --soft: #96a4ad; --line: #45525b;
    --box: #28313a; --accent: #4db6ac; --warn: #ffb74d; --bad: #ef9a9a; --shade: #23393a; } }
  text { font: 13px system-ui, sans-serif; fill: var(--ink) }
  .soft { fill: var(--soft); font-size: 12px }
  .title { font-weight: 600 }
  .mono { font-family: ui-monospace, monospace; font-size: 12px }
"""


def picture(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """title: what somebody hears who cannot see it."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="var(--soft)"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="8" fill="var(--paper)"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def text(x: float, y: float, words: str, *, kind: str = "", anchor: str = "start", color: str = "") -> str:
    style = f' style="fill:var(--{color})"' if color else ""
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}{style}>{escape(words)}</text>'


def box(
    x: float, y: float, width: float, height: float, lines: Sequence[str], *, color: str = "line", dashed: bool = False
) -> str:
    """A box with its first line as title, the others below it, centred."""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    drawn = [
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" fill="var(--box)" '
        f'stroke="var(--{color})"{dash}/>'
    ]
    first = y + height / 2 - (len(lines) - 1) * 8.5 + 4.5
    for number, line in enumerate(lines):
        kind = "title" if number == 0 else "soft"
        drawn.append(text(x + width / 2, first + 17 * number, line, kind=kind, anchor="middle"))
    return "\n".join(drawn)


def arrow(*points: tuple[float, float], color: str = "soft", dashed: bool = False) -> str:
    """Through these points, with a tip at the last."""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="var(--{color})" stroke-width="1.5" '
        f'marker-end="url(#tip)"{dash}/>'
    )


def line(x1: float, y1: float, x2: float, y2: float, *, color: str = "line", dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="var(--{color})"{dash}/>'


def curve(points: Iterable[tuple[float, float]], *, color: str = "ink") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="var(--{color})" stroke-width="2"/>'
