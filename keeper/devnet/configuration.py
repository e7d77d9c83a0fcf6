"""An ordinary Keeper configuration for a dev chain: nothing in it is special but the addresses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from keeper.devnet.chain import DevChain
from keeper.devnet.protocols import Value
from keeper.devnet.protocols import protocol as dev_protocol

_TIME_BY_HAND: Mapping[str, Mapping[str, Value]] = {"defences": {"max_block_ahead_minutes": 0}}
"""Time on a dev chain is what tests and people make it."""


def write_config(
    path: Path,
    chain: DevChain,
    *,
    mode: str = "off",
    rpc: Sequence[str] | None = None,
    store_url: str = "sqlite:///var/keeper.db",
    finality: str | int = "finalized",
    accounts: Sequence[str] = (),
    node: Mapping[str, Value] | None = None,
    protocols: Sequence[str] = ("aave_v3",),
    protocol: Mapping[str, Value] | None = None,
    margin_calls: Mapping[str, Value] | None = None,
    notifiers: Sequence[Mapping[str, Value]] = ({"kind": "console"},),
    executor: Mapping[str, Value] | None = None,
    venues: Sequence[Mapping[str, Value]] = (),
    funding: Sequence[Mapping[str, Value]] = (),
    submitters: Sequence[Mapping[str, Value]] = (),
    breakers: Mapping[str, Value] | None = None,
    jobs: Mapping[str, Value] | None = None,
    more: Mapping[str, Mapping[str, Value]] | None = None,
    heading: str = "",
) -> Path:
    """Write the file and return its path.

    mode: of the executor; "live" needs the environment variable KEEPER_PRIVATE_KEY (`chain.liquidator.private_key`).
    rpc: by default the chain's websocket. accounts: watch only these. protocols: what is tracked, a table each.
    node, protocol, margin_calls, executor, breakers, jobs: further keys of [chain], the first [[protocols]] and so on
    as in the configuration reference, replacing the ones here. venues, funding, submitters: whole tables.
    more: any other tables, by name. heading: a comment that the file begins with.
    A relative store path is relative to the file.
    """
    tables = [
        *([heading] if heading else []),
        _table(
            "[chain]",
            **{
                "id": chain.chain_id,
                "rpc": list(rpc) if rpc else [chain.ws_url],
                "finality": finality,
                "wrapped_native": chain.tokens["WETH"].address,
                **(node or {}),
            },
        ),
        _table("[store]", url=store_url),
        *(
            _table("[[protocols]]", **{**dev_protocol(kind).table(chain), **({} if number else protocol or {})})
            for number, kind in enumerate(protocols)
        ),
        _table("[margin_calls]", **{"accounts": list(accounts), "call": "1.10", **(margin_calls or {})}),
        *(_table("[[notifiers]]", **notifier) for notifier in notifiers),
        _table("[executor]", **{"mode": mode, "private_key": "env:KEEPER_PRIVATE_KEY", **(executor or {})}),
        *(_table("[[venues]]", **venue) for venue in venues),
        *(_table("[[funding]]", **one) for one in funding),
        *(_table("[[submitters]]", **one) for one in submitters),
        *([_table("[breakers]", **breakers)] if breakers else []),
        *([_table("[jobs]", **jobs)] if jobs else []),
        *(_table(f"[{name}]", **values) for name, values in {**_TIME_BY_HAND, **(more or {})}.items()),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(tables) + "\n", "utf-8")
    return path


def uniswap(chain: DevChain) -> Mapping[str, Value]:
    """The [[venues]] table of the chain's exchange."""
    tokens = chain.tokens
    return {
        "kind": "uniswap_v3",
        "factory": chain.uniswap.factory,
        "quoter": chain.uniswap.quoter,
        "router": chain.uniswap.router,
        "intermediates": [tokens["USDC"].address, tokens["WETH"].address],
    }


def aave_loans(chain: DevChain) -> Mapping[str, Value]:
    """The [[funding]] table of the chain's Aave."""
    return {"kind": "aave_v3", "pool": chain.aave.pool}


def _table(heading: str, **values: Value) -> str:
    return "\n".join([heading, *(f"{key} = {_toml(value)}" for key, value in values.items())])


def _toml(value: Value) -> str:
    """JSON's strings, numbers, booleans and lists are all valid TOML; its tables are written otherwise."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {json.dumps(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)
