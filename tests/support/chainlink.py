"""A Chainlink feed on a dev chain: a node sends reports through its forwarder to the aggregator behind a proxy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from eth_abi.abi import encode

from keeper.devnet.abi import encode_call
from keeper.devnet.chain import DevChain
from tests.support import rogues
from tests.support.updates import Updater

TRANSMIT = "transmit(bytes32[3],bytes,bytes32[],bytes32[],bytes32)"
_UNIT = 10**8


@dataclass
class ChainlinkFeed:
    """Prices one asset of the Aave market. epoch: of the next report."""

    chain: DevChain
    node: Updater
    symbol: str
    forwarder: str
    aggregator: str
    proxy: str
    epoch: int = field(default=1)

    @classmethod
    def install(cls, chain: DevChain, node: Updater, symbol: str, *, cap: Decimal | None = None) -> ChainlinkFeed:
        """From now on the market prices the asset by it, at first as before. cap: by an adapter above the proxy."""
        admin = chain.aave.market.admin
        forwarder = rogues.deploy(chain.client, admin, "forwarder", node.sender)
        aggregator = rogues.deploy(chain.client, admin, "ocr2_aggregator", [forwarder], chain.price(symbol))
        proxy = rogues.deploy(chain.client, admin, "feed_proxy", aggregator)
        source = proxy
        if cap is not None:
            source = rogues.deploy(chain.client, admin, "capped_feed", proxy, int(cap * _UNIT))
        chain.aave.set_asset_source(symbol, source)
        return cls(chain, node, symbol, forwarder, aggregator, proxy)

    def report(self, observations: Sequence[Decimal], *, epoch: int | None = None) -> bytes:
        """Call data of a transmission."""
        answers = sorted(int(one * _UNIT) for one in observations)
        report = encode(("uint32", "bytes32", "int192[]", "int192"), (1, bytes(32), answers, 1))
        context = [bytes(32), (self.epoch if epoch is None else epoch).to_bytes(32, "big"), bytes(32)]
        return bytes(encode_call(TRANSMIT, (context, report, [bytes(32)] * 2, [bytes(32)] * 2, bytes(32))))

    def signed(self, *observations: int | str, epoch: int | None = None, **changes: Any) -> str:
        """The node's transaction, which nobody has seen yet."""
        data = self.report([Decimal(one) for one in observations], epoch=epoch)
        passed = encode_call("forward(address,bytes)", (self.aggregator, data))
        return self.node.raw({"to": self.forwarder, "data": "0x" + passed.hex(), "gas": 500_000, **changes})

    def send(self, *observations: int | str, **changes: Any) -> str:
        """Hash of such a transaction, in the mempool."""
        return str(self.chain.rpc("eth_sendRawTransaction", self.signed(*observations, **changes)))
