"""Multicall3 at its canonical address."""

from __future__ import annotations

import re

from keeper.devnet.client import Client
from keeper.devnet.errors import DevnetError
from keeper.devnet.npm import VIEM, fetch

MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"


def install(client: Client) -> None:
    """Run the init code that viem carries in an eth_call, which returns the runtime, and put that in place."""
    (home,) = fetch(VIEM)
    source = (home / "constants" / "contracts.ts").read_text()
    found = re.search(r"multicall3Bytecode\s*=\s*'(0x[0-9a-f]+)'", source)
    if found is None:
        raise DevnetError(f"{VIEM.spec} no longer carries Multicall3's init code where it was; lock the former version")
    client.rpc("anvil_setCode", MULTICALL3, client.rpc("eth_call", {"data": found[1]}, "latest"))
