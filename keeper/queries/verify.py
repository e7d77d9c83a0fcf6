"""A second opinion on our health factors: the protocol's own view, by web3.py and the published ABI.

Nothing of Keeper's own decoding takes part, so a defect there cannot hide itself; only where a protocol has no function
that answers under these names does the adapter read what web3.py was told. Slow, for a person who asks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from web3 import AsyncWeb3
from web3.contract.async_contract import AsyncContractFunction
from web3.exceptions import ContractLogicError, MismatchedABI, Web3ValueError
from web3.providers.async_base import AsyncBaseProvider
from web3.types import RPCEndpoint, RPCResponse, TxParams

from keeper.abis import protocol_abi
from keeper.core.errors import ConfigError, RpcRefused
from keeper.core.ports import ProtocolAdapter, Store
from keeper.core.types import BlockRef, Call, CallResult
from keeper.indexer.rpc.client import RpcClient
from keeper.protocols.addresses import checksummed
from keeper.queries.views import load_book
from keeper.wire import House


@dataclass(frozen=True, slots=True)
class Difference:
    position: str
    name: str
    ours: object
    theirs: object


class OverOurEndpoints(AsyncBaseProvider):
    """web3.py asking through the configured endpoints, with their failover and time-outs."""

    def __init__(self, rpc: RpcClient) -> None:
        super().__init__()
        self._rpc = rpc

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        try:
            result = await self._rpc.request(method, *params)
        except RpcRefused as refusal:
            data = None if refusal.data is None else "0x" + refusal.data.hex()
            error = {"code": refusal.code or -32000, "message": str(refusal), "data": data}
            return cast(RPCResponse, {"jsonrpc": "2.0", "id": 0, "error": error})
        return {"jsonrpc": "2.0", "id": 0, "result": result}

    async def is_connected(self, show_traceback: bool = False) -> bool:
        return True


async def second_opinion(house: House, store: Store, accounts: Collection[bytes]) -> list[Difference]:
    """Every difference between what the store says of these accounts' positions at its tip and what the contracts say.

    accounts: empty means all. Raises StateUnavailable when no endpoint has the tip's state any more.
    """
    tip = store.blocks()[-1]
    rpc = await house.connect()
    found = []
    try:
        for adapter in house.adapters():
            book = load_book(store, adapter)
            views = [
                (key, adapter.assess(book.market, book.prices, position, tip.timestamp).native)
                for key, position in book.positions.items()
                if not accounts or adapter.account(key) in accounts
            ]
            found += await differences(rpc, adapter, book.market, views, tip.ref)
    finally:
        await rpc.close()
    return found


async def differences(
    rpc: RpcClient,
    adapter: ProtocolAdapter[Any, Any],
    market: Any,
    views: Sequence[tuple[bytes, Mapping[str, Any]]],
    block: BlockRef,
) -> list[Difference]:
    """What the contracts say otherwise at this block. views: key and `Assessment.native` of each position."""
    web3 = AsyncWeb3(OverOurEndpoints(rpc), middleware=[])
    found = []
    for key, ours in views:
        theirs = await _theirs(web3, adapter, adapter.confirm_calls(market, key), ours, block)
        for name, value in ours.items():
            if theirs.get(name) != value:
                found.append(Difference(adapter.position_id(key), name, value, theirs.get(name)))
    return found


async def _theirs(
    web3: AsyncWeb3[Any],
    adapter: ProtocolAdapter[Any, Any],
    calls: Sequence[Call],
    ours: Mapping[str, Any],
    block: BlockRef,
) -> Mapping[str, Any]:
    """The contracts' view: by the published ABI where its outputs have these names, else as the adapter reads them."""
    named: dict[str, Any] = {}
    for call in calls:
        function = _function(web3, adapter.kind, call)
        if function is not None:
            outputs = await function.call(block_identifier=block.number)
            names = [output["name"] for output in function.abi["outputs"]]
            named |= dict(zip(names, outputs if len(names) > 1 else [outputs], strict=True))
    if set(ours) <= set(named):
        return named
    return adapter.native_view([await _raw(web3, call, block) for call in calls])


def _function(web3: AsyncWeb3[Any], kind: str, call: Call) -> AsyncContractFunction | None:
    """The call by its published ABI; None when none is published, or none of such a function."""
    address = cast(ChecksumAddress, checksummed(call.target))
    try:
        contract = web3.eth.contract(address=address, abi=protocol_abi(kind))
        function, arguments = contract.decode_function_input(call.data)
    except (ConfigError, Web3ValueError, MismatchedABI):
        return None
    return cast(AsyncContractFunction, function(**arguments))


async def _raw(web3: AsyncWeb3[Any], call: Call, block: BlockRef) -> CallResult:
    transaction: TxParams = {"to": cast(ChecksumAddress, checksummed(call.target)), "data": HexBytes(call.data)}
    try:
        return bytes(await web3.eth.call(transaction, block_identifier=block.number)) or None
    except ContractLogicError:
        return None
