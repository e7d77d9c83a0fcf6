"""The arguments of `keeper watch`. Imports nothing heavy: every command line builds them."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add_arguments(
    parser: argparse.ArgumentParser, file: Callable[[str], object], seconds: Callable[[str], float]
) -> None:
    parser.add_argument("account", nargs="+", metavar="ACCOUNT", help="0x… or, on Ethereum, an ENS name")
    parser.add_argument(
        "--rpc", action="append", default=[], metavar="URL", help="node; repeatable (default: $KEEPER_RPC_URL)"
    )
    parser.add_argument(
        "--notify",
        action="append",
        default=[],
        metavar="URL",
        help="Apprise URL or webhook; repeatable, may be env:NAME",
    )
    parser.add_argument("--config", type=file, metavar="FILE", help="protocols, bands, notifiers from here")
    parser.add_argument(
        "--market", action="append", default=[], metavar="ID", help="an isolated market to look in (Morpho); repeatable"
    )
    parser.add_argument("--once", action="store_true", help="show one assessment per position and exit")
    parser.add_argument("--json", action="store_true", help="JSON Lines on stdout: a line per position and look")
    parser.add_argument("--wait", action="store_true", help="watch on although there is no position yet")
    parser.add_argument(
        "--every", type=seconds, default=60.0, metavar="S", help="seconds between looks; a quarter when near (60)"
    )
    parser.add_argument(
        "--budget", type=_count, default=1200, metavar="N", help="most requests to the node per hour (1200)"
    )
    for name, help_ in (
        ("call", "open a margin call below this health (default: by the volatility of the position)"),
        ("urgent", "escalate below this health"),
        ("target", "the health that a cure restores"),
    ):
        parser.add_argument(f"--{name}", metavar="HF", help=help_)
    parser.add_argument(
        "--store", type=file, metavar="DIR", help="where it keeps what was told (~/.local/state/keeper/watch)"
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 60 <= int(text) <= 10_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of requests between 60 and 10000000")
    return int(text)
