"""Values on a command line: what one is, or why it is none. An error of these ends the command with exit code 2."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def file(text: str) -> object:
    """A Path. Defaults come here as well, so that its import waits until a command really runs."""
    from pathlib import Path

    return Path(text)


def block_number(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a block number; give a whole number such as 19000000")
    return number


def seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.1 <= number <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 to 86400")
    return number


def _checked(check: Callable[[str], object]) -> Callable[[str], str]:
    """The text as it is, for what a command reads itself."""

    def parse(text: str) -> str:
        from keeper.config.types import Problem
        from keeper.core.errors import ConfigError

        try:
            check(text)
        except (ConfigError, Problem) as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text

    return parse


def _account_of(text: str) -> object:
    from keeper.queries.report import account_of

    return account_of(text)


def _token_of(text: str) -> object:
    return text if text == "native" else _account_of(text)


def _moment_of(text: str) -> object:
    from keeper.queries.record import moment

    return moment(text, 0.0)


def _listen_of(text: str) -> object:
    from keeper.config.web import parse_listen

    return parse_listen(text)


account = _checked(_account_of)
token = _checked(_token_of)
moment = _checked(_moment_of)
listen = _checked(_listen_of)


def whole_number(what: str, least: int, most: int) -> Callable[[str], int]:
    """Of values from least to most. what: "a port", for the error."""

    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}; give a whole number from {least} to {most}")
        return number

    return parse


def health_factor(text: str) -> int:
    """Scaled by 1e18."""
    from decimal import Decimal, InvalidOperation

    try:
        factor = Decimal(text)
    except InvalidOperation:
        factor = Decimal(-1)
    if not (factor.is_finite() and factor > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a health factor; give a decimal number such as 1.25")
    return int(factor.scaleb(18))


def number_of_positions(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of positions; give a whole number from 1")
    return number


def move(text: str) -> int:
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = -100.0
    if not -100 < percent <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no move of prices; give percent above -100, such as -15")
    return round(percent * 100)
