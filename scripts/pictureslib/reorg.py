"""A fork of three blocks, as the window of headers sees it."""

from __future__ import annotations

from pictureslib.svg import arrow, box, line, picture, text

_WORDS = (
    "facts (positions, prices, episodes) are versions by block: those above the ancestor go",
    "what the world has seen stays: “call opened” is withdrawn unless 105′ has it open too,",
    "and our transaction is sent again, byte for byte, if at 105′ it is still wanted",
)
_WIDE, _HIGH, _STEP = 84, 46, 116


def draw() -> str:
    def block(number: int, row: int, lines: list[str], **how: object) -> str:
        return box(30 + _STEP * number, 70 + 100 * row, _WIDE, _HIGH, lines, **how)  # type: ignore[arg-type]

    def link(number: int, row: int, **how: object) -> str:
        """To the parent."""
        x, y = 30 + _STEP * number, 70 + 100 * row + _HIGH / 2
        return arrow((x, y), (x - (_STEP - _WIDE), y), **how)  # type: ignore[arg-type]

    old = [block(n, 0, [f"10{n}", word], dashed=True) for n, word in ((3, "call opens"), (4, "ours mined"))]
    kept = [block(n, 0, [f"10{n}"], color="accent") for n in (0, 1, 2)]
    new = [block(n, 1, [f"10{n}′"], color="accent") for n in (3, 4, 5)]
    fork_x, fork_y = 30 + _STEP * 2 + _WIDE / 2, 70 + _HIGH
    parts = [
        *kept,
        *old,
        *new,
        *(link(n, 0) for n in (1, 2)),
        *(link(n, 0, dashed=True) for n in (3, 4)),
        *(link(n, 1) for n in (4, 5)),
        arrow((30 + _STEP * 3, 170 + _HIGH / 2), (fork_x, 170 + _HIGH / 2), (fork_x, fork_y)),
        text(72, 40, "finality", kind="soft", anchor="middle"),
        line(72, 46, 72, 66, color="soft"),
        text(30 + _STEP * 2 + _WIDE / 2, 40, "ancestor", kind="soft", anchor="middle"),
        line(30 + _STEP * 2 + _WIDE / 2, 46, 30 + _STEP * 2 + _WIDE / 2, 66, color="soft"),
        text(30 + _STEP * 3, 40, "1. reverted: newest first, one transaction", kind="soft", color="bad"),
        text(30 + _STEP * 3, 242, "2. committed: one after another, each one transaction", kind="soft", color="accent"),
        *(text(30, 280 + 20 * number, words, kind="soft") for number, words in enumerate(_WORDS)),
    ]
    return picture(
        740,
        340,
        "Blocks 103 and 104 are reverted to their ancestor 102, then 103', 104' and 105' are committed",
        parts,
    )
