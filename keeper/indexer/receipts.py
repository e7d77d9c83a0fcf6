"""Whether receipts are all of a block's: the trie that they make has the root that the block's hash commits to.

Where a header's fields hash to the block's hash, receipts with its root are the block's, every log of them, in their
order, with nothing left out, whoever says so: a proof that one endpoint alone can give. A root that does not fit proves
nothing, not even a lie, since chains have receipts of their own (Celo's have a field more, zkSync's headers no such
root); what follows from that is for the caller to say. No root covers how hex is spelt, and where a log says that it
stands: neither has a say in what is compared.

Source: Ethereum Yellow Paper, section 4.4.1 and appendix D; EIP-658, EIP-2718; OP Stack specification, deposits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from eth_hash.auto import keccak
from msgspec.structs import replace

from keeper.indexer.bloom import BITS, log_mask
from keeper.indexer.logs import uncollected, well_formed
from keeper.indexer.rpc import rlp
from keeper.indexer.rpc.proof import header_hash
from keeper.indexer.rpc.wire import Text, WireHeader, WireLog, WireReceipt, result_reader, to_hex

_decode: Callable[[Text], list[WireReceipt] | None] = result_reader(
    list[WireReceipt] | None, "eth_getBlockReceipts result"
)

NO_RECEIPTS = keccak(b"\x80")
"""The root of an empty trie."""

_EMPTY = "80"
_DEPOSIT = 0x7E
_LAST_KIND = 0x7F


def read_receipts(raw: Text) -> list[WireReceipt] | None:
    """All receipts of a block, their logs in lower case; None for `null`. Raises RpcMalformed."""
    with uncollected():
        receipts = _decode(raw)
    if receipts is None:
        return None
    logs = iter(well_formed([log for receipt in receipts for log in receipt.logs], "eth_getBlockReceipts result"))
    return [replace(receipt, logs=list(islice(logs, len(receipt.logs)))) for receipt in receipts]


def logs_of(receipts: Iterable[WireReceipt]) -> list[WireLog]:
    return [log for receipt in receipts for log in receipt.logs]


def prove(receipts: Sequence[WireReceipt], header: WireHeader, block_hash: bytes) -> bool:
    """Whether these are all receipts of the block with this hash, for which this header is told."""
    root = receipts_root(receipts)
    return root is not None and header_hash(header) == block_hash and header.receipts_root == to_hex(root)


def receipts_root(receipts: Sequence[WireReceipt]) -> bytes | None:
    """The root that follows from receipts in the order of their transactions; None where one cannot be a receipt."""
    try:
        return ordered_root([rlp.packed(_encoded(receipt)) for receipt in receipts])
    except ValueError:
        return None


def ordered_root(values: Sequence[bytes]) -> bytes:
    """The root of the Merkle Patricia trie that has these values at the keys rlp(0), rlp(1), and so on."""
    if not values:
        return NO_RECEIPTS
    # no such key is the beginning of another, so no branch ever has a value of its own
    leaves = sorted((rlp.quantity(hex(index)), value.hex()) for index, value in enumerate(values))
    return keccak(bytes.fromhex(_node([key for key, _ in leaves], [value for _, value in leaves], 0, len(leaves), 0)))


def _node(keys: Sequence[str], values: Sequence[str], first: int, end: int, depth: int) -> str:
    """The node over the leaves from `first` to before `end`, whose keys agree in `depth` digits."""
    if end - first == 1:
        return rlp.listed((_path(keys[first][depth:], leaf=True), rlp.string(values[first])))
    shared = _agreeing(keys[first], keys[end - 1], depth)
    if shared > depth:
        below = _reference(_node(keys, values, first, end, shared))
        return rlp.listed((_path(keys[first][depth:shared], leaf=False), below))
    children = [_EMPTY] * 17
    while first < end:
        digit, start = keys[first][depth], first
        while first < end and keys[first][depth] == digit:
            first += 1
        children[int(digit, 16)] = _reference(_node(keys, values, start, first, depth + 1))
    return rlp.listed(children)


def _agreeing(one: str, other: str, depth: int) -> int:
    while one[depth] == other[depth]:
        depth += 1
    return depth


def _path(digits: str, *, leaf: bool) -> str:
    """Hex-prefix encoding."""
    odd = len(digits) % 2
    return rlp.string(f"{2 * leaf + odd:x}{'' if odd else '0'}{digits}")


def _reference(node: str) -> str:
    """A node as its parent has it: itself where it is short, else its hash."""
    return node if len(node) < 64 else "a0" + keccak(bytes.fromhex(node)).hex()


# --- one receipt ------------------------------------------------------------------------------------------------------


def _encoded(receipt: WireReceipt) -> str:
    """What the trie has of a receipt, in hex. Raises ValueError."""
    kind = int(receipt.type, 16)
    if not 0 <= kind <= _LAST_KIND:
        raise ValueError("a kind of more than one byte would hide what follows it")
    fields = [
        *(rlp.fixed("a0", 64, receipt.root) if receipt.status is None else [rlp.quantity(receipt.status)]),
        rlp.quantity(receipt.cumulative_gas_used),
        *rlp.fixed("b90100", 512, receipt.logs_bloom or _bloom(receipt.logs)),
        rlp.listed(map(_log, receipt.logs)),
    ]
    if kind == _DEPOSIT and receipt.deposit_receipt_version is not None:
        fields += (rlp.quantity(receipt.deposit_nonce or "0x0"), rlp.quantity(receipt.deposit_receipt_version))
    return (f"{kind:02x}" if kind else "") + rlp.listed(fields)


def _log(log: WireLog) -> str:
    topics = rlp.listed(rlp.fixed("a0", 64, *log.topics))
    return rlp.listed((*rlp.fixed("94", 40, log.address), topics, rlp.string(log.data[2:])))


def _bloom(logs: Sequence[WireLog]) -> str:
    bits = 0
    for log in logs:
        bits |= log_mask(log)
    return f"0x{bits:0{BITS // 4}x}"
