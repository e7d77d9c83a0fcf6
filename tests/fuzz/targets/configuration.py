"""The configuration file: whatever is in it, a ConfigError says what is wrong, by its place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from keeper.config.load import check_tables, read_tables
from keeper.config.types import Origin
from keeper.core.errors import ConfigError

ALLOWED = (ConfigError,)
_REPOSITORY = Path(__file__).resolve().parents[3]
_FOLDER = Path(tempfile.mkdtemp(prefix="keeper-fuzz-"))
_FILE = _FOLDER / "keeper.toml"
_ENVIRONMENT = {"KEEPER_RPC_URL": "ws://127.0.0.1:1", "KEEPER_PRIVATE_KEY": "11" * 32, "HOOK": "https://hook.example/x"}
_SMALL = b"""
[chain]
id = 1
rpc = ["env:KEEPER_RPC_URL"]
[store]
url = "sqlite:///x.db"
[[protocols]]
kind = "aave_v3"
pool_addresses_provider = "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e"
[margin_calls]
call = "1.10"
[[notifiers]]
kind = "webhook"
url = "env:HOOK"
min_band = "call"
[executor]
mode = "dry_run"
account = "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e"
min_profit = "1.00"
"""
SEEDS = [_SMALL, *(path.read_bytes() for path in sorted((_REPOSITORY / "configs").glob("*.toml")))]


def run(data: bytes) -> None:
    _FILE.write_bytes(data)
    try:
        tables = read_tables(_FILE)
        check_tables(tables, Origin(_FOLDER, _ENVIRONMENT), "keeper.toml")
    except ConfigError as error:
        assert str(error).startswith((str(_FILE), "keeper.toml: "))
        assert "11" * 32 not in str(error)
        raise


os.environ.pop("KEEPER_CONFIG", None)
