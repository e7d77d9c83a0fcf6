"""What a campaign's endpoints say of a block is that block's, also while the next one is mined."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from typing import Any

from keeper.devnet.anvil import Anvil
from scripts.campaignlib.proxy import proxies

COUNTS = bytes.fromhex("36600f5760005460005260206000f35b43600055")
"""Without calldata, what is stored; with any, the block's number is stored."""


def ask(url: str, method: str, *params: Any) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read())["result"]


def test_a_block_that_is_read_while_the_next_one_is_mined_is_itself() -> None:
    """Without taking turns, some of these are the next block's."""
    with Anvil.start(no_mining=True) as anvil, proxies(["one"], anvil.port) as [proxy]:
        anvil.around_mining = proxy.turns.mining
        rpc, wrong = anvil.rpc, list[tuple[int, int]]()
        sender = rpc("eth_accounts")[0]
        contract = "0x" + "c0" * 20
        rpc("anvil_setCode", contract, "0x" + COUNTS.hex() + "00")
        for _ in range(40):
            for _ in range(20):
                rpc("eth_sendTransaction", {"from": sender, "to": contract, "data": "0x01", "gas": "0x20000"})
            head = rpc("eth_getBlockByNumber", "latest", False)
            call = [{"to": contract, "data": "0x"}, {"blockHash": head["hash"]}]
            true = int(rpc("eth_call", *call), 16)

            mined = threading.Event()

            def read(call: list[Any] = call, true: int = true, mined: threading.Event = mined) -> None:
                while not mined.is_set():
                    if (told := int(ask(proxy.http, "eth_call", *call), 16)) != true:
                        wrong.append((true, told))

            readers = [threading.Thread(target=read) for _ in range(3)]
            for reader in readers:
                reader.start()
            time.sleep(0.01)
            anvil.mine()
            mined.set()
            for reader in readers:
                reader.join()
            assert int(rpc("eth_call", call[0], "latest"), 16) == int(head["number"], 16) + 1
        assert wrong == []
