"""How a block goes through the house."""

from __future__ import annotations

from pictureslib.svg import arrow, box, picture, text


def draw() -> str:
    left, wide, high = 250, 300, 54
    tops = [20, 100, 180, 260]
    middle = left + wide / 2
    steps = [
        box(20, 20, 150, high, ["node", "websocket, HTTP, IPC"], color="accent"),
        box(left, tops[0], wide, high, ["follow", "parent hashes: committed, reverted"]),
        box(left, tops[1], wide, high, ["read", "logs say who, one multicall says what"]),
        box(left, tops[2], wide, high, ["judge", "screen, exact health, episode, plan"]),
        box(left, tops[3], wide, high, ["store", "one transaction for each step, cursor included"], color="accent"),
        box(90, 360, 270, high, ["tell", "outbox, rules, channels"]),
        box(440, 360, 270, high, ["act", "simulate, sign, journal, send"]),
    ]
    arrows = [
        arrow((170, 47), (left, 47)),
        *(arrow((middle, top + high), (middle, top + 80)) for top in tops[:3]),
        arrow((middle, 314), (middle, 337), (225, 337), (225, 360)),
        arrow((middle, 314), (middle, 337), (575, 337), (575, 360)),
        arrow((710, 387), (755, 387), (755, 8), (95, 8), (95, 20), color="accent", dashed=True),
    ]
    words = [
        text(747, 200, "what we did comes back", kind="soft", anchor="end"),
        text(747, 217, "through the chain", kind="soft", anchor="end"),
        text(240, 132, "pure", kind="soft", anchor="end"),
        text(240, 212, "pure", kind="soft", anchor="end"),
    ]
    return picture(
        780,
        432,
        "A block goes from the node through following, reading, judging and the store to channels and transactions; "
        "what was sent is learned from later blocks",
        [*steps, *arrows, *words],
    )
