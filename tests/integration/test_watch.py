"""`keeper watch` on the real Aave: what it finds, whom it tells, and what it costs the node."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.aave import ReserveTerms
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from keeper.devnet.protocols import kinds, protocol
from keeper.watch.pace import BURST
from tests.support.daemon import deploy
from tests.support.fault_node import Http, Refuse
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.inbox import Inbox, open_inbox
from tests.support.watching import Watching, watching

Json = dict[str, Any]


@pytest.fixture
def chain(shared_chain: DevChain) -> DevChain:
    """Ada near the watch line, Bela comfortable."""
    for owner, debt in zip(shared_chain.accounts[:2], (13_000, 8_000), strict=False):
        shared_chain.aave.supply(owner, "WETH", Decimal(10))
        shared_chain.aave.borrow(owner, "USDC", Decimal(debt))
    return shared_chain


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with open_inbox() as inbox:
        yield inbox


@pytest.fixture
def proxy(chain: DevChain) -> Iterator[FaultProxy]:
    with fault_proxy(chain) as proxy:
        yield proxy


@pytest.fixture
def config(tmp_path: Path, chain: DevChain, inbox: Inbox) -> Path:
    """No shipped protocols are on a dev chain, so they come from a file. Nothing of it is indexed."""
    webhook = {"kind": "webhook", "url": inbox.url, "secret": "env:TEST_WEBHOOK_SECRET"}
    return write_config(tmp_path / "keeper.toml", chain, notifiers=[webhook])


# --- one assessment ---------------------------------------------------------------------------------------------------


def test_the_first_assessment_takes_at_most_fifteen_requests(
    tmp_path: Path, chain: DevChain, proxy: FaultProxy, config: Path
) -> None:
    """From nothing, for an account with one Aave position: every JSON-RPC request counted, parts of batches too."""
    ada = chain.accounts[0]
    told = Watching(tmp_path, ada, "--rpc", proxy.http, "--config", str(config)).run("--once", "--json")
    assert told.returncode == 0, told.stderr
    (row,) = map(json.loads, told.stdout.splitlines())
    assert row["account"] == ada
    assert len(proxy.asked) <= 15, Counter(method for method, _ in proxy.asked)
    assert {method for method, _ in proxy.asked} <= {"eth_chainId", "eth_getBlockByNumber", "eth_call"}


def test_a_market_of_sixty_assets_takes_no_more(tmp_path: Path, dev_chain: DevChain) -> None:
    """As many as Aave's largest. Nothing is asked again alone, although half of the probes are of functions that the
    contracts do not have; and a look stays at four requests."""
    terms = ReserveTerms(6800, 7300, 10700, 2000, 1000, (4500, 0, 700, 30000))
    for number in range(56):
        dev_chain.aave.init_reserve(f"T{number}", 18, Decimal(1), terms)
    owner = dev_chain.accounts[0]
    dev_chain.aave.supply(owner, "WETH", Decimal(10))
    dev_chain.aave.borrow(owner, "USDC", Decimal(8_000))
    config = write_config(tmp_path / "keeper.toml", dev_chain)
    with fault_proxy(dev_chain) as proxy:
        arguments = (owner, "--rpc", proxy.http, "--config", str(config))
        with watching(tmp_path, *arguments) as watch:
            once = watch.run("--once", "--json")
            assert (once.returncode, len(once.stdout.splitlines())) == (0, 1), once.stderr
            assert len(proxy.asked) <= 15, Counter(method for method, _ in proxy.asked)
            settled = len(proxy.asked)
            watch.start()
            assert len(proxy.asked) - settled <= 15
            settled = len(proxy.asked)
            dev_chain.mine()
            watch.until("a look", lambda: calls(proxy, settled) >= 2)
            looked = len(proxy.asked)
            watch.until("an idle look", lambda: len(proxy.asked) > looked)
            assert calls(proxy, settled) == 2


def test_an_assessment_is_the_health_object_with_demands_and_breach_prices(
    tmp_path: Path, chain: DevChain, config: Path
) -> None:
    """Field by field what a daemon that indexed the chain says, and what the pool says."""
    ada, bela = chain.accounts[:2]
    chain.set_price("WETH", Decimal(1_700))
    with deploy(tmp_path / "daemon", chain) as daemon:
        assert daemon.run("backfill", "--to", str(chain.block_number)).returncode == 0
        indexed = {row["account"]: row for row in daemon.ask("health")}
    once = Watching(tmp_path, ada, bela.lower(), "--rpc", chain.rpc_url, "--config", str(config)).run(
        "--once", "--json"
    )
    rows = {row["account"]: row for row in map(json.loads, once.stdout.splitlines())}
    assert set(rows) == {ada, bela}
    for account, row in rows.items():
        demands, breaches = row.pop("demands"), row.pop("breach_prices")
        assert row == indexed[account]
        assert int(row["native"]["healthFactor"]) == chain.aave.health(account)
        assert (breaches[0]["asset"], breaches[0]["quote"]) == (chain.tokens["WETH"].address, "USD")
        assert bool(demands) is (account == ada)
        assert all(int(demand["resulting_health_wad"]) >= 125 * 10**16 for demand in demands)


def test_people_see_tables_of_eighty_columns(tmp_path: Path, chain: DevChain, config: Path) -> None:
    shown = Watching(tmp_path, chain.accounts[0], "--rpc", chain.rpc_url, "--config", str(config)).run("--once")
    assert shown.returncode == 0
    assert "account metrics" in shown.stdout
    assert re.search(r"open to liquidation with WETH at 1,575\.75757575 USD \(-21\.21 %\)", shown.stdout)
    assert max(map(len, shown.stdout.splitlines())) <= 80


# --- following --------------------------------------------------------------------------------------------------------


def test_owners_hear_once_of_each_step_across_restarts(
    tmp_path: Path, chain: DevChain, inbox: Inbox, config: Path
) -> None:
    """Called, killed, started again (nothing new), escalated, cured; and never a scan of history."""
    ada, bela = chain.accounts[:2]
    with watching(tmp_path, ada, bela, "--rpc", chain.rpc_url, "--config", str(config)) as watch:
        watch.start()
        chain.set_price("WETH", Decimal(1_700))
        watch.until("the call", lambda: inbox.events(ada) == ["opened"])
        watch.kill()
        watch.start()
        chain.mine()
        watch.until("a look", lambda: len(watch.said("watching")) == 2)
        chain.set_price("WETH", Decimal(1_600))
        watch.until("the escalation", lambda: inbox.events(ada) == ["opened", "escalated"])
        assert watch.terminate() == 0
        chain.set_price("WETH", Decimal(2_000))
        watch.start()
        watch.until("the cure", lambda: inbox.events(ada) == ["opened", "escalated", "cured"])
        assert watch.terminate() == 0
    assert inbox.events(bela) == []
    (opened, *_) = inbox.notices(ada)
    assert opened["demands"]
    assert opened["text"].splitlines()[0].startswith(f"Margin call: {ada}")  # by the account, which has no name
    assert opened["block_hash"] == "0x" + chain.block_hash(opened["block_number"]).hex()
    assert sorted(path.name for path in watch.state.glob("*.db")) == sorted(
        f"{chain.chain_id}-{account.lower()}.db" for account in (ada, bela)
    )


def test_an_account_told_alone_is_not_told_again_beside_others(
    tmp_path: Path, chain: DevChain, inbox: Inbox, config: Path
) -> None:
    """What an owner was told is the account's, not the command line's."""
    ada, bela = chain.accounts[:2]
    arguments = ("--rpc", chain.rpc_url, "--config", str(config))
    chain.set_price("WETH", Decimal(1_700))
    with watching(tmp_path, ada, *arguments) as alone:
        alone.start()
        alone.until("the call", lambda: inbox.events(ada) == ["opened"])
        assert alone.terminate() == 0
    with watching(tmp_path, bela, ada, *arguments) as together:
        together.start()
        chain.set_price("WETH", Decimal(1_040))
        together.until("both calls", lambda: inbox.events(bela) == ["opened"] and len(inbox.events(ada)) > 1)
    assert inbox.events(ada) == ["opened", "escalated"]


def test_a_position_opened_later_is_found(tmp_path: Path, chain: DevChain, inbox: Inbox, config: Path) -> None:
    """By an account that had none, when asked to wait; without that the watch says where it looked, and ends."""
    cleo = chain.accounts[2]
    with watching(tmp_path, cleo, "--rpc", chain.rpc_url, "--config", str(config)) as watch:
        refused = watch.run()
        assert refused.returncode == 1
        assert f"{cleo}: no position in aave (aave_v3) on chain 31337; add --wait" in refused.stderr
        watch.start("--wait")
        chain.aave.supply(cleo, "WETH", Decimal(10))
        chain.aave.borrow(cleo, "USDC", Decimal(15_500))
        watch.until("the call", lambda: inbox.events(cleo) == ["opened"])
        chain.aave.repay(cleo, "USDC", Decimal(8_000))
        watch.until("the cure", lambda: inbox.events(cleo) == ["opened", "cured"])
        assert watch.terminate() == 0
        watch.start()  # it is known by now, so there is nothing to wait for
        assert watch.terminate() == 0


def test_a_liquidation_between_two_looks_is_told_with_who_and_what(
    tmp_path: Path, chain: DevChain, inbox: Inbox, config: Path
) -> None:
    ada = chain.accounts[0]
    with watching(tmp_path, ada, "--rpc", chain.rpc_url, "--config", str(config)) as watch:
        watch.start()
        chain.set_price("WETH", Decimal(1_550))
        watch.until("the call", lambda: inbox.events(ada) == ["opened"])
        chain.fund_liquidator()
        chain.aave.liquidate(chain.liquidator.address, ada, "WETH", "USDC", Decimal(13_000))
        watch.until("the loss", lambda: "liquidated" in inbox.events(ada))
    assert inbox.events(ada)[:2] == ["opened", "liquidated"]


def test_a_url_on_the_command_line_is_all_it_takes_to_hear(tmp_path: Path, chain: DevChain, config: Path) -> None:
    """`--notify` with a webhook's URL, instead of the file's notifiers; without a secret it is unsigned."""
    heard: list[Json] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    arguments = (chain.accounts[0], "--rpc", chain.rpc_url, "--config", str(config))
    try:
        url = f"http://127.0.0.1:{server.server_port}/hook"
        with watching(tmp_path, *arguments, "--notify", url, "--call", "1.2") as watch:
            watch.start()
            chain.set_price("WETH", Decimal(1_800))  # health 1.142: below the line given, above the usual one
            watch.until("the call", lambda: [notice["event"] for notice in heard] == ["opened"])
    finally:
        server.shutdown()
        server.server_close()
    assert heard[0]["account"] == chain.accounts[0]


def test_a_reorg_that_takes_the_reason_back_is_told(
    tmp_path: Path, chain: DevChain, inbox: Inbox, config: Path
) -> None:
    ada = chain.accounts[0]
    with watching(tmp_path, ada, "--rpc", chain.rpc_url, "--config", str(config)) as watch:
        watch.start()
        chain.mine(2)
        chain.set_price("WETH", Decimal(1_700))
        watch.until("the call", lambda: inbox.events(ada) == ["opened"])
        chain.reorg(2)
        chain.mine()
        watch.until("the withdrawal", lambda: inbox.events(ada) == ["opened", "withdrawn"])


def test_every_protocol_is_looked_at_at_once(tmp_path: Path, chain: DevChain, proxy: FaultProxy, inbox: Inbox) -> None:
    """One owner in Aave, a Morpho market that is named, and a Venus pool: one assessment each, and one call each."""
    owner, lender = chain.accounts[3], chain.make_account(7_777)
    market = chain.morpho.main
    market.supply(lender, Decimal(1_000_000))
    chain.venus.supply(lender, "USDC", Decimal(1_000_000))
    for place in (market, chain.venus, chain.aave):
        if place is market:
            market.supply_collateral(owner, Decimal(10))
            market.borrow(owner, Decimal(13_000))
        else:
            place.supply(owner, "WETH", Decimal(10))
            place.borrow(owner, "USDC", Decimal(12_000))
    webhook = {"kind": "webhook", "url": inbox.url, "secret": "env:TEST_WEBHOOK_SECRET"}
    kinds = ("aave_v3", "morpho_blue", "venus")
    config = write_config(tmp_path / "all.toml", chain, protocols=kinds, notifiers=[webhook])
    arguments = (owner, "--rpc", proxy.http, "--config", str(config), "--market", "0x" + market.id.hex())
    with watching(tmp_path, *arguments) as watch:
        once = watch.run("--once", "--json")
        assert once.returncode == 0, once.stderr
        rows = {row["kind"]: row for row in map(json.loads, once.stdout.splitlines())}
        assert set(rows) == set(kinds)
        assert len(proxy.asked) <= 20, Counter(method for method, _ in proxy.asked)
        assert all(row["metrics"] and row["breach_prices"] and row["health_wad"] for row in rows.values())
        watch.start()
        chain.set_price("WETH", Decimal(1_590))
        watch.until("a call each", lambda: inbox.events(owner).count("opened") == 3)
    assert len({notice["position"] for notice in inbox.notices(owner)}) == 3


def test_an_example_of_every_protocol_is_found_and_verified(tmp_path: Path, chain: DevChain, proxy: FaultProxy) -> None:
    """Whatever the dev chain can deploy: exit 0 says that our view is the protocol's own."""
    for kind in kinds():
        account = protocol(kind).open_examples(chain)[0].account
        config = write_config(tmp_path / f"{kind}.toml", chain, protocols=(kind,))
        settled = len(proxy.asked)
        once = Watching(tmp_path, account, "--rpc", proxy.http, "--config", str(config)).run("--once", "--json")
        assert once.returncode == 0, (kind, once.stderr)
        rows = [json.loads(line) for line in once.stdout.splitlines()]
        assert {(row["kind"], row["account"]) for row in rows} == {(kind, account)}
        asked = Counter(method for method, _ in proxy.asked[settled:])
        assert sum(asked.values()) <= 15, (kind, asked)


