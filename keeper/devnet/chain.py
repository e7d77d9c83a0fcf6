"""DevChain: a local chain with the real contracts, for tests, the demo and `keeper devnet`.

    with DevChain.start() as chain:
        alice = chain.accounts[0]
        chain.aave.supply(alice, "WETH", Decimal(10))
        chain.aave.borrow(alice, "USDC", Decimal(14_000))
        chain.set_price("WETH", Decimal(1_600))
        chain.aave.health(alice)

Everything blocks until it is mined. Amounts and prices: an int is raw units, a Decimal is whole units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eth_utils.crypto import keccak

from keeper.devnet import multicall, uniswap
from keeper.devnet.abi import Address, checksummed
from keeper.devnet.anvil import Anvil
from keeper.devnet.balancer import Balancer
from keeper.devnet.client import Block, Client, Receipt
from keeper.devnet.errors import DevnetError
from keeper.devnet.market import AaveMarket
from keeper.devnet.morpho import Morpho
from keeper.devnet.perp import Perp
from keeper.devnet.tokens import Amount, FeedMode, Tokens
from keeper.devnet.venus import Venus

_TOKENS = (
    ("WETH", 18, Decimal(2_000)),
    ("WBTC", 8, Decimal(60_000)),
    ("USDC", 6, Decimal(1)),
    ("DAI", 18, Decimal(1)),
)
_RESERVES = {"WETH": Decimal(50_000), "WBTC": Decimal(2_000), "USDC": Decimal(200_000_000), "DAI": Decimal(100_000_000)}
_ETHER = 10**18

_CODE_SIZE_LIMIT = 32_768
"""Venus' published Comptroller exceeds the 24,576 bytes of EIP-170. A test holds our own contracts to those."""

# The last of the ten keys that Anvil, Hardhat and Foundry publish ("test test … junk"). Never a secret.
_PUBLIC_TEST_KEY_9 = "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"
_PUBLIC_TEST_ACCOUNT_9 = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"


@dataclass(frozen=True, slots=True)
class Wallet:
    address: str
    private_key: str


LIQUIDATOR = Wallet(_PUBLIC_TEST_ACCOUNT_9, _PUBLIC_TEST_KEY_9)
"""Anvil's account 9, whose public test key is for Keeper to use; it has ether, and tokens after `fund_liquidator`."""


