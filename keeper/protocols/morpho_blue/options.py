"""What a configuration file may say about a Morpho Blue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keeper.core.errors import ConfigError
from keeper.core.units import scale_decimal
from keeper.protocols.addresses import checksummed
from keeper.protocols.morpho_blue.prices import BASE_DECIMALS, Reference
from keeper.protocols.morpho_blue.track import Scope


@dataclass(frozen=True)
class Options:
    """The keys of a `[[protocols]]` table of kind "morpho_blue", beside the common ones."""

    morpho: bytes = field(metadata={"doc": "The Morpho contract; all its markets are discovered from its events."})
    markets: tuple[str, ...] = field(
        default=(), metadata={"doc": "Track only the markets with these ids (0x and 64 hex digits); empty: all."}
    )
    price_references: Mapping[str, str] = field(
        default_factory=dict,
        metadata={
            "doc": "What a token is worth in dollars, by its address: an amount, or the address of a Chainlink-style "
            "feed. A market is liquidated only if its loan token is here, and `chain.wrapped_native` for gas."
        },
    )

    pre_liquidation_factory: bytes | None = field(
        default=None,
        metadata={
            "doc": "The PreLiquidationFactory: positions whose owners authorized one of its contracts are judged, and "
            "liquidated, by its threshold. Without it nobody looks at them."
        },
    )

    def scope(self) -> Scope:
        """Raises ConfigError for an id, an address or an amount that does not read."""
        references = (self._reference(token, worth) for token, worth in self.price_references.items())
        found = {reference.token: reference for reference in references}
        return Scope(
            self.morpho,
            frozenset(_bytes(id_, 32, "markets name") for id_ in self.markets),
            tuple(found[token] for token in sorted(found)),
            self.pre_liquidation_factory or b"",
        )

    def _reference(self, token: str, worth: str) -> Reference:
        address = _bytes(token, 20, "price_references name the token")
        if worth.startswith("0x"):
            return Reference(address, None, _bytes(worth, 20, f"price_references[{token}] names the feed"))
        try:
            constant = scale_decimal(worth, BASE_DECIMALS)
        except ValueError as error:
            raise ConfigError(f"price_references[{token}]: {error}; give dollars, or the address of a feed") from None
        if constant <= 0:
            raise ConfigError(f"price_references[{token}] is {worth}; it must be more than nothing")
        return Reference(address, constant)


def _bytes(text: str, size: int, what: str) -> bytes:
    try:
        value = bytes.fromhex(text[2:])
    except ValueError:
        value = b""
    if not text.startswith("0x") or len(value) != size:
        raise ConfigError(f"{what} {text!r}, which is not 0x and {2 * size} hex digits")
    if size == 20 and text[2:] not in (text[2:].lower(), text[2:].upper()) and text != checksummed(value):
        raise ConfigError(f"{what} {text!r}, whose checksum is wrong: a digit or the case of a letter is mistyped")
    return value