def test_isolated_positions_are_found_by_the_accounts_own_logs(
    tmp_path: Path, chain: DevChain, proxy: FaultProxy, inbox: Inbox
) -> None:
    """Where no market is named: at once from a node that serves wide ranges, little by little from one that does not,
    once per account; and a position opened in another market later."""
    owner, lender = chain.accounts[4], chain.make_account(7_778)
    first = chain.morpho.main
    first.supply(lender, Decimal(1_000_000))
    first.supply_collateral(owner, Decimal(10))
    first.borrow(owner, Decimal(13_000))
    chain.mine(400)
    webhook = {"kind": "webhook", "url": inbox.url, "secret": "env:TEST_WEBHOOK_SECRET"}
    config = write_config(tmp_path / "morpho.toml", chain, protocols=("morpho_blue",), notifiers=[webhook])
    with watching(tmp_path, owner, "--rpc", proxy.http, "--config", str(config)) as watch:
        once = watch.run("--once", "--json")
        assert [json.loads(line)["market"] for line in once.stdout.splitlines()] == ["0x" + first.id.hex()]
        assert sum(method == "eth_getLogs" for method, _ in proxy.asked) == 1

        narrow = Refuse(-32602, "block range is too wide, limited to 50 blocks")
        proxy.instead("eth_getLogs", lambda _: narrow, times=10_000, when=wider_than(50))
        unfinished = watch.run("--once", "--json", "--market", "0x" + first.id.hex())
        assert len(unfinished.stdout.splitlines()) == 1  # what is named is found whatever the node serves
        assert "not all of its logs were searched for positions in morpho; name the markets" in unfinished.stderr
        watch.start("--wait")
        chain.set_price("WETH", Decimal(1_600))
        watch.until("the call", lambda: inbox.events(owner) == ["opened"])
        watch.until("the search to end", lambda: watch.said("account_logs_searched"))
        settled = len(proxy.asked)
        watch.terminate()
        watch.start()
        searched = [params for method, params in proxy.asked[settled:] if method == "eth_getLogs"]
        assert all(int(params[0]["fromBlock"], 16) > chain.block_number - 200 for params in searched)

        second = chain.morpho.add_market("WBTC", "USDC")
        second.supply(lender, Decimal(1_000_000))
        second.supply_collateral(owner, Decimal(1))
        second.borrow(owner, Decimal(50_000))
        watch.terminate()
        watch.start()  # it is searched again every few minutes, and at a start
        positions = {f"morpho:{owner}:0x{market.id.hex()}" for market in (first, second)}
        chain.set_price("WBTC", Decimal(56_000))
        watch.until("another call", lambda: {one["position"] for one in inbox.notices(owner)} == positions)


