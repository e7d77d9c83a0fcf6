"""Arguments of `keeper devnet`. The command itself is in `serve`, imported only when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable

PROTOCOLS = ("aave_v3",)


def add_arguments(parser: argparse.ArgumentParser, file: Callable[[str], object]) -> None:
    """file: makes a path of an argument."""
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS), help="what to deploy")
    parser.add_argument("--port", type=int, default=8545, help="where Anvil listens (8545); 0 takes a free one")
    parser.add_argument("--block-time", type=float, metavar="S", help="a block every S seconds")
    parser.add_argument("--accounts", type=int, default=10, metavar="N", help="funded, unlocked accounts (10)")
    parser.add_argument("--mode", choices=("off", "dry_run", "live"), default="off", help="of the executor (off)")
    parser.add_argument(
        "--config-out", type=file, default="devnet.toml", metavar="FILE", help="configuration (devnet.toml)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout once everything stands")


def run(args: argparse.Namespace) -> int:
    from keeper.devnet.serve import serve

    return serve(args)
