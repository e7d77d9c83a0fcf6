"""The commands as the parser knows them, so that what holds for each cannot be forgotten of a new one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from keeper.arguments import Parser


def commands(parser: argparse.ArgumentParser, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Parser]]:
    """Every command, and every action of one, by its name, with all its arguments."""
    if name and isinstance(parser, Parser):
        parser.complete()
        yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, nested in action.choices.items():
                yield from commands(nested, (*name, word))


def needed(sub: argparse.ArgumentParser) -> list[str]:
    """A word for each argument that a command cannot do without."""
    return ["0x" + "01" * 20 for one in sub._actions if one.required and not one.option_strings]
