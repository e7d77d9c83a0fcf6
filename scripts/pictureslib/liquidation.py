"""From open positions to one transaction."""

from __future__ import annotations

from pictureslib.svg import arrow, box, picture, text

_STEPS = (
    ("open positions", "judged for the block they can land in"),
    ("pairs", "every debt against every collateral, the most allowed"),
    ("ladder of amounts", "8 rungs, then 16 around the best, quoted on every route"),
    ("lender and route", "what leaves most after fee, price impact and gas"),
    ("simulation", "all in sequence on the judged block; profit counted again"),
    ("limits", "min_profit, max_fee, max_pending, breakers"),
    ("sign, journal, sync", "durable before anybody sees it"),
    ("send", "all ways at once; followed until it is final"),
)
_TRIPS = {1: "round trip: routes (remembered)", 2: "round trips: quotes, loans", 4: "round trip", 7: "round trip"}


def draw() -> str:
    parts = []
    for number, (title, words) in enumerate(_STEPS):
        top = 16 + 66 * number
        parts.append(box(40, top, 420, 46, [title, words], color="accent" if number in (6,) else "line"))
        if number:
            parts.append(arrow((250, top - 20), (250, top)))
        if number in _TRIPS:
            parts.append(text(480, top + 27, _TRIPS[number], kind="soft"))
    parts.append(arrow((40, 16 + 66 * 5 + 23), (18, 16 + 66 * 5 + 23), (18, 560), color="soft", dashed=True))
    parts.append(text(24, 566, "anything else: a reason, logged, asked again with the next block", kind="soft"))
    return picture(
        700, 580, "Eight steps from an open position to a transaction, with the round trips each takes", parts
    )
