"""Plans of our Liquidator contract as data, and their encoding. Pure.

A liquidation paid by a lender is one step, the loan, whose inner steps run while the money is here:

    liquidate = Step(pool, liquidation_call, token=usdc, amount=7_000 * 10**6, spender=pool)
    sell = Step(router, swap, amount_at=132, token=weth, amount=EVERYTHING, spender=router)
    loan = morpho_loan(morpho, usdc, 7_000 * 10**6, [liquidate, sell])
    plan = Plan((Watch(usdc, least_gain=5 * 10**6), Watch(weth)), (loan,))
    TxCall(liquidator, encode_execute(plan))

Several liquidations are several steps, in one loan or in several; an optional step that reverts undoes itself alone. Or
they are several plans in one transaction, each with demands of its own (`encode_execute_each`).
The contract runs only calls that its owner allowed, by target and selector (`Step.selector`).
Source: keeper/contracts/liquidator.vy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from keeper.core.errors import DecodeError
from keeper.core.types import RawLog, TxCall
from keeper.core.units import UINT256_MAX

NATIVE = bytes(20)
"""Watches the native coin."""

NOBODY = bytes(20)
EVERYTHING = UINT256_MAX
"""As an amount: all that the plan has gained of the token when the step's turn comes."""

MAX_WATCHES = 8
MAX_STEPS = 16
CALLS_SIZE = 4096
MAX_PLANS = 8
PLAN_SIZE = 6144

EXECUTE = bytes.fromhex("e43727cd")  # execute((address,int256)[],uint256,(…)[],bytes)
EXECUTE_EACH = bytes.fromhex("9f34915b")  # execute_each(bytes[])
SKIM = bytes.fromhex("bc25cf77")  # skim(address)

AAVE_LOAN = bytes.fromhex("42b0b77c")  # flashLoanSimple(address,address,uint256,bytes,uint16)
MORPHO_LOAN = bytes.fromhex("e0232b42")  # flashLoan(address,uint256,bytes)
BALANCER_LOAN = bytes.fromhex("5c38449e")  # flashLoan(address,address[],uint256[],bytes)
UNISWAP_LOAN = bytes.fromhex("490e6cbc")  # flash(address,uint256,uint256,bytes)
UNISWAP_SWAP = bytes.fromhex("128acb08")  # swap(address,bool,int256,uint160,bytes)

EXECUTED = "0x7e07c8cbeb5599976dffe6a1502f34ab5f3b0ec56f78c35563c144962847ff46"
"""Topic of Executed(address,int256,uint256)."""
STEP_FAILED = "0x03194dc095eb4030adf0d88581b711e8829dcba27926c0eccec5b181b0d01311"
"""Topic of StepFailed(address,uint256,bytes)."""

PLAN_FAILED = "0x38397924f81279332922bece70a1bad627dbd3049c4e47264c8bcc6681f6441a"
"""Topic of PlanFailed(uint256,bytes)."""

_WATCH = "(address,int256)"
_STEP = "(address,uint256,address,uint256,address,bytes32,address,uint256,bool,uint256,bool,uint256)"
_EXECUTE_TYPES = (f"{_WATCH}[]", "uint256", f"{_STEP}[]", "bytes")
_INNER_TYPES = (f"{_STEP}[]", "bytes")
_NO_CALLBACK = bytes(32)
_LEAST_SQRT_PRICE = 4295128739  # TickMath of Uniswap v3
_MOST_SQRT_PRICE = 1461446703485210103287273052203988822378723970342


