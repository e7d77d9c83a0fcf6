"""The commands as scripts and people use them: exit codes, what goes to stdout and what to stderr, and every field."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.chain import DevChain
from keeper.devnet.rpc import Rpc
from tests.support.daemon import Keeper, deploy
from tests.support.fault_node import Hang
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.inbox import Inbox, open_inbox
from tests.support.onchain import assert_parity

Json = dict[str, Any]

KEEPER = (sys.executable, "-m", "keeper")
COMMANDS = (
    "check",
    "backfill",
    "run",
    "health",
    "calls",
    "liquidations",
    "transactions",
    "deploy",
    "skim",
    "rehearse",
    "init",
    "watch",
    "devnet",
)
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
HASH = re.compile(r"0x[0-9a-f]{64}")
INTEGER = re.compile(r"-?[0-9]+")


def keeper(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*KEEPER, *arguments], capture_output=True, text=True, timeout=60, **options)


# --- help -------------------------------------------------------------------------------------------------------------


def test_help_names_every_command():
    told = keeper("--help")
    assert told.returncode == 0
    assert all(f"\n    {command}" in told.stdout for command in COMMANDS)
    assert max(map(len, told.stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str):
    told = keeper(command, "--help")
    assert told.returncode == 0
    assert told.stdout.startswith(f"usage: keeper {command}")
    assert told.stderr == ""
    if command != "devnet":
        assert "--config" in told.stdout
    assert {"--verbose", "--log-format"} <= set(re.findall(r"--[a-z-]+", told.stdout))


def test_no_command_is_a_question_for_help():
    told = keeper()
    assert told.returncode == 2
    assert "usage: keeper" in told.stdout


def test_version():
    assert re.fullmatch(r"keeper \d+\.\d+\.\d+\S*\n", keeper("--version").stdout)


# --- a deployment with a history --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    """A daemon that has called three owners, seen one cure and liquidated one; stopped, its chain still there."""
    with DevChain.start() as chain, open_inbox() as inbox:
        folder = tmp_path_factory.mktemp("cli")
        with deploy(folder, chain, inbox, mode="live", executor={"confirmations": 1}) as daemon:
            tell(chain, inbox, daemon)
            yield daemon


def tell(chain: DevChain, inbox: Inbox, daemon: Keeper) -> None:
    ada, bela, cleo, dov = chain.accounts[:4]
    for owner, debt in ((ada, 14_000), (bela, 14_200), (cleo, 13_000)):
        chain.aave.supply(owner, "WETH", Decimal(10))
        chain.aave.borrow(owner, "USDC", Decimal(debt))
    chain.aave.supply(dov, "USDC", Decimal(5_000))
    chain.fund_liquidator()
    daemon.start()
    daemon.until_synced()
    chain.set_price("WETH", Decimal(1_840))
    daemon.until_told(inbox, ada, "opened")
    daemon.until_told(inbox, bela, "opened")
    chain.aave.repay(ada, "USDC", Decimal(4_000))
    daemon.until_told(inbox, ada, "opened", "cured")
    chain.set_price("WETH", Decimal(1_700))
    daemon.until("her loss to be told", lambda: inbox.events(bela)[-1] == "liquidated" and daemon.is_quiet())
    chain.mine(2)
    daemon.until("confirmation", lambda: [row["status"] for row in daemon.liquidations()] == ["confirmed"])
    daemon.until_synced()
    assert daemon.terminate() == 0


def test_health_is_the_pools_own_view(history: Keeper):
    """One object a line; `native` equals getUserAccountData at the block the row names, to the last digit."""
    rows = history.ask("health")
    assert_parity(history.chain, {row["account"]: row for row in rows})
    factors = [int(row["health_wad"]) for row in rows if row["health_wad"] is not None]
    assert factors == sorted(factors)  # the nearest to liquidation first
    assert rows[-1]["health_wad"] is None  # who owes nothing comes last
    tip = history.chain.block_number
    for row in rows:
        assert row["kind"] == "aave_v3"
        assert row["position"] == f"aave:{row['account']}"
        assert (row["block_number"], row["block_hash"]) == (tip, "0x" + history.chain.block_hash(tip).hex())
        assert list(row["native"]) == [
            "totalCollateralBase",
            "totalDebtBase",
            "currentLiquidationThreshold",
            "healthFactor",
        ]
        assert row["band"] in ("safe", "watch", "call", "urgent", "liquidatable")
        assert row["liquidatable"] is (row["band"] == "liquidatable")
        for holding in (*row["collaterals"], *row["debts"]):
            assert ADDRESS.fullmatch(holding["asset"])
            assert INTEGER.fullmatch(holding["amount"])


def test_health_of_some_accounts(history: Keeper):
    """Checksummed or lower case; one without a position gives no row and no error."""
    ada, bela = history.chain.accounts[:2]
    assert {row["account"] for row in history.ask("health", ada, bela.lower())} == {ada, bela}
    assert history.ask("health", "0x00000000000000000000000000000000DeaDBeef") == []


def test_health_has_account_metrics(history: Keeper):
    """Equity is the pool's collateral less its debt at that block; the table shows what the JSON says."""
    cleo = history.chain.accounts[2]
    (row,) = history.ask("health", cleo)
    data = history.chain.aave.user_account_data(cleo)
    metrics = row["metrics"]
    assert metrics["base_decimals"] == 8
    assert int(metrics["exposure_value"]) == data.total_collateral_base
    assert int(metrics["equity_value"]) == data.total_collateral_base - data.total_debt_base
    sustained = data.total_collateral_base * data.liquidation_threshold_bps // 10_000
    assert int(metrics["collateral_buffer_value"]) == sustained - data.total_debt_base
    assert metrics["largest_asset"] == history.chain.tokens["WETH"].address
    table = history.run("health", cleo).stdout
    assert "1 account metrics" in table
    assert f"{Decimal(metrics['equity_value']).scaleb(-8):,.2f}" in table
    assert "100.0% WETH" in table
    assert "account metrics" not in history.run("health").stdout


