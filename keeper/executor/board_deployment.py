"""The MarginCallBoard where it shall be, and what must still be sent until our wallet may post there.

Deployed like the Liquidator, so its address follows from its code, its owner and its first poster.
"""

from __future__ import annotations

from eth_hash.auto import keccak

from keeper.core.errors import ConfigError
from keeper.core.ports import Reads
from keeper.core.types import TxCall
from keeper.executor.deployment import ALLOW_GAS, PROXY, Order, Standing, contract_address
from keeper.executor.planning.words import address, call, number, words

SALT = keccak(b"keeper: MarginCallBoard")
DEPLOY_GAS = 1_500_000

_OWNER = bytes.fromhex("8da5cb5b")  # owner()
_HEIR = bytes.fromhex("91f2ebb8")  # heir()
_IS_POSTER = bytes.fromhex("948078f8")  # is_poster(address)
_ALLOW_POSTER = bytes.fromhex("2c8b4217")  # allow_poster(address,bool)
_OFFER_OWNERSHIP = bytes.fromhex("e339a96a")  # offer_ownership(address)


def board_code(bytecode: bytes, account: bytes) -> bytes:
    """The init code of a board that our account owns and posts to."""
    return bytecode + words(account, account)


def board_address(code: bytes) -> bytes:
    return contract_address(code, SALT)


def board_standing(board: bytes, account: bytes, *, code: bytes | None, heir: bytes | None = None) -> Reads[Standing]:
    """What is missing until `account` may post. code: init code with which it is deployed where it is missing; None for
    one that must be there. heir: to whom ownership is offered in the end. One round trip.

    Raises ConfigError when there is none and none is to be, or when only another owner can give what is missing.
    """
    owner, poster, offered = yield [call(board, _OWNER), call(board, _IS_POSTER, account), call(board, _HEIR)]
    who, orders = address(owner), []
    if who is None or number(poster) is None:
        if code is None:
            raise ConfigError(
                f"0x{board.hex()} does not answer as a MarginCallBoard here; correct the notifier's address, or "
                "remove the notifier and let `keeper deploy --board` deploy one"
            )
        what = f"deploy the MarginCallBoard at 0x{board.hex()}"
        orders.append(Order(what, f"deploy:0x{board.hex()}", TxCall(PROXY, SALT + code), DEPLOY_GAS, alone=True))
    elif not number(poster):
        call_ = TxCall(board, _ALLOW_POSTER + words(account, 1))
        cause = f"allow_poster:0x{board.hex()}:0x{account.hex()}"
        orders.append(Order(f"let 0x{account.hex()} post", cause, call_, ALLOW_GAS))
    if heir is not None and heir not in (who, address(offered)):
        call_ = TxCall(board, _OFFER_OWNERSHIP + words(heir))
        cause = f"offer_ownership:0x{board.hex()}:0x{heir.hex()}"
        orders.append(Order(f"offer its ownership to 0x{heir.hex()}, who must accept", cause, call_, ALLOW_GAS))
    if orders and who not in (None, account):
        missing = "; ".join(order.what for order in orders)
        raise ConfigError(
            f"0x{board.hex()} belongs to 0x{(who or b'').hex()}, not to our 0x{account.hex()}, and only its owner can: "
            f"{missing}; run this with the owner's key, or let the owner do it"
        )
    return Standing(board, who, tuple(orders))
