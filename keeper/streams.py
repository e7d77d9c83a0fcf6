"""Standard streams that whoever started us has closed (`keeper … >&-`)."""

from __future__ import annotations

import os
import sys


def open_closed_streams() -> None:
    """Put /dev/null in their place, for what we start as well. Python has None for each, and the next file that is
    opened, a database, would get its number and whatever somebody writes there. Before anything else is opened."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))
