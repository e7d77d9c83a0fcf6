"""Real liquidations for the Liquidator contract: positions under water, steps, and what the events say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from eth_abi.abi import decode
from eth_utils.crypto import keccak

from keeper.devnet.abi import encode_call
from keeper.devnet.chain import DevChain
from keeper.devnet.client import Receipt
from keeper.devnet.liquidator import Liquidator
from keeper.devnet.uniswap import FEE
from keeper.executor.liquidator_calls import (
    EVERYTHING,
    STEP_FAILED,
    Executed,
    Plan,
    Step,
    Watch,
    aave_loan,
    balancer_loan,
    morpho_loan,
    read_executed,
    uniswap_loan,
)

LIQUIDATION_CALL = "liquidationCall(address,address,address,uint256,bool)"
EXACT_INPUT_SINGLE = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))"
AAVE_FLASH = "flashLoanSimple(address,address,uint256,bytes,uint16)"
MORPHO_FLASH = "flashLoan(address,uint256,bytes)"
BALANCER_FLASH = "flashLoan(address,address[],uint256[],bytes)"
UNISWAP_FLASH = "flash(address,uint256,uint256,bytes)"
UNISWAP_SWAP = "swap(address,bool,int256,uint160,bytes)"
NEVER = 2**40

LOANS = ("aave", "morpho", "balancer", "uniswap")
SOURCES = ("own", *LOANS)


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


@dataclass
class Desk:
    """A Liquidator on a dev chain, allowed what it needs.

    The operator runs plans; the owner has no other part. others: addresses that a test brings along, by name.
    """

    chain: DevChain
    liquidator: Liquidator
    owner: str
    operator: str
    others: dict[str, str] = field(default_factory=dict)

    @classmethod
    def opened(cls, chain: DevChain) -> Desk:
        owner, operator = chain.accounts[0], chain.accounts[1]
        liquidator = Liquidator.deployed(chain.client, owner, chain.tokens["WETH"].address)
        liquidator.allow_operator(operator)
        liquidator.allow_call(chain.aave.pool, LIQUIDATION_CALL, AAVE_FLASH)
        liquidator.allow_call(chain.uniswap.router, EXACT_INPUT_SINGLE)
        for pool in chain.uniswap.pools.values():
            liquidator.allow_call(pool, UNISWAP_FLASH, UNISWAP_SWAP)
        liquidator.allow_call(chain.morpho.address, MORPHO_FLASH)
        liquidator.allow_call(chain.balancer.vault, BALANCER_FLASH)
        chain.morpho.supply(chain.accounts[2], Decimal(1_000_000))
        chain.balancer.fill("USDC", Decimal(1_000_000))
        return cls(chain, liquidator, owner, operator)

    # --- who and what

    def token(self, symbol: str) -> bytes:
        return raw(self.chain.tokens[symbol].address)

    @property
    def address(self) -> bytes:
        return raw(self.liquidator.address)

    def holds(self, symbol: str) -> int:
        return self.chain.balance(self.liquidator.address, symbol)

    def under_water(self, count: int = 1, price: Decimal = Decimal(1_650)) -> list[str]:
        """Borrowers of 14,000 USDC against 10 WETH, whose price has fallen, in the pool too."""
        borrowers = self.chain.accounts[3 : 3 + count]
        for who in borrowers:
            self.chain.aave.supply(who, "WETH", Decimal(10))
            self.chain.aave.borrow(who, "USDC", Decimal(14_000))
        self.chain.set_price("WETH", price)
        self.chain.move_pool("WETH", price)
        return borrowers

    # --- steps

    def liquidate(self, borrower: str, repay: int, **changes: Any) -> Step:
        usdc, pool = self.token("USDC"), raw(self.chain.aave.pool)
        data = encode_call(LIQUIDATION_CALL, (self.token("WETH"), usdc, borrower, repay, False))
        return Step(pool, data, **{"token": usdc, "amount": repay, "spender": pool, **changes})

    def sell(self, symbol: str = "WETH", least_bought: int = 1, **changes: Any) -> Step:
        """Sell all that was gained of a token for USDC, in its Uniswap pool."""
        sold, usdc, router = self.token(symbol), self.token("USDC"), raw(self.chain.uniswap.router)
        order = (sold, usdc, FEE, self.liquidator.address, NEVER, 0, 0, 0)
        data = encode_call(EXACT_INPUT_SINGLE, (order,))
        terms = {"token": sold, "amount": EVERYTHING, "spender": router, "bought": usdc, "least_bought": least_bought}
        return Step(router, data, amount_at=4 + 5 * 32, **{**terms, **changes})

    def funded(self, source: str, amount: int, *inner: Step) -> tuple[Step, ...]:
        """The steps, while USDC from this source is here."""
        usdc = self.token("USDC")
        if source == "own":
            return inner
        if source == "aave":
            return (aave_loan(self.address, raw(self.chain.aave.pool), usdc, amount, inner),)
        if source == "morpho":
            return (morpho_loan(raw(self.chain.morpho.address), usdc, amount, inner),)
        if source == "balancer":
            return (balancer_loan(self.address, raw(self.chain.balancer.vault), usdc, amount, inner),)
        return (self.uniswap_loan("DAI", amount, inner),)

    def uniswap_loan(self, pair: str, amount: int, inner: tuple[Step, ...]) -> Step:
        """USDC from the pool where it is traded for `pair`."""
        pool = raw(self.chain.uniswap.pools[pair])
        return uniswap_loan(self.address, pool, self.token("USDC"), amount, self.token(pair), inner)

    @staticmethod
    def optional(step: Step) -> Step:
        return replace(step, optional=True)

    def plan(self, *steps: Step, least_gain: int = 0, tip_wei: int = 0, native: bool = False) -> Plan:
        """Watches USDC, WETH, and the native coin when told."""
        watches = (Watch(self.token("USDC"), least_gain), Watch(self.token("WETH")))
        return Plan((*watches, Watch(bytes(20))) if native else watches, steps, tip_wei)

    def run(self, plan: Plan, sender: str | None = None, value_wei: int = 0) -> Receipt:
        return self.liquidator.execute(sender or self.operator, plan, value_wei)

    def run_each(self, *plans: Plan, sender: str | None = None) -> Receipt:
        """All in one transaction, each by itself."""
        return self.liquidator.execute_each(sender or self.operator, plans)

    def failures(self, receipt: Receipt) -> list[Failure]:
        """Optional steps that reverted, in order."""
        return [
            Failure(
                bytes.fromhex(log["topics"][1][-40:]), *decode(("uint256", "bytes"), bytes.fromhex(log["data"][2:]))
            )
            for log in receipt.logs
            if log["topics"][0] == STEP_FAILED
        ]

    def tips(self, receipt: Receipt) -> int:
        """Wei that the block's builder earned by the gas of its only transaction."""
        base_fee = int(self.chain.rpc("eth_getBlockByNumber", hex(receipt.block_number), False)["baseFeePerGas"], 16)
        return receipt.gas_used * (int(receipt.mined["effectiveGasPrice"], 16) - base_fee)

    def wrap(self, wei: int) -> None:
        """Back so much of the chain's wrapped ether, most of which was minted, by ether."""
        self.chain.send(self.owner, self.chain.tokens["WETH"].address, "deposit()", value_wei=wei)

    def ether(self, who: str) -> int:
        return int(self.chain.rpc("eth_getBalance", who, "latest"), 16)


