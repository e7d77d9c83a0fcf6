"""Which contracts move which prices of a real Aave market, and what an update known in advance makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from keeper.devnet.chain import DevChain
from keeper.executor.oracles import stub
from tests.support.aave_follower import Follower

AGGREGATOR = bytes.fromhex("245a7bfc")
CAPPED = bytes.fromhex("4ebdc284")
LATEST_ANSWER = bytes.fromhex("50d25bcd")


@pytest.fixture(scope="module")
def chain() -> Iterator[DevChain]:
    with DevChain.start() as chain:
        yield chain


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


def word(address: bytes) -> bytes:
    return address.rjust(32, b"\0")


def put(chain: DevChain, number: int, answers: dict[bytes, bytes]) -> bytes:
    """A contract that answers this, at a numbered address."""
    address = bytes([0xFE, number]) * 10
    chain.rpc("anvil_setCode", "0x" + address.hex(), "0x" + stub.code(answers).hex())
    return address


def feeds(chain: DevChain) -> dict[bytes, tuple[bytes, ...]]:
    follower = Follower(chain)
    follower.index()
    assert follower.tip is not None
    return dict(follower.run(follower.adapter.feeds(follower.market), follower.tip))


def test_a_source_that_points_nowhere_is_written_to_itself(chain: DevChain) -> None:
    expected = {raw(token.feed): (raw(token.address),) for token in chain.tokens.by_symbol.values()}
    assert feeds(chain) == expected


def test_proxies_and_price_adapters_are_followed_to_the_aggregators(chain: DevChain) -> None:
    """WETH by a proxy, DAI by a capped adapter over a proxy, and WBTC by the same aggregator as WETH."""
    answer = {LATEST_ANSWER: (2_000 * 10**8).to_bytes(32, "big")}
    with chain.rewound():
        weth, dai = put(chain, 1, answer), put(chain, 2, answer)
        weth_proxy = put(chain, 3, {**answer, AGGREGATOR: word(weth)})
        dai_proxy = put(chain, 4, {**answer, AGGREGATOR: word(dai)})
        capped = put(chain, 5, {**answer, CAPPED: word(dai_proxy)})
        for symbol, source in (("WETH", weth_proxy), ("DAI", capped), ("WBTC", weth_proxy)):
            chain.aave.set_asset_source(symbol, "0x" + source.hex())
        found = feeds(chain)
    token = {symbol: raw(chain.tokens[symbol].address) for symbol in ("WETH", "DAI", "WBTC", "USDC")}
    assert found[weth] == tuple(sorted((token["WETH"], token["WBTC"])))
    assert found[dai] == (token["DAI"],)
    assert found[raw(chain.tokens["USDC"].feed)] == (token["USDC"],)
    assert len(found) == 3


def test_a_stand_in_for_an_aggregator_answers_as_the_aggregator_will(chain: DevChain) -> None:
    """In a call's state override it gives the protocol the price that the mined update gives it afterwards."""
    feed, weth = chain.tokens["WETH"].feed, raw(chain.tokens["WETH"].address)
    asked = {"to": chain.aave.oracle, "input": "0xb3596f07" + word(weth).hex()}
    instead = {feed: {"code": "0x" + stub.answering(1_234 * 10**8, 8, chain.timestamp + 1).hex()}}
    foreseen = chain.rpc("eth_call", asked, "latest", instead)
    whole = {"to": feed, "input": "0xfeaf968c"}
    rounds = [chain.rpc("eth_call", whole, "latest", instead)]
    with chain.rewound():
        chain.set_price("WETH", Decimal(1_234))
        assert chain.rpc("eth_call", asked, "latest") == foreseen
        rounds.append(chain.rpc("eth_call", whole, "latest"))
    ours, real = ([int(text[2 + 64 * n : 66 + 64 * n], 16) for n in range(5)] for text in rounds)
    assert ours[1] == real[1]
    assert ours[2] == ours[3] == chain.timestamp + 1
    assert chain.rpc("eth_call", {"to": feed, "input": "0x313ce567"}, "latest", instead)[-2:] == "08"