def test_calls_have_the_fields_of_the_interface(history: Keeper):
    ada, bela, cleo = history.chain.accounts[:3]
    rows = {row["account"]: row for row in history.ask("calls")}
    assert {account: row["status"] for account, row in rows.items()} == {ada: "cured", bela: "liquidated", cleo: "open"}
    for account, row in rows.items():
        assert row["position"] == f"aave:{account}"
        assert row["episode"]
        assert row["id"]
        assert row["band"] in ("safe", "watch", "call", "urgent", "liquidatable")
        opened = "0x" + history.chain.block_hash(row["opened_block"]).hex()
        assert row["opened_block_hash"] == opened
        assert INTEGER.fullmatch(row["health_wad"])
    call = rows[cleo]
    assert {demand["action"] for demand in call["demands"]} == {"add_collateral", "repay"}
    for demand in call["demands"]:
        assert ADDRESS.fullmatch(demand["asset"])
        assert INTEGER.fullmatch(demand["amount"])
        assert INTEGER.fullmatch(demand["resulting_health_wad"])
    (breach,) = call["breach_prices"]
    assert breach["asset"] == history.chain.tokens["WETH"].address
    assert Decimal(breach["price"]) < 1_700
    assert breach["move"]
    for row in rows.values():
        assert all({"band", "channel", "status", "sent_at"} <= set(notice) for notice in row["notices"])
        assert {notice["status"] for notice in row["notices"]} == {"sent"}


def test_liquidations_have_the_fields_of_the_interface(history: Keeper):
    (row,) = history.ask("liquidations")
    receipt = history.chain.rpc("eth_getTransactionReceipt", row["tx_hash"])
    assert (row["status"], row["account"]) == ("confirmed", history.chain.accounts[1])
    assert row["position"] == f"aave:{row['account']}"
    assert (row["block_number"], row["block_hash"]) == (int(receipt["blockNumber"], 16), receipt["blockHash"])
    assert row["gas_used"] == int(receipt["gasUsed"], 16)
    assert row["debt_asset"] == history.chain.tokens["USDC"].address
    assert row["collateral_asset"] == history.chain.tokens["WETH"].address
    for amount in ("repaid", "seized", "profit_expected", "profit_realized"):
        assert INTEGER.fullmatch(row[amount])
        assert int(row[amount]) > 0
    assert [attempt["tx_hash"] for attempt in row["attempts"]] == [row["tx_hash"]]


