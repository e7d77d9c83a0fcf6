"""The web server beside a real daemon: its objects are the commands' own, and its events those of the chain."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from keeper.devnet.chain import DevChain
from tests.integration.test_cli import tell
from tests.support.daemon import Keeper, deploy
from tests.support.inbox import open_inbox
from tests.support.web import Web, of_daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    """One that called three owners, saw one cure and liquidated one, and still follows its chain with a web server."""
    with DevChain.start() as chain, open_inbox() as inbox:
        folder = tmp_path_factory.mktemp("web")
        with deploy(folder, chain, inbox, mode="live", executor={"confirmations": 1}) as keeper:
            tell(chain, inbox, keeper)
            keeper.start("--web", "127.0.0.1:0")
            yield keeper
            assert keeper.terminate() == 0


@pytest.fixture
def web(daemon: Keeper) -> Web:
    """Up to date with the chain."""
    found = of_daemon(daemon)
    daemon.until_synced()
    tip = daemon.chain.block_number
    daemon.until("the web server to follow", lambda: (found.get("/api/v1/status")["block"] or {}).get("number") == tip)
    return found


def test_positions_are_those_of_the_command(daemon: Keeper, web: Web) -> None:
    """Field by field, with the lines and labels that a page shows besides."""
    rows = web.get("/api/v1/positions")
    lines = ("watch_wad", "urgent_wad", "target_wad", "label")
    shown = [{name: value for name, value in row.items() if name not in lines} for row in rows["items"]]
    assert sorted(shown, key=lambda row: row["position"]) == sorted(
        daemon.ask("health"), key=lambda row: row["position"]
    )
    assert rows["total"] == len(rows["items"])


@pytest.mark.parametrize(("route", "command"), [("calls", "calls"), ("liquidations", "liquidations")])
def test_records_are_those_of_the_command_newest_first(daemon: Keeper, web: Web, route: str, command: str) -> None:
    """As the command prints them, with tokens called by their names."""
    items = web.get(f"/api/v1/{route}")["items"]
    for call in items if route == "calls" else ():
        assert {price["symbol"] for step in call["steps"] for price in step["prices"]} == {"WETH", "USDC"}
        assert all(loss["repaid_amount"].endswith("USDC") for loss in call["losses"])
    assert [nameless(row) for row in items] == [nameless(row) for row in daemon.ask(command)[::-1]]


def nameless(row: dict[str, Any]) -> dict[str, Any]:
    steps = [
        {**step, "prices": [{**price, "symbol": None} for price in step["prices"]]} for step in row.get("steps", [])
    ]
    losses = [{**loss, "repaid_amount": None, "seized_amount": None} for loss in row.get("losses", [])]
    return {**row, "steps": steps, "losses": losses}


def test_transactions_tell_their_lives(daemon: Keeper, web: Web) -> None:
    items = web.get("/api/v1/transactions")["items"]
    asked = daemon.ask("transactions")[::-1]
    assert [{name: one[name] for name in asked[0]} for one in items] == asked
    (liquidation,) = [one for one in items if one["kind"] == "liquidation"]
    trail = [step["event"] for step in liquidation["trail"]]
    assert (trail[0], trail[-1]) == ("planned", "confirmed")
    assert liquidation["position"].endswith(daemon.chain.accounts[1])
    assert int(liquidation["profit_realized"]) > 0


def test_every_health_of_the_table_is_that_of_its_position(web: Web) -> None:
    """As floats, in whole units, compressed, and known by its block."""
    said = web.ask("/api/v1/positions/table", Accept_Encoding="gzip")
    table = json.loads(gzip.decompress(said.body)) if "content-encoding" in said.headers else said.json
    exact = {row["position"]: row for row in web.get("/api/v1/positions?limit=1000")["items"]}
    assert table["rows"] == len(exact) == len(table["id"])
    assert table["currency"] == {"aave": "USD"}
    for at, name in enumerate(table["id"]):
        row = exact[name]
        assert table["bands"][table["band"][at]] == row["band"]
        if row["health_wad"] is None:
            assert table["health"][at] is None
        else:
            assert table["health"][at] == pytest.approx(int(row["health_wad"]) / 1e18, abs=1e-6)
        value = sum(int(one["value"]) for one in row["collaterals"] if one["counts"]) / 1e8
        assert table["collateral_value"][at] == pytest.approx(value, rel=1e-6)
    assert said.headers["etag"].startswith(f'"{table["block"]["hash"][2:]}-')
    again = web.ask("/api/v1/positions/table", If_None_Match=said.headers["etag"])
    assert (again.status, again.body) == (304, b"")


def test_a_block_and_what_it_does_reach_who_listens(daemon: Keeper, web: Web) -> None:
    """The block, the band that changed, the call that opened, its notice; and Last-Event-ID brings back what was
    missed."""
    chain, cleo = daemon.chain, daemon.chain.accounts[2]
    stream = web.events()
    hello = next(stream)
    assert hello[1] == "hello"
    chain.set_price("WETH", Decimal(1_620))
    seen, last = dict[str, Any](), ""
    for number, name, said in stream:
        seen[name], last = said, number
        if name == "notice" and said["event"] == "sent":
            break
    assert seen["block"]["number"] >= hello[2]["block"]["number"]
    (moved,) = [one for one in seen["bands"] if one["account"] == cleo]
    assert (moved["from"], moved["to"]) == ("call", "urgent")
    assert (seen["call"]["account"], seen["call"]["band"], seen["call"]["status"]) == (cleo, "urgent", "open")
    assert seen["notice"]["channel"] == "webhook"
    missed = web.events(Last_Event_ID=hello[0])
    replayed = [next(missed) for _ in range(8)]
    assert {"bands", "call"} <= {name for _, name, _ in replayed}
    assert any(number == last for number, _, _ in [*replayed, *(next(missed) for _ in range(2))])
    gone = web.events(Last_Event_ID="otherlife-3")
    assert [next(gone)[1], next(gone)[1]] == ["hello", "reset"]


def test_it_is_ready_while_the_daemon_follows(web: Web) -> None:
    said = web.ask("/readyz")
    assert (said.status, said.json["ready"]) == (200, True), said.body
    assert {one["check"] for one in said.json["checks"]} == {"daemon", "head", "store", "rpc"}
