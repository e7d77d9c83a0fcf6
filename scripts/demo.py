"""The story of the demo. Its numbers are read back from the chain, from Keeper's records and from its notices."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rich.console import Console

from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from keeper.devnet.market import BTC_ETH_EMODE

SECRET = "a shared secret of the demo"  # noqa: S105  (signs webhooks between two processes of this demo)
KEEPER = [sys.executable, "-m", "keeper"]
PATIENCE_S = 60.0

console = Console(stderr=True, highlight=False)


@dataclass
class Owner:
    """One position owner of the story."""

    name: str
    address: str
    supplies: dict[str, str]
    debts: dict[str, str]
    emode: int = 0
    protocol: str = "aave"


@dataclass
class Inbox:
    """Notices received and verified by the webhook server."""

    notices: list[dict[str, Any]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def accept(self, body: bytes, timestamp: str, signature: str, key: str) -> None:
        expected = hmac.new(SECRET.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, f"sha256={expected}"):
            raise ValueError("a notice with a wrong signature")
        if key not in self.seen:  # at least once: a repeated key is the same notice
            self.seen.add(key)
            self.notices.append(json.loads(body))

    def of(self, account: str, event: str) -> dict[str, Any] | None:
        return next((n for n in self.notices if n["account"] == account and n["event"] == event), None)

    def count(self, event: str) -> int:
        return len({n["position"] for n in self.notices if n["event"] == event})


@contextlib.contextmanager
def webhook_server(inbox: Inbox) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = (self.headers[f"X-Keeper-{name}"] for name in ("Timestamp", "Signature"))
            inbox.accept(body, *headers, self.headers["Idempotency-Key"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/notices"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Keeper:
    """The daemon as a separate process, and the query commands beside it."""

    config: Path
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*KEEPER, "run", "--config", str(self.config), "--log-format", "json"], env=self.environment, stderr=log
            )

    def ask(self, command: str) -> list[dict[str, Any]]:
        """Objects of `keeper COMMAND --json`; none while the daemon has not made its store yet."""
        run = subprocess.run(
            [*KEEPER, command, "--json", "--config", str(self.config)], env=self.environment, capture_output=True
        )
        return [json.loads(line) for line in run.stdout.splitlines()]

    def alive(self) -> None:
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError("Keeper stopped by itself")

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        return self.process.wait(30)


def wait_for(what: str, keeper: Keeper, condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        keeper.alive()
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE_S:.0f} s for {what}")
        time.sleep(0.1)
    return found


def step(text: str) -> None:
    console.print(f"[bold cyan]▸[/] {text}")


def open_positions(chain: DevChain) -> list[Owner]:
    accounts = iter(chain.accounts)
    owners = [
        Owner("Ada", next(accounts), {"WETH": "10"}, {"USDC": "14000"}),
        Owner("Bela", next(accounts), {"WETH": "10"}, {"DAI": "14200"}),
        Owner("Cleo", next(accounts), {"WETH": "5"}, {"USDC": "7100"}),
        Owner("Dov", next(accounts), {"WBTC": "1"}, {"USDC": "40000"}),
        Owner("Eve", next(accounts), {"WBTC": "1"}, {"WETH": "22"}, BTC_ETH_EMODE),
        Owner("Fay", next(accounts), {"WETH": "10"}, {"USDC": "5000"}),
        Owner("Gus", next(accounts), {"WETH": "1"}, {"USDC": "1400"}),
        Owner("Hal", next(accounts), {"WETH": "10"}, {"USDC": "15800"}, protocol="morpho"),
        Owner("Ida", chain.make_account(1), {"WETH": "10"}, {"USDC": "13900"}, protocol="venus"),
        Owner("Jon", chain.make_account(2), {"USDC": "2690"}, {}, protocol="perp"),
    ]
    lender = chain.accounts[-1]
    chain.morpho.supply(lender, Decimal(1_000_000))
    chain.venus.supply(lender, "USDC", Decimal(1_000_000))
    open_perpetuals(chain)
    for owner in owners:
        if owner.protocol == "morpho":
            chain.morpho.supply_collateral(owner.address, Decimal(owner.supplies["WETH"]))
            chain.morpho.borrow(owner.address, Decimal(owner.debts["USDC"]))
            continue
        if owner.protocol == "venus":
            chain.venus.supply(owner.address, "WETH", Decimal(owner.supplies["WETH"]))
            chain.venus.borrow(owner.address, "USDC", Decimal(owner.debts["USDC"]))
            continue
        if owner.protocol == "perp":
            chain.perp.deposit(owner.address, Decimal(owner.supplies["USDC"]))
            chain.perp.trade(owner.address, Decimal(10))
            continue
        if owner.emode:
            chain.aave.set_emode(owner.address, owner.emode)
        for symbol, amount in owner.supplies.items():
            chain.aave.supply(owner.address, symbol, Decimal(amount))
        for symbol, amount in owner.debts.items():
            chain.aave.borrow(owner.address, symbol, Decimal(amount))
    return owners


def open_perpetuals(chain: DevChain) -> None:
    """Somebody who makes the market, an insurance fund, and margin of our own to take positions over with."""
    maker = chain.make_account(3)
    chain.perp.deposit(maker, Decimal(5_000_000))
    chain.perp.add_liquidity(maker, Decimal(2_000), Decimal(4_000_000), 1_000, 4_000)
    chain.fund(chain.perp.deployment.insurance_fund, "USDC", Decimal(1_000_000))
    chain.perp.deposit(chain.liquidator.address, Decimal(100_000))


def ether_falls(chain: DevChain, dollars: int) -> None:
    """Everywhere: in the feed that lenders read, and in the perpetuals' own market, whose mark price is an average."""
    whale = chain.make_account(4)
    chain.set_price("WETH", Decimal(dollars))
    chain.warp(1)
    chain.perp.publish_price()
    chain.perp.deposit(whale, Decimal(2_000_000))
    chain.perp.move_market(whale, Decimal(dollars), lot=Decimal(20))
    chain.warp(30)
    chain.mine()


