"""What a configuration file may say about an Aave v3 pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keeper.core.errors import ConfigError
from keeper.protocols.aave_v3.health import Heartbeats


@dataclass(frozen=True)
class Options:
    """The keys of a `[[protocols]]` table of kind "aave_v3", beside the common ones."""

    pool_addresses_provider: bytes = field(
        metadata={"doc": "The market's PoolAddressesProvider; everything else is discovered from it."}
    )
    heartbeats: Mapping[str, int] = field(
        default_factory=dict,
        metadata={"doc": "Seconds after which a price is stale, by the asset's symbol or address."},
    )
    default_heartbeat_s: int | None = field(
        default=None, metadata={"doc": "The same for assets not named; without it their prices never are stale."}
    )

    def limits(self) -> Heartbeats:
        """Raises ConfigError for an age that is not positive, or an address that does not read."""
        by_asset: dict[bytes, int] = {}
        by_symbol: dict[str, int] = {}
        for name, age_s in (*self.heartbeats.items(), ("default_heartbeat_s", self.default_heartbeat_s)):
            if age_s is not None and (isinstance(age_s, bool) or not isinstance(age_s, int) or age_s <= 0):
                raise ConfigError(f"heartbeat of {name!r} is {age_s!r}; give a positive whole number of seconds")
        for name, age_s in self.heartbeats.items():
            if name.startswith("0x"):
                by_asset[_address(name)] = age_s
            else:
                by_symbol[name] = age_s
        return Heartbeats(by_asset, by_symbol, self.default_heartbeat_s)


def _address(text: str) -> bytes:
    try:
        value = bytes.fromhex(text[2:])
    except ValueError:
        value = b""
    if len(value) != 20:
        raise ConfigError(f"heartbeats name {text!r}, which is neither a symbol nor an address of 40 digits")
    return value
