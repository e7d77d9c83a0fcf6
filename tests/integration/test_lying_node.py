"""What a node may answer, and that Keeper neither believes it nor dies of it: the daemon as its own process, the real
Anvil, and between them a proxy that lies once.

After every lie the daemon has said what was wrong with it, and its positions are the ones that the pool itself reports
and a clean twin, which asked Anvil directly, has as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from keeper.devnet.chain import DevChain
from tests.support.daemon import Keeper, deploy
from tests.support.fault_node import Cut, Hang, Refuse, Text
from tests.support.fault_proxy import HEADS, FaultProxy, fault_proxy
from tests.support.onchain import assert_parity

NOWHERE = "0x" + "5a" * 32


@dataclass
class Scene:
    chain: DevChain
    proxy: FaultProxy
    keeper: Keeper
    twin: Keeper
    known: int = 0

    def act(self) -> None:
        """A block with logs of a position, and one with a price."""
        self.chain.aave.supply(self.chain.accounts[0], "WETH", Decimal(1))
        self.chain.aave.borrow(self.chain.accounts[0], "USDC", Decimal(100))
        self.chain.set_price("WETH", self.chain.price("WETH") - 10**8)

    def settle(self) -> None:
        """Both daemons have the tip, and hold the same positions as the pool."""
        self.keeper.until_synced()
        self.twin.until_synced()
        ours = self.keeper.health()
        assert ours == self.twin.health()
        assert_parity(self.chain, ours)
        assert len(ours) == 4  # three of the scene, and who provides the market's liquidity

    def errors(self) -> list[str]:
        """Everything that the daemon found wrong with its node, oldest first."""
        lines = [*self.keeper.said("retrying"), *self.keeper.said("rpc_endpoint_failed")]
        return [line["error"] for line in sorted(lines, key=lambda line: str(line["timestamp"]))]

    def heard(self, words: str) -> bool:
        """Whether the daemon named this error since the test began."""
        return any(words in error for error in self.errors()[self.known :])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("lies")
    (folder / "keeper").mkdir()
    (folder / "twin").mkdir()
    with DevChain.start() as chain, fault_proxy(chain) as proxy:
        for account in chain.accounts[:3]:
            chain.aave.supply(account, "WETH", Decimal(20))
            chain.aave.borrow(account, "USDC", Decimal(10_000))
        options = {"rpc": [proxy.ws], "node": {"request_timeout_s": 1.0}}
        with deploy(folder / "keeper", chain, **options) as keeper, deploy(folder / "twin", chain) as twin:
            keeper.start()
            twin.start()
            yield Scene(chain, proxy, keeper, twin)


@pytest.fixture(autouse=True)
def _settled(scene: Scene) -> Iterator[None]:
    """Each lie meets a daemon at the tip, and none is left over for the next."""
    scene.keeper.until_synced()
    scene.known = len(scene.errors())
    yield
    assert scene.proxy.waiting == 0, "nothing met the fault"
    scene.proxy.forget()


def first(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Any], Any]:
    """Change the first log of an answer."""
    return lambda logs: [change(logs[0]), *logs[1:]]


def has_logs(scene: Scene) -> Callable[[list[Any]], bool]:
    """Whether an eth_getLogs by block hash asks about a block that has some."""

    def look(params: list[Any]) -> bool:
        return bool(scene.chain.rpc("eth_getLogs", params[0]))

    return look


LOGS = {
    "of another block": (first(lambda log: log | {"blockHash": NOWHERE}), "a log of another block"),
    "of another height": (first(lambda log: log | {"blockNumber": "0x1"}), "a log of block 1, outside"),
    "with odd hex": (first(lambda log: log | {"data": log["data"] + "1"}), "is no even hex"),
    "with a truncated hash": (first(lambda log: log | {"transactionHash": "0x12"}), "length >= 66"),
    "with a missing member": (first(lambda log: {k: v for k, v in log.items() if k != "topics"}), "topics"),
    "removed": (first(lambda log: log | {"removed": True}), "marked as removed"),
    "twice": (lambda logs: [logs[0], *logs], "two logs with index"),
    "not asked for": (first(lambda log: log | {"address": "0x" + "12" * 20}), "was not asked for"),
    "that do not decode": (first(lambda log: log | {"data": "0x" + "00" * 16}), "does not decode"),
    "left out, all of them": (lambda logs: [], "the header's bloom admits more"),
    "left out, one address": (
        lambda logs: [log for log in logs if log["address"] != logs[0]["address"]],
        "the header's bloom admits more",
    ),
    "null": (lambda logs: None, "eth_getLogs result"),
}


@pytest.mark.parametrize("lie", LOGS)
def test_logs(scene: Scene, lie: str):
    """What eth_getLogs of a block gets wrong is named, asked again, and never applied."""
    change, words = LOGS[lie]
    scene.proxy.tamper("eth_getLogs", change, when=has_logs(scene))
    scene.act()
    scene.settle()
    assert scene.heard(words), scene.keeper.log_tail()


STATE = {
    "odd hex": (lambda result: result[:-1], "eth_call result is no even hex"),
    "half of it": (lambda result: result[: len(result) // 128 * 64 + 2], "is no (bool, bytes) within it"),
    "no hex": (lambda result: "0xnothing", "eth_call result is no even hex"),
    "a number": (lambda result: 7, "eth_call result"),
    "null": (lambda result: None, "eth_call result"),
}


@pytest.mark.parametrize("lie", STATE)
def test_state(scene: Scene, lie: str):
    """A multicall's answer that cannot be one is asked again."""
    change, words = STATE[lie]
    scene.proxy.tamper("eth_call", change)
    scene.act()
    scene.settle()
    assert scene.heard(words), scene.keeper.log_tail()


