"""Rehearsals on a fork of a chain with the real Aave and Uniswap, by the shipped planner, executor and contract."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from keeper.core.errors import ConfigError, StateUnavailable
from keeper.core.stress import Lever
from keeper.core.types import Skip
from keeper.core.units import WAD
from keeper.devnet import protocols
from keeper.devnet.chain import DevChain
from keeper.devnet.rpc import Rpc, RpcError
from keeper.indexer.rpc.client import RpcClient
from keeper.rehearsal.cast import choose_cast
from keeper.rehearsal.findings import Finding
from keeper.rehearsal.relay import Relay
from keeper.rehearsal.run import Run
from keeper.rehearsal.stage import Stage
from keeper.wire import House
from tests.support import aave_v30
from tests.support.contract_house import Contract
from tests.support.fault_node import Refuse
from tests.support.fault_proxy import fault_proxy
from tests.support.rehearsals import Book, index, staged

Json = dict[str, Any]


@pytest.fixture(scope="module")
def book() -> Iterator[Book]:
    with DevChain.start() as chain:
        yield Book.opened(chain)


@pytest.fixture
async def house(book: Book, tmp_path: Path) -> House:
    return await index(book.configuration(tmp_path), book.chain.block_number)


def start(house: House, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "keeper", "rehearse", "--config", str(house.file), *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "KEEPER_PRIVATE_KEY"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def state(book: Book) -> Mapping[str, object]:
    """Everything of the upstream chain that a rehearsal could have touched."""
    chain = book.chain
    return {
        "block": chain.rpc("eth_getBlockByNumber", "latest", False),
        "pending": chain.rpc("eth_getBlockByNumber", "pending", False)["transactions"],
        "accounts": [chain.aave.user_account_data(who) for name, who in book.accounts.items() if name != "unpriced"],
    }


async def test_every_position_is_liquidated_or_told_why_not(book: Book, house: House) -> None:
    """A healthy one, one whose sale moves the pool, one without a pool, one without a price, and one that owes more
    than it has: each with its numbers, and the chain that was forked knows nothing of it."""
    before = state(book)
    told = start(house, "--json")
    out, err = told.communicate(timeout=120)
    assert told.returncode == 0, err
    *lines, last = map(json.loads, out.splitlines())
    found: dict[str, Json] = {
        name: one for one in lines for name, who in book.accounts.items() if one["account"] == who
    }
    assert set(found) == {"healthy", "thin", "no route", "under water", "unpriced"}
    assert state(book) == before
    assert "broadcast" not in err

    healthy = found["healthy"]
    assert (healthy["status"], healthy["lever"], healthy["liquidatable"]) == ("liquidated", "threshold", True)
    assert int(healthy["stressed"]["health_wad"]) < WAD < int(healthy["before"]["health_wad"])
    assert int(healthy["profit"]) == int(healthy["profit_expected"]) > 0
    assert (healthy["funding"], healthy["route"], healthy["bad_debt"]) == ("aave_v3", "uniswap_v3 3000", "0")
    assert int(healthy["repaid"]) == pytest.approx(4_500 * 10**6, rel=1e-6)

    thin = found["thin"]
    assert thin["status"] == "liquidated"
    assert 0 < int(thin["repaid"]) < 1_000_000 * 10**6 < 15_500_000 * 10**6 // 2

    no_route = found["no route"]
    assert (no_route["status"], no_route["liquidatable"], no_route["profit"]) == ("refused", True, None)
    assert no_route["reason"]["code"] == "no_route"

    unpriced = found["unpriced"]
    assert (unpriced["status"], unpriced["liquidatable"]) == ("refused", False)
    assert unpriced["reason"]["code"] == "unpriced"
    assert book.chain.tokens["DIM"].address.lower() in unpriced["reason"]["detail"]

    under_water = found["under water"]
    assert (under_water["status"], under_water["lever"]) == ("liquidated", None)
    value, owed = 36_000 * 10**8, int(under_water["stressed"]["debt_value"])
    repaid = int(under_water["repaid"]) // 10**10
    assert repaid == pytest.approx(value * 10_000 // 10_600, rel=1e-3)
    assert int(under_water["bad_debt"]) == pytest.approx(owed - repaid, abs=1)
    assert under_water["after"] == {"health_wad": None, "collateral_value": "0", "debt_value": "0"}

    summary = last["summary"]
    assert (summary["positions"], summary["without_debt"], summary["rehearsed"]) == (7, 2, 5)
    assert (summary["liquidated"], summary["complete"]) == (3, True)
    assert summary["forked_block_numbers"] == [book.chain.block_number] == [healthy["block_number"]]
    total = summary["protocols"]["aave"]
    assert total["reasons"] == {"no_route": 1, "unpriced": 1}
    assert int(total["profit"]) == sum(int(one["profit"] or 0) for one in lines)
    assert (total["bad_debt"], total["bad_debt_positions"]) == (under_water["bad_debt"], 1)


async def test_bad_debt_is_what_the_pool_writes_off(book: Book, house: House) -> None:
    """By the pool's own account of it, on the fork."""
    async with staged(house) as stage:
        dai = book.chain.tokens["DAI"].address

        async def deficit() -> int:
            data = "0xc952485d" + dai[2:].rjust(64, "0")  # getReserveDeficit(address)
            return int(
                await stage.fork.rpc.request("eth_call", {"to": book.chain.aave.pool, "data": data}, "latest"), 16
            )

        assert await deficit() == 0
        finding = await stage.play("aave", book.key("under water"))
        written_off = await deficit()
        assert finding.bad_debt == pytest.approx(written_off // 10**10, abs=1)


async def test_profit_is_what_the_transaction_brought_to_the_wei(book: Book, house: House) -> None:
    """The contract's balance before and after, and the receipt's gas, both asked of the fork itself. It lands at the
    base fee of the block that was forked."""
    usdc = book.chain.tokens["USDC"].address
    async with staged(house) as stage:
        rpc = stage.fork.rpc
        contract = stage.house.config.executor.liquidator or b""

        async def held() -> int:
            call = {"to": usdc, "data": "0x70a08231" + contract.hex().rjust(64, "0")}
            return int(await rpc.request("eth_call", call, "latest"), 16)

        assert await held() == 0
        async with stage.fork.rewound():
            finding = await stage.play("aave", book.key("healthy"))
            gained = await held()
            assert finding.intent is not None
            receipt = await rpc.request("eth_getTransactionReceipt", "0x" + (finding.intent.tx_hash or b"").hex())
            landed = await rpc.request("eth_getBlockByHash", receipt["blockHash"], False)
        spent = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
        assert finding.gain_assets == gained > 0
        assert (finding.intent.gas_used, finding.intent.gas_cost_wei) == (int(receipt["gasUsed"], 16), spent)
        dollars, ether = book.chain.price("USDC"), book.chain.price("WETH")
        assert finding.gas_base == -(-spent * ether // 10**18)
        assert finding.profit_base == gained * dollars // 10**6 - finding.gas_base
        assert int(landed["baseFeePerGas"], 16) == pytest.approx(30 * 10**9, rel=0.01)
        assert await held() == 0


async def test_the_fork_is_as_it_was_after_each_position(book: Book, house: House) -> None:
    """Block, balances, thresholds and health of everybody; so the same rehearsal finds the same again, and the order
    does not matter."""
    async with staged(house) as stage:
        before = await _everybody(stage, book)
        first = [await stage.rehearse("aave", book.key(name)) for name in ("healthy", "under water")]
        assert await _everybody(stage, book) == before
        again = [await stage.rehearse("aave", book.key(name)) for name in ("under water", "healthy")]
        for one, other in zip(first, reversed(again), strict=True):
            assert one.liquidated
            assert one.intent is not None and one.intent.profit_realized == one.intent.profit_expected
            assert (one.profit_base, one.gain_assets, one.after) == (other.profit_base, other.gain_assets, other.after)


async def test_nobody_else_loses_anything_by_a_rehearsal(book: Book, house: House) -> None:
    """Even before it is undone: a threshold is shared, but only the one account is liquidated."""
    async with staged(house) as stage:
        others = {name: key for name in book.accounts if name != "healthy" for key in [book.key(name)]}
        before = {name: await _shares(stage, book, key) for name, key in others.items()}
        mine = await _shares(stage, book, book.key("healthy"))
        assert (await stage.play("aave", book.key("healthy"))).liquidated
        assert {name: await _shares(stage, book, key) for name, key in others.items()} == before
        assert await _shares(stage, book, book.key("healthy")) != mine


async def _everybody(stage: Stage, book: Book) -> Mapping[str, object]:
    rpc, pool = stage.fork.rpc, book.chain.aave.pool
    views = [
        await rpc.batch([_view(pool, "bf92857c", who)]) for name, who in book.accounts.items() if name != "unpriced"
    ]
    weth = await rpc.request("eth_call", *_view(pool, "35ea6a75", book.chain.tokens["WETH"].address)[1])
    return {"block": stage.fork.tip, "latest": await rpc.block_by_number("latest"), "views": views, "weth": weth}


async def _shares(stage: Stage, book: Book, key: bytes) -> list[Any]:
    """Scaled balances of every supply and debt token, which interest does not move."""
    who = "0x" + key.hex()
    tokens = [t for r in book.chain.aave.reserves.values() for t in (r.a_token, r.variable_debt_token)]
    return await stage.fork.rpc.batch([_view(token, "1da24f3e", who) for token in tokens])


def _view(to: str, selector: str, who: str) -> tuple[str, tuple[Any, ...]]:
    return "eth_call", ({"to": to, "data": f"0x{selector}{who[2:].rjust(64, '0')}"}, "latest")


async def test_by_price_only_the_oracle_moves(book: Book, house: House) -> None:
    """The pool still pays the old price, so the same position brings far more than by its threshold. Afterwards the
    feed says again what it said."""
    feed = book.chain.tokens["WETH"].feed
    async with staged(house, Lever.PRICE) as stage:
        before, code = await _everybody(stage, book), await stage.fork.rpc.request("eth_getCode", feed, "latest")
        by_price = await stage.rehearse("aave", book.key("healthy"))
        assert await stage.fork.rpc.request("eth_getCode", feed, "latest") == code
        assert await _everybody(stage, book) == before
    async with staged(house) as stage:
        by_threshold = await stage.rehearse("aave", book.key("healthy"))
    assert (by_price.lever, by_price.liquidated) == (Lever.PRICE, True)
    assert (by_price.profit_base or 0) > 5 * (by_threshold.profit_base or 0) > 0


async def test_a_second_interruption_ends_the_position_in_hand(house: House) -> None:
    told = start(house, "--json")
    assert told.stdout is not None
    told.stdout.readline()
    told.send_signal(signal.SIGINT)
    told.send_signal(signal.SIGTERM)
    rest, err = told.communicate(timeout=60)
    assert told.returncode == 130, err
    assert '"complete":false' in rest
    assert "Traceback" not in err


async def test_an_interrupted_rehearsal_keeps_what_it_found(house: House) -> None:
    """The position in hand is the last; the summary says that it is not complete."""
    told = start(house, "--json")
    assert told.stdout is not None
    first = told.stdout.readline()
    told.send_signal(signal.SIGINT)
    rest, err = told.communicate(timeout=60)
    assert told.returncode == 130, err
    *lines, last = map(json.loads, [first, *rest.splitlines()])
    assert 1 <= len(lines) < 5
    assert (last["summary"]["rehearsed"], last["summary"]["complete"]) == (len(lines), False)
    assert f"interrupted after {len(lines)} of 5" in err


async def test_positions_can_be_chosen(book: Book, house: House) -> None:
    """By account, by health, and the nearest to liquidation first; a table of at most 80 columns for people."""
    told = start(house, book.accounts["healthy"], book.accounts["supplier"])
    out, err = told.communicate(timeout=60)
    assert told.returncode == 0, err
    assert "1 of 2 liquidated" in out
    assert "no_debt" in out
    assert max(map(len, out.split("aave: ")[0].splitlines())) <= 80
    told = start(house, "--json", "--below", "1.2", "--limit", "2")
    *lines, last = map(json.loads, told.communicate(timeout=60)[0].splitlines())
    assert [one["account"] for one in lines] == [book.accounts["under water"], book.accounts["thin"]]
    assert last["summary"]["left_out"] == 3


async def test_an_old_market_is_opened_in_the_same_name(dev_chain: DevChain, tmp_path: Path) -> None:
    """The real v3.0: by the reserve's threshold, and by an e-mode's, whose struct names a price source there."""
    aave_v30.install(dev_chain)
    old, aave = Book(dev_chain), dev_chain.aave
    for symbol in ("USDC", "DAI"):
        lend = "setReserveFlashLoaning(address,bool)"
        dev_chain.send(aave.market.admin, aave.configurator, lend, dev_chain.tokens[symbol].address, True)
    old.borrow("plain", "WETH", Decimal(10), Decimal(9_000))
    efficient = old.accounts["efficient"] = dev_chain.make_account(50, Decimal(5))
    aave.supply(efficient, "USDC", Decimal(10_000))
    aave.set_emode(efficient, 2)
    aave.borrow(efficient, "DAI", Decimal(9_000))
    house = await index(old.configuration(tmp_path), dev_chain.block_number)
    async with staged(house) as stage:
        for name in old.accounts:
            finding = await stage.rehearse("aave", old.key(name))
            assert finding.stressed is not None
            assert finding.stressed.liquidatable
            assert (finding.stressed.factor_wad or 0) > WAD * 99 // 100
            assert finding.liquidated, finding.reason


async def test_every_protocol_can_be_rehearsed(dev_chain: DevChain, tmp_path: Path) -> None:
    """Each opens its healthy positions, and nobody of the examples would leave bad debt. The margin that taking over a
    perpetual's position needs is on the fork as well; what it brings is what the average price makes of it."""
    for kind in protocols.kinds():
        protocols.protocol(kind).open_examples(dev_chain)
    file = Book(dev_chain).configuration(tmp_path, protocols=protocols.kinds())
    house = await index(file, dev_chain.block_number)
    with closing(house.open_store(read_only=True)) as store:
        cast = choose_cast(store, house.adapters(), store.blocks()[-1])
    async with staged(house) as stage:
        findings = [await stage.rehearse(*one) for one in cast.keys]
    assert {one.protocol for one in findings} == {adapter.name for adapter in house.adapters()}
    assert {one.bad_debt for one in findings} == {0}
    assert all(one.stressed is not None and one.stressed.liquidatable for one in findings), findings
    assert {one.reason for one in findings} == {None}
    for one in findings:
        assert one.intent is not None
        if one.protocol == "perp":  # what leaving the position costs is expected as well, and not paid yet
            assert one.intent.seized_assets == pytest.approx(int(one.intent.plan["expected_seized_assets"]), rel=1e-3)
            assert (one.intent.profit_realized or 0) > (one.intent.profit_expected or 0) > 0
        else:
            assert one.intent.profit_realized == one.intent.profit_expected


async def test_our_configured_contract_is_rehearsed_with_the_permissions_that_it_has(
    book: Book, tmp_path: Path
) -> None:
    """It belongs to somebody else, who lets our key run plans on the fork alone; what it may not call yet is told."""
    chain = book.chain
    with chain.rewound():
        contract = Contract.deployed(chain)
        house = await index(book.configuration(tmp_path, liquidator=contract.address), chain.block_number)
        async with staged(house) as stage:
            assert (await stage.rehearse("aave", book.key("healthy"))).liquidated
        contract.liquidator.client.send(
            contract.liquidator.owner,
            contract.address,
            "allow_call(address,bytes4,bool)",
            chain.aave.pool,
            bytes.fromhex("42b0b77c"),
            False,
        )
        async with staged(house) as stage:
            finding = await stage.rehearse("aave", book.key("healthy"))
        assert finding.reason is not None
        assert (finding.reason.code, "call not allowed" in finding.reason.detail) == ("would_revert", True)


async def test_what_cannot_be_read_is_the_finding_of_that_position_alone(
    book: Book, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fork is set back, and the next position is rehearsed as if nothing had happened."""
    async with staged(house) as stage:
        whole = stage.adapters["aave"].snapshot

        def broken(*_: object) -> Any:
            raise StateUnavailable("the node has no state of this block")

        monkeypatch.setattr(stage.adapters["aave"], "snapshot", broken)
        finding = await stage.rehearse("aave", book.key("healthy"))
        monkeypatch.setattr(stage.adapters["aave"], "snapshot", whole)
        assert finding.reason == Skip("not_rehearsed", "the node has no state of this block")
        assert (await stage.rehearse("aave", book.key("healthy"))).liquidated


async def test_an_adapter_that_does_not_know_how_says_so(book: Book, house: House) -> None:
    """What is open to liquidation as it is needs no help, and is rehearsed all the same."""

    class Reticent:
        """Everything of an adapter but `stress`."""

        def __init__(self, adapter: Any) -> None:
            for name in dir(adapter):
                if not name.startswith("_") and name != "stress":
                    setattr(self, name, getattr(adapter, name))

    async with staged(house) as stage:
        stage.adapters["aave"] = cast("Any", Reticent(stage.adapters["aave"]))
        finding = await stage.rehearse("aave", book.key("healthy"))
        assert finding.reason is not None
        assert finding.reason.code == "not_supported"
        assert (await stage.rehearse("aave", book.key("under water"))).liquidated


async def test_nothing_to_sell_with_is_told_before_anything_is_tried(book: Book, tmp_path: Path) -> None:
    file = book.configuration(tmp_path)
    file.write_text(file.read_text().partition("[[venues]]")[0])
    house = await index(file, book.chain.block_number)
    with pytest.raises(ConfigError, match=r"\[\[venues\]\]"):
        async with staged(house):
            pass


def test_what_a_node_forgets_is_rehearsed_on_a_new_fork(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upstream loses the state of the forked block after the first position; a block later it has one again."""
    monkeypatch.setattr("keeper.rehearsal.relay._PAUSES_S", ())
    findings: list[Finding] = []

    def found(one: Finding) -> None:
        findings.append(one)
        if len(findings) == 1:
            for method in ("eth_getStorageAt", "eth_getBalance", "eth_getCode", "eth_getTransactionCount"):
                proxy.instead(method, lambda _: Refuse(-32000, "missing trie node"), times=1_000)

    def said(told: str) -> None:
        if "a new fork" in told:
            proxy.forget()
            book.chain.mine()

    with book.chain.rewound(), fault_proxy(book.chain) as proxy:
        house = asyncio.run(index(book.configuration(tmp_path, rpc=[proxy.ws]), book.chain.block_number))
        with closing(house.open_store(read_only=True)) as store:
            cast = choose_cast(store, house.adapters(), store.blocks()[-1])
        assert Run(house, cast, Lever.THRESHOLD, None, found, said).complete()
    assert [one.status for one in findings].count("liquidated") == 3
    assert len({one.account for one in findings}) == len(findings) == 5
    first, *others = (one.block.number for one in findings)
    assert set(others) == {first + 1}


@pytest.mark.skipif(sys.platform != "linux", reason="command lines of others are in /proc")
def test_a_token_in_the_nodes_address_is_on_no_command_line(book: Book, tmp_path: Path) -> None:
    """Every user of a machine can read those, and Anvil takes its upstream there."""
    url = f"{book.chain.rpc_url}/?key=token-that-costs-money"
    house = asyncio.run(index(book.configuration(tmp_path, rpc=[url]), book.chain.block_number))
    told = start(house, "--json", "--limit", "2")
    assert told.stdout is not None
    first = told.stdout.readline()
    lines = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children(told.pid)]
    rest, err = told.communicate(timeout=60)
    assert told.returncode == 0, err
    assert any(b"--fork-url\0http://127.0.0.1:" in line for line in lines)
    assert not any("token-that-costs-money" in text for text in (*map(str, lines), first, rest, err))


def children(pid: int) -> list[str]:
    return [
        child for tasks in Path(f"/proc/{pid}/task").iterdir() for child in (tasks / "children").read_text().split()
    ]


async def test_only_reads_pass_to_the_chain_that_is_forked(book: Book, house: House) -> None:
    """Whatever is asked of the relay: transactions and cheat codes are refused, in a batch as well."""
    before = state(book)
    with Relay(house) as relay:
        rpc = Rpc(int(relay.url.rpartition(":")[2]))
        assert int(rpc("eth_blockNumber"), 16) == book.chain.block_number
        for method in ("eth_sendRawTransaction", "eth_sendTransaction", "anvil_mine", "evm_snapshot", "eth_sign"):
            with pytest.raises(RpcError, match="sends nothing upstream"):
                rpc(method, "0x00")
        rpc.close()
        client = await RpcClient.connect([relay.url], book.chain.chain_id)
        number, refused = await client.batch([("eth_blockNumber", []), ("anvil_mine", ["0x1"])])
        await client.close()
    assert int(number, 16) == book.chain.block_number
    assert isinstance(refused, Exception)
    assert state(book) == before
