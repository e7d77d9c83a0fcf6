"""Whether our contract can do what the configuration wants of it, one line each, for `keeper check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.core.ports import ProtocolAdapter, Reads
from keeper.core.types import CallResult
from keeper.executor.planning.planner import Planner
from keeper.executor.planning.ports import Needs, Permission, SpenderPermission
from keeper.executor.planning.words import address, call, number

_OWNER = bytes.fromhex("8da5cb5b")
_IS_OPERATOR = bytes.fromhex("66610f03")


@dataclass(frozen=True, slots=True)
class Readiness:
    """detail: what was found; of what is not ready, what is wrong and the remedy."""

    what: str
    ready: bool
    detail: str


def readiness(planner: Planner, account: bytes, needs: Needs) -> Reads[list[Readiness]]:
    """account: whose transactions run plans. needs: of the protocols, as `protocol_needs` says.

    One round trip. That the contracts have code is looked at elsewhere.
    """
    needed = [*needs, *planner.permissions()]
    contract = planner.contract
    owner, operator, *allowed = yield [
        call(contract, _OWNER),
        call(contract, _IS_OPERATOR, account),
        *(permission.asked_of(contract) for _, permission in needed),
    ]
    return [_command(contract, account, owner, operator), *_permissions(needed, allowed)]


def protocol_needs(adapter: ProtocolAdapter[Any, Any], market: Any) -> Needs:
    """What plans for a protocol's positions need.

    A contract that is called and takes nothing itself lets others take; those must be allowed to by name. Who takes
    what it is called for needs no more than the call.
    """
    calls, spenders = adapter.entry_points(market), adapter.spenders(market)
    named = spenders if any(target not in spenders for target, _ in calls) else ()
    return [
        *((adapter.name, Permission(target, selector)) for target, selector in calls),
        *((adapter.name, SpenderPermission(spender)) for spender in named),
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


def _permissions(needed: Needs, allowed: Sequence[CallResult]) -> Iterator[Readiness]:
    for (name, permission), answer in zip(needed, allowed, strict=True):
        if number(answer):
            yield Readiness(f"liquidator to {name}", True, f"may {permission}")
        else:
            detail = f"may not {permission}; run `keeper deploy`, or let the owner allow it"
            yield Readiness(f"liquidator to {name}", False, detail)