@dataclass(frozen=True, slots=True)
class Watch:
    """A token the plan may spend, whose balance must then have grown by `least_gain` raw units.

    Negative lets the balance fall; only the contract's owner may run such a plan.
    """

    token: bytes
    least_gain: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a plan.

    token, amount: what the target takes from the contract, in raw units or EVERYTHING; the token must be watched.
    spender: who is approved for it during the call. A lender or a pool that calls back is paid then, and needs none.
    amount_at: byte offset of the word in `data` that the contract replaces by the amount.
    bought, least_bought: a token of which the call must bring so much.
    value_wei: native coin to send along, out of what the plan gained of it, or of wrapped coin; both must be watched.
    callback: hash of the inner steps that the target may call back with (`callback_of`).
    optional: when the call reverts, the plan goes on.
    """

    target: bytes
    data: bytes
    token: bytes = NOBODY
    amount: int = 0
    spender: bytes = NOBODY
    amount_at: int | None = None
    bought: bytes = NOBODY
    least_bought: int = 0
    callback: bytes = _NO_CALLBACK
    value_wei: int = 0
    optional: bool = False

    @property
    def selector(self) -> bytes:
        return self.data[:4]


@dataclass(frozen=True, slots=True)
class Plan:
    """watches: the first is the token whose gain the contract announces, after the tip.

    tip_wei: for the block's builder, out of native and wrapped coin gained; both must be watched.
    """

    watches: tuple[Watch, ...]
    steps: tuple[Step, ...]
    tip_wei: int = 0


@dataclass(frozen=True, slots=True)
class Executed:
    """What the contract says of a plan it ran. gain: of the first watched token, in raw units, after the tip."""

    token: bytes
    gain: int
    tip_wei: int


# --- steps ------------------------------------------------------------------------------------------------------------


def aave_loan(liquidator: bytes, pool: bytes, token: bytes, amount: int, inner: Sequence[Step]) -> Step:
    """Aave v3; costs the pool's flash loan premium."""
    steps = encode_steps(inner)
    types = ("address", "address", "uint256", "bytes", "uint16")
    data = AAVE_LOAN + encode(types, (liquidator, token, amount, steps, 0))
    return Step(pool, data, token=token, amount=amount, callback=keccak(steps))


def morpho_loan(morpho: bytes, token: bytes, amount: int, inner: Sequence[Step]) -> Step:
    """Morpho Blue; free."""
    steps = encode_steps(inner)
    data = MORPHO_LOAN + encode(("address", "uint256", "bytes"), (token, amount, steps))
    return Step(morpho, data, token=token, amount=amount, callback=keccak(steps))


def balancer_loan(liquidator: bytes, vault: bytes, token: bytes, amount: int, inner: Sequence[Step]) -> Step:
    """Balancer v2; costs the vault's flash loan fee, which has always been zero."""
    steps = encode_steps(inner)
    types = ("address", "address[]", "uint256[]", "bytes")
    data = BALANCER_LOAN + encode(types, (liquidator, (token,), (amount,), steps))
    return Step(vault, data, token=token, amount=amount, callback=keccak(steps))


def uniswap_loan(
    liquidator: bytes, pool: bytes, token: bytes, amount: int, other_token: bytes, inner: Sequence[Step]
) -> Step:
    """Uniswap v3; costs the pool's fee. The pool is locked meanwhile: a swap in it reverts with LOK."""
    steps = encode_steps(inner)
    amounts = (amount, 0) if token < other_token else (0, amount)
    data = UNISWAP_LOAN + encode(("address", "uint256", "uint256", "bytes"), (liquidator, *amounts, steps))
    return Step(pool, data, token=token, amount=amount, callback=keccak(steps))


def uniswap_flash_swap(
    liquidator: bytes, pool: bytes, sold: bytes, bought: bytes, bought_assets: int, inner: Sequence[Step]
) -> Step:
    """Uniswap v3's swap for an exact amount, paid after the inner steps out of what they bring; costs the pool's fee.

    Loan and sale in one call. What the swap costs is bounded only by the plan's watches. `sold` must be watched.
    """
    steps = encode_steps(inner)
    zero_for_one = sold < bought
    limit = _LEAST_SQRT_PRICE + 1 if zero_for_one else _MOST_SQRT_PRICE - 1
    types = ("address", "bool", "int256", "uint160", "bytes")
    data = UNISWAP_SWAP + encode(types, (liquidator, zero_for_one, -bought_assets, limit, steps))
    return Step(pool, data, token=sold, callback=keccak(steps))