def test_what_a_liquidation_brought_is_explained_against_what_was_expected(history: Keeper):
    """Both in tokens and in the base currency; the causes add up to the difference, and to its events' amounts."""
    (row,) = history.ask("liquidations")
    expected, realized, difference = row["expected"], row["realized"], dict(row["difference"])
    assert (row["profit_expected"], row["profit_realized"]) == (expected["profit"], realized["profit"])
    apart = int(realized["profit"]) - int(expected["profit"])
    assert int(difference.pop("profit")) == apart == sum(map(int, difference.values()))
    assert list(difference) == ["interest", "price", "slippage", "fee", "gas", "tip", "other"]
    assert (realized["repaid"], realized["seized"]) == (row["repaid"], row["seized"])
    assert realized["gas_wei"] == row["gas_cost_wei"]
    assert [(gain["asset"], gain["amount"]) for gain in realized["gains"]] == [
        (row["debt_asset"], f"-{row['repaid']}"),
        (row["collateral_asset"], row["seized"]),
    ]


def test_a_summary_of_each_day_counts_all_gas(history: Keeper):
    (liquidation,) = history.ask("liquidations")
    rows = history.ask("liquidations", "--daily")
    assert sum(row["liquidations"] for row in rows) == 1
    assert sum(int(row["profit_realized_wad"]) for row in rows) == int(liquidation["profit_realized"]) * 10**10
    receipts = [history.chain.rpc("eth_getTransactionReceipt", row["tx_hash"]) for row in history.ask("transactions")]
    spent = sum(int(one["gasUsed"], 16) * int(one["effectiveGasPrice"], 16) for one in receipts)
    assert sum(int(row["gas_wei"]) for row in rows) == spent
    assert sum(int(row["gas"]["approvals"]) for row in rows) == spent - int(liquidation["gas_cost_wei"])
    told = history.run("liquidations", "--daily")
    assert max(map(len, told.stdout.splitlines())) <= 80
    counted = f"{len(rows)} {'day' if len(rows) == 1 else 'days'}"
    assert told.stdout.startswith(f"{counted}; expected, realized and net in the protocols' base currency")


def test_transactions_account_for_everything_signed(history: Keeper):
    """Every nonce once, in order: approvals first, as they were needed."""
    rows = history.ask("transactions")
    assert [row["nonce"] for row in rows] == list(range(len(rows)))
    assert [row["kind"] for row in rows][-1] == "liquidation"
    assert {row["kind"] for row in rows[:-1]} == {"approval"}
    for row in rows:
        assert HASH.fullmatch(row["tx_hash"])
        assert (row["purpose"], row["status"], row["intent_status"]) == ("act", "included", "confirmed")
        assert INTEGER.fullmatch(row["max_fee_wei"])


def test_one_call_is_shown_with_its_evidence_and_deliveries(history: Keeper):
    """By its id, the beginning of it, the account, or a notice's id; a wrong one is answered with the nearest."""
    row = next(row for row in history.ask("calls") if row["status"] == "liquidated")
    shown = history.run("calls", "show", row["id"][:12])
    assert shown.returncode == 0
    for said in (row["account"], "opened (call", "price of WETH: 1840", "liquidation", "notice on webhook: liquidated"):
        assert said in shown.stdout
    assert row["opened_block_hash"] in shown.stdout
    for name in (row["account"], row["notices"][0]["id"]):
        record = json.loads(history.run("calls", "show", name, "--json").stdout)
        assert record["id"] == row["id"]
    (loss,) = record["losses"]
    assert loss["transaction"] == history.liquidations()[0]["tx_hash"]
    assert int(loss["penalty_value"]) > 0
    wrong = history.run("calls", "show", row["id"][:-1] + "x")
    assert wrong.returncode == 1
    assert f"did you mean {row['id']}?" in wrong.stderr