def wider_than(blocks: int) -> Callable[[list[Any]], bool]:
    return lambda params: int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) >= blocks


def test_owners_hear_that_nobody_is_watching_and_that_somebody_is_again(
    tmp_path: Path, chain: DevChain, proxy: FaultProxy, inbox: Inbox
) -> None:
    webhook = {"kind": "webhook", "url": inbox.url, "secret": "env:TEST_WEBHOOK_SECRET"}
    config = write_config(tmp_path / "keeper.toml", chain, notifiers=[webhook], node={"stale_after_s": 1.0})

    def told() -> list[str]:
        return [notice["event"] for notice in inbox.notices()]

    with watching(tmp_path, chain.accounts[0], "--rpc", proxy.http, "--config", str(config)) as watch:
        watch.start()
        proxy.down()
        watch.until("to be told of blindness", lambda: told() == ["unhealthy"])
        proxy.up()
        chain.mine()
        watch.until("to be told of sight", lambda: told() == ["unhealthy", "recovered"])


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_a_look_costs_four_requests_and_none_while_there_is_no_new_block_but_one(
    tmp_path: Path, chain: DevChain, proxy: FaultProxy, config: Path
) -> None:
    """Two headers and two multicalls, for two accounts as for one: 240 an hour at one look a minute, 960 at four."""
    ada, bela = chain.accounts[:2]
    with watching(tmp_path, ada, bela, "--rpc", proxy.http, "--config", str(config)) as watch:
        watch.start()
        for _ in range(3):
            settled = len(proxy.asked)
            watch.until("an idle look", lambda settled=settled: len(proxy.asked) >= settled + 2)
            settled = len(proxy.asked)
            chain.mine()
            watch.until("a look", lambda settled=settled: calls(proxy, settled) >= 2 and len(proxy.asked) > settled + 4)
            cost = Counter(method for method, _ in proxy.asked[settled:])
            assert cost["eth_call"] == 2
            idle = cost["eth_getBlockByNumber"] - 2  # one each, before and after
            assert sum(cost.values()) - idle == 4, cost
        assert not {"eth_getLogs", "eth_subscribe"} & {method for method, _ in proxy.asked}