class DevChain:
    """See the module. `start` deploys a new one; `fork` carries this one's contracts to a second Anvil."""

    def __init__(
        self, anvil: Anvil, client: Client, tokens: Tokens, aave: AaveMarket, exchange: uniswap.Uniswap
    ) -> None:
        self.anvil = anvil
        self.client = client
        self.rpc = anvil.rpc
        self.tokens = tokens
        self.aave = aave
        self.uniswap = exchange
        self.chain_id = int(self.rpc("eth_chainId"), 16)
        self.accounts: list[str] = [
            checksummed(a) for a in self.rpc("eth_accounts") if checksummed(a) != LIQUIDATOR.address
        ]
        self.liquidator = LIQUIDATOR
        self.start_block = 0
        self._balancer: Balancer | None = None
        self._morpho: Morpho | None = None
        self._venus: Venus | None = None
        self._perp: Perp | None = None

    @classmethod
    def start(
        cls,
        *,
        port: int | None = None,
        accounts: int = 10,
        block_time_s: float | None = None,
        manual_mining: bool = False,
        gas_limit: int = 60_000_000,
        history: int = 20_000,
        slots_in_epoch: int = 32,
        ipc: Path | None = None,
        first_come: bool = False,
    ) -> Self:
        """A new chain; about half a second once packages and builds are in the cache.

        By default each transaction gets its own block at once. With block_time_s blocks come by the clock, and actions
        wait for theirs. With manual_mining nothing is mined but by this object: one block per action, or `mine`.
        first_come: a block holds transactions in the order in which they came, instead of by fee.
        The other parameters are Anvil's: see `Anvil.start`.
        """
        anvil = Anvil.start(
            port=port,
            accounts=accounts,
            gas_limit=gas_limit,
            history=history,
            slots_in_epoch=slots_in_epoch,
            code_size_limit=_CODE_SIZE_LIMIT,
            ipc=ipc,
            extra=("--order", "fifo") if first_come else (),
        )
        try:
            client = Client(anvil)
            multicall.install(client)
            admin, provider = _named("admin"), _named("liquidity provider")
            for rich in (admin, provider, _named("trader"), LIQUIDATOR.address):
                client.rpc("anvil_setBalance", rich, hex(10**9 * _ETHER))
            tokens = Tokens(client, admin)
            for token in _TOKENS:
                tokens.add(*token)
            aave = AaveMarket.deployed(client, tokens, admin)
            for symbol, depth in _RESERVES.items():
                aave.supply(provider, symbol, depth)
            exchange = uniswap.deploy(client, tokens, admin, provider)
            chain = cls(anvil, client, tokens, aave, exchange)
            if block_time_s is not None:
                chain.mine_every(block_time_s)
            elif manual_mining:
                chain.mine_by_hand()
            return chain
        except BaseException:
            anvil.stop()
            raise

    def fork(self, **options: Any) -> DevChain:
        """A second Anvil that forks this one at its tip, with the same contracts at the same addresses.

        It does not follow this chain, and this one must outlive it. options: see `Anvil.start`.
        """
        anvil = Anvil.start(fork_url=self.rpc_url, **options)
        try:
            client = Client(anvil)
            client.reasons = self.client.reasons
            tokens = Tokens(client, self.aave.market.admin)
            tokens.by_symbol = dict(self.tokens.by_symbol)
            aave = AaveMarket(client, tokens, self.aave.market, self.aave.reserves)
            chain = DevChain(anvil, client, tokens, aave, self.uniswap)
            if self._balancer is not None:
                chain._balancer = Balancer(client, tokens, self._balancer.admin, self._balancer.vault)
            if self._morpho is not None:
                chain._morpho = self._morpho.on(client, tokens)
            if self._venus is not None:
                chain._venus = Venus(client, tokens, self._venus.deployment)
            if self._perp is not None:
                chain._perp = Perp(client, tokens, self._perp.deployment)
            return chain
        except BaseException:
            anvil.stop()
            raise

    def stop(self) -> None:
        self.anvil.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- where it is

    @property
    def rpc_url(self) -> str:
        return self.anvil.rpc_url

    @property
    def ws_url(self) -> str:
        return self.anvil.ws_url

    @property
    def multicall3(self) -> str:
        return multicall.MULTICALL3

    # --- what is deployed on demand

    @property
    def balancer(self) -> Balancer:
        """The vault, deployed when it is first asked for."""
        if self._balancer is None:
            self._balancer = Balancer.deployed(self.client, self.tokens, self.aave.market.admin)
        return self._balancer

    @property
    def morpho(self) -> Morpho:
        """Morpho Blue with a USDC/WETH market, deployed when it is first asked for."""
        if self._morpho is None:
            self._morpho = Morpho.deployed(self.client, self.tokens, self.aave.market.admin)
        return self._morpho

    @property
    def venus(self) -> Venus:
        """A Venus isolated pool with a market for every token, deployed when it is first asked for."""
        if self._venus is None:
            self._venus = Venus.deployed(self.client, self.tokens, self.aave.market.admin)
        return self._venus

    @property
    def perp(self) -> Perp:
        """Perpetual Protocol v2 with a vETH market, deployed when it is first asked for; that takes half an hour of the
        chain's time."""
        if self._perp is None:
            self._perp = Perp.deployed(self.client, self.tokens, self.aave.market.admin)
        return self._perp

    # --- who is there

    def make_account(self, number: int, ether: Amount = Decimal(100)) -> str:
        """Address of a numbered account beyond Anvil's own, funded with ether. Any number of them; always unlocked."""
        address = _named(f"account {number}")
        wei = ether if isinstance(ether, int) else int(ether * _ETHER)
        self.client.send_ether(_named("admin"), address, wei)
        return address

    def fund(self, who: Address, symbol: str, amount: Amount) -> Receipt:
        """Mint tokens."""
        return self.tokens.mint(who, symbol, amount)

    def fund_liquidator(self, dollars: Decimal = Decimal(1_000_000)) -> None:
        """Give Keeper's wallet this much of every token, at the present prices."""
        for symbol, token in self.tokens.by_symbol.items():
            units = int(dollars * 10 ** (token.feed_decimals + token.decimals)) // self.tokens.price(symbol)
            self.fund(self.liquidator.address, symbol, units)

    def balance(self, who: Address, symbol: str, block: Block = None) -> int:
        """Token balance in raw units."""
        return self.tokens.balance(who, symbol, block)

    # --- prices

    def price(self, symbol: str, block: Block = None) -> int:
        return self.tokens.price(symbol, block)

    def set_price(self, symbol: str, price: Amount) -> Receipt:
        return self.tokens.set_price(symbol, price)

    def set_price_at(self, symbol: str, price: Amount, updated_at: int) -> Receipt:
        return self.tokens.set_price_at(symbol, price, updated_at)

    def break_feed(self, symbol: str, mode: FeedMode) -> Receipt:
        return self.tokens.break_feed(symbol, mode)

    def quote(self, sold: str, bought: str, amount: Amount) -> int:
        """What Uniswap pays for an exact amount, raw units."""
        token = self.tokens[sold]
        return uniswap.quote(self.client, self.uniswap, token, self.tokens[bought], token.units(amount))

    def move_pool(self, symbol: str, price: Decimal) -> Receipt:
        """Trade Uniswap's `symbol`/USDC pool to a price, as arbitrage does after a feed moved."""
        return uniswap.move_price(self.client, self.tokens, self.uniswap, _named("trader"), symbol, price)

    # --- time and blocks

    @property
    def block_number(self) -> int:
        return self.anvil.block_number()

    @property
    def timestamp(self) -> int:
        return self.anvil.timestamp()

    def block_hash(self, number: int) -> bytes:
        block = self.rpc("eth_getBlockByNumber", hex(number), False)
        if block is None:
            raise DevnetError(f"there is no block {number}; the tip is {self.block_number}")
        return bytes.fromhex(block["hash"][2:])

    def mine_every(self, seconds: float) -> None:
        """From now on blocks come by the clock, and actions wait for theirs."""
        self.client.set_mining("interval", seconds)

    def mine_by_hand(self) -> None:
        """From now on nothing is mined but by this object: one block per action, or `mine`."""
        self.client.set_mining("manual")

    def mine_at_once(self) -> None:
        """From now on each transaction gets its own block at once, as at the start."""
        self.client.set_mining("auto")

    def mine(self, blocks: int = 1, interval_s: int | None = None) -> None:
        self.anvil.mine(blocks, interval_s)

    def warp(self, seconds: int) -> None:
        self.anvil.warp(seconds)

    def reorg(self, depth: int, transactions: Sequence[tuple[str | dict[str, str], int]] = ()) -> None:
        """Replace the last `depth` blocks, by empty ones unless told otherwise; see `Anvil.reorg`."""
        self.anvil.reorg(depth, transactions)

    @contextmanager
    def rewound(self) -> Iterator[None]:
        """Everything done inside is undone afterwards, blocks included; nobody who follows the chain is told.

        Anvil's revert leaves the base fee of the next block as it is, so that is put back as well: a transaction that
        bids by the newest block would wait for ever below a higher one.
        """
        base_fee = self.rpc("eth_getBlockByNumber", "pending", False)["baseFeePerGas"]
        snapshot, tokens, reserves = self.anvil.snapshot(), dict(self.tokens.by_symbol), dict(self.aave.reserves)
        on_demand = self._balancer, self._morpho, self._venus, self._perp
        morpho_markets = dict(self._morpho.markets) if self._morpho is not None else {}
        try:
            yield
        finally:
            self.anvil.revert(snapshot)
            self.rpc("anvil_setNextBlockBaseFeePerGas", base_fee)
            self.tokens.by_symbol, self.aave.reserves = tokens, reserves
            self._balancer, self._morpho, self._venus, self._perp = on_demand
            if self._morpho is not None:
                self._morpho.markets = morpho_markets

    def one_block(self) -> AbstractContextManager[None]:
        """Everything done inside is mined in one block; see `Client.one_block`."""
        return self.client.one_block()

    # --- anything else

    def call(self, to: Address, signature: str, *args: object, block: Block = None) -> Any:
        """Answer of a read-only call, like `call(token, "balanceOf(address)(uint256)", who)`."""
        return self.client.call(to, signature, *args, block=block)

    def send(self, sender: Address, to: Address, signature: str, *args: object, value_wei: int = 0) -> Receipt:
        return self.client.send(sender, to, signature, *args, value_wei=value_wei)


def _named(role: str) -> str:
    """An address that nobody has the key of, the same on every dev chain."""
    return checksummed(keccak(text=f"keeper devnet: {role}")[12:])
