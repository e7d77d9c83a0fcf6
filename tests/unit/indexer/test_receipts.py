"""The root of a block's receipts: against an encoder and a trie written differently, and receipts of live chains."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import rlp
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import RpcMalformed
from keeper.indexer.receipts import NO_RECEIPTS, ordered_root, prove, read_receipts, receipts_root
from keeper.indexer.rpc.proof import header_hash
from keeper.indexer.rpc.wire import WireHeader, WireReceipt
from tests.support.recorded import recorded
from tests.unit.indexer.test_proof import with_

ZERO_BLOOM = "0x" + "00" * 256

words = st.binary(min_size=32, max_size=32)
logs = st.fixed_dictionaries(
    {
        "address": st.binary(min_size=20, max_size=20),
        "topics": st.lists(words, max_size=4),
        "data": st.binary(max_size=120),
    }
)
receipts = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from([0, 1, 2, 3, 4, 0x7E]),
            "status": st.sampled_from([0, 1]),
            "gas": st.integers(0, 2**40),
            "bloom": st.binary(min_size=256, max_size=256),
            "logs": st.lists(logs, max_size=3),
        }
    ),
    max_size=20,
)


def told(receipt: dict[str, Any]) -> WireReceipt:
    """As a node writes it."""
    return msgspec.convert(
        {
            "blockHash": "0x" + "00" * 32,
            "type": hex(receipt["type"]),
            "status": hex(receipt["status"]),
            "cumulativeGasUsed": hex(receipt["gas"]),
            "logsBloom": "0x" + receipt["bloom"].hex(),
            "logs": [
                {
                    "address": "0x" + one["address"].hex(),
                    "topics": ["0x" + topic.hex() for topic in one["topics"]],
                    "data": "0x" + one["data"].hex(),
                    "blockNumber": "0x1",
                    "blockHash": "0x" + "00" * 32,
                    "transactionHash": "0x" + "00" * 32,
                    "logIndex": hex(index),
                }
                for index, one in enumerate(receipt["logs"])
            ],
        },
        WireReceipt,
    )


def encoded(receipt: dict[str, Any]) -> bytes:
    """By the library, as EIP-2718 has it."""
    entries = [[one["address"], one["topics"], one["data"]] for one in receipt["logs"]]
    status = b"\x01" if receipt["status"] else b""
    body: bytes = rlp.encode([status, receipt["gas"], receipt["bloom"], entries])
    return bytes([receipt["type"]]) + body if receipt["type"] else body


def trie_root(values: list[bytes]) -> bytes:
    """Leaves put in one after the other into a trie of nested lists, as the Yellow Paper defines it; slow and plain."""
    pairs = {tuple(nibbles(rlp.encode(index))): value for index, value in enumerate(values)}
    return keccak(rlp.encode(structure(pairs)) if pairs else rlp.encode(b""))


def nibbles(data: bytes) -> list[int]:
    return [half for byte in data for half in (byte >> 4, byte & 15)]


def compact(path: tuple[int, ...], leaf: bool) -> bytes:
    flag = 2 * leaf + len(path) % 2
    digits = [flag, *path] if len(path) % 2 else [flag, 0, *path]
    return bytes(high << 4 | low for high, low in zip(digits[::2], digits[1::2], strict=True))


def structure(pairs: dict[tuple[int, ...], bytes]) -> Any:
    if len(pairs) == 1:
        [(path, value)] = pairs.items()
        return [compact(path, True), value]
    shared = 0
    while len({path[: shared + 1] for path in pairs}) == 1:
        shared += 1
    if shared:
        path = next(iter(pairs))[:shared]
        return [compact(path, False), capped({rest[shared:]: value for rest, value in pairs.items()})]
    branches = [{path[1:]: v for path, v in pairs.items() if path[0] == digit} for digit in range(16)]
    return [*(capped(below) if below else b"" for below in branches), b""]


def capped(pairs: dict[tuple[int, ...], bytes]) -> Any:
    node = structure(pairs)
    whole: bytes = rlp.encode(node)
    return node if len(whole) < 32 else keccak(whole)


@given(receipts)
def test_the_root_is_the_one_that_follows_by_definition(block: list[dict[str, Any]]) -> None:
    assert receipts_root([told(one) for one in block]) == trie_root([encoded(one) for one in block])


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 127, 128, 129, 255, 256, 257, 400])
@pytest.mark.parametrize("size", [1, 40])
def test_every_shape_of_trie(count: int, size: int) -> None:
    """Keys of one, two and three bytes; values short enough to lie in their parents, and hashed ones."""
    values = [index.to_bytes(2, "big") * size for index in range(count)]
    assert ordered_root(values) == trie_root(values)


def test_no_receipts_have_the_root_of_nothing() -> None:
    """The one that empty blocks of every chain have."""
    assert receipts_root([]) == NO_RECEIPTS
    assert NO_RECEIPTS.hex() == "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"


def header_of(root: bytes) -> tuple[WireHeader, bytes]:
    """A header with this root, and its hash."""
    header = with_(receipts_root="0x" + root.hex())
    found = header_hash(header)
    assert found is not None
    return header, found


@given(receipts.filter(lambda block: any(one["logs"] for one in block)), st.data())
def test_nothing_can_be_left_out_or_changed(block: list[dict[str, Any]], data: st.DataObject) -> None:
    header, block_hash = header_of(trie_root([encoded(one) for one in block]))
    index = data.draw(st.sampled_from([i for i, one in enumerate(block) if one["logs"]]))
    changed = {**block[index], "logs": block[index]["logs"][1:]}
    assert prove([told(one) for one in block], header, block_hash)
    assert not prove([told(one) for one in [*block[:index], changed, *block[index + 1 :]]], header, block_hash)
    assert not prove([told(one) for one in block[:-1]], header, block_hash)


def test_a_root_counts_only_in_a_header_that_hashes_to_the_blocks_hash() -> None:
    """Whoever tells headers that cannot be proven could name any root."""
    header, block_hash = header_of(NO_RECEIPTS)
    assert prove([], header, block_hash)
    assert not prove([], header, bytes(32))
    assert not prove([], msgspec.structs.replace(header, mix_hash=None), block_hash)


@given(receipts.filter(lambda block: any(one["logs"] for one in block)))
def test_a_kind_cannot_swallow_what_stands_behind_it(block: list[dict[str, Any]]) -> None:
    """As a longer type, the beginning of a receipt would be the same bytes without its logs."""
    index = next(i for i, one in enumerate(block) if one["logs"])
    kind, rest = told(block[index]).type, encoded(block[index])
    hidden = msgspec.structs.replace(told(block[index]), type="0x" + rest[:-1].hex(), logs=[])
    assert receipts_root([hidden]) is None
    for wrong in ("-0x1", "0x80", "0x17e", "0x"):
        assert receipts_root([msgspec.structs.replace(hidden, type=wrong)]) is None
    assert receipts_root([msgspec.structs.replace(hidden, type=kind)]) is not None


@pytest.mark.parametrize("where", ["address", "data", "topics"])
def test_hex_is_read_as_it_is_meant_and_what_is_none_is_refused(where: str) -> None:
    """Some nodes write capitals, of which no root tells; blanks, halves and other letters are no hex anywhere."""
    log = {
        "address": "0x" + "ab" * 20,
        "topics": ["0x" + "ab" * 32],
        "data": "0x" + "ab" * 3,
        **dict.fromkeys(("blockNumber", "logIndex"), "0x1"),
        **dict.fromkeys(("blockHash", "transactionHash"), "0x" + "00" * 32),
    }

    def receipt_with(text: str) -> bytes:
        told = [text] if where == "topics" else text
        return msgspec.json.encode([{"blockHash": "0x", "logs": [{**log, where: told}]}])

    usual = log["topics"][0] if where == "topics" else str(log[where])
    assert read_receipts(receipt_with("0x" + usual[2:].upper())) == read_receipts(receipt_with(usual))
    for wrong in (usual[:-1] + "z", usual[:-1], usual[:-2] + "  ", usual[:-1] + "\u0661", usual[2:] + "00"):
        with pytest.raises(RpcMalformed):
            read_receipts(receipt_with(wrong))


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "legacy"},
        {"cumulativeGasUsed": "0xno"},
        {"logsBloom": "0x00"},
        {"status": "yes"},
        {"status": None, "root": "0xa"},
        {"depositReceiptVersion": "x", "type": "0x7e"},
    ],
)
def test_what_is_no_receipt_proves_nothing(broken: dict[str, Any]) -> None:
    wire = {"blockHash": "0x" + "00" * 32, "logs": [], "status": "0x1", "logsBloom": ZERO_BLOOM, **broken}
    receipt = msgspec.convert(wire, WireReceipt)
    assert receipts_root([receipt]) is None


@pytest.mark.parametrize(
    "name", ["test_aave_v3__test_aave_v3_scroll_deposit_eth", "test_aave_v3__test_claim_incentives_reward"]
)
def test_blocks_of_live_chains_with_one_transaction(name: str) -> None:
    """Of Scroll and of Optimism before Bedrock, blooms left out: they follow from the logs."""
    known = json.loads(recorded(f"receipts/{name}.json").read_text())
    root = bytes.fromhex(known["block"]["receiptsRoot"][2:])
    assert receipts_root([msgspec.convert(known["receipt"], WireReceipt)]) == root