def calls(proxy: FaultProxy, since: int) -> int:
    return sum(method == "eth_call" for method, _ in proxy.asked[since:])


def test_a_budget_is_kept_whatever_the_interval(
    tmp_path: Path, chain: DevChain, proxy: FaultProxy, config: Path
) -> None:
    """Looks every tenth of a second, but 3600 requests an hour: one a second, after the burst of a start."""
    chain.mine_every(1)
    try:
        with watching(tmp_path, chain.accounts[0], "--rpc", proxy.http, "--config", str(config)) as watch:
            began = time.monotonic()
            watch.start("--every", "0.1", "--budget", "3600")
            watch.until("the burst to be spent", lambda: len(proxy.asked) >= BURST)
            spent = time.monotonic()
            watch.until("some seconds", lambda: time.monotonic() - spent > 5)
            assert len(proxy.asked) <= time.monotonic() - began + BURST + 4
    finally:
        chain.mine_at_once()


def test_a_node_that_limits_is_left_alone_and_then_asked_again(
    tmp_path: Path, chain: DevChain, proxy: FaultProxy, inbox: Inbox, config: Path
) -> None:
    """429 with Retry-After, and JSON-RPC's own words for it, at any request of a look."""
    ada = chain.accounts[0]
    with watching(tmp_path, ada, "--rpc", proxy.http, "--config", str(config)) as watch:
        watch.start()
        proxy.fail("eth_call", Http(429, headers={"Retry-After": "1"}), Refuse(-32005, "rate limit exceeded"))
        chain.set_price("WETH", Decimal(1_700))
        watch.until("the call", lambda: inbox.events(ada) == ["opened"])
        assert watch.process is not None and watch.process.poll() is None


