"""Whether our contract can do what the configuration wants of it, one line each, for `keeper check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from keeper.core.ports import Reads
from keeper.core.types import CallResult
from keeper.executor.planning.planner import Planner
from keeper.executor.planning.ports import Permission
from keeper.executor.planning.words import address, call, number

_OWNER = bytes.fromhex("8da5cb5b")
_IS_OPERATOR = bytes.fromhex("66610f03")


@dataclass(frozen=True, slots=True)
class Readiness:
    """detail: what was found; of what is not ready, what is wrong and the remedy."""

    what: str
    ready: bool
    detail: str


def readiness(
    planner: Planner, account: bytes, entry_points: Sequence[tuple[str, bytes, bytes]]
) -> Reads[list[Readiness]]:
    """account: whose transactions run plans. entry_points: protocol's name, contract and selector of what plans call.

    One round trip. That the contracts have code is looked at elsewhere.
    """
    needed = needed_permissions(planner, entry_points)
    contract = planner.contract
    owner, operator, *allowed = yield [
        call(contract, _OWNER),
        call(contract, _IS_OPERATOR, account),
        *(permission.asked_of(contract) for _, permission in needed),
    ]
    return [_command(contract, account, owner, operator), *_permissions(needed, allowed)]


def needed_permissions(
    planner: Planner, entry_points: Sequence[tuple[str, bytes, bytes]]
) -> list[tuple[str, Permission]]:
    """What our contract must be allowed to call, by whose it is; entry_points as for `readiness`."""
    return [
        *((name, Permission(target, selector)) for name, target, selector in entry_points),
        *planner.permissions(),
    ]


def _command(contract: bytes, account: bytes, owner: CallResult, operator: CallResult) -> Readiness:
    who, runs = address(owner), number(operator)
    if who is None or runs is None:
        detail = f"0x{contract.hex()} does not answer as our Liquidator; correct executor.liquidator"
        return Readiness("liquidator", False, detail)
    if who != account and not runs:
        detail = (
            f"the wallet 0x{account.hex()} may not run plans of 0x{contract.hex()}; `keeper deploy` as its owner "
            f"0x{who.hex()}, or let that call allow_operator with it"
        )
        return Readiness("liquidator", False, detail)
    return Readiness("liquidator", True, f"0x{contract.hex()}, owned by {'us' if who == account else '0x' + who.hex()}")


def _permissions(needed: Sequence[tuple[str, Permission]], allowed: Sequence[CallResult]) -> Iterator[Readiness]:
    for (name, permission), answer in zip(needed, allowed, strict=True):
        call_ = f"0x{permission.selector.hex()} of 0x{permission.target.hex()}"
        if number(answer):
            yield Readiness(f"liquidator to {name}", True, f"may call {call_}")
        else:
            detail = f"may not call {call_}; run `keeper deploy`, or let the owner call allow_call with these"
            yield Readiness(f"liquidator to {name}", False, detail)
