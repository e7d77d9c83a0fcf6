"""The web server beside a real daemon: its objects are the commands' own, and its events those of the chain."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from prometheus_client.parser import text_string_to_metric_families
from schemathesis import GenerationMode

from keeper.devnet.chain import DevChain
from scripts.loadlib.load import load
from tests.integration.test_cli import tell
from tests.support.daemon import Keeper, deploy
from tests.support.inbox import open_inbox
from tests.support.web import Web, of_daemon

TOKEN = "a-token-for-tests-alone-0123456789"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    """One that called three owners, saw one cure and liquidated one, and still follows its chain with a web server."""
    with DevChain.start() as chain, open_inbox() as inbox:
        folder = tmp_path_factory.mktemp("web")
        with deploy(folder, chain, inbox, mode="live", executor={"confirmations": 1}) as keeper:
            tell(chain, inbox, keeper)
            keeper.config.write_text(f'{keeper.config.read_text()}\n[web]\ntoken = "env:TEST_WEB_TOKEN"\n')
            keeper.environment["TEST_WEB_TOKEN"] = TOKEN
            keeper.start("--web", "127.0.0.1:0")
            yield keeper
            assert keeper.terminate() == 0


@pytest.fixture
def web(daemon: Keeper) -> Web:
    """Up to date with the chain."""
    found = of_daemon(daemon, Authorization=f"Bearer {TOKEN}")
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
    heard = []
    for event in stream:
        heard.append(event)
        if event[1] == "notice" and event[2]["event"] == "sent":
            break
    told = {name: [said for _, other, said in heard if other == name] for name in {name for _, name, _ in heard}}
    assert told["block"][-1]["number"] == chain.block_number
    (moved,) = [one for said in told["bands"] for one in said if one["account"] == cleo]
    assert (moved["from"], moved["to"]) == ("call", "urgent")
    (call,) = [one for one in told["call"] if one["account"] == cleo]
    assert (call["band"], call["status"], call["event"]) == ("urgent", "open", "escalated")
    assert told["notice"][-1]["channel"] == "webhook"
    missed = web.events(Last_Event_ID=hello[0])
    assert next(missed)[1] == "hello"
    assert [next(missed) for _ in heard] == heard
    gone = web.events(Last_Event_ID="otherlife-3")
    assert [next(gone)[1], next(gone)[1]] == ["hello", "reset"]


def test_it_is_ready_while_the_daemon_follows(daemon: Keeper, web: Web) -> None:
    """As of the next pulse after a block."""
    daemon.chain.mine()
    daemon.until("readiness", lambda: web.ask("/readyz").status == 200)
    said = web.ask("/readyz")
    assert {one["check"] for one in said.json["checks"]} == {"daemon", "head", "store", "rpc"}


# --- metrics ----------------------------------------------------------------------------------------------------------

_CONFIGS = Path(__file__).parents[2] / "configs"
_SELECTOR = re.compile(r"\b(keeper_[a-z0-9_]+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_SCRAPED_BY = {"instance", "job"}
"""Labels that Prometheus adds."""


def dashboard() -> dict[str, str]:
    """Expressions of the dashboard by panel."""
    panels = json.loads((_CONFIGS / "grafana" / "keeper.json").read_text())["panels"]
    return {
        f"{panel['title']} {target['refId']}": target["expr"] for panel in panels for target in panel.get("targets", [])
    }


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((_CONFIGS / "prometheus" / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_the_dashboard_and_the_alerts_name_only_metrics_that_a_scrape_has(web: Web) -> None:
    """And only labels that these have. A metric that is renamed leaves a panel empty and an alert silent for ever."""
    said = web.ask("/metrics")
    assert said.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(said.body.decode()))
    labels: dict[str, set[str]] = {}
    for family in families:
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        labels |= {f"{family.name}{suffix}": set() for suffix in suffixes}
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    expressions = dashboard() | {rule["alert"]: rule["expr"] for rule in rules()}
    assert len(expressions) > 50
    for where, expression in expressions.items():
        named = _SELECTOR.findall(expression)
        assert named or "up{" in expression, where
        for metric, selector in named:
            assert metric in labels, f"{where}: no metric is called {metric}"
            unknown = set(_LABEL.findall(selector)) - labels[metric] - _SCRAPED_BY
            assert not (unknown and labels[metric]), f"{where}: {metric} has no label {unknown}"


def test_every_alert_says_what_it_means_and_how_bad_it_is() -> None:
    named = [rule["alert"] for rule in rules()]
    assert len(set(named)) == len(named) > 15
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_the_numbers_are_those_of_the_chain_and_of_the_records(daemon: Keeper, web: Web) -> None:
    families = {family.name: family for family in text_string_to_metric_families(web.ask("/metrics").body.decode())}

    def value(name: str, **labels: str) -> float:
        family = name.removesuffix("_total")
        (found,) = [s.value for s in families[family].samples if s.name == name and labels.items() <= s.labels.items()]
        return float(found)

    chain = daemon.chain
    assert value("keeper_up") == 1
    assert value("keeper_store_head_number") == chain.block_number
    bands = Counter(row["band"] for row in daemon.health().values())
    assert {band: value("keeper_positions", band=band) for band in bands} == bands
    at_risk = sum(
        int(one["value"]) / 1e8
        for row in daemon.health().values()
        if row["band"] in ("call", "urgent", "liquidatable")
        for one in row["collaterals"]
    )
    assert value("keeper_value_at_risk") == pytest.approx(at_risk)
    assert value("keeper_intents", kind="liquidation", status="confirmed") == 1
    (row,) = daemon.liquidations()
    assert value("keeper_profit", protocol="aave") == pytest.approx(int(row["profit_realized"]) / 1e8)
    wallet = int(chain.rpc("eth_getBalance", chain.liquidator.address, "latest"), 16)
    assert value("keeper_wallet_native") == pytest.approx(wallet / 1e18)
    assert value("keeper_notices", channel="webhook", status="sent") == sum(
        notice["status"] == "sent" for call in daemon.calls() for notice in call["notices"]
    )
    assert value("keeper_blocks_total") > 0
    assert value("keeper_rpc_round_trips_total") > value("keeper_blocks_total")
    assert value("keeper_rpc_endpoint_up") == 1
    assert value("keeper_mode", mode="following") == 1


# --- the description -------------------------------------------------------------------------------------------------

ENDLESS = "/api/v1/events"


def test_every_answer_is_one_that_is_described(web: Web) -> None:
    """Status, media type and every field, for requests that the description allows and for those it does not."""
    schema = schemathesis.openapi.from_url(f"{web.url}/openapi.json", headers=web.headers)
    operations = [found.ok() for found in schema.exclude(path=ENDLESS).get_all_operations()]
    assert len(operations) == 15
    for operation in operations:
        everything = operation.path in ("/healthz", "/readyz")  # nothing can be wrong with what asks nothing
        for mode in (GenerationMode.POSITIVE,) if everything else (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            fuzz(operation, mode, web.headers)


def test_what_there_is_of_each_position_is_described(web: Web) -> None:
    """Of open ones with and without a call, and of one whose liquidation is recorded."""
    schema = schemathesis.openapi.from_url(f"{web.url}/openapi.json", headers=web.headers)
    names = [row["position"] for row in web.get("/api/v1/positions")["items"]]
    assert len(names) > 3
    for path in ("/api/v1/positions/{id}", "/api/v1/positions/{id}/history"):
        for name in names:
            said = schema[path]["GET"].Case(path_parameters={"id": name}).call_and_validate(headers=web.headers)
            assert said.status_code == 200


def fuzz(operation: Any, mode: GenerationMode, headers: dict[str, str]) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    def check(case: Any) -> None:
        case.call_and_validate(headers=headers)

    check()


# --- many at once -----------------------------------------------------------------------------------------------------


async def test_many_who_listen_and_ask_are_all_served_while_blocks_come(daemon: Keeper, web: Web) -> None:
    """The short form of scripts/loadtest: no error, the same blocks to all, the pulse live, memory flat."""

    async def mine() -> None:
        for _ in range(6):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(daemon.chain.mine)

    before = web.get("/api/v1/system")["memory"]["resident_bytes"]
    first = daemon.chain.block_number + 1
    found, _ = await asyncio.gather(load(web.url, seconds=5, clients=50, rate=50, headers=web.headers), mine())
    assert not found.errors
    assert found.requests >= 200  # of 250; on a busy machine whoever asks is late, too
    assert len(found.heard) == 50
    assert {tuple(blocks) for blocks in found.heard} == {tuple(found.heard[0])}
    assert set(found.heard[0]) <= set(range(first, first + 6))
    assert found.heard[0][-1] == first + 5
    assert found.slowest(0.9) < 2.0
    system = web.get("/api/v1/system")
    assert system["pulse"]["state"] == "live"
    assert system["head_lag_blocks"] == 0
    assert system["memory"]["resident_bytes"] < before * 1.1