# --- what cannot work -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody.eth"], "'nobody.eth' is a name, and chain 31337 has no ENS registry; give the address"),
        (["ADA", "--rpc", "ftp://node"], "scheme 'ftp'"),
        (["ADA", "--rpc", "http://127.0.0.1:1"], "no rpc endpoint can be used"),
    ],
)
def test_what_cannot_work_is_said_with_the_remedy(
    tmp_path: Path, chain: DevChain, config: Path, arguments: list[str], said: str
) -> None:
    given = [chain.accounts[0] if argument == "ADA" else argument for argument in arguments]
    if "--rpc" not in given:
        given += ["--rpc", chain.rpc_url]
    told = Watching(tmp_path, *given, "--config", str(config)).run("--once")
    assert told.returncode == 1
    assert said in told.stderr
    assert "Traceback" not in told.stderr


def test_a_chain_without_shipped_protocols_names_those_there_are(tmp_path: Path, chain: DevChain) -> None:
    told = Watching(tmp_path, chain.accounts[0], "--rpc", chain.rpc_url).run("--once")
    assert told.returncode == 1
    assert "no protocol is shipped for chain 31337; shipped are:" in told.stderr
    assert "1 ethereum (aave" in told.stderr


def test_a_node_of_another_chain_than_the_files_is_refused(tmp_path: Path, chain: DevChain) -> None:
    config = write_config(tmp_path / "keeper.toml", chain, node={"id": 1})
    told = Watching(tmp_path, chain.accounts[0], "--rpc", chain.rpc_url, "--config", str(config)).run("--once")
    assert told.returncode == 1
    assert "serves chain 31337, but chain 1 is configured" in told.stderr


def test_two_watches_of_one_account_do_not_tell_twice(tmp_path: Path, chain: DevChain, config: Path) -> None:
    """The second is refused: the file of what was told has one writer."""
    ada = chain.accounts[0]
    with watching(tmp_path, ada, "--rpc", chain.rpc_url, "--config", str(config)) as watch:
        watch.start()
        second = watch.run()
        assert second.returncode == 1
        assert "Traceback" not in second.stderr
        assert "is in use by process" in second.stderr
        assert "--store DIR" in second.stderr
