"""`keeper devnet`: a local chain with the real contracts and a ready configuration, until it is interrupted."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import aave_loans, uniswap, write_config
from keeper.devnet.errors import DevnetError
from keeper.devnet.protocols import Example, protocol

OURS = "# By `keeper devnet`, which replaces this file at its next start for as long as it begins with this line."
"""A configuration of a chain that is gone is worth nothing: starting again need not be forced."""


def serve(args: argparse.Namespace) -> int:
    """Exit code 0 after SIGINT or SIGTERM. Raises DevnetError when the configuration cannot be written, when the chain
    cannot start, or when Anvil dies."""
    _check_writable(args.config_out, force=args.force)
    _say("starting Anvil and deploying (the first time also downloads and compiles, about half a minute)")
    with DevChain.start(port=args.port or None, accounts=args.accounts) as chain:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        examples = [example for kind in args.protocols for example in protocol(kind).open_examples(chain)]
        chain.fund_liquidator()
        if args.block_time is not None:
            chain.mine_every(args.block_time)
        config = write_config(
            args.config_out,
            chain,
            mode=args.mode,
            heading=OURS,
            protocols=args.protocols,
            # For `keeper rehearse` and `keeper deploy`; without a contract the executor itself has no use for them.
            venues=[uniswap(chain)] if args.mode == "off" else (),
            funding=[aave_loans(chain)] if args.mode == "off" else (),
        )
        facts = _facts(chain, args.protocols, examples, config)
        sys.stdout.write(json.dumps(facts) + "\n" if args.json else _page(facts))
        sys.stdout.flush()
        while not stop.wait(0.5):
            chain.anvil.check_alive()
    _say("stopped")
    return 0


def _check_writable(file: Path, *, force: bool) -> None:
    """Before there is a chain. A folder that is misspelt is not made, and what is not ours not replaced unasked."""
    if file.is_dir():
        raise DevnetError(f"--config-out {file} is a directory; name a file in it")
    if not file.parent.is_dir():
        raise DevnetError(f"--config-out {file}: there is no directory {file.parent}; make it, or correct the path")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise DevnetError(f"--config-out {file} cannot be written; choose another place")
    if file.exists() and not force and not file.read_bytes().startswith(OURS.encode()):
        raise DevnetError(f"{file} is there already; --force replaces it, --config-out names another")


def _facts(chain: DevChain, protocols: Sequence[str], examples: list[Example], config: Path) -> dict[str, Any]:
    return {
        "rpc_url": chain.rpc_url,
        "ws_url": chain.ws_url,
        "chain_id": chain.chain_id,
        "block_number": chain.block_number,
        "config": str(config),
        "contracts": {
            **{name: address for kind in protocols for name, address in protocol(kind).contracts(chain).items()},
            "multicall3": chain.multicall3,
            "uniswap_factory": chain.uniswap.factory,
            "uniswap_router": chain.uniswap.router,
            "uniswap_quoter": chain.uniswap.quoter,
        },
        "tokens": {
            symbol: {"address": token.address, "decimals": token.decimals, "feed": token.feed}
            for symbol, token in chain.tokens.by_symbol.items()
        },
        "accounts": chain.accounts,
        "positions": [{"account": example.account, "story": example.story} for example in examples],
        "liquidator": {"address": chain.liquidator.address, "public_test_key": chain.liquidator.private_key},
    }


def _page(facts: dict[str, Any]) -> str:
    """The same for a person."""
    feed, account = facts["tokens"]["WETH"]["feed"], facts["accounts"][0]
    call = {"from": account, "to": feed, "data": "0xe5c19b2d" + f"{1500 * 10**8:064x}"}
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_sendTransaction", "params": [call]})
    lines = [
        f"chain {facts['chain_id']} at {facts['ws_url']} and {facts['rpc_url']}, block {facts['block_number']}",
        "",
        *(f"  {name:24} {address}" for name, address in facts["contracts"].items()),
        "",
        *(f"  {name:24} {token['address']}  feed {token['feed']}" for name, token in facts["tokens"].items()),
        "",
        "positions:",
        *(f"  {example['account']}  {example['story']}" for example in facts["positions"]),
        "",
        f"configuration: {facts['config']}",
        f"  keeper run --config {facts['config']}",
        "to rehearse their liquidation on a fork (docs/liquidator.md):",
        f"  keeper backfill --to {facts['block_number']} --config {facts['config']}",
        f"  keeper rehearse --config {facts['config']}",
        f"liquidator: {facts['liquidator']['address']}, one of Anvil's public test keys, never for real funds:",
        f"  export KEEPER_PRIVATE_KEY={facts['liquidator']['public_test_key']}",
        "to see margin calls, let WETH fall to $1,500:",
        f"  curl -s -H 'Content-Type: application/json' -d '{request}' {facts['rpc_url']}",
        "Ctrl-C stops the chain; everything on it is gone then.",
    ]
    return "\n".join(lines) + "\n"


def _say(text: str) -> None:
    sys.stderr.write(f"keeper devnet: {text}\n")
