"""A follower of the dev chain's Aave market."""

from __future__ import annotations

from typing import Any

from keeper.devnet.chain import DevChain
from keeper.protocols.aave_v3 import build
from keeper.protocols.aave_v3.state import Account, Market
from tests.support import follower


class Follower(follower.Follower[Market, Account]):
    """options: of the adapter."""

    def __init__(self, chain: DevChain, **options: Any) -> None:
        provider = bytes.fromhex(chain.aave.provider[2:])
        known = {"name": "aave", "start_block": 0, "pool_addresses_provider": provider}
        super().__init__(chain, build(known | options))
