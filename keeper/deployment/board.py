"""`keeper deploy --board`: the contract on which margin calls are said on chain."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from keeper.abis import contract as contract_file
from keeper.config.routing import BOARD
from keeper.core.types import BlockRef
from keeper.deployment.command import carry_out_orders, require_proxy, say, visiting
from keeper.executor.board_deployment import board_address, board_code, board_standing
from keeper.executor.deployment import Order
from keeper.protocols.addresses import checksummed
from keeper.queries.report import account_of


async def deploy_board(args: argparse.Namespace) -> int:
    """Exit code 0 when the board is there and takes notices of our wallet."""
    heir = None if args.heir is None else account_of(args.heir)
    async with visiting(args) as visit:
        notifiers = visit.house.config.notifiers
        configured: bytes | None = next((one.settings["address"] for one in notifiers if one.kind == BOARD), None)
        bytecode = bytes.fromhex(contract_file("keeper", "MarginCallBoard")["bytecode"][2:])
        code = None if configured is not None else board_code(bytecode, visit.account)
        board = board_address(code) if configured is None and code is not None else configured or b""
        if code is not None:
            await require_proxy(visit)

        async def missing(block: BlockRef) -> Sequence[Order]:
            reads = board_standing(board, visit.account, code=code, heir=heir)
            orders: Sequence[Order] = (await visit.read(reads, block)).orders
            return orders

        if not await carry_out_orders(args, visit, visit.house.config.executor.liquidator, missing, "deploy"):
            return 0
        print(f'[[notifiers]]\nkind = "{BOARD}"\naddress = "{checksummed(board)}"')
        if configured is None:
            say("deploy", "put these lines into your configuration; then `keeper check`")
    return 0
