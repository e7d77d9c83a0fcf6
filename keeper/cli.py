"""`keeper …`: arguments in, exit code out. Nothing heavy is imported before a command needs it.

Exit codes: 0 done · 1 a check failed or the command could not do its work · 2 wrong usage · 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from keeper import __version__

if TYPE_CHECKING:
    from typing import Any

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if "command" not in args:
        parser.print_help()
        return 2
    try:
        code = int(args.command(args))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if _is_lost_output(error, args.command):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it ends
            if isinstance(error, BrokenPipeError):
                return 0  # nobody reads it any more (`| head`), which is no failure
            print(f"keeper: the output could not be written ({error}); free space where it goes", file=sys.stderr)
        else:
            _tell(error, in_full=args.verbose > 0)
        return 1
    return code


def _is_lost_output(error: Exception, command: Command) -> bool:
    """Whether stdout could not be written. Commands that print nothing there have other pipes, which may not break."""
    written = isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.ENOSPC) and error.filename is None
    return written and command not in (_run, _backfill)


def _tell(error: Exception, *, in_full: bool) -> None:
    """An error in its own words; one that nobody expected with its traceback, since it is a defect. No secrets."""
    import traceback

    from keeper.core.errors import KeeperError
    from keeper.observe import redact

    expected = isinstance(error, KeeperError)
    text = "\n".join((f"keeper: {error}", *getattr(error, "__notes__", ())))
    if in_full or not expected:
        text = "".join(traceback.format_exception(error)).rstrip()
    if not expected:
        text += "\nkeeper: this is a defect of Keeper; please report it with the lines above"
    print(redact(text), file=sys.stderr)


class _Help(argparse.HelpFormatter):
    """As wide as the terminal. Left to itself argparse imports shutil to learn that, and with it three compressors."""

    def __init__(self, prog: str) -> None:
        try:
            width = os.get_terminal_size(sys.stdout.fileno()).columns - 2
        except (OSError, ValueError):  # no terminal
            width = 78
        super().__init__(prog, width=width)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keeper",
        description="Margin calls and liquidations for collateralized positions on chain.",
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"keeper {__version__}")
    commands = parser.add_subparsers(metavar="command")

    def add(name: str, run: Command, help_: str, *, config: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_, formatter_class=_Help)
        if config:
            sub.add_argument("--config", type=_file, default="keeper.toml", help="configuration (keeper.toml)")
        sub.add_argument("-v", "--verbose", action="count", default=0, help="more log lines; tracebacks of errors")
        sub.add_argument("--log-format", choices=("console", "json"), default="console", help="log lines on stderr")
        sub.set_defaults(command=run)
        return sub

    def nest(under: Any, name: str, run: Command, help_: str) -> argparse.ArgumentParser:
        """An action of a command: takes the command's options before or after its own name."""
        sub: argparse.ArgumentParser = under.add_parser(name, help=help_, description=help_, formatter_class=_Help)
        unless = argparse.SUPPRESS  # what was given before the name stays
        sub.add_argument("--config", type=_file, default=unless, help="configuration (keeper.toml)")
        sub.add_argument("-v", "--verbose", action="count", default=unless, help="more log lines")
        sub.add_argument("--log-format", choices=("console", "json"), default=unless, help="log lines on stderr")
        sub.set_defaults(command=run)
        return sub

    add("check", _check, "verify every precondition, one line each; exit 1 if any fails")

    sub = add("backfill", _backfill, "index up to a block and exit; resumable")
    sub.add_argument("--to", type=_block_number, metavar="BLOCK", help="stop here (default: the newest final block)")

    sub = add("run", _run, "the daemon: follow the chain, call for margin, liquidate")
    mode = sub.add_mutually_exclusive_group()
    mode.add_argument("--alert-only", action="store_true", help="never transact, whatever the configuration says")
    mode.add_argument("--dry-run", action="store_true", help="plan and simulate liquidations, send nothing")
    sub.add_argument("--until-block", type=_block_number, metavar="N", help="exit 0 once block N is processed")

    sub = add("health", _health, "every open position at the indexed tip")
    sub.add_argument("account", nargs="*", metavar="ACCOUNT", help="only these accounts (0x…)")
    sub.add_argument(
        "--verify", action="store_true", help="hold each against the contract's own view; exit 1 if any differs"
    )
    sub.add_argument("--metrics", action="store_true", help="margins, leverage, what is at stake; also with accounts")
    _json_flag(sub)
    calls = add("calls", _calls, "margin calls: episodes with demands and notices")
    _json_flag(calls)
    calls.add_argument("--undelivered", action="store_true", help="notices that wait, fail, or were given up, instead")
    nested = calls.add_subparsers(metavar="action")
    sub = nest(nested, "retry", _calls_retry, "try again to deliver what was given up")
    sub.add_argument("id", metavar="ID", help="a notice's id (see --undelivered), or all")
    sub.add_argument("--channel", metavar="NAME", help="only on this notifier")
    sub.set_defaults(alert_only=True)  # the executor's secrets are not needed
    sub = nest(nested, "show", _calls_show, "one call: every step, its evidence, what was told to whom")
    sub.add_argument("id", metavar="ID|ACCOUNT", help="of a call or a notice, or its beginning")
    sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object on stdout")
    sub = nest(nested, "export", _calls_export, "the audit trail, to keep or to hand over")
    sub.add_argument("--format", choices=("csv", "jsonl", "html"), default="jsonl", help="default: jsonl")
    sub.add_argument("--since", metavar="WHEN", help="only what happened since: 2026-11-01, 2026-11-01T12:00, 30d, 12h")
    sub.add_argument(
        "--account", action="append", default=[], metavar="ACCOUNT", help="only this one (0x…); repeatable"
    )
    sub.add_argument("--output", type=_file, metavar="FILE", help="write here instead of to stdout")

    sub = add("ack", _ack, "acknowledge a margin call, so that it is not escalated")
    sub.add_argument("id", metavar="ID|TOKEN", help="of a call or a notice, or the token of a link")
    sub.add_argument("--by", metavar="NAME", help="who acknowledges (default: you)")
    sub.set_defaults(alert_only=True)

    sub = add("liquidations", _liquidations, "our liquidations, from plan to confirmation, with what they brought")
    sub.add_argument("--daily", action="store_true", help="sums by day (UTC): counts, profit, and all gas spent")
    _json_flag(sub)
    _json_flag(add("transactions", _transactions, "every transaction we signed, with its fate"))

    sub = add("solvency", _solvency, "each protocol's losses, what covers them, and what falling prices would open")
    sub.add_argument(
        "--move", type=_move, action="append", metavar="PERCENT", help="of volatile prices, such as -15; repeatable"
    )
    _json_flag(sub)
    sub.set_defaults(alert_only=True)

    for name, run, help_ in (
        ("pause", _pause, "send no new transactions until `keeper resume`; works beside a running daemon"),
        ("resume", _resume, "go on after a pause or a tripped breaker; works beside a running daemon"),
    ):
        # Stopping must not fail for want of a key, so the executor's secrets are not asked for.
        add(name, run, help_).set_defaults(alert_only=True)

    sub = add("rehearse", _rehearse, "liquidate every position on a fork: profit, or why not, and what stays unpaid")
    sub.set_defaults(alert_only=True)  # it acts with a key of its own, on a chain that exists nowhere else
    sub.add_argument("account", nargs="*", metavar="ACCOUNT", help="only these accounts (0x…)")
    sub.add_argument(
        "--by",
        choices=("threshold", "price"),
        default="threshold",
        help="how a healthy position is made liquidatable: by the protocol's threshold, so that prices stay equal to "
        "those of the pools (default), or by the oracle's price alone",
    )
    sub.add_argument("--below", type=_health_factor, metavar="HEALTH", help="only positions below this health factor")
    sub.add_argument("--limit", type=_count, metavar="N", help="only the N nearest to liquidation")
    sub.add_argument("--block", type=_block_number, metavar="BLOCK", help="fork at this block (default: the newest)")
    _json_flag(sub)

    sub = add(
        "deploy", _deploy, "put our Liquidator contract on chain, or complete its permissions; harmless to repeat"
    )
    sub.add_argument("--heir", metavar="ADDRESS", help="offer it the ownership in the end (0x…); the key may run plans")
    sub.add_argument(
        "--pools", action="store_true", help="also allow every Uniswap pool of a [[funding]] table to lend: many calls"
    )
    sub.add_argument("--board", action="store_true", help="the MarginCallBoard instead, for notices on chain")
    _order_flags(sub)
    sub = add("skim", _skim, "send what our contract holds to its owner")
    sub.add_argument(
        "token", nargs="*", metavar="TOKEN", help='only these (0x…, or "native"); default: all it may hold'
    )
    _order_flags(sub)

    sub = add("init", _init, "write a commented configuration, by asking or from flags, and check it")
    from keeper.initialize import arguments as init_arguments

    init_arguments.add_arguments(sub, _file)

    sub = add(
        "watch", _watch, "alert-only in a minute: a few accounts by their state alone; no file needed", config=False
    )
    from keeper.watch import arguments as watch_arguments

    watch_arguments.add_arguments(sub, _file)

    sub = add(
        "replay", _replay, "the evaluator and the margin calls over a price history; no node needed", config=False
    )
    from keeper.replay import arguments as replay_arguments

    replay_arguments.add_arguments(sub, _file)

    sub = add("devnet", _devnet, "a local Anvil with the real contracts and a ready configuration", config=False)
    from keeper.devnet import cli as devnet_cli

    devnet_cli.add_arguments(sub, _file)
    return parser


