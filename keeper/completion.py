"""`keeper completion SHELL`: a script for the shell, written from the parser itself, so that it knows what help knows.

Static: pressing Tab never starts Python.
"""

from __future__ import annotations

import argparse

import shtab

from keeper import arguments, values

SHELLS = ("bash", "zsh", "fish")


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """What the shell has to read once; see `keeper completion --help` for where."""
    _fill(parser)
    return shtab.complete(parser, shell=shell)


def _fill(parser: argparse.ArgumentParser) -> None:
    """Arguments are added to a parser when it is used; a completion needs those of all, and which of them are files."""
    if isinstance(parser, arguments.Parser):
        parser.complete()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for nested in action.choices.values():
                _fill(nested)
        elif action.type is values.file:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
