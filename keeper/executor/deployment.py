"""Our contract where it shall be: at which address, and what must still be sent until it may do what plans ask of it.

It is deployed through the deterministic deployment proxy (CREATE2), so its address follows from its code and its owner.
Whoever deploys it, and however often it is tried: there is one, and a second attempt can only fail.
Source: github.com/Arachnid/deterministic-deployment-proxy; EIP-1014.
"""

from __future__ import annotations

from dataclasses import dataclass

from eth_hash.auto import keccak

from keeper.core.errors import ConfigError
from keeper.core.ports import Reads
from keeper.core.types import TxCall
from keeper.executor.liquidator_calls import encode_skim
from keeper.executor.planning.planner import Planner
from keeper.executor.planning.ports import Needs, Permission, SpenderPermission
from keeper.executor.planning.words import address, call, number, words

PROXY = bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c")
PROXY_CODE = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f580151560395781"
    "82fd5b8082525050506014600cf3"
)
_SALT = keccak(b"keeper: Liquidator")

_OWNER = bytes.fromhex("8da5cb5b")  # owner()
_HEIR = bytes.fromhex("91f2ebb8")  # heir()
_IS_OPERATOR = bytes.fromhex("66610f03")  # is_operator(address)
_ALLOW_OPERATOR = bytes.fromhex("c956500b")  # allow_operator(address,bool)
_OFFER_OWNERSHIP = bytes.fromhex("e339a96a")  # offer_ownership(address)

DEPLOY_GAS = 6_000_000
ALLOW_GAS = 100_000
"""Where a node cannot simulate one call after the other. What is not used is not charged."""


@dataclass(frozen=True, slots=True)
class Order:
    """One transaction that is still missing. what: for people. cause: the same for the same order, always.

    gas: what it may use, where nobody can tell better. alone: what comes after it must wait until it is mined.
    """

    what: str
    cause: str
    call: TxCall
    gas: int
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a contract has come. owner: None as long as it is not there. orders: what is missing, in this order."""

    contract: bytes
    owner: bytes | None
    orders: tuple[Order, ...]


def init_code(bytecode: bytes, owner: bytes, wrapped_native: bytes) -> bytes:
    return bytecode + words(owner, wrapped_native)


def contract_address(code: bytes, salt: bytes = _SALT) -> bytes:
    """Where the proxy puts what this init code returns."""
    return keccak(b"\xff" + PROXY + salt + keccak(code))[12:]


def deployment(code: bytes) -> Order:
    contract = contract_address(code)
    return Order(
        f"deploy the Liquidator at 0x{contract.hex()}",
        f"deploy:0x{contract.hex()}",
        TxCall(PROXY, _SALT + code),
        DEPLOY_GAS,
        alone=True,
    )


def owner_of(contract: bytes) -> Reads[bytes | None]:
    """Whose it is; None when there is no Liquidator of ours."""
    [owner] = yield [call(contract, _OWNER)]
    return address(owner)


def standing(
    planner: Planner,
    account: bytes,
    needs: Needs,
    *,
    code: bytes | None,
    heir: bytes | None = None,
) -> Reads[Standing]:
    """What is missing until `account` may run the planner's plans by its contract.

    needs: of the protocols. code: init code with which the contract is
    deployed where it is missing; None for one that must be there. heir: to whom ownership is offered in the end.
    Permissions are given one at a time; none is ever taken away. One round trip.
    Raises ConfigError when there is no Liquidator and none is to be, or permissions are missing that only another owner
    can give.
    """
    contract = planner.contract
    wanted = {permission: name for name, permission in reversed([*needs, *planner.permissions()])}
    owner, operator, offered, *allowed = yield [
        call(contract, _OWNER),
        call(contract, _IS_OPERATOR, account),
        call(contract, _HEIR),
        *(permission.asked_of(contract) for permission in wanted),
    ]
    who = address(owner)
    if who is None and code is None:
        raise ConfigError(
            f"0x{contract.hex()} does not answer as our Liquidator on this chain; correct executor.liquidator, or "
            "remove it and let `keeper deploy` deploy one"
        )
    orders = [deployment(code)] if who is None and code is not None else []
    if not number(operator) and (heir is not None or who not in (None, account)):  # an owner may run plans anyway
        orders.append(allow_operator(contract, account))
    for (permission, name), answer in sorted(zip(wanted.items(), allowed, strict=True), key=lambda one: one[0][1]):
        if not number(answer):
            orders.append(_allow(contract, name, permission))
    if heir is not None and heir not in (who, address(offered)):
        orders.append(_offer(contract, heir))
    if orders and who not in (None, account):
        missing = "; ".join(order.what for order in orders)
        raise ConfigError(
            f"0x{contract.hex()} belongs to 0x{(who or b'').hex()}, not to our 0x{account.hex()}, and only its owner "
            f"can: {missing}; run this with the owner's key, or let the owner do it"
        )
    return Standing(contract, who, tuple(orders))


def skim(contract: bytes, token: bytes, name: str) -> Order:
    """Sends all that the contract holds of a token to its owner. name: of the token, with the amount, for people."""
    call_ = TxCall(contract, encode_skim(token))
    return Order(f"send {name} to the owner", f"skim:0x{contract.hex()}:0x{token.hex()}", call_, ALLOW_GAS)


def allow_operator(contract: bytes, account: bytes) -> Order:
    return Order(
        f"let 0x{account.hex()} run plans",
        f"allow_operator:0x{contract.hex()}:0x{account.hex()}",
        TxCall(contract, _ALLOW_OPERATOR + words(account, 1)),
        ALLOW_GAS,
    )


def _allow(contract: bytes, name: str, permission: Permission | SpenderPermission) -> Order:
    call_ = permission.given_by(contract)
    what = f"allow plans for {name} to {permission}"
    return Order(what, f"allow:0x{contract.hex()}:0x{call_.data.hex()}", call_, ALLOW_GAS)


def _offer(contract: bytes, heir: bytes) -> Order:
    return Order(
        f"offer its ownership to 0x{heir.hex()}, who must accept",
        f"offer_ownership:0x{contract.hex()}:0x{heir.hex()}",
        TxCall(contract, _OFFER_OWNERSHIP + words(heir)),
        ALLOW_GAS,
    )
