"""What orders cost, before anybody agrees to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from keeper.core.types import Price
from keeper.core.units import format_units
from keeper.executor.deployment import Order
from keeper.executor.value import NATIVE_DECIMALS, gas_value
from keeper.protocols.addresses import checksummed

_MANY_WEI = 10**15
_ADDRESS = re.compile(r"\b0x[0-9a-f]{40}\b")


@dataclass(frozen=True, slots=True)
class Line:
    """gas: expected to be used; gas_limit: allowed."""

    order: Order
    gas: int
    gas_limit: int


@dataclass(frozen=True, slots=True)
class Bill:
    """gas_price_wei: expected. max_fee_wei: the most that is offered per gas; a stuck transaction may offer more, up to
    executor.max_fee_gwei."""

    lines: tuple[Line, ...]
    gas_price_wei: int
    max_fee_wei: int

    @property
    def gas(self) -> int:
        return sum(line.gas for line in self.lines)

    @property
    def cost_wei(self) -> int:
        return self.gas * self.gas_price_wei

    @property
    def most_wei(self) -> int:
        return sum(line.gas_limit for line in self.lines) * self.max_fee_wei

    def shown(self, native: Price | None, base_decimals: int, currency: str) -> Iterator[str]:
        """Lines for a person. native: a protocol's price of the native coin, if one has it, in its base currency."""
        for number, line in enumerate(self.lines, 1):
            yield f"  {number:>2}  {line.gas:>9,} gas  {readable(line.order.what)}"
        gwei = format_units(self.gas_price_wei, 9, 3)
        total = f"in all {self.gas:,} gas at {gwei} gwei: {coins(self.cost_wei)} of the native coin"
        if native is not None:
            value = gas_value(self.cost_wei, native, base_decimals)
            total += f" ({format_units(value, base_decimals, 2)} {currency or 'in base currency'})"
        yield f"{total}; at most {coins(self.most_wei)}"


def readable(text: str) -> str:
    """With its addresses as people write them."""
    return _ADDRESS.sub(lambda found: checksummed(bytes.fromhex(found[0][2:])), text)


def coins(wei: int) -> str:
    """Exact enough to tell what it is, even on a chain where gas costs next to nothing."""
    return format_units(wei, NATIVE_DECIMALS, 6 if wei >= _MANY_WEI else 12)
