"""Receipts of real blocks, as Anvil tells them, make up the root that Anvil put into the header."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from keeper.devnet.chain import DevChain
from keeper.indexer.receipts import prove
from keeper.indexer.rpc.wire import WireHeader, WireReceipt


def test_every_block_is_proven_by_its_receipts_and_by_no_fewer(dev_chain: DevChain):
    """Of the deployment of Aave, empty ones, and one with more transactions than a one-byte key of the trie has room
    for."""
    for number, account in enumerate(dev_chain.accounts):
        dev_chain.rpc("anvil_setBalance", account, hex(10**22))
        assert number < 20
    with dev_chain.one_block():
        for index in range(140):
            sender = dev_chain.accounts[index % len(dev_chain.accounts)]
            dev_chain.aave.supply(sender, "WETH", Decimal(1))
    sizes = []
    for number in range(dev_chain.block_number + 1):
        header = msgspec.convert(dev_chain.rpc("eth_getBlockByNumber", hex(number), False), WireHeader)
        block_hash = bytes.fromhex(header.hash[2:])
        receipts = msgspec.convert(dev_chain.rpc("eth_getBlockReceipts", header.hash), list[WireReceipt])
        sizes.append(len(receipts))
        assert prove(receipts, header, block_hash), number
        assert not receipts or not prove(receipts[:-1], header, block_hash), number
    assert 0 in sizes and max(sizes) > 128
