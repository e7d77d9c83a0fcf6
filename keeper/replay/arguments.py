"""The arguments of `keeper replay`, apart from what carries them out, which takes its time to import."""

from __future__ import annotations

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser, path: Any) -> None:
    """path: makes a Path of an argument."""
    parser.add_argument(
        "--prices", type=path, required=True, metavar="FILE", help="CSV: timestamp,asset,price, oldest first"
    )
    parser.add_argument("--positions", type=path, required=True, metavar="FILE", help="JSON Lines, a position each")
    parser.add_argument(
        "--config", type=path, metavar="FILE", help="its [margin_calls] alone count (default: the shipped settings)"
    )
    parser.add_argument("--json", action="store_true", help="a line for each position, and the summary last")
    parser.add_argument(
        "--sweep",
        nargs="*",
        metavar="KEY=V1,V2",
        help="compare settings instead: every combination of these values of keys of [margin_calls], such as "
        "call=1.06,1.08 volatility.probability=0.05,0.08 (without any: a few of both)",
    )
    parser.add_argument(
        "--needless-cost",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="for --sweep, the trade-off: what share of breaches called an hour ahead one needless call per position "
        "and month outweighs (0.5)",
    )
    parser.add_argument("--chart", type=path, metavar="FILE", help="for --sweep: lead against needless calls, as SVG")
    parser.add_argument("--workers", type=int, metavar="N", help="for --sweep: processes (default: one per processor)")
