"""The arguments of `keeper init`. Imports nothing heavy: every command line builds them."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add_arguments(parser: argparse.ArgumentParser, file: Callable[[str], object]) -> None:
    parser.add_argument("--rpc", metavar="URL", help="node: ws(s)://, http(s)://, an IPC path, or env:NAME")
    parser.add_argument(
        "--from", dest="source", type=file, metavar="FILE", help="start from this file (default: the shipped one)"
    )
    parser.add_argument("--protocol", action="append", metavar="NAME", help="only this one of that file; repeatable")
    parser.add_argument(
        "--account", action="append", metavar="ACCOUNT", help="0x… or an ENS name; repeatable (none: every account)"
    )
    parser.add_argument(
        "--notify", action="append", metavar="URL", help="Apprise URL or webhook, or env:NAME; repeatable"
    )
    parser.add_argument("--mode", choices=("off", "dry_run", "live"), help="off: alerts only (default)")
    parser.add_argument("--wallet", metavar="ADDRESS", help="whose liquidations a dry run plans (0x…)")
    parser.add_argument("--yes", "-y", action="store_true", help="ask nothing: flags and defaults")
    parser.add_argument("--force", action="store_true", help="replace the configuration file")
    parser.add_argument("--test", action="store_true", help="send a test message to every notifier")
    parser.add_argument("--no-check", action="store_true", help="do not run `keeper check` on the result")
