"""SIGKILL at each step of a liquidation, in every protocol at once: the chain ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.chain import DevChain
from tests.support.contract_house import Contract
from tests.support.daemon import Keeper, deploy
from tests.support.doomed import FALL_TO, PROTOCOLS, fall, liquidated
from tests.support.fault_node import Cut
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.onchain import transactions_on_chain

SIMULATE, SEND, RECEIPT = "eth_simulateV1", "eth_sendRawTransaction", "eth_getTransactionReceipt"
DEAR_WEI = 30 * 10**9


@dataclass(frozen=True)
class Doom:
    """Our contract, and positions that one fall opens to liquidation."""

    contract: Contract
    victims: Sequence[str]


@pytest.fixture(scope="module")
def doom() -> Iterator[Doom]:
    """A position in every protocol, of Morpho's two markets one each; blocks are mined by hand."""
    with DevChain.start(manual_mining=True) as chain:
        contract, owner = Contract.deployed(chain), chain.make_account(1)
        for protocol in PROTOCOLS.values():
            protocol.ready(chain)
        contract.allow_everything()
        yield Doom(
            contract, [position for protocol in PROTOCOLS.values() for position in protocol.open(chain, [owner])]
        )


class Life:
    """A daemon behind a proxy that can kill it in the middle of a request."""

    def __init__(self, contract: Contract, victims: Sequence[str], proxy: FaultProxy, keeper: Keeper) -> None:
        self.contract = contract
        self.victims = victims
        self.chain = contract.chain
        self.proxy = proxy
        self.keeper = keeper
        self.killed = threading.Event()

    def kill(self, _: Any = None) -> Cut:
        """The answer never arrives: who asked is dead."""
        os.kill(self.keeper.pid, signal.SIGKILL)
        self.killed.set()
        return Cut()

    def kill_when_told(self, answer: Any) -> Any:
        return answer if answer is None or self.killed.is_set() else self.kill()

    def fall(self) -> None:
        self.chain.move_pool("WETH", FALL_TO)
        fall(self.chain)

    def until(self, status: str) -> None:
        """Every liquidation has come so far."""
        self.keeper.until(
            status, lambda: [row["status"] for row in self.keeper.liquidations()] == [status] * len(self.victims)
        )

    def dead(self) -> None:
        assert self.killed.wait(60), f"there was no moment to kill at:\n{self.keeper.log_tail()}"
        assert self.keeper.wait() == -signal.SIGKILL


def alone(life: Life) -> None:
    life.fall()
    life.until("broadcast")


def while_simulating(life: Life) -> None:
    """Planned, and nothing written down."""
    life.proxy.instead(SIMULATE, life.kill)
    life.fall()
    life.dead()
    assert life.keeper.transactions() == []


def before_broadcast(life: Life) -> None:
    """Journalled, and not a byte has left."""
    life.proxy.instead(SEND, life.kill)
    life.fall()
    life.dead()
    assert {row["status"] for row in life.keeper.liquidations()} == {"planned"}
    assert int(life.chain.rpc("txpool_status")["pending"], 16) == 0


def before_the_answer(life: Life) -> None:
    """Broadcast, and it does not know."""
    life.proxy.tamper(SEND, life.kill)
    life.fall()
    life.dead()
    assert {row["status"] for row in life.keeper.liquidations()} == {"planned"}
    assert int(life.chain.rpc("txpool_status")["pending"], 16) > 0


def before_the_receipt(life: Life) -> None:
    """Mined, and it has not seen the block."""
    life.fall()
    life.until("broadcast")
    life.proxy.tamper(RECEIPT, life.kill_when_told, times=10_000)
    life.chain.mine()
    life.dead()
    assert {row["status"] for row in life.keeper.liquidations()} == {"broadcast"}
    life.proxy.forget()


def once_included(life: Life) -> None:
    life.fall()
    life.until("broadcast")
    life.chain.mine()
    life.until("included")
    life.keeper.kill()


def before_a_replacement(life: Life) -> None:
    """The base fee rose; better paid transactions are journalled on the same nonces, and have not left."""
    life.fall()
    life.until("broadcast")
    life.proxy.instead(SEND, life.kill)
    for _ in range(6):
        life.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(DEAR_WEI))
        life.chain.mine()
        life.keeper.until("the block", lambda: life.killed.is_set() or life.keeper.is_synced())
        if life.killed.wait(1):
            break
    life.dead()
    attempts = [row["attempts"] for row in life.keeper.liquidations()]
    assert max(len(of_one) for of_one in attempts) == 2


def after_a_reorg(life: Life) -> None:
    """Their block is gone, and they are about to be sent again."""
    life.fall()
    life.until("broadcast")
    life.chain.mine()
    life.until("included")
    life.proxy.instead(SEND, life.kill)
    life.chain.reorg(1)
    life.dead()


STEPS: dict[str, Callable[[Life], None]] = {
    step.__name__: step
    for step in (
        alone,
        while_simulating,
        before_broadcast,
        before_the_answer,
        before_the_receipt,
        once_included,
        before_a_replacement,
        after_a_reorg,
    )
}


@pytest.mark.parametrize("step", STEPS)
def test_the_chain_ends_as_if_nothing_had_happened(doom: Doom, tmp_path: Path, step: str):
    """Each position is liquidated once, by a transaction of the journal, on nonces without a gap; the contract holds
    what the accounts say that it gained, and the wallet the position that it took over."""
    deployed, chain = doom.contract, doom.contract.chain
    with chain.rewound(), fault_proxy(chain) as proxy:
        chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**9))
        chain.mine()
        with deploy(
            tmp_path,
            chain,
            mode="live",
            protocols=list(PROTOCOLS),
            rpc=[proxy.ws],
            executor={"liquidator": deployed.address, "confirmations": 2},
            venues=[deployed.venue()],
            funding=[deployed.lender("morpho")],
        ) as keeper:
            life = Life(deployed, doom.victims, proxy, keeper)
            keeper.start()
            keeper.until_synced()
            STEPS[step](life)
            if step != "alone":
                keeper.start()
            for _ in range(20):
                keeper.until_synced()
                if {row["status"] for row in keeper.sent_liquidations()} == {"confirmed"}:
                    break
                give_time_to_send(keeper)
                chain.mine()
            rows = keeper.sent_liquidations()
            journal = {row["tx_hash"]: row for row in keeper.transactions()}
        assert Counter(position for position, _ in liquidated(chain)) == Counter(life.victims)
        assert Counter(row["position"] for row in rows) == Counter(life.victims)
        assert {row["status"] for row in rows} == {"confirmed"}
        mined = transactions_on_chain(chain, chain.liquidator.address)
        assert {receipt["status"] for receipt in mined} == {"0x1"}
        assert [journal[receipt["transactionHash"]]["nonce"] for receipt in mined] == list(range(len(mined)))
        by_contract = [row for row in rows if not row["position"].startswith("perp:")]
        assert deployed.holds("USDC") == sum(int(row["realized"]["gains"][0]["amount"]) for row in by_contract) > 0
        assert chain.perp.size(chain.liquidator.address) == 10 * 10**18


def give_time_to_send(keeper: Keeper) -> None:
    """Only a new block is acted on, so after a start there may be nothing to wait for."""
    deadline = time.monotonic() + 0.5
    while int(keeper.chain.rpc("txpool_status")["pending"], 16) == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
