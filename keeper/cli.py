"""`keeper …`: arguments in, exit code out. Nothing heavy is imported before a command needs it.

Exit codes: 0 done · 1 a check failed or the command could not do its work · 2 wrong usage · 130 interrupted.
`keeper --help` and docs/commands.md say the same.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence

from keeper import __version__, arguments
from keeper.streams import open_closed_streams

TYPE_CHECKING = False  # of `typing`, which `keeper --help` would wait for
if TYPE_CHECKING:
    from typing import Any

Command = Callable[[argparse.Namespace], int]

EXIT_CODES = "exit codes: 0 done; 1 failed, or a check failed; 2 wrong usage; 130 interrupted"


def main(argv: Sequence[str] | None = None) -> int:
    open_closed_streams()
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
            # Nobody can ask a daemon that has crashed to say it again.
            _tell(error, in_full=getattr(args, "verbose", 0) > 0, defect_in_full=args.command is _run)
        return 1
    return code


def _is_lost_output(error: Exception, command: Command) -> bool:
    """Whether stdout could not be written. Commands that print nothing there have other pipes, which may not break."""
    written = isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.ENOSPC) and error.filename is None
    return written and command not in (_run, _backfill)


def _tell(error: Exception, *, in_full: bool, defect_in_full: bool) -> None:
    """An error in its own words; one that nobody expected is a defect, and says where. Tracebacks when asked for."""
    import traceback

    from keeper.core.errors import KeeperError
    from keeper.observe import redact
    from keeper.shortage import shortage

    lacking = None if isinstance(error, KeeperError) else shortage(error)
    expected = isinstance(error, KeeperError) or lacking is not None
    text = f"keeper: {lacking}" if lacking else "\n".join((f"keeper: {error}", *getattr(error, "__notes__", ())))
    if in_full or (defect_in_full and not expected):
        text = "".join(traceback.format_exception(error)).rstrip()
    elif not expected:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"keeper: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"
    if not expected:
        wanted = "the lines above" if in_full or defect_in_full else "what the same command says with -v"
        text += f"\nkeeper: this is a defect of Keeper; please report it with {wanted}"
    print(redact(text), file=sys.stderr)


def _nothing(sub: argparse.ArgumentParser) -> None:
    """No arguments but those that every command has."""


def build_parser() -> argparse.ArgumentParser:
    parser = arguments.Parser(
        prog="keeper",
        description="Margin calls and liquidations for collateralized positions on chain.",
        formatter_class=arguments.Help,
        epilog=EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"keeper {__version__}")
    commands = parser.add_subparsers(metavar="command")

    def add(name: str, run: Command, help_: str, fill: arguments.Fill = _nothing, *, config: bool = True) -> None:
        def whole(sub: argparse.ArgumentParser) -> None:
            arguments.common(sub, config=config)
            fill(sub)

        _add(commands, name, run, help_, whole)

    add("check", _check, "verify every precondition, one line each; exit 1 if any fails")
    add("backfill", _backfill, "index up to a block and exit; resumable", arguments.backfill)
    add("run", _run, "the daemon: follow the chain, call for margin, liquidate", arguments.run)
    add("web", _web, "the web page, JSON API and metrics, read-only beside the daemon", arguments.web)
    add("status", _status, "how it fares, on one screen: mode, lag, positions, calls, transactions", arguments.status)
    add("stats", _stats, "how fast it was from a head to judged, planned, accepted, included", arguments.stats)
    add("health", _health, "every open position at the indexed tip", arguments.health)
    add("calls", _calls, "margin calls: episodes with demands and notices", _fill_calls)
    add("ack", _ack, "acknowledge a margin call, so that it is not escalated", arguments.ack)
    add(
        "liquidations",
        _liquidations,
        "our liquidations, from plan to confirmation, with what they brought",
        arguments.liquidations,
    )
    add("transactions", _transactions, "every transaction we signed, with its fate", arguments.transactions)
    add(
        "solvency",
        _solvency,
        "each protocol's losses, what covers them, and what falling prices would open",
        arguments.solvency,
    )
    beside = "works beside a running daemon"
    add("pause", _pause, f"send no new transactions until `keeper resume`; {beside}", arguments.pause)
    add("resume", _resume, f"go on after a pause or a tripped breaker; {beside}", arguments.pause)
    add(
        "repair",
        _repair,
        "index the chain anew, keeping the record of notices and transactions; also out of a damaged file",
        arguments.repair,
    )
    add(
        "rehearse",
        _rehearse,
        "liquidate every position on a fork: profit, or why not, and what stays unpaid",
        arguments.rehearse,
    )
    add(
        "deploy",
        _deploy,
        "put our Liquidator contract on chain, or complete its permissions; harmless to repeat",
        arguments.deploy,
    )
    add("skim", _skim, "send what our contract holds to its owner", arguments.skim)
    add("init", _init, "write a commented configuration, by asking or from flags, and check it", arguments.init)
    add(
        "watch",
        _watch,
        "alert-only in a minute: a few accounts by their state alone; no file needed",
        arguments.watch,
        config=False,
    )
    add(
        "replay",
        _replay,
        "the evaluator and the margin calls over a price history; no node needed",
        arguments.replay,
        config=False,
    )
    add(
        "devnet",
        _devnet,
        "a local Anvil with the real contracts and a ready configuration",
        arguments.devnet,
        config=False,
    )
    _add(
        commands,
        "completion",
        _completion,
        "a script that completes commands and options in your shell",
        arguments.completion,
        epilog=arguments.HOW_TO_COMPLETE,
    )
    return parser


def _fill_calls(sub: argparse.ArgumentParser) -> None:
    arguments.calls(sub)
    actions = sub.add_subparsers(metavar="action")

    def nest(name: str, run: Command, help_: str, fill: arguments.Fill) -> None:
        def whole(one: argparse.ArgumentParser) -> None:
            arguments.common_nested(one)
            fill(one)

        _add(actions, name, run, help_, whole)

    nest("retry", _calls_retry, "try again to deliver what was given up", arguments.calls_retry)
    nest("show", _calls_show, "one call: every step, its evidence, what was told to whom", arguments.calls_show)
    nest("export", _calls_export, "the audit trail, to keep or to hand over", arguments.calls_export)


def _add(
    commands: Any, name: str, run: Command, help_: str, fill: arguments.Fill, *, epilog: str | None = None
) -> None:
    sub = commands.add_parser(
        name, help=help_, description=help_, formatter_class=arguments.Help, epilog=epilog, add_help=False
    )
    sub.set_defaults(command=run)
    sub.fill = fill


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
    from keeper.upkeep.webchild import web_child

    web = None if args.web is None else web_child(house, args.web, args.log_format)
    with progress() as report:
        return asyncio.run(run_daemon(house, report, args.until_block, web, standby=args.standby))


def _web(args: argparse.Namespace) -> int:
    from keeper.queries.live.command import web

    return web(args)


def _status(args: argparse.Namespace) -> int:
    from keeper.queries import status

    return status.status(args)


def _stats(args: argparse.Namespace) -> int:
    from keeper.queries import stats

    return stats.stats(args)


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


def _repair(args: argparse.Namespace) -> int:
    from keeper import repair

    return repair.repair(args)


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


def _completion(args: argparse.Namespace) -> int:
    from keeper import completion

    print(completion.script(build_parser(), args.shell))
    return 0