def test_the_audit_trail_is_exported_in_three_forms(history: Keeper, tmp_path: Path):
    """The same entries in each; a file appears whole or not at all."""
    told = history.run("calls", "export")
    rows = [json.loads(line) for line in told.stdout.splitlines()]
    calls = [row for row in rows if row["type"] == "call"]
    assert {row["id"] for row in calls} == {row["id"] for row in history.ask("calls")}
    entries = [entry for row in rows for entry in row["trail"]]
    for one in calls:
        kinds = [entry["type"] for entry in one["trail"]]
        assert kinds[0] == "step" and {"notice", "delivery"} <= set(kinds)
        assert all(HASH.fullmatch(entry["block_hash"]) for entry in one["trail"] if entry["type"] == "step")
    lines = list(csv.DictReader(io.StringIO(history.run("calls", "export", "--format", "csv").stdout)))
    assert [line["event"] for line in lines] == [entry["event"] for entry in entries]
    page = tmp_path / "calls.html"
    written = history.run("calls", "export", "--format", "html", "--output", str(page))
    assert (written.returncode, written.stdout) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["calls.html"]
    text = page.read_text("utf-8")
    assert all(row["id"] in text for row in calls)
    assert "http" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL).replace("http-equiv", "")
    one = history.run("calls", "export", "--account", calls[0]["account"], "--since", "2020-01-01")
    assert {json.loads(line)["account"] for line in one.stdout.splitlines()} == {calls[0]["account"]}
    refused = history.run("calls", "export", "--since", "yesterday")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--since 'yesterday' is no moment" in refused.stderr


@pytest.mark.parametrize("command", ["health", "calls", "liquidations", "transactions"])
def test_json_keeps_integers_that_a_double_cannot_hold_as_text(history: Keeper, command: str):
    def numbers(value: Any) -> Iterator[int]:
        if isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                yield from numbers(item)
        elif isinstance(value, int):
            yield value

    rows = history.ask(command)
    assert rows
    assert all(abs(number) <= 2**53 for row in rows for number in numbers(row))


@pytest.mark.parametrize("command", ["health", "health --metrics", "calls", "liquidations", "transactions"])
def test_tables_fit_eighty_columns(history: Keeper, command: str):
    """For people, on stdout, without colours when nobody is there to see them."""
    told = history.run(*command.split())
    assert told.returncode == 0
    lines = told.stdout.splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in told.stdout
    assert told.stderr == ""


