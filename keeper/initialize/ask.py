"""Asking a person, or answering with defaults where nobody is to be asked."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TextIO, TypeVar

from keeper.core.errors import ConfigError, RetryableError, WrongChain

T = TypeVar("T")

_TRIES = 5


class Asker:
    """Questions go to stderr. silent: nobody is asked, every question has its default for an answer."""

    def __init__(self, *, silent: bool, answers: TextIO | None = None, out: TextIO | None = None) -> None:
        self.silent = silent
        self._answers = answers or sys.stdin
        self._out = out or sys.stderr

    def say(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def text(self, question: str, default: str = "") -> str:
        """An answer without surrounding blanks; the default for an empty one."""
        if self.silent:
            return default
        shown = f"{question} [{default}]: " if default else f"{question}: "
        print(shown, end="", file=self._out, flush=True)
        line = self._answers.readline()
        if not line:
            raise ConfigError("the answers ended before the questions; give flags (`keeper init --help`) and --yes")
        return line.strip() or default

    def yes(self, question: str, *, default: bool) -> bool:
        answer = self.text(f"{question} (y/n)", "y" if default else "n").lower()
        return answer.startswith("y") if answer[:1] in ("y", "n") else default

    def choice(self, question: str, options: Sequence[str], default: str) -> str:
        while True:
            answer = self.text(f"{question} ({', '.join(options)})", default)
            if answer in options:
                return answer
            self.say(f"  {answer!r} is none of {', '.join(options)}")

    def secret(self, question: str) -> str:
        """Not shown while it is typed."""
        return "" if self.silent else getpass.getpass(f"{question}: ").strip()

    async def until(self, question: str, default: str, use: Callable[[str], Awaitable[T]]) -> T:
        """What becomes of an answer that can be used. A person may correct one that cannot; a flag cannot be."""
        for tries_left in reversed(range(_TRIES)):
            answer = self.text(question, default)
            try:
                return await use(answer)
            except (ConfigError, RetryableError, WrongChain) as error:
                if self.silent or not tries_left:
                    raise
                self.say(f"  {error}")
        raise AssertionError("the last try returns or raises")