def repaid_after(call: TxCall, callback_at: int, token: bytes, amount: int, inner: Sequence[Step]) -> Step:
    """A liquidation that its protocol lets be paid after it paid out what is seized (Morpho's callback); free.

    The inner steps run in between and must leave what is repaid, at most `amount` of `token`. callback_at: byte of the
    call's data where the length of its last argument is, which must be empty and then holds the steps.
    """
    steps = encode_steps(inner)
    size = len(steps).to_bytes(32, "big")
    data = call.data[:callback_at] + size + steps + bytes(-len(steps) % 32)
    return Step(call.to, data, token=token, amount=amount, callback=keccak(steps))


# --- encoding ---------------------------------------------------------------------------------------------------------


def encode_steps(steps: Sequence[Step]) -> bytes:
    """As a target gives them back to the contract. Raises ValueError when the contract would refuse their size."""
    encoded = encode(_INNER_TYPES, _columns(steps))
    if len(encoded) > CALLS_SIZE:
        raise ValueError(f"{len(encoded)} bytes of inner steps; the contract takes {CALLS_SIZE}: use another loan")
    return encoded


def callback_of(inner: Sequence[Step]) -> bytes:
    """What `Step.callback` must be for a target that calls back with these."""
    return keccak(encode_steps(inner))


def encode_execute(plan: Plan) -> bytes:
    """Call data. Raises ValueError when the contract would refuse its size."""
    if not 0 < len(plan.watches) <= MAX_WATCHES:
        raise ValueError(f"{len(plan.watches)} watched tokens; the contract takes 1 to {MAX_WATCHES}")
    watches = [(watch.token, watch.least_gain) for watch in plan.watches]
    return EXECUTE + encode(_EXECUTE_TYPES, (watches, plan.tip_wei, *_columns(plan.steps)))


def encode_execute_each(executes: Sequence[bytes]) -> bytes:
    """Call data that runs several plans, each by itself. executes: their own call data.

    Raises ValueError when the contract would refuse their number or size.
    """
    if not 0 < len(executes) <= MAX_PLANS:
        raise ValueError(f"{len(executes)} plans in one transaction; the contract takes 1 to {MAX_PLANS}")
    longest = max(len(data) - 4 for data in executes)
    if longest > PLAN_SIZE:
        raise ValueError(f"{longest} bytes of one plan among several; the contract takes {PLAN_SIZE}: run it alone")
    if any(data[:4] != EXECUTE for data in executes):
        raise ValueError("only plans can be run together")
    return EXECUTE_EACH + encode(("bytes[]",), ([data[4:] for data in executes],))


def decode_execute_each(data: bytes) -> tuple[bytes, ...]:
    """The call data of each plan. Raises DecodeError for anything else."""
    if data[:4] != EXECUTE_EACH:
        raise DecodeError(f"selector 0x{data[:4].hex()} is not the Liquidator's execute_each, 0x{EXECUTE_EACH.hex()}")
    (plans,) = _decode(("bytes[]",), data[4:])
    return tuple(EXECUTE + plan for plan in plans)


def split_logs(logs: Iterable[RawLog], contract: bytes) -> list[tuple[bytes | None, list[RawLog]]]:
    """By plan of a batch, in order: why it failed, or None, and what it emitted, its Executed included.

    A failure of which the event does not decode is one without a reason.
    """
    parts: list[tuple[bytes | None, list[RawLog]]] = []
    current: list[RawLog] = []
    for log in logs:
        ours = log.address == "0x" + contract.hex() and bool(log.topics)
        if ours and log.topics[0] == PLAN_FAILED:
            parts.append((_failure(log), []))
            continue
        current.append(log)
        if ours and log.topics[0] == EXECUTED:
            parts.append((None, current))
            current = []
    return parts


def encode_skim(token: bytes) -> bytes:
    """Call data that sends all of a token (or NATIVE) to the contract's owner."""
    return SKIM + bytes(12) + token


