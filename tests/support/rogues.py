"""Contracts that attack or disappoint the Liquidator, compiled with the same compiler."""

from __future__ import annotations

from enum import IntFlag, auto
from functools import cache
from pathlib import Path

from vyper.compiler import compile_code

from keeper.devnet.client import Client
from keeper.devnet.solc import Artifact


class Mood(IntFlag):
    """What a rogue token does; in the order of its source."""

    FALSE_ON_APPROVE = auto()
    FALSE_ON_TRANSFER = auto()
    REVERT_ON_TRANSFER = auto()
    FEE_ON_TRANSFER = auto()
    CALL_ON_TRANSFER = auto()


_FOLDER = Path(__file__).parent / "contracts"


def deploy(client: Client, sender: str, name: str, *args: object) -> str:
    """Address of a new contract, like "rogue_token"."""
    return client.deploy(sender, _artifact(name), args)


def set_mood(client: Client, sender: str, token: str, mood: Mood) -> None:
    client.send(sender, token, "set_mood(uint256)", int(mood))


@cache
def _artifact(name: str) -> Artifact:
    compiled = compile_code((_FOLDER / f"{name}.vy").read_text("utf-8"), output_formats=["abi", "bytecode"])
    return Artifact(name, tuple(compiled["abi"]), compiled["bytecode"].removeprefix("0x"), {})
