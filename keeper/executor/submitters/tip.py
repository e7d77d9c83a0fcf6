"""How high the chain is, for routes that name the blocks they want."""

from __future__ import annotations

from keeper.core.errors import KeeperError, RpcMalformed
from keeper.executor.ports import Node


async def height(node: Node) -> int:
    """Raises KeeperError when the node does not tell."""
    [answer] = await node.batch([("eth_blockNumber", ())])
    if isinstance(answer, KeeperError):
        raise answer
    try:
        return int(answer, 16)
    except (TypeError, ValueError):
        raise RpcMalformed(f"eth_blockNumber answered {answer!r}") from None