def story(folder: Path) -> dict[str, Any]:
    began = time.monotonic()
    inbox = Inbox()
    step(
        "Anvil starts; Aave v3.6, Morpho Blue, Venus, Perp v2 and Uniswap v3 are deployed (once, fetched and compiled)"
    )
    with DevChain.start() as chain, webhook_server(inbox) as url:
        owners = {owner.name: owner for owner in open_positions(chain)}
        chain.fund_liquidator()
        config = write_config(
            folder / "keeper.toml",
            chain,
            mode="live",
            protocols=["aave_v3", "morpho_blue", "venus", "perp_v2"],
            notifiers=[{"kind": "webhook", "url": url, "secret": "env:DEMO_WEBHOOK_SECRET"}],
            executor={"confirmations": 3, "min_profit": "1.00"},
        )
        environment = {
            **os.environ,
            "KEEPER_PRIVATE_KEY": chain.liquidator.private_key,
            "DEMO_WEBHOOK_SECRET": SECRET,
        }
        keeper = Keeper(config, environment, folder / "keeper.log")
        step(f"{len(owners)} owners opened positions; Keeper starts as its own process with {config.name}")
        keeper.start()
        try:
            return tell(chain, keeper, inbox, owners, began)
        except BaseException:
            console.print("[red]the end of Keeper's log:[/]")
            console.print(keeper.log.read_text()[-20_000:], markup=False, soft_wrap=True)
            raise
        finally:
            if keeper.process is not None and keeper.process.poll() is None:
                keeper.process.kill()
                keeper.process.wait()


