"""What nodes and providers say, and what it means. The messages are quoted from their users' reports."""

from __future__ import annotations

from typing import Any

import pytest

from keeper.core.errors import (
    KeeperError,
    LogRangeTooLarge,
    RpcRateLimited,
    RpcRefused,
    RpcUnavailable,
    StateUnavailable,
)
from keeper.indexer.rpc.faults import is_already_known, is_revert, suggested_blocks, understand
from keeper.indexer.rpc.wire import Fault


def error_for(method: str, message: str, code: int | str | None = -32000, data: Any = None) -> KeeperError:
    return understand(Fault(code, message, data), method, "http://127.0.0.1:8545")


LOG_LIMITS: list[tuple[int, str, int | None]] = [
    (-32005, "query returned more than 10000 results", None),
    (-32602, "Query returned more than 10000 results. Try with this block range [0x118dc91, 0x1198cc3].", 45107),
    (
        -32602,
        "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit "
        "on the response size. Based on your parameters, this block range should work: [0x123c9b2, 0x123cba5]",
        500,
    ),
    (
        -32600,
        "You can make eth_getLogs requests with up to a 500 block range. Based on your parameters, this block "
        "range should work: [0x1a30dfd, 0x1a30ff0]",
        500,
    ),
    (-32602, "range 1000000 exceeds limit of 10000", 10000),
    (-32000, "requested too many blocks from 1 to 5000, maximum is set to 2048", 2048),
    (-32047, "Max range: 800", 800),
    (-32600, "Maximum allowed number of requested blocks is 3500", 3500),
    (-32600, "block range is too wide", None),
    (-32614, "eth_getLogs is limited to a 10,000 range", 10000),
    (-32602, "eth_getLogs is limited to 1024 block range", 1024),
    (-32000, "query exceeds max results 20000, retry with the range 24383075-24383096", 22),
    (-32008, "backend response too large", None),
    (-32000, "Block range is too large", None),
    (-32614, "block range too large", None),
    (-32011, "no backend is currently healthy to serve traffic", None),
    (-32000, "logs matched by query exceeds limit of 10000", None),
    (-32600, "exceeds the range allowed for your plan (10000 > 1000).", 1000),
    (-32000, "Block range limit exceeded. See more details", None),
    (-32602, "please limit the query to at most 1,000 blocks", 1000),
    (-32701, "exceed maximum block range: 50000", 50000),
    (-32000, "query exceeds max block range 1000", 1000),
    (-32600, "block range greater than 10000 max", 10000),
    (-32000, "block range exceeds 1000", 1000),
    (-32600, "eth_getLogs range is too large, max is 10k blocks", 10000),
    (-32000, "query must be smaller than size 1024", None),
    (-32000, "block range is too wide (maximum 1024)", 1024),
    (-32602, "maximum [from, to] blocks distance: 10000", 10000),
    (-32000, "block range is larger than max block range, block range = 5120, max block range = 5000", 5000),
    (-32005, "Query timeout exceeded. Consider reducing your block range.", None),
    (-32002, "request timed out", None),
    (-32003, "response too large", None),
    (-32600, "block range too high", None),
]


@pytest.mark.parametrize(("code", "message", "blocks"), LOG_LIMITS, ids=[entry[1][:40] for entry in LOG_LIMITS])
def test_a_refused_log_range_is_recognised_and_the_suggested_one_understood(
    code: int, message: str, blocks: int | None
) -> None:
    """Each of them means a smaller range, and where the provider names one, that is the size to take."""
    error = error_for("eth_getLogs", message, code)
    assert isinstance(error, LogRangeTooLarge)
    assert suggested_blocks(error) == blocks


@pytest.mark.parametrize(
    ("method", "code", "message"),
    [
        ("eth_call", -32000, "missing trie node ef7df5d88cb1614d (path ) state 0xabc is not available"),
        ("eth_call", -32000, "header not found"),
        ("eth_call", -32000, "header for hash not found"),
        ("eth_call", -32001, "Resource not found"),
        ("eth_call", -32602, "BlockOutOfRangeError: block height is 3 but requested was 65535"),
        ("eth_call", -32000, "required historical state unavailable (reexec=128)"),
        ("eth_call", -32000, "historical state 0x1234 is not available"),
        ("eth_call", -32002, "No state available for block 0xabc"),
        ("eth_call", -32001, "block not found: hash 0x1111"),
        ("eth_call", -32000, "old data not available due to pruning"),
        ("eth_call", -32000, "distance to target block exceeds maximum proof window"),
        ("eth_getLogs", -32000, "unknown block"),
        (
            "eth_getLogs",
            -32000,
            "One of the blocks specified in filter (fromBlock, toBlock or blockHash) cannot be found.",
        ),
        ("eth_getLogs", -32000, "block range extends beyond current head block"),
        ("eth_getLogs", -32001, "block not found"),
        ("eth_getBlockReceipts", 4444, "pruned history unavailable"),
    ],
)
def test_a_block_the_node_does_not_have_is_worth_asking_elsewhere(method: str, code: int, message: str) -> None:
    """Pruned, orphaned or not imported yet: another endpoint may have it."""
    assert isinstance(error_for(method, message, code), StateUnavailable)


