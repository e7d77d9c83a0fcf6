"""Thousands of positions that are below their call line all the time: load, not news.

They live in a Morpho market of their own, dollars against dollars without interest, so that no price of the campaign
reaches them: each is called for margin once, and nothing else ever happens to it.
"""

from __future__ import annotations

import http.client
import json
from typing import Any

from eth_hash.auto import keccak

from keeper.core.units import UINT256_MAX
from keeper.devnet.abi import checksummed, encode_call
from keeper.devnet.chain import DevChain
from keeper.devnet.morpho import NOBODY, PARAMS

_DAI = 10_000 * 10**18
_USDC = 7_850 * 10**6
"""Health 1.0955 at a threshold of 86 %."""

_GAS = 300_000
_TOGETHER = 200

_Send = tuple[str, int, str, bytes]


def gather(chain: DevChain, count: int, owed_usdc: int = _USDC) -> list[str]:
    """Position ids of so many owners, as Keeper names them. owed_usdc: raw units, against ten thousand dollars."""
    market = chain.morpho.add_market("DAI", "USDC", irm=NOBODY)
    market.supply(chain.accounts[-1], 2 * count * owed_usdc)
    dai, admin = chain.tokens["DAI"], chain.accounts[3]
    owners = [checksummed(keccak(b"keeper campaign: crowd %d" % number)[12:]) for number in range(count)]
    approve = encode_call("approve(address,uint256)", (market.morpho, UINT256_MAX))
    borrow = f"borrow({PARAMS},uint256,uint256,address,address)"
    minted = int(chain.rpc("eth_getTransactionCount", admin, "latest"), 16)
    for start in range(0, count, _TOGETHER):
        some = owners[start : start + _TOGETHER]
        batch(chain, [("anvil_setBalance", [owner, hex(10**18)]) for owner in some])
        first: list[_Send] = []
        then: list[_Send] = []
        for number, owner in enumerate(some, minted + start):
            first.append((admin, number, dai.address, encode_call("mint(address,uint256)", (owner, _DAI))))
            first.append((owner, 0, dai.address, approve))
            pledge = (market.params, _DAI, owner, b"")
            then.append(
                (owner, 1, market.morpho, encode_call(f"supplyCollateral({PARAMS},uint256,address,bytes)", pledge))
            )
            then.append((owner, 2, market.morpho, encode_call(borrow, (market.params, owed_usdc, 0, owner, owner))))
        for sends in (first, then):
            batch(chain, [_request(*send) for send in sends])
            chain.mine()
    return [f"morpho:{owner}:0x{market.id.hex()}" for owner in owners]


def _request(sender: str, nonce: int, to: str, data: bytes) -> tuple[str, list[Any]]:
    """With its nonce, since a node works on the parts of a batch at the same time."""
    transaction = {"from": sender, "nonce": hex(nonce), "to": to, "data": "0x" + data.hex(), "gas": hex(_GAS)}
    return "eth_sendTransaction", [transaction]


def batch(chain: DevChain, requests: list[tuple[str, list[Any]]]) -> list[Any]:
    """Results in one message. Raises RuntimeError for the first that failed."""
    if not requests:
        return []
    body = [
        {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        for number, (method, params) in enumerate(requests)
    ]
    connection = http.client.HTTPConnection("127.0.0.1", chain.anvil.port, timeout=120)
    try:
        connection.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
        answers = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    answers.sort(key=lambda one: one["id"])
    for one in answers:
        if "error" in one:
            raise RuntimeError(f"the campaign's own request failed: {one['error']}")
    return [one["result"] for one in answers]
