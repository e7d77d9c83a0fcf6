"""`keeper deploy` and `keeper skim` as a person runs them, on the real contracts; and killed at every instant."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.config.load import load_config
from keeper.core.errors import StoreError
from keeper.core.records import Intent
from keeper.devnet.abi import selector
from keeper.devnet.chain import DevChain
from keeper.devnet.liquidator import Liquidator
from keeper.executor.lifecycle import succeeded
from keeper.wire import House
from tests.support.contract_house import EXACT_INPUT
from tests.support.fault_node import Cut, Hang
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.interruption import Once
from tests.support.liquidations import AAVE_FLASH, LIQUIDATION_CALL
from tests.support.rehearsals import Book

ORDERS = 4
"""The contract, then liquidationCall, flashLoanSimple and exactInput."""


@pytest.fixture
def chain(shared_chain: DevChain) -> DevChain:
    """Each transaction is a block."""
    return _priced(shared_chain)


@pytest.fixture
def slow_chain(dev_chain: DevChain) -> DevChain:
    """Nothing is mined but by the test."""
    dev_chain.mine_by_hand()
    return _priced(dev_chain)


def _priced(chain: DevChain) -> DevChain:
    chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(30 * 10**9))
    chain.mine()
    return chain


@dataclass
class Person:
    """Somebody at a terminal that is none, with the executor's key."""

    chain: DevChain
    file: Path

    @classmethod
    def at(cls, chain: DevChain, folder: Path, **executor: object) -> Person:
        return cls(chain, Book(chain).configuration(folder, **executor))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "KEEPER_PRIVATE_KEY": self.chain.liquidator.private_key}
        return subprocess.Popen(
            [sys.executable, "-m", "keeper", *arguments, "--config", str(self.file)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def says(self, *arguments: str, exit_code: int = 0) -> tuple[str, str]:
        """stdout and stderr."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == exit_code, err
        return out, err

    def deployed(self) -> str:
        """The address that the printed line names."""
        out, _ = self.says("deploy", "--yes")
        return out.split('"')[1]

    def configure(self, contract: str) -> None:
        text = self.file.read_text()
        self.file.write_text(text.replace("[executor]\n", f'[executor]\nliquidator = "{contract}"\n'))

    def rpc(self, url: str) -> None:
        self.file.write_text(self.file.read_text().replace(self.chain.ws_url, url))

    @property
    def nonce(self) -> int:
        return int(self.chain.rpc("eth_getTransactionCount", self.chain.liquidator.address, "latest"), 16)

    def intents(self) -> list[Intent]:
        house = House(self.file, load_config(self.file, mode="off", environment={}))
        with closing(house.open_store(read_only=True)) as store:
            return list(store.intents())

    def allowed(self, contract: str) -> list[bool]:
        """Whether plans may call what they have to."""
        uniswap, aave, chain = self.chain.uniswap, self.chain.aave, self.chain
        calls = ((aave.pool, LIQUIDATION_CALL), (aave.pool, AAVE_FLASH), (uniswap.router, EXACT_INPUT))
        return [
            chain.call(contract, "is_allowed(address,bytes4)(bool)", target, selector(signature))
            for target, signature in calls
        ]


def test_a_plan_is_shown_and_nothing_is_sent_unless_somebody_agrees(chain: DevChain, tmp_path: Path) -> None:
    """What, gas, and the cost in native coin and base currency; a pipe cannot agree, and --dry-run only looks."""
    person = Person.at(chain, tmp_path)
    out, shown = person.says("deploy", "--dry-run")
    assert out == ""
    assert shown.count(" gas  ") == ORDERS
    assert "deploy the Liquidator at 0x" in shown
    assert chain.aave.pool in shown
    assert " USD)" in shown
    _, told = person.says("deploy", exit_code=1)
    assert "give --yes" in told
    assert person.nonce == 0
    assert person.intents() == []


def test_the_contract_is_deployed_with_everything_that_check_asks_for(chain: DevChain, tmp_path: Path) -> None:
    """And deploying it twice changes nothing: with the same database, without it, or once it is configured."""
    person = Person.at(chain, tmp_path)
    contract = person.deployed()
    assert person.allowed(contract) == [True, True, True]
    assert chain.call(contract, "owner()(address)") == chain.liquidator.address
    assert chain.call(contract, "WRAPPED_NATIVE()(address)") == chain.tokens["WETH"].address
    assert person.nonce == ORDERS
    assert {intent.kind for intent in person.intents()} == {"order"}
    assert all(succeeded(intent) for intent in person.intents())
    rows = [json.loads(line) for line in person.says("transactions", "--json")[0].splitlines()]
    assert [(row["nonce"], row["kind"]) for row in rows] == [(nonce, "order") for nonce in range(ORDERS)]
    assert rows[0]["cause"] == f"deploy:{contract.lower()}"
    [day] = [json.loads(line) for line in person.says("liquidations", "--daily", "--json")[0].splitlines()]
    spent = sum(intent.gas_cost_wei or 0 for intent in person.intents())
    assert day["gas"] == {purpose: str(spent if purpose == "orders" else 0) for purpose in day["gas"]}
    assert (day["liquidations"], day["unpriced"]) == (0, 0)
    assert int(day["net_wad"]) == pytest.approx(-spent * 2_000, rel=1e-6)

    assert person.deployed() == contract
    for file in (tmp_path / "var").iterdir():
        file.unlink()
    assert person.deployed() == contract
    person.configure(contract)
    assert "nothing is missing" in person.says("deploy", "--yes")[1]
    assert person.nonce == ORDERS

    person.file.write_text(person.file.read_text().replace('mode = "off"', 'mode = "live"'))
    checked, _ = person.says("check")
    assert checked.count("may call") == 3
    assert "FAIL" not in checked


def test_what_is_missing_of_the_permissions_is_completed(chain: DevChain, tmp_path: Path) -> None:
    """Half of them are there; the other half is given, nothing else is touched."""
    liquidator = Liquidator.deployed(chain.client, chain.liquidator.address, chain.tokens["WETH"].address)
    liquidator.allow_call(chain.aave.pool, LIQUIDATION_CALL)
    person = Person.at(chain, tmp_path, liquidator=liquidator.address)
    before = person.nonce
    _, shown = person.says("deploy", "--yes")
    assert person.nonce == before + 2
    assert person.allowed(liquidator.address) == [True, True, True]
    assert "deploy the Liquidator" not in shown


def test_pools_are_allowed_to_lend_when_asked_for(chain: DevChain, tmp_path: Path) -> None:
    """Those that pair a token of the market with a partner; each once, though either token may be borrowed of it."""
    person = Person.at(chain, tmp_path)
    partners = json.dumps([chain.tokens[symbol].address for symbol in ("USDC", "WETH")])
    table = f'[[funding]]\nkind = "uniswap_v3"\nfactory = "{chain.uniswap.factory}"\npartners = {partners}\n'
    person.file.write_text(person.file.read_text() + table)
    contract = person.deployed()
    flash = selector("flash(address,uint256,uint256,bytes)")
    allowed = [chain.call(contract, "is_allowed(address,bytes4)(bool)", p, flash) for p in chain.uniswap.pools.values()]
    assert (allowed, person.nonce) == ([False] * 3, ORDERS)
    person.says("deploy", "--yes", "--pools")
    allowed = [chain.call(contract, "is_allowed(address,bytes4)(bool)", p, flash) for p in chain.uniswap.pools.values()]
    assert (allowed, person.nonce) == ([True] * 3, ORDERS + 3)


def test_another_owner_is_asked_for_by_name(chain: DevChain, tmp_path: Path) -> None:
    """Nothing is sent; what the owner must do is told. An address without our contract is no contract of ours."""
    liquidator = Liquidator.deployed(chain.client, chain.accounts[0], chain.tokens["WETH"].address)
    person = Person.at(chain, tmp_path, liquidator=liquidator.address)
    _, told = person.says("deploy", "--yes", exit_code=1)
    assert chain.accounts[0].lower() in told
    assert "run plans" in told
    assert person.nonce == 0
    person = Person.at(chain, tmp_path, liquidator=chain.accounts[1])
    assert "does not answer as our Liquidator" in person.says("deploy", "--yes", exit_code=1)[1]


def test_an_heir_is_offered_the_ownership_and_the_key_may_still_run_plans(chain: DevChain, tmp_path: Path) -> None:
    """Afterwards, with the heir as owner, nothing is missing."""
    person, heir = Person.at(chain, tmp_path), chain.accounts[3]
    out, _ = person.says("deploy", "--yes", "--heir", heir)
    contract = out.split('"')[1]
    assert chain.call(contract, "heir()(address)") == heir
    assert chain.call(contract, "is_operator(address)(bool)", chain.liquidator.address) is True
    chain.client.send(heir, contract, "accept_ownership()")
    person.configure(contract)
    assert "nothing is missing" in person.says("deploy", "--yes")[1]


def test_a_running_daemon_is_not_disturbed(chain: DevChain, tmp_path: Path) -> None:
    person = Person.at(chain, tmp_path)
    daemon = person.start("run", "--alert-only")
    try:
        assert daemon.stderr is not None
        while "started" not in daemon.stderr.readline():
            pass
        _, told = person.says("deploy", "--yes", exit_code=1)
        assert "is in use" in told
        assert "must not run at once" in told
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=60)
    assert person.nonce == 0


def test_transactions_of_the_key_that_nobody_here_knows_are_not_raced(slow_chain: DevChain, tmp_path: Path) -> None:
    person, me = Person.at(slow_chain, tmp_path), slow_chain.liquidator.address
    slow_chain.rpc("eth_sendTransaction", {"from": me, "to": me, "value": "0x1", "gas": "0x5208"})
    assert "does not know" in person.says("deploy", "--yes", exit_code=1)[1]


def test_a_wallet_that_cannot_pay_is_told_how_much(chain: DevChain, tmp_path: Path) -> None:
    chain.rpc("anvil_setBalance", chain.liquidator.address, hex(10**15))
    _, told = Person.at(chain, tmp_path).says("deploy", "--yes", exit_code=1)
    assert "has 0.001 of the native coin" in told
    assert "send it more" in told


def test_a_chain_without_the_deployment_proxy_is_told_of(dev_chain: DevChain, tmp_path: Path) -> None:
    """A call of what is not there would be mined, and nothing deployed by it."""
    dev_chain.rpc("anvil_setCode", "0x4e59b44847b379578588920cA78FbF26c0B4956C", "0x")
    person = Person.at(dev_chain, tmp_path)
    assert "no deterministic deployment proxy" in person.says("deploy", "--yes", exit_code=1)[1]
    assert person.nonce == 0


# --- killed -----------------------------------------------------------------------------------------------------------


def waiting(chain: DevChain) -> list[str]:
    """Nonces in the pool."""
    pool = chain.rpc("txpool_content")["pending"]
    return [
        nonce for who, by_nonce in pool.items() if who.lower() == chain.liquidator.address.lower() for nonce in by_nonce
    ]


def test_killed_at_every_instant_it_is_done_in_the_end_and_nothing_twice(slow_chain: DevChain, tmp_path: Path) -> None:
    """SIGKILL with the transaction in the journal and not sent; sent and not mined; mined and not seen: of the contract
    and of its permissions. Run again, each nonce is used once, by what it was signed for at first.
    """
    with fault_proxy(slow_chain) as proxy:
        person = Person.at(slow_chain, tmp_path)
        person.rpc(proxy.ws)
        for count in (1, ORDERS - 1):
            before = person.nonce
            _killed_before_sending(person, proxy)
            _killed_in_the_pool(person, count)
            _killed_unseen(person)
            assert person.nonce == before + count
        contract = person.deployed()
    assert person.nonce == ORDERS
    assert waiting(slow_chain) == []
    assert person.allowed(contract) == [True, True, True]
    intents = person.intents()
    assert len(intents) == len({intent.cause for intent in intents}) == ORDERS
    assert all(succeeded(intent) for intent in intents)
    assert [len(intent.attempts) for intent in intents] == [1] * ORDERS
    assert sorted(intent.attempts[0].nonce for intent in intents) == list(range(ORDERS))


def _killed(person: Person, what: str, seen: Callable[[], bool]) -> None:
    process = person.start("deploy", "--yes")
    Once(what, seen).wait()
    process.kill()
    process.communicate()


def _killed_before_sending(person: Person, proxy: FaultProxy) -> None:
    """What it signed is durable, and no byte of it has reached the node."""
    known = {intent.id for intent in _journal(person)}
    proxy.instead("eth_sendRawTransaction", lambda _: Hang(), times=1_000)
    _killed(person, "in the journal", lambda: any(intent.id not in known for intent in _journal(person)))
    proxy.forget()
    assert waiting(person.chain) == []


def _killed_in_the_pool(person: Person, count: int) -> None:
    _killed(person, "in the pool", lambda: len(waiting(person.chain)) == count)


def _killed_unseen(person: Person) -> None:
    """Frozen while it waits for the block that its transactions are mined in."""
    process = person.start("deploy", "--yes")
    assert process.stderr is not None
    while "on their way" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGSTOP)
    person.chain.mine()
    process.kill()
    process.communicate()


def _journal(person: Person) -> list[Intent]:
    """Nothing while the database is being made."""
    try:
        return person.intents()
    except StoreError:
        return []


def test_a_stuck_deployment_is_paid_better_until_it_is_mined(slow_chain: DevChain, tmp_path: Path) -> None:
    """By the rules for everything that we send: replaced on its nonce, within the cap."""
    chain, person = slow_chain, Person.at(slow_chain, tmp_path)
    process = person.start("deploy", "--yes")
    Once("in the pool", lambda: len(waiting(chain)) == 1).wait()
    for _ in range(8):
        chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(120 * 10**9))
        chain.mine()
        Once("nothing but the next block", lambda: True, delay_s=0.3).wait()
    while process.poll() is None:
        chain.mine()
        Once("nothing but the next block", lambda: True, delay_s=0.3).wait()
    assert process.returncode == 0, process.communicate()
    process.communicate()
    first = min(person.intents(), key=lambda intent: intent.attempts[0].nonce)
    assert len(first.attempts) > 1
    assert first.attempts[-1].max_fee_wei > 120 * 10**9
    assert person.nonce == ORDERS


def test_a_reorg_under_it_is_made_good(slow_chain: DevChain, tmp_path: Path) -> None:
    """The block with the contract is orphaned while its permissions wait: the same bytes are mined again."""
    chain, person = slow_chain, Person.at(slow_chain, tmp_path)
    process = person.start("deploy", "--yes")
    Once("the contract in the pool", lambda: len(waiting(chain)) == 1).wait()
    chain.mine()
    Once("its permissions in the pool", lambda: len(waiting(chain)) == ORDERS - 1).wait()
    deployed = next(intent for intent in person.intents() if intent.cause.startswith("deploy:"))
    chain.reorg(1)
    assert person.nonce == 0
    while process.poll() is None:
        Once("nothing but the next block", lambda: True, delay_s=0.3).wait()
        chain.mine()
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert person.allowed(out.split('"')[1]) == [True, True, True]
    assert person.nonce == ORDERS
    again = next(intent for intent in person.intents() if intent.id == deployed.id)
    assert again.tx_hash == deployed.attempts[0].tx_hash


def test_a_node_that_stumbles_delays_and_does_not_end_it(slow_chain: DevChain, tmp_path: Path) -> None:
    with fault_proxy(slow_chain) as proxy:
        person = Person.at(slow_chain, tmp_path)
        person.rpc(proxy.ws)
        process = person.start("deploy", "--yes")
        Once("the contract in the pool", lambda: len(waiting(slow_chain)) == 1).wait()
        proxy.instead("eth_call", lambda _: Cut(), times=3)
        while process.poll() is None:
            slow_chain.mine()
            Once("nothing but the next block", lambda: True, delay_s=0.3).wait()
        assert process.returncode == 0, process.communicate()
        process.communicate()
        assert proxy.fired.count("eth_call") == 3
    assert person.nonce == ORDERS


# --- skim -------------------------------------------------------------------------------------------------------------


def test_skim_sends_everything_to_the_owner(chain: DevChain, tmp_path: Path) -> None:
    """Tokens and native coin, or only what is named; the operator may, strangers may not."""
    liquidator = Liquidator.deployed(chain.client, chain.accounts[0], chain.tokens["WETH"].address)
    person = Person.at(chain, tmp_path, liquidator=liquidator.address)
    assert "neither owner nor operator" in person.says("skim", "--yes", exit_code=1)[1]
    liquidator.allow_operator(chain.liquidator.address)
    for symbol in ("USDC", "DAI"):
        chain.fund(liquidator.address, symbol, Decimal(12))
    chain.client.send_ether(chain.accounts[1], liquidator.address, 10**17)
    before = {symbol: chain.balance(chain.accounts[0], symbol) for symbol in ("USDC", "DAI")}
    ether = int(chain.rpc("eth_getBalance", chain.accounts[0], "latest"), 16)

    _, shown = person.says("skim", "--dry-run")
    assert f"send 12 USDC {chain.tokens['USDC'].address} to the owner" in shown
    assert "0.1 of the native coin" in shown
    assert chain.balance(liquidator.address, "USDC") == 12 * 10**6

    person.says("skim", "--yes", chain.tokens["DAI"].address)
    assert chain.balance(chain.accounts[0], "DAI") - before["DAI"] == 12 * 10**18
    assert chain.balance(liquidator.address, "USDC") == 12 * 10**6
    person.says("skim", "--yes")
    assert chain.balance(chain.accounts[0], "USDC") - before["USDC"] == 12 * 10**6
    assert int(chain.rpc("eth_getBalance", chain.accounts[0], "latest"), 16) - ether == 10**17
    assert "it holds nothing" in person.says("skim", "--yes")[1]
    assert {intent.kind for intent in person.intents()} == {"order"}


def test_what_nobody_agreed_to_is_not_signed(slow_chain: DevChain, tmp_path: Path) -> None:
    """What comes up after the bill was shown, be it a token that arrived or a need that a node made up, waits for the
    next run."""
    chain = slow_chain
    liquidator = Liquidator.deployed(chain.client, chain.liquidator.address, chain.tokens["WETH"].address)
    chain.fund(liquidator.address, "USDC", Decimal(12))
    chain.mine()
    person = Person.at(chain, tmp_path, liquidator=liquidator.address)
    process = person.start("skim", "--yes")
    Once("in the pool", lambda: len(waiting(chain)) == 1).wait()
    chain.fund(liquidator.address, "DAI", Decimal(5))
    while process.poll() is None:
        chain.mine()
        Once("nothing but the next block", lambda: True, delay_s=0.3).wait()
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert (chain.balance(liquidator.address, "USDC"), chain.balance(liquidator.address, "DAI")) == (0, 5 * 10**18)
    assert [intent.cause.split(":")[0] for intent in person.intents()] == ["skim"]
