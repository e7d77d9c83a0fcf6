"""The arguments of each command, added to its parser only once it is used: there are many, and one is run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from keeper import values

TYPE_CHECKING = False  # of `typing`, which `keeper --help` would wait for
if TYPE_CHECKING:
    from typing import Any

Fill = Callable[[argparse.ArgumentParser], None]


class Help(argparse.HelpFormatter):
    """As wide as the terminal. Left to itself argparse imports shutil to learn that, and with it three compressors."""

    def __init__(self, prog: str) -> None:
        try:
            width = os.get_terminal_size(sys.stdout.fileno()).columns - 2
        except (OSError, ValueError):  # no terminal
            width = 78
        super().__init__(prog, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Text that has lines of its own, which are to be copied, keeps them."""
        return text if "\n" in text else super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """fill: adds the arguments, when they are first needed, and before them -h, of a parser that was made without."""

    fill: Fill | None = None

    def complete(self) -> None:
        fill, self.fill = self.fill, None
        if fill is not None:
            self.add_argument("-h", "--help", action="help", help="show this help message and exit")
            fill(self)

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        self.complete()
        return super().parse_known_args(*args, **kwargs)

    def format_help(self) -> str:
        self.complete()
        return super().format_help()

    def format_usage(self) -> str:
        self.complete()
        return super().format_usage()


def common(sub: argparse.ArgumentParser, *, config: bool) -> None:
    if config:
        sub.add_argument("--config", type=values.file, default="keeper.toml", help="configuration (keeper.toml)")
    sub.add_argument("-v", "--verbose", action="count", default=0, help="more log lines; tracebacks of errors")
    sub.add_argument("--log-format", choices=("console", "json"), default="console", help="log lines on stderr")


def common_nested(sub: argparse.ArgumentParser) -> None:
    """Of an action of a command: what was given before its name stays."""
    unless = argparse.SUPPRESS
    sub.add_argument("--config", type=values.file, default=unless, help="configuration (keeper.toml)")
    sub.add_argument("-v", "--verbose", action="count", default=unless, help="more log lines")
    sub.add_argument("--log-format", choices=("console", "json"), default=unless, help="log lines on stderr")


# --- one command each -------------------------------------------------------------------------------------------------


def backfill(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--to", type=values.block_number, metavar="BLOCK", help="stop here (default: the newest final block)"
    )


def run(sub: argparse.ArgumentParser) -> None:
    mode = sub.add_mutually_exclusive_group()
    mode.add_argument("--alert-only", action="store_true", help="never transact, whatever the configuration says")
    mode.add_argument("--dry-run", action="store_true", help="plan and simulate liquidations, send nothing")
    sub.add_argument(
        "--web",
        type=values.listen,
        metavar="HOST:PORT",
        help="also serve the web page and the API here, from a process of its own (see `keeper web`)",
    )
    sub.add_argument(
        "--standby",
        action="store_true",
        help="while another daemon holds the database, wait and take over once it is gone, instead of refusing",
    )
    sub.add_argument("--until-block", type=values.block_number, metavar="N", help="exit 0 once block N is processed")


def web(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--listen", type=values.listen, metavar="HOST:PORT", help="default: listen in [web], which is 127.0.0.1:8080"
    )
    sub.add_argument(
        "--token", metavar="env:NAME", help="the variable that holds the token who asks must give (default: [web])"
    )
    _without_key(sub)


def status(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--watch",
        type=values.seconds,
        nargs="?",
        const=2.0,
        metavar="SECONDS",
        help="look again every so many seconds (2) until Ctrl-C",
    )
    sub.add_argument(
        "--check",
        nargs="?",
        const="ready",
        choices=("ready", "alive"),
        help="for health checks: say only what is wrong, exit 1 if anything is; alive: that the daemon runs, no more",
    )
    _json_flag(sub)
    _for_asking(sub)


def stats(sub: argparse.ArgumentParser) -> None:
    _json_flag(sub)
    _for_asking(sub)


