"""What people see on stdout: tables that fit 80 columns, colours for a terminal that wants them.

rich is imported only when something is shown: scripts, which ask for JSON, need not wait for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

_ACCOUNT = len("0x1234…5678")

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text


def console(*, soft_wrap: bool = False) -> Console:
    """As wide as the terminal, 80 columns elsewhere; no colours without a terminal, with NO_COLOR, or with TERM=dumb.

    soft_wrap: lines stay whole, however long, so that they can be copied.
    """
    from rich.console import Console

    return Console(highlight=False, soft_wrap=soft_wrap)


def table(*columns: str, right: Collection[str] = (), whole: Collection[str] = (), rules: bool = True) -> Table:
    """right: columns of numbers. whole: columns whose words are not broken while others can give way.

    A number that still has no room ends in an ellipsis, never in a digit. rules: with a line below the header and air
    around it.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD if rules else None)
    made.pad_edge, made.padding = False, (0, 1 if rules else 2, 0, 0)
    for column in columns:
        kept, least = column in whole, _ACCOUNT if column in ("account", "position") else None
        made.add_column(
            column,
            overflow="ellipsis" if kept else "fold",
            justify="right" if column in right else "left",
            no_wrap=kept,
            min_width=least,
        )
    return made


class Amounts:
    """Numbers and what they count, as a cell: a line each where there is room, else what is counted below its number.

    A number that has no room by itself ends in an ellipsis, never in a digit. Nothing in it is markup.
    """

    def __init__(self, amounts: Sequence[tuple[str, str]]) -> None:
        self._amounts = amounts

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.cells import cell_len
        from rich.measure import Measurement

        least = max(cell_len(number) for number, _ in self._amounts)
        most = max(cell_len(f"{number} {counted}") for number, counted in self._amounts)
        return Measurement(min(least, options.max_width), min(most, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.cells import cell_len
        from rich.text import Text

        for number, counted in self._amounts:
            if cell_len(line := f"{number} {counted}") <= options.max_width:
                yield Text(line)
            else:
                yield Text(number, no_wrap=True, overflow="ellipsis")
                yield Text(counted, overflow="fold")
