"""What is missing of our contract, from what the chain says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
from eth_utils.crypto import keccak

from keeper.abis import contract as contract_file
from keeper.core.errors import ConfigError
from keeper.core.types import Call
from keeper.executor import deployment
from keeper.executor.deployment import PROXY, Order, contract_address, init_code, owner_of, skim, standing
from keeper.executor.funding.own import Own
from keeper.executor.planning import ports
from keeper.executor.planning.planner import Planner
from keeper.executor.planning.ports import Permission, SpenderPermission
from keeper.executor.planning.readiness import protocol_needs

ME, OTHER, HEIR, POOL, ROUTER = (bytes([n]) * 20 for n in (0x11, 0x22, 0x33, 0x44, 0x55))
CODE = init_code(b"\x60\x01", ME, b"\x99" * 20)
CONTRACT = contract_address(CODE)
LIQUIDATE, SWAP, FLASH = (bytes([n] * 4) for n in (1, 2, 3))


class Lender(Own):
    def permissions(self) -> list[Permission]:
        return [Permission(POOL, FLASH), Permission(POOL, LIQUIDATE)]


PLANNER = Planner(CONTRACT, [], [Lender("pool", CONTRACT)], None, None, 0)
NEEDS = [("aave", Permission(POOL, LIQUIDATE)), ("uniswap", Permission(ROUTER, SWAP))]


def word(value: int | bytes) -> bytes:
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")


def asked(
    *, owner: bytes | None = None, operators: tuple[bytes, ...] = (), allowed: tuple[bytes, ...] = (), heir: bytes = b""
) -> Any:
    """A contract that answers so; one without an owner is not there."""

    def answer(call: Call) -> bytes | None:
        assert call.target == CONTRACT
        selectors: Mapping[str, bytes] = {
            "owner()": word(owner or b""),
            "heir()": word(heir),
            "is_operator(address)": word(int(call.data[16:36] in operators)),
            "is_allowed(address,bytes4)": word(int(call.data[36:40] in allowed)),
        }
        if owner is None:
            return None
        return next(value for name, value in selectors.items() if keccak(text=name)[:4] == call.data[:4])

    return answer


def missing(answer: Any, *, code: bytes | None = CODE, heir: bytes | None = None) -> list[Order]:
    reads = standing(PLANNER, ME, NEEDS, code=code, heir=heir)
    calls = next(reads)
    with pytest.raises(StopIteration) as stop:
        reads.send([answer(call) for call in calls])
    return list(stop.value.value.orders)


def causes(orders: list[Order]) -> list[str]:
    return [order.cause.partition(":")[0] for order in orders]


def test_selectors_are_those_of_the_contract() -> None:
    known = {
        keccak(text=f"{entry['name']}({','.join(field['type'] for field in entry['inputs'])})")[:4]
        for entry in contract_file("keeper", "Liquidator")["abi"]
        if entry["type"] == "function"
    }
    ours = {v for module in (deployment, ports) for v in vars(module).values() if isinstance(v, bytes) and len(v) == 4}
    assert ours
    assert ours <= known


def test_where_nothing_is_everything_is_missing_the_contract_alone_at_first() -> None:
    """Each permission once, however many need it; an owner needs none to run plans."""
    orders = missing(asked())
    assert causes(orders) == ["deploy", *["allow"] * 3]
    assert [order.alone for order in orders] == [True, False, False, False]
    assert orders[0].call.to == PROXY
    assert orders[0].call.data.endswith(CODE)


def test_its_address_follows_from_its_code_and_owner() -> None:
    assert CONTRACT == contract_address(CODE) != contract_address(init_code(b"\x60\x01", OTHER, b"\x99" * 20))


def test_only_what_is_missing_is_ordered() -> None:
    orders = missing(asked(owner=ME, allowed=(FLASH, SWAP)))
    assert [order.call for order in orders] == [Permission(POOL, LIQUIDATE).given_by(CONTRACT)]
    assert missing(asked(owner=ME, allowed=(FLASH, SWAP, LIQUIDATE))) == []


def test_an_order_has_the_same_cause_in_every_run() -> None:
    assert [o.cause for o in missing(asked())] == [o.cause for o in missing(asked())]
    assert skim(CONTRACT, POOL, "1 T").cause == skim(CONTRACT, POOL, "2 T").cause


def test_of_another_owner_nothing_can_be_ordered_but_nothing_need_be() -> None:
    everything = (FLASH, SWAP, LIQUIDATE)
    assert missing(asked(owner=OTHER, operators=(ME,), allowed=everything)) == []
    with pytest.raises(ConfigError, match=f"belongs to 0x{OTHER.hex()}.*run plans"):
        missing(asked(owner=OTHER, allowed=everything))


class Comptroller:
    """Liquidates by another contract than the one that takes what is repaid."""

    name = "venus"

    def __init__(self, *targets: bytes) -> None:
        self.targets = targets

    def entry_points(self, market: object) -> list[tuple[bytes, bytes]]:
        return [(target, LIQUIDATE) for target in self.targets]

    def spenders(self, market: object) -> list[bytes]:
        return [POOL]


def test_who_takes_in_another_contracts_call_must_be_allowed_by_name() -> None:
    """And who takes what it is called for itself needs no more than the call."""
    both = protocol_needs(cast("Any", Comptroller(POOL, ROUTER)), None)
    assert [need for _, need in both][2:] == [SpenderPermission(POOL)]
    alone = protocol_needs(cast("Any", Comptroller(POOL)), None)
    assert [need for _, need in alone] == [Permission(POOL, LIQUIDATE)]


def test_with_an_heir_the_key_becomes_operator_before_the_ownership_is_offered_once() -> None:
    everything = (FLASH, SWAP, LIQUIDATE)
    orders = missing(asked(owner=ME, allowed=everything), heir=HEIR)
    assert causes(orders) == ["allow_operator", "offer_ownership"]
    assert missing(asked(owner=ME, operators=(ME,), allowed=everything, heir=HEIR), heir=HEIR) == []
    assert missing(asked(owner=HEIR, operators=(ME,), allowed=everything), heir=HEIR) == []


def test_a_configured_address_without_our_contract_is_an_error() -> None:
    with pytest.raises(ConfigError, match="does not answer as our Liquidator"):
        missing(asked(), code=None)
    reads = owner_of(CONTRACT)
    next(reads)
    with pytest.raises(StopIteration) as stop:
        reads.send([None])
    assert stop.value.value is None