HEADERS = {
    "with the hash of no block": (lambda header: header | {"hash": NOWHERE}, "do not hash to its 0x5a5a"),
    "with a later time": (lambda header: header | {"timestamp": hex(2**33)}, "do not hash to its"),
    "with another bloom": (lambda header: header | {"logsBloom": "0x" + "ff" * 256}, "do not hash to its"),
    "with a truncated hash": (lambda header: header | {"hash": header["hash"][:-2]}, "hash has 31 bytes"),
    "with a parent of no block": (lambda header: header | {"parentHash": NOWHERE}, "do not hash to its"),
    "null": (lambda header: None, "null instead of a header"),
    "without a number": (lambda header: header | {"number": None}, "newHeads"),
    "with a short bloom": (lambda header: header | {"logsBloom": "0x00"}, "logsBloom has 1 bytes"),
}


@pytest.mark.parametrize("lie", HEADERS)
def test_heads(scene: Scene, lie: str):
    """A pushed header is a hint; what it says is held against blocks asked by hash, and parent hashes decide."""
    change, words = HEADERS[lie]
    scene.proxy.tamper(HEADS, change)
    scene.act()
    scene.settle()
    assert scene.heard(words), scene.keeper.log_tail()


BLOCKS = {
    "null": lambda block: None,
    "another block": lambda block: block | {"number": "0x1", "hash": NOWHERE},
    "a truncated hash": lambda block: block | {"parentHash": "0x1234"},
}


@pytest.mark.parametrize("lie", BLOCKS)
def test_missed_blocks(scene: Scene, lie: str):
    """Blocks that no head announced are fetched by height and by hash; a wrong one is refused."""
    by_height = lambda params: params[0].startswith("0x")  # noqa: E731
    scene.proxy.deaf = True
    scene.act()
    scene.proxy.tamper("eth_getBlockByNumber", BLOCKS[lie], when=by_height)
    scene.proxy.deaf = False
    scene.act()
    scene.settle()


FINALITY = {
    "null": lambda block: None,
    "refused": lambda block: Refuse(-32000, "finalized block not found"),
    "no number": lambda block: block | {"number": "latest"},
    "a number above the head": lambda block: block | {"number": "0xffffff"},
    "the height of a block that it is not": lambda block: block | {"number": hex(int(block["number"], 16) + 64)},
    "a list": lambda block: [],
}


@pytest.mark.parametrize("lie", FINALITY)
def test_finality(scene: Scene, lie: str):
    """What is final is only known later then; nothing is forgotten too early, so a reorg down to the block of the lie
    is survived."""
    scene.proxy.tamper("eth_getBlockByNumber", FINALITY[lie], when=lambda params: params[0] == "finalized")
    scene.act()
    scene.settle()
    scene.chain.reorg(4)
    scene.settle()


TROUBLE = {
    "cut off": Cut(12),
    "disconnected": Cut(),
    "silent": Hang(),
    "no JSON": Text("<html>502 Bad Gateway</html>"),
    "rate limited": Refuse(-32005, "daily request count exceeded, request rate limited"),
    "without state": Refuse(-32000, "missing trie node 12ab (path )"),
    "an internal error": Refuse(-32603, "internal error"),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble(scene: Scene, trouble: str):
    scene.proxy.fail("eth_call", TROUBLE[trouble])
    scene.act()
    scene.settle()


def test_a_node_that_is_gone_for_a_while(scene: Scene):
    """Blocks of the meantime are made up for, and the error says which endpoint."""
    scene.proxy.down()
    scene.act()
    scene.keeper.until("the outage to be noticed", lambda: scene.keeper.said("rpc_endpoint_failed"))
    scene.act()
    scene.proxy.up()
    scene.settle()


def test_everything_at_once(scene: Scene):
    """Twenty blocks, each of them with a lie of another kind."""
    for (change, _), header in zip(LOGS.values(), [*HEADERS.values()] * 2, strict=False):
        scene.proxy.tamper("eth_getLogs", change, when=has_logs(scene))
        scene.proxy.tamper(HEADS, header[0])
        scene.act()
        time.sleep(0.05)
    scene.keeper.until("all lies to be told", lambda: scene.act() or scene.proxy.waiting == 0)
    scene.settle()