def health(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("account", type=values.account, nargs="*", metavar="ACCOUNT", help="only these accounts (0x…)")
    sub.add_argument(
        "--verify", action="store_true", help="hold each against the contract's own view; exit 1 if any differs"
    )
    sub.add_argument("--metrics", action="store_true", help="margins, leverage, what is at stake; also with accounts")
    _json_flag(sub)
    _for_asking(sub)


def calls(sub: argparse.ArgumentParser) -> None:
    _json_flag(sub)
    sub.add_argument("--undelivered", action="store_true", help="notices that wait, fail, or were given up, instead")
    _for_asking(sub)  # nor do its actions


def calls_retry(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("id", metavar="ID", help="a notice's id (see --undelivered), or all")
    sub.add_argument("--channel", metavar="NAME", help="only on this notifier")


def calls_show(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("id", metavar="ID|ACCOUNT", help="of a call or a notice, or its beginning")
    sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object on stdout")


def calls_export(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--format", choices=("csv", "jsonl", "html"), default="jsonl", help="default: jsonl")
    sub.add_argument(
        "--since",
        type=values.moment,
        metavar="WHEN",
        help="only what happened since: 2026-11-01, 2026-11-01T12:00, 30d, 12h",
    )
    sub.add_argument(
        "--account",
        type=values.account,
        action="append",
        default=[],
        metavar="ACCOUNT",
        help="only this one (0x…); repeatable",
    )
    sub.add_argument("--output", type=values.file, metavar="FILE", help="write here instead of to stdout")


def ack(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("id", metavar="ID|TOKEN", help="of a call or a notice, or the token of a link")
    sub.add_argument("--by", metavar="NAME", help="who acknowledges (default: you)")
    _for_asking(sub)


def liquidations(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--daily", action="store_true", help="sums by day (UTC): counts, profit, and all gas spent")
    _json_flag(sub)
    _for_asking(sub)


def transactions(sub: argparse.ArgumentParser) -> None:
    _json_flag(sub)
    _for_asking(sub)


def solvency(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--move",
        type=values.move,
        action="append",
        metavar="PERCENT",
        help="of volatile prices, such as -15; repeatable",
    )
    _json_flag(sub)
    _without_key(sub)


def pause(sub: argparse.ArgumentParser) -> None:
    """Stopping must not fail for want of a key."""
    _for_asking(sub)


def repair(sub: argparse.ArgumentParser) -> None:
    _without_key(sub)
    sub.add_argument("--yes", action="store_true", help="do not ask; for scripts")


def rehearse(sub: argparse.ArgumentParser) -> None:
    _without_key(sub)  # it acts with a key of its own, on a chain that exists nowhere else
    sub.add_argument("account", type=values.account, nargs="*", metavar="ACCOUNT", help="only these accounts (0x…)")
    sub.add_argument(
        "--by",
        choices=("threshold", "price"),
        default="threshold",
        help="how a healthy position is made liquidatable: by the protocol's threshold, so that prices stay equal to "
        "those of the pools (default), or by the oracle's price alone",
    )
    sub.add_argument(
        "--below", type=values.health_factor, metavar="HEALTH", help="only positions below this health factor"
    )
    sub.add_argument("--limit", type=values.number_of_positions, metavar="N", help="only the N nearest to liquidation")
    sub.add_argument(
        "--block", type=values.block_number, metavar="BLOCK", help="fork at this block (default: the newest)"
    )
    _json_flag(sub)


def deploy(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--heir",
        type=values.account,
        metavar="ADDRESS",
        help="offer it the ownership in the end (0x…); the key may run plans",
    )
    sub.add_argument(
        "--pools", action="store_true", help="also allow every Uniswap pool of a [[funding]] table to lend: many calls"
    )
    sub.add_argument("--board", action="store_true", help="the MarginCallBoard instead, for notices on chain")
    _order_flags(sub)


def skim(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "token",
        type=values.token,
        nargs="*",
        metavar="TOKEN",
        help='only these (0x…, or "native"); default: all it may hold',
    )
    _order_flags(sub)


def init(sub: argparse.ArgumentParser) -> None:
    from keeper.initialize import arguments

    arguments.add_arguments(sub, values.file)


def watch(sub: argparse.ArgumentParser) -> None:
    from keeper.watch import arguments

    arguments.add_arguments(sub, values.file, values.seconds)


def replay(sub: argparse.ArgumentParser) -> None:
    from keeper.replay import arguments

    arguments.add_arguments(sub, values.file)


def devnet(sub: argparse.ArgumentParser) -> None:
    from keeper.devnet import cli

    cli.add_arguments(sub, values.file)


HOW_TO_COMPLETE = """to load it:
  bash  eval "$(keeper completion bash)"                 in ~/.bashrc
  zsh   keeper completion zsh > ~/.zfunc/_keeper         fpath+=~/.zfunc first
  fish  keeper completion fish > ~/.config/fish/completions/keeper.fish"""


def completion(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that shall read it")


# --- flags ------------------------------------------------------------------------------------------------------------


def _without_key(sub: argparse.ArgumentParser) -> None:
    """Of commands that send nothing by the configuration's mode: they take it as off, and its key may be missing, as it
    is wherever a query is asked but in the daemon's own environment."""
    sub.set_defaults(alert_only=True)


def _for_asking(sub: argparse.ArgumentParser) -> None:
    """Of commands that ask the database or leave a file: neither node nor channels, whose URLs and tokens may be
    missing as well."""
    _without_key(sub)
    sub.set_defaults(for_asking=True)


def _json_flag(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="JSON Lines on stdout, one object a line")


def _order_flags(sub: argparse.ArgumentParser) -> None:
    """Of commands that send what a person orders, with the executor's key whatever its mode."""
    _without_key(sub)
    sub.add_argument("--yes", action="store_true", help="do not ask; for scripts")
    sub.add_argument("--dry-run", action="store_true", help="show what would be sent and cost, send nothing")
