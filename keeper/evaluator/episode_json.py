"""Episodes as stored, and the parts of them that people script against (interface.md).

Canonical JSON: equal episodes give equal bytes. Integers that can exceed 2^53 are decimal strings, bytes are hex.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from keeper.core.errors import StoreError
from keeper.core.types import Band, BlockRef, BreachPrice, Demand, Liquidated, Price
from keeper.core.units import format_units
from keeper.evaluator.episodes import Episode, EpisodeStatus, Loss, Mark

_FORM = 1


def dump_episode(episode: Episode) -> bytes:
    """The payload of an episode's fact."""
    row = {
        "form": _FORM,
        "id": episode.id,
        "protocol": episode.protocol,
        "position": episode.position,
        "key": episode.key.hex(),
        "account": episode.account.hex(),
        "status": episode.status.value,
        "band": episode.band.label,
        "deepest": episode.deepest.label,
        "liquidations": episode.liquidations,
        "marks": [_mark_row(mark) for mark in episode.marks],
        "demands": [_demand_row(demand) for demand in episode.demands],
        "breach_prices": [_breach_row(breach) for breach in episode.breach_prices],
        "losses": [_loss_row(loss) for loss in episode.losses],
    }
    return json.dumps(row, sort_keys=True, separators=(",", ":")).encode()


class Outline(msgspec.Struct, gc=False):
    """What a stored episode is about, for picking a few out of many that closed long ago."""

    position: str
    status: str

    @property
    def is_open(self) -> bool:
        return self.status == EpisodeStatus.OPEN.value


_outline = msgspec.json.Decoder(Outline)


def outline(payload: bytes) -> Outline:
    """In a twentieth of the time that `load_episode` takes. Raises StoreError on a payload of another form."""
    try:
        return _outline.decode(payload)
    except msgspec.MsgspecError as error:
        raise StoreError(
            f"a stored episode does not read ({error}); run the Keeper that wrote it, or a newer"
        ) from error


def load_episode(payload: bytes) -> Episode:
    """The inverse of `dump_episode`. Raises StoreError on a payload of another form."""
    row = json.loads(payload)
    if row.get("form") != _FORM:
        raise StoreError(f"stored episode has form {row.get('form')!r}, this program reads {_FORM}; run a newer Keeper")
    return Episode(
        id=row["id"],
        protocol=row["protocol"],
        position=row["position"],
        key=bytes.fromhex(row["key"]),
        account=bytes.fromhex(row["account"]),
        status=EpisodeStatus(row["status"]),
        band=Band[row["band"].upper()],
        deepest=Band[row["deepest"].upper()],
        liquidations=row["liquidations"],
        marks=tuple(_mark(mark) for mark in row["marks"]),
        demands=tuple(_demand(demand) for demand in row["demands"]),
        breach_prices=tuple(_breach(breach) for breach in row["breach_prices"]),
        losses=tuple(_loss(loss) for loss in row.get("losses", ())),  # not in rows of the first releases
    )


def demand_json(demand: Demand, asset: str) -> dict[str, Any]:
    """A demand as notices and `keeper calls` show it. amount: raw token units. asset: its address as text."""
    return {
        "action": demand.action,
        "asset": asset,
        "symbol": demand.symbol,
        "decimals": demand.decimals,
        "amount": str(demand.amount),
        "resulting_health_wad": _text(demand.resulting_health_wad),
    }


def breach_json(breach: BreachPrice, asset: str) -> dict[str, Any]:
    """A breach price as notices and `keeper calls` show it. price: in whole base currency units; move: a fraction of
    the present price, negative for a fall; both decimal strings."""
    return {
        "asset": asset,
        "symbol": breach.symbol,
        "price": format_units(breach.price, breach.decimals),
        "move": format_units(breach.move_bps, 4),
    }


def _mark_row(mark: Mark) -> dict[str, Any]:
    return {
        "event": mark.event,
        "band": mark.band.label,
        "block_number": mark.block.number,
        "block_hash": mark.block.hash.hex(),
        "timestamp": mark.timestamp,
        "health_wad": _text(mark.health_wad),
        "prices": [[asset.hex(), str(price.value), price.decimals, price.updated_at] for asset, price in mark.prices],
    }


def _mark(row: dict[str, Any]) -> Mark:
    return Mark(
        event=row["event"],
        band=Band[row["band"].upper()],
        block=BlockRef(row["block_number"], bytes.fromhex(row["block_hash"])),
        timestamp=row["timestamp"],
        health_wad=_number(row["health_wad"]),
        prices=tuple(
            (bytes.fromhex(asset), Price(int(value), decimals, updated_at))
            for asset, value, decimals, updated_at in row["prices"]
        ),
    )


def _demand_row(demand: Demand) -> dict[str, Any]:
    return demand_json(demand, demand.asset.hex())


def _demand(row: dict[str, Any]) -> Demand:
    return Demand(
        action=row["action"],
        asset=bytes.fromhex(row["asset"]),
        symbol=row["symbol"],
        decimals=row["decimals"],
        amount=int(row["amount"]),
        resulting_health_wad=_number(row["resulting_health_wad"]),
    )


def _breach_row(breach: BreachPrice) -> dict[str, Any]:
    return {
        "asset": breach.asset.hex(),
        "symbol": breach.symbol,
        "price": str(breach.price),
        "decimals": breach.decimals,
        "move_bps": breach.move_bps,
        "quote": breach.quote,
    }


def _breach(row: dict[str, Any]) -> BreachPrice:
    return BreachPrice(
        asset=bytes.fromhex(row["asset"]),
        symbol=row["symbol"],
        price=int(row["price"]),
        decimals=row["decimals"],
        move_bps=row["move_bps"],
        quote=row.get("quote", ""),
    )


def _loss_row(loss: Loss) -> dict[str, Any]:
    event = loss.event
    return {
        "block_number": loss.block.number,
        "block_hash": loss.block.hash.hex(),
        "key": event.key.hex(),
        "account": event.account.hex(),
        "liquidator": event.liquidator.hex(),
        "debt_asset": event.debt_asset.hex(),
        "repaid": str(event.repaid_assets),
        "collateral_asset": event.collateral_asset.hex(),
        "seized": str(event.seized_assets),
        "transaction": event.transaction_hash.hex(),
        "log_index": event.log_index,
        "repaid_value": _text(loss.repaid_value),
        "seized_value": _text(loss.seized_value),
    }


def _loss(row: dict[str, Any]) -> Loss:
    return Loss(
        block=BlockRef(row["block_number"], bytes.fromhex(row["block_hash"])),
        event=Liquidated(
            key=bytes.fromhex(row["key"]),
            account=bytes.fromhex(row["account"]),
            liquidator=bytes.fromhex(row["liquidator"]),
            debt_asset=bytes.fromhex(row["debt_asset"]),
            repaid_assets=int(row["repaid"]),
            collateral_asset=bytes.fromhex(row["collateral_asset"]),
            seized_assets=int(row["seized"]),
            transaction_hash=bytes.fromhex(row["transaction"]),
            log_index=row["log_index"],
        ),
        repaid_value=_number(row["repaid_value"]),
        seized_value=_number(row["seized_value"]),
    )


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