@dataclass(frozen=True)
class Failure:
    """What StepFailed says."""

    target: bytes
    index: int
    reason: bytes


@dataclass(frozen=True)
class Account:
    """What the events of one receipt say, in raw USDC units; `seized` and `sold` in wei."""

    repaid: int
    seized: int
    sold: int
    proceeds: int
    fees: int
    executed: Executed

    @property
    def profit(self) -> int:
        return self.proceeds - self.repaid - self.fees


def account(desk: Desk, receipt: Receipt) -> Account:
    """Adds up liquidations, sales in the WETH pool, and fees of loans, each from its protocol's own event."""
    chain = desk.chain
    liquidations = list(
        _events(receipt, chain.aave.pool, "LiquidationCall(address,address,address,uint256,uint256,address,bool)")
    )
    sales = _events(receipt, chain.uniswap.pools["WETH"], "Swap(address,address,int256,int256,uint160,uint128,int24)")
    swaps = [[_signed(word) for word in words[:2]] for words in sales]
    fees = sum(
        words[3]
        for words in _events(
            receipt, chain.aave.pool, "FlashLoan(address,address,address,uint256,uint8,uint256,uint16)"
        )
    )
    fees += sum(
        words[1] for words in _events(receipt, chain.balancer.vault, "FlashLoan(address,address,uint256,uint256)")
    )
    for pool in chain.uniswap.pools.values():
        for _, _, paid0, paid1 in _events(receipt, pool, "Flash(address,address,uint256,uint256,uint256,uint256)"):
            fees += paid0 + paid1
    (executed,) = [
        said
        for log in receipt.logs
        if log["address"] == desk.liquidator.address.lower() and (said := read_executed(_Log(log)))
    ]
    return Account(
        repaid=sum(words[0] for words in liquidations),
        seized=sum(words[1] for words in liquidations),
        sold=sum(max(amounts) for amounts in swaps),
        proceeds=-sum(min(amounts) for amounts in swaps),
        fees=fees,
        executed=executed,
    )


class _Log:
    def __init__(self, log: dict[str, Any]) -> None:
        self.topics = log["topics"]
        self.data = log["data"]


def _events(receipt: Receipt, emitter: str, signature: str) -> Iterator[list[int]]:
    """Words of the data of each such event."""
    topic = "0x" + keccak(text=signature).hex()
    for log in receipt.logs:
        if log["address"] == emitter.lower() and log["topics"][0] == topic:
            data = bytes.fromhex(log["data"][2:])
            yield [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]


def _signed(word: int) -> int:
    return word - 2**256 if word >> 255 else word
