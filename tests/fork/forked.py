"""An Anvil fork of a market that somebody else runs, seen through the protocol's public interface alone.

Nothing here knows whether the upstream is a live chain or a dev chain: whoever has a URL rehearses on the former,
everybody else on the latter, along the same path.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_utils.crypto import keccak

from keeper.devnet.anvil import Anvil
from keeper.devnet.chain import DevChain, Wallet
from keeper.devnet.client import Client

CONFIGS = Path(__file__).parents[2] / "configs"
BORROWED = "0x" + keccak(text="Borrow(address,address,address,uint256,uint8,uint256,uint16)").hex()

_LOOK_BACK = 500
_WINDOWS = 20
_ENTRY = "getUserAccountData(address)(uint256,uint256,uint256,uint256,uint256,uint256)"
_KEY = keccak(text="keeper fork test: a wallet of nobody")  # the published test keys have a past on live chains

Tables = dict[str, Any]


@contextmanager
def upstream(url: str | None) -> Iterator[tuple[str, Tables]]:
    """Where to fork from, and the configuration of a deployment there: the repository's own for a live chain."""
    if url is None:
        with DevChain.start() as chain:
            yield chain.rpc_url, _local_market(chain)
        return
    with Anvil.start(fork_url=url) as probe:
        chain_id = int(probe.rpc("eth_chainId"), 16)
    for file in sorted(CONFIGS.glob("*.toml")):
        tables = tomllib.loads(file.read_text())
        if tables["chain"]["id"] == chain_id:
            yield url, tables
            return
    raise LookupError(f"KEEPER_FORK_URL serves chain {chain_id}, of which configs/ has no deployment")


def _local_market(chain: DevChain) -> Tables:
    for account, debt in zip(chain.accounts, (5_000, 9_000, 12_000, 13_000, 14_000), strict=False):
        chain.aave.supply(account, "WETH", Decimal(10))
        chain.aave.borrow(account, "USDC", Decimal(debt))
    chain.aave.supply(chain.accounts[6], "WBTC", Decimal(1))
    chain.aave.borrow(chain.accounts[6], "DAI", Decimal(20_000))
    return {
        "chain": {"id": chain.chain_id, "wrapped_native": chain.tokens["WETH"].address},
        "store": {},
        "protocols": [{"kind": "aave_v3", "name": "aave", "pool_addresses_provider": chain.aave.provider}],
    }


@dataclass
class Fork:
    """A fork, and what a test does to it. `liquidator`: a wallet with ether and nothing else."""

    anvil: Anvil
    client: Client
    tables: Tables
    liquidator: Wallet
    start_block: int

    @classmethod
    @contextmanager
    def of(cls, url: str, tables: Tables) -> Iterator[Fork]:
        with Anvil.start(fork_url=url) as anvil:
            wallet = Wallet(Account.from_key(_KEY).address, "0x" + _KEY.hex())
            anvil.rpc("anvil_setBalance", wallet.address, hex(10**21))
            fork = cls(anvil, Client(anvil), tables, wallet, 0)
            fork.start_block = fork._recent_borrowing()
            yield fork

    def _recent_borrowing(self) -> int:
        """A block from which on some accounts borrowed; a whole market takes hours to index."""
        head = self.block_number
        for window in range(1, _WINDOWS + 1):
            first = max(0, head - window * _LOOK_BACK)
            query = {"address": self.pool, "topics": [BORROWED], "fromBlock": hex(first), "toBlock": hex(head)}
            if len(self.anvil.rpc("eth_getLogs", query)) >= 5 or first == 0:
                return first
        return first

    # --- the market

    @property
    def provider(self) -> str:
        return str(self.tables["protocols"][0]["pool_addresses_provider"])

    @property
    def pool(self) -> str:
        return str(self.client.call(self.provider, "getPool()(address)"))

    def account_data(self, account: str, block_hash: bytes) -> Mapping[str, int]:
        """The pool's own view, under its own names."""
        data = self.client.call(self.pool, _ENTRY, account, block=block_hash)
        names = ("totalCollateralBase", "totalDebtBase", "", "currentLiquidationThreshold", "", "healthFactor")
        return {name: value for name, value in zip(names, data, strict=True) if name}

    def scale_price(self, asset: str, factor: Decimal) -> None:
        """Put a feed that answers a constant in the place of the asset's own."""
        oracle = self.client.call(self.provider, "getPriceOracle()(address)")
        price = int(self.client.call(oracle, "getAssetPrice(address)(uint256)", asset) * factor)
        source = self.client.call(oracle, "getSourceOfAsset(address)(address)", asset)
        self.anvil.rpc("anvil_setCode", source, "0x" + constant(price, self.anvil.timestamp()).hex())
        assert self.client.call(oracle, "getAssetPrice(address)(uint256)", asset) == price

    def fund(self, asset: str, amount: int) -> None:
        """Give the wallet tokens out of the market's own: the supply token holds what was supplied."""
        provider = self.client.call(self.provider, "getPoolDataProvider()(address)")
        holder = self.client.call(provider, "getReserveTokensAddresses(address)(address,address,address)", asset)[0]
        self.anvil.rpc("anvil_setBalance", holder, hex(10**18))
        self.client.send(holder, asset, "transfer(address,uint256)", self.liquidator.address, amount)

    # --- what a deployment needs of a chain

    @property
    def block_number(self) -> int:
        return self.anvil.block_number()

    def block_hash(self, number: int) -> bytes:
        return bytes.fromhex(self.anvil.rpc("eth_getBlockByNumber", hex(number), False)["hash"][2:])

    def write_config(self, path: Path, webhook: Mapping[str, str]) -> Path:
        """The deployment's own file with what is different here: our node, a late start, live, and told by webhook."""
        tables = {
            **self.tables,
            "chain": {**self.tables["chain"], "rpc": [self.anvil.ws_url], "finality": 1, "request_timeout_s": 120},
            "store": {"url": "sqlite:///var/keeper.db"},
            "protocols": [{**self.tables["protocols"][0], "start_block": self.start_block}],
            "notifiers": [webhook],
            "executor": {"mode": "live", "private_key": "env:KEEPER_PRIVATE_KEY", "confirmations": 2},
        }
        path.write_text("\n\n".join(_toml(tables)) + "\n", "utf-8")
        return path


def constant(price: int, timestamp: int) -> bytes:
    """Runtime code that answers everything like latestAnswer and latestRoundData of a feed at this price."""
    words: Sequence[int] = (price, price, timestamp, timestamp, price)
    stores = (b"\x7f" + word.to_bytes(32, "big") + b"\x60" + bytes([32 * i]) + b"\x52" for i, word in enumerate(words))
    return b"".join(stores) + b"\x60\xa0\x60\x00\xf3"


def _toml(tables: Tables) -> Iterator[str]:
    # JSON's strings, numbers, booleans and lists are all valid TOML.
    for heading, table in tables.items():
        for one in table if isinstance(table, list) else [table]:
            title = f"[[{heading}]]" if isinstance(table, list) else f"[{heading}]"
            yield "\n".join([title, *(f"{key} = {json.dumps(value)}" for key, value in one.items())])
