"""Arguments of `keeper devnet`. The command itself is in `serve`, imported only when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from keeper.devnet.protocols import kinds
from keeper.values import whole_number

MOST_ACCOUNTS = 1_000
"""Anvil derives and funds each at its start: a thousand in a second, ten thousand not within a minute."""


def add_arguments(parser: argparse.ArgumentParser, file: Callable[[str], object]) -> None:
    """file: makes a path of an argument."""
    known = kinds()
    parser.add_argument(
        "--protocols",
        nargs="+",
        action=_Kinds,
        default=known,
        metavar="KIND",
        help=f"what to deploy, separated by commas or blanks: {', '.join(known)} (all of them)",
    )
    port = whole_number("a port", 0, 65_535)
    parser.add_argument("--port", type=port, default=8545, help="where Anvil listens (8545); 0 takes a free one")
    clock = whole_number("a time between blocks that Anvil's clock knows, in seconds", 1, 86_400)
    parser.add_argument("--block-time", type=clock, metavar="S", help="a block every S seconds, a whole number")
    accounts = whole_number("a number of accounts", 1, MOST_ACCOUNTS)
    parser.add_argument("--accounts", type=accounts, default=10, metavar="N", help="funded, unlocked accounts (10)")
    parser.add_argument("--mode", choices=("off", "dry_run", "live"), default="off", help="of the executor (off)")
    parser.add_argument(
        "--config-out", type=file, default="devnet.toml", metavar="FILE", help="configuration (devnet.toml)"
    )
    parser.add_argument("--force", action="store_true", help="replace the configuration file")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout once everything stands")


class _Kinds(argparse.Action):
    """Kinds in the order given, each once. Ends the program for one that there is not."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        wanted = [kind for value in values or () for kind in str(value).split(",") if kind]
        for kind in wanted:
            if kind not in kinds():
                parser.error(f"--protocols: there is no {kind!r} on the dev chain; there are {', '.join(kinds())}")
        setattr(namespace, self.dest, list(dict.fromkeys(wanted)) or kinds())


def run(args: argparse.Namespace) -> int:
    from keeper.devnet.serve import serve

    return serve(args)