def _json_flag(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="JSON Lines on stdout, one object a line")


def _order_flags(sub: argparse.ArgumentParser) -> None:
    """Of commands that send what a person orders, with the executor's key whatever its mode."""
    sub.set_defaults(alert_only=True)
    sub.add_argument("--yes", action="store_true", help="do not ask; for scripts")
    sub.add_argument("--dry-run", action="store_true", help="show what would be sent and cost, send nothing")


def _file(text: str) -> object:
    """A Path. Defaults come here as well, so that its import waits until a command really runs."""
    from pathlib import Path

    return Path(text)


def _block_number(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a block number; give a whole number such as 19000000")
    return number


def _health_factor(text: str) -> int:
    """Scaled by 1e18."""
    from decimal import Decimal, InvalidOperation

    try:
        factor = Decimal(text)
    except InvalidOperation:
        factor = Decimal(-1)
    if not (factor.is_finite() and factor > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a health factor; give a decimal number such as 1.25")
    return int(factor.scaleb(18))


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of positions; give a whole number from 1")
    return number


def _move(text: str) -> int:
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = -100.0
    if not -100 < percent <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no move of prices; give percent above -100, such as -15")
    return round(percent * 100)


def _check(args: argparse.Namespace) -> int:
    from keeper.wire import open_house

    house = open_house(args)
    from keeper.preflight import check  # what it needs is heavy, and a mistake in the file should be told at once

    return check(house, sys.stdout)


def _backfill(args: argparse.Namespace) -> int:
    from keeper.wire import open_house

    house = open_house(args)
    import asyncio

    from keeper.daemon import run_backfill
    from keeper.progress import progress

    with progress() as report:
        return asyncio.run(run_backfill(house, report, args.to))


def _run(args: argparse.Namespace) -> int:
    from keeper.wire import open_house

    house = open_house(args)
    import asyncio

    from keeper.daemon import run_daemon
    from keeper.progress import progress

    with progress() as report:
        return asyncio.run(run_daemon(house, report, args.until_block))


def _health(args: argparse.Namespace) -> int:
    from keeper.queries import report

    return report.health(args)


def _ack(args: argparse.Namespace) -> int:
    from keeper.queries import deliveries

    return deliveries.acknowledge(args)


def _calls_retry(args: argparse.Namespace) -> int:
    from keeper.queries import deliveries

    return deliveries.retry(args)


def _calls_show(args: argparse.Namespace) -> int:
    from keeper.queries import record

    return record.show(args)


def _calls_export(args: argparse.Namespace) -> int:
    from keeper.queries import record

    return record.export(args)


def _calls(args: argparse.Namespace) -> int:
    if args.undelivered:
        from keeper.queries import deliveries

        return deliveries.undelivered(args)
    from keeper.queries import report

    return report.calls(args)


def _solvency(args: argparse.Namespace) -> int:
    from keeper import solvency

    return solvency.solvency(args)


def _liquidations(args: argparse.Namespace) -> int:
    from keeper.queries import report

    return report.liquidations(args)


def _transactions(args: argparse.Namespace) -> int:
    from keeper.queries import report

    return report.transactions(args)


def _pause(args: argparse.Namespace) -> int:
    from keeper import control

    return control.pause(args)


def _resume(args: argparse.Namespace) -> int:
    from keeper import control

    return control.resume(args)


def _deploy(args: argparse.Namespace) -> int:
    from keeper.deployment.command import deploy

    return deploy(args)


def _skim(args: argparse.Namespace) -> int:
    from keeper.deployment.command import skim_all

    return skim_all(args)


def _rehearse(args: argparse.Namespace) -> int:
    from keeper.rehearsal.command import rehearse

    return rehearse(args)


def _init(args: argparse.Namespace) -> int:
    from keeper.initialize import command

    return command.run(args)


def _watch(args: argparse.Namespace) -> int:
    from keeper.watch import command

    return command.run(args)


def _replay(args: argparse.Namespace) -> int:
    from keeper.replay import command

    return command.run(args)


def _devnet(args: argparse.Namespace) -> int:
    from keeper.devnet import cli as devnet_cli

    return devnet_cli.run(args)