def test_a_reader_that_goes_away_is_no_failure(history: Keeper):
    """`keeper health --json | head -0`: no message, exit 0, as of any tool in a pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [*KEEPER, "health", "--json", "--config", str(history.config)]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=history.environment, timeout=60)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_check_passes_on_a_good_deployment(history: Keeper):
    """A line for each precondition, all ok, on stdout."""
    checked = history.run("check")
    assert checked.returncode == 0, checked.stdout
    lines = checked.stdout.splitlines()
    assert all(line.startswith("ok    ") for line in lines)
    for what in (
        "configuration",
        "store",
        f"rpc {history.chain.ws_url}",
        "head",
        "multicall",
        "wrapped native coin",
        "aave pool_addresses_provider",
        "aave market",
        "aave prices",
        "executor wallet",
        "executor tokens",
        "notifier webhook",
    ):
        assert sum(line[6:].startswith(what) for line in lines) == 1, what


def test_check_goes_on_after_what_fails(history: Keeper, tmp_path: Path):
    """A notifier that is gone and a dead second endpoint: two FAIL lines, everything else is still looked at."""
    config = tmp_path / "keeper.toml"
    text = history.config.read_text().replace("[[notifiers]]", '[[notifiers]]\nname = "gone"')
    text = re.sub(r"^url = .*notices\"", 'url = "http://127.0.0.1:9/notices"', text, flags=re.MULTILINE)
    config.write_text(text.replace(f'"{history.chain.ws_url}"', f'"{history.chain.ws_url}", "ws://127.0.0.1:9"'))
    checked = keeper("check", "--config", str(config), env=history.environment)
    assert checked.returncode == 1
    failed = [line for line in checked.stdout.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 2, checked.stdout
    assert failed[0].startswith("FAIL  rpc ws://127.0.0.1:9")
    assert failed[1].startswith("FAIL  notifier gone")
    assert "ok    aave prices" in checked.stdout


# --- backfill ---------------------------------------------------------------------------------------------------------


def test_backfill_stops_at_the_block_it_is_given(history: Keeper, tmp_path: Path):
    """And goes on from there the next time; what it tells is on stderr."""
    with deploy(tmp_path, history.chain) as fresh:
        height = history.chain.block_number
        for to in (height - 5, height):
            ended = fresh.run("backfill", "--to", str(to))
            assert (ended.returncode, ended.stdout) == (0, "")
            assert "caught_up" in ended.stderr
            cursor = fresh.cursor()
            assert cursor is not None
            assert (cursor.number, cursor.hash) == (to, history.chain.block_hash(to))
            assert_parity(history.chain, fresh.health())
        assert fresh.health() == history.health()


def test_backfill_to_a_block_that_is_not_there_yet_fails_and_keeps_what_is(history: Keeper, tmp_path: Path):
    """A script that asked for a block must not go on as if it had it."""
    with deploy(tmp_path, history.chain) as fresh:
        height = history.chain.block_number
        ended = fresh.run("backfill", "--to", "999999999")
        assert ended.returncode == 1
        told = (
            f"keeper: block 999999999 was not reached: the newest one is {height}; all up to there is indexed and kept"
        )
        assert told in ended.stderr
        cursor = fresh.cursor()
        assert cursor is not None
        assert cursor.number == height


def test_backfill_shows_its_progress_on_a_terminal(history: Keeper, tmp_path: Path):
    """A bar while it runs, on stderr: stdout stays empty for scripts."""
    master, terminal = pty.openpty()
    with deploy(tmp_path, history.chain) as fresh:
        command = [*KEEPER, "backfill", "--to", str(history.chain.block_number), "--config", str(fresh.config)]
        environment = fresh.environment | {"TERM": "xterm", "COLUMNS": "80"}
        ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=terminal, timeout=60)
    os.close(terminal)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)
    assert (ended.returncode, ended.stdout) == (0, b"")
    assert "aave: blocks scanned" in shown
    assert "aave: state reads" in shown


def test_a_killed_backfill_resumes(history: Keeper, tmp_path: Path):
    """SIGKILL after the scan, before the state is read: no logs of final blocks are asked for twice, those above are,
    since they may have become others, and nothing is missing."""
    height = history.chain.block_number
    final = int(history.chain.rpc("eth_getBlockByNumber", "finalized", False)["number"], 16)
    with fault_proxy(history.chain) as proxy, deploy(tmp_path, history.chain, rpc=[proxy.ws]) as fresh:
        proxy.instead("eth_call", lambda _: Hang(), when=lambda _: bool(scanned_from(proxy)))
        command = [*KEEPER, "backfill", "--to", str(height - 20), "--config", str(fresh.config)]
        fresh.process = subprocess.Popen(command, env=fresh.environment, stderr=subprocess.DEVNULL)
        fresh.until("the state to be read", lambda: proxy.waiting == 0)
        fresh.kill()
        proxy.asked.clear()
        assert fresh.run("backfill", "--to", str(height)).returncode == 0
        assert scanned_from(proxy) == [final + 1]
        assert fresh.health() == history.health()


def scanned_from(proxy: FaultProxy) -> list[int]:
    """Where each request for logs began."""
    return [int(params[0]["fromBlock"], 16) for method, params in proxy.asked if method == "eth_getLogs"]


# --- devnet -----------------------------------------------------------------------------------------------------------


def test_devnet_gives_what_a_first_look_needs(tmp_path: Path):
    """A chain with positions, and a configuration with which check, run and health work; SIGTERM ends it and Anvil."""
    config = tmp_path / "devnet.toml"
    command = [*KEEPER, "devnet", "--json", "--port", "0", "--mode", "live", "--config-out", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as devnet:
        try:
            assert devnet.stdout is not None
            facts = json.loads(devnet.stdout.readline())
            environment = os.environ | {"KEEPER_PRIVATE_KEY": facts["liquidator"]["public_test_key"]}
            assert tomllib.loads(config.read_text())["executor"]["mode"] == "live"
            checked = keeper("check", "--config", str(config), env=environment)
            assert checked.returncode == 0, checked.stdout + checked.stderr
            height = str(facts["block_number"])
            assert keeper("run", "--until-block", height, "--config", str(config), env=environment).returncode == 0
            rows = keeper("health", "--json", "--config", str(config), env=environment).stdout.splitlines()
            accounts = {json.loads(row)["account"] for row in rows}
            assert {position["account"] for position in facts["positions"]} <= accounts
            rpc = Rpc(int(facts["rpc_url"].rpartition(":")[2]))
            rpc("eth_blockNumber")
        finally:
            devnet.send_signal(signal.SIGTERM)
        assert devnet.wait(20) == 0
    with pytest.raises(Exception, match="no answer from Anvil"):
        rpc("eth_blockNumber")