@pytest.mark.parametrize(
    ("code", "message", "data", "wait_s"),
    [
        (429, "Too Many Requests", None, None),
        (-32005, "project ID request rate exceeded", {"rate": {"backoff_seconds": 30}}, 30),
        (-32005, "limit exceeded, try again in 250ms", None, 0.25),
        (429, "Your app has exceeded its compute units per second capacity. Please retry after 2 seconds", None, 2),
        (-32007, "50/second request limit reached - reduce calls per second", None, None),
        ("429", "slow down", None, None),
        (-32029, "Too many requests, reset in 1m", None, 60),
    ],
)
def test_a_rate_limit_tells_how_long_to_wait(code: int | str, message: str, data: Any, wait_s: float | None) -> None:
    error = error_for("eth_call", message, code, data)
    assert isinstance(error, RpcRateLimited)
    assert error.retry_after_s == wait_s


def test_a_code_that_means_rate_limit_elsewhere_means_too_many_logs_for_logs() -> None:
    """-32005 is shared by both; the words decide."""
    assert isinstance(error_for("eth_getLogs", "query returned more than 10000 results", -32005), LogRangeTooLarge)
    assert isinstance(error_for("eth_getLogs", "daily request count exceeded", -32005), RpcRateLimited)


def test_a_revert_keeps_its_data() -> None:
    error = error_for("eth_call", "execution reverted: not today", 3, "0x08c379a0")
    assert isinstance(error, RpcRefused)
    assert (error.code, error.data) == (3, bytes.fromhex("08c379a0"))
    assert is_revert(error)


@pytest.mark.parametrize("message", ["execution reverted", "EVM error InvalidFEOpcode", "invalid opcode: INVALID"])
def test_a_call_that_the_contract_refused_is_a_revert(message: str) -> None:
    assert is_revert(error_for("eth_call", message, -32603))


@pytest.mark.parametrize("message", ["out of gas", "EVM error OutOfGas", "gas required exceeds allowance (50000000)"])
def test_a_call_that_was_starved_of_gas_is_no_revert(message: str) -> None:
    """The contract did not say no; believing so would be silently wrong."""
    error = error_for("eth_call", message, -32603)
    assert isinstance(error, RpcRefused)
    assert not is_revert(error)


@pytest.mark.parametrize(
    "message",
    [
        "already known",
        "ALREADY_EXISTS: already known",
        "AlreadyKnown",
        "known transaction: f8236a44",
        "transaction already imported",
        "Transaction with the same hash was already imported.",
    ],
)
def test_a_transaction_the_node_has_counts_as_accepted(message: str) -> None:
    assert is_already_known(error_for("eth_sendRawTransaction", message))


@pytest.mark.parametrize(
    "message", ["nonce too low", "replacement transaction underpriced", "insufficient funds for gas * price + value"]
)
def test_a_refused_transaction_is_a_definite_no(message: str) -> None:
    error = error_for("eth_sendRawTransaction", message)
    assert isinstance(error, RpcRefused)
    assert not is_already_known(error)


def test_a_transaction_whose_handling_timed_out_may_have_been_accepted() -> None:
    assert isinstance(error_for("eth_sendRawTransaction", "request timed out", -32002), RpcUnavailable)


@pytest.mark.parametrize(
    "message",
    [
        "the method eth_getBlockReceipts does not exist/is not available",
        "Method not found",
        "Unsupported method: eth_x",
    ],
)
def test_an_unknown_method_is_refused_whatever_it_is_called(message: str) -> None:
    """'Receipts … not available' must not be taken for pruned data: it would be asked for ever."""
    assert isinstance(error_for("eth_getBlockReceipts", message, -32601), RpcRefused)
    assert isinstance(error_for("eth_getBlockReceipts", message, -32000), RpcRefused)


def test_a_gateways_trouble_passes() -> None:
    assert isinstance(error_for("eth_call", "service temporarily unavailable", -32603), RpcUnavailable)
    assert isinstance(error_for("eth_call", "no backend is currently healthy to serve traffic", -32011), RpcUnavailable)