def tell(chain: DevChain, keeper: Keeper, inbox: Inbox, owners: dict[str, Owner], began: float) -> dict[str, Any]:
    addresses = {owner.address for owner in owners.values()}
    rows = wait_for(
        "every position to be indexed",
        keeper,
        lambda: (rows := keeper.ask("health")) and addresses <= {row["account"] for row in rows} and rows,
    )
    check_parity(chain, keeper, rows)
    step(f"{len(rows)} positions on four protocols indexed; each equals its contract's own view to the last digit")

    ether_falls(chain, 1_840)
    chain.set_price("WBTC", Decimal(55_000))
    called = [owners[name] for name in ("Ada", "Bela", "Cleo", "Dov", "Gus", "Hal", "Ida", "Jon")]
    wait_for("margin calls", keeper, lambda: all(inbox.of(owner.address, "opened") for owner in called))
    step(f"ether falls to $1840, bitcoin to $55000: {len(called)} owners are called for margin")

    ada = owners["Ada"]
    notice = inbox.of(ada.address, "opened") or {}
    demand = next(d for d in notice["demands"] if d["action"] == "add_collateral")
    symbol = next(s for s, token in chain.tokens.by_symbol.items() if token.address == demand["asset"])
    chain.aave.supply(ada.address, symbol, int(demand["amount"]))
    wait_for("the cure", keeper, lambda: inbox.of(ada.address, "cured"))
    amount = Decimal(demand["amount"]).scaleb(-chain.tokens[symbol].decimals)
    step(f"Ada adds exactly what her notice asked for, {amount:.6f} {symbol}, and is told that she is cured")

    ether_falls(chain, 1_650)
    chain.set_price("WBTC", Decimal(50_000))
    doomed = [owners[name] for name in ("Bela", "Cleo", "Dov", "Gus", "Hal", "Ida", "Jon")]
    included = wait_for("our liquidations", keeper, lambda: settled(keeper, doomed, ("included", "confirmed")))
    step(f"ether falls to $1650, bitcoin to $50000: Keeper liquidates {len(included)} positions")

    newest = max(included, key=lambda row: row["block_number"])
    depth = chain.block_number - newest["block_number"] + 1
    chain.reorg(depth)
    if chain.rpc("eth_getTransactionReceipt", newest["tx_hash"]) is not None:
        raise RuntimeError("the reorg did not remove the liquidation's transaction")
    step(f"a reorg of depth {depth} removes the transaction that liquidated {newest['account']}")
    wait_for(
        "the lost liquidation to be mined again",
        keeper,
        lambda: any(
            row["account"] == newest["account"] and row["block_hash"] not in (None, newest["block_hash"])
            for row in keeper.ask("liquidations")
        ),
    )
    chain.mine(4)
    confirmed = wait_for("confirmations", keeper, lambda: settled(keeper, doomed, ("confirmed",)))
    wait_for("closing notices", keeper, lambda: all(inbox.of(owner.address, "liquidated") for owner in doomed))
    verify_on_chain(chain, confirmed)
    step(f"Keeper noticed, sent it again, and all {len(confirmed)} liquidations are confirmed on the new branch")

    # While Anvil mines it tells the next block's state at the newest one's hash: compared is what was read at rest.
    wait_for("the newest block", keeper, lambda: keeper.ask("status")[0]["block"]["number"] == chain.block_number)
    check_parity(chain, keeper, keeper.ask("health"))
    code = keeper.stop()
    if code != 0:
        raise RuntimeError(f"Keeper exited with {code} after SIGTERM")
    step("SIGTERM: Keeper finished its block and stopped")
    return {
        "margin_calls": inbox.count("opened"),
        "cured": inbox.count("cured"),
        "liquidations_confirmed": len(confirmed),
        "reorgs_survived": 1,
        "positions": len(rows),
        "elapsed_s": round(time.monotonic() - began, 1),
    }


def settled(keeper: Keeper, doomed: list[Owner], statuses: tuple[str, ...]) -> list[dict[str, Any]] | None:
    rows = [row for row in keeper.ask("liquidations") if row["status"] in statuses]
    return rows if {owner.address for owner in doomed} <= {row["account"] for row in rows} else None


def check_parity(chain: DevChain, keeper: Keeper, rows: list[dict[str, Any]]) -> None:
    """Keeper's native view equals the contracts' own at the block it was judged at: asked of the pool for Aave, and of
    every protocol by another client."""
    command = [*KEEPER, "health", "--verify", "--config", str(keeper.config)]
    verified = subprocess.run(command, env=keeper.environment, capture_output=True, text=True)
    if verified.returncode or "0 differences" not in verified.stderr:
        raise RuntimeError(f"the contracts say otherwise: {verified.stderr}")
    for row in rows:
        if row["kind"] != "aave_v3":
            continue
        data = chain.aave.user_account_data(row["account"], row["block_number"])
        theirs = {
            "totalCollateralBase": data.total_collateral_base,
            "totalDebtBase": data.total_debt_base,
            "currentLiquidationThreshold": data.liquidation_threshold_bps,
            "healthFactor": data.health_factor_wad,
        }
        if {name: int(value) for name, value in row["native"].items()} != theirs:
            raise RuntimeError(f"{row['position']}: Keeper says {row['native']}, the pool {theirs}")


def verify_on_chain(chain: DevChain, confirmed: list[dict[str, Any]]) -> None:
    """Each confirmed liquidation is a successful transaction of ours in the canonical chain, once."""
    if len({row["tx_hash"] for row in confirmed}) != len(confirmed):
        raise RuntimeError("one transaction is counted for two liquidations")
    for row in confirmed:
        receipt = chain.rpc("eth_getTransactionReceipt", row["tx_hash"])
        block = chain.rpc("eth_getBlockByNumber", hex(row["block_number"]), False)
        ok = receipt and receipt["status"] == "0x1" and receipt["blockHash"] == row["block_hash"] == block["hash"]
        if not ok or receipt["from"].lower() != chain.liquidator.address.lower():
            raise RuntimeError(f"liquidation {row['id']} is not on chain as recorded: {receipt}")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="keeper-demo-") as folder:
        summary = story(Path(folder))
    print(json.dumps(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