def decode_execute(data: bytes) -> Plan:
    """The plan in call data; words that the contract fills in are zero. Raises DecodeError for anything else."""
    if data[:4] != EXECUTE:
        raise DecodeError(f"selector 0x{data[:4].hex()} is not the Liquidator's execute, 0x{EXECUTE.hex()}")
    watches, tip_wei, steps, calls = _decode(_EXECUTE_TYPES, data[4:])
    return Plan(tuple(Watch(_bytes(token), least) for token, least in watches), _steps(steps, calls), tip_wei)


def decode_steps(encoded: bytes) -> tuple[Step, ...]:
    """Inner steps, as a target gives them back. Raises DecodeError."""
    return _steps(*_decode(_INNER_TYPES, encoded))


def read_executed(log: RawLog) -> Executed | None:
    """What an Executed event says; None for any other log, and for one of another shape. The caller looks at the log's
    address."""
    if not log.topics or log.topics[0] != EXECUTED or len(log.topics) != 2 or len(log.data) != 2 + 2 * 64:
        return None
    gain = int.from_bytes(bytes.fromhex(log.data[2:66]), "big", signed=True)
    return Executed(_bytes(log.topics[1][-40:]), gain, int(log.data[66:130], 16))


def _failure(log: RawLog) -> bytes:
    """Why a plan failed, by its PlanFailed event; empty where it does not decode."""
    try:
        (reason,) = _decode(("bytes",), bytes(31) + b"\x20" + bytes.fromhex(log.data[2:])[64:])
    except DecodeError:
        return b""
    return bytes(reason)


def _columns(steps: Sequence[Step]) -> tuple[list[tuple[Any, ...]], bytes]:
    """The steps' fixed words, and the data of all their calls one after the other."""
    if len(steps) > MAX_STEPS:
        raise ValueError(f"{len(steps)} steps in one list; the contract takes {MAX_STEPS}: put some into another loan")
    rows, calls = [], b""
    for step in steps:
        head, tail = _parts(step)
        calls += head + tail
        rows.append(
            (
                step.target,
                step.value_wei,
                step.token,
                step.amount,
                step.spender,
                step.callback,
                step.bought,
                step.least_bought,
                step.optional,
                len(head),
                step.amount_at is not None,
                len(tail),
            )
        )
    if len(calls) > CALLS_SIZE:
        raise ValueError(
            f"{len(calls)} bytes of calls in one list; the contract takes {CALLS_SIZE}: use fewer or shorter ones"
        )
    return rows, calls


def _parts(step: Step) -> tuple[bytes, bytes]:
    """The call's data before and after the amount."""
    if step.amount_at is None:
        return step.data, b""
    if not 4 <= step.amount_at <= len(step.data) - 32:
        raise ValueError(f"no word at byte {step.amount_at} of {len(step.data)} bytes of call data")
    return step.data[: step.amount_at], step.data[step.amount_at + 32 :]


def _steps(rows: Sequence[tuple[Any, ...]], calls: bytes) -> tuple[Step, ...]:
    steps, start = [], 0
    for target, value, token, amount, spender, callback, bought, least, optional, head, inserts, tail in rows:
        middle, end = start + head, start + head + tail
        if end > len(calls):
            raise DecodeError(f"a step needs calls up to byte {end}; there are {len(calls)}")
        steps.append(
            Step(
                target=_bytes(target),
                data=calls[start:middle] + bytes(32 * inserts) + calls[middle:end],
                token=_bytes(token),
                amount=amount,
                spender=_bytes(spender),
                amount_at=head if inserts else None,
                bought=_bytes(bought),
                least_bought=least,
                callback=callback,
                value_wei=value,
                optional=optional,
            )
        )
        start = end
    return tuple(steps)


def _decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    try:
        return decode(types, data)
    except (DecodingError, OverflowError) as error:
        raise DecodeError(f"data of a Liquidator's plan does not decode: {error}") from error


def _bytes(address: str) -> bytes:
    return bytes.fromhex(address.removeprefix("0x"))
