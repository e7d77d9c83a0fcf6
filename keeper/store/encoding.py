"""Records as rows, in their table's order of columns, and back. Big integers are decimal text, mappings JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from keeper.core.records import (
    Attempt,
    AuditEntry,
    Delivery,
    DeliveryStatus,
    Intent,
    IntentStatus,
    Notice,
    NoticeEvent,
    Told,
)
from keeper.core.types import Block, BlockRef
from keeper.store.engine import Row

_encode = json.JSONEncoder(separators=(",", ":")).encode


def to_json(value: Mapping[str, Any]) -> str:
    """Keeps the order of keys, which is part of a notice's body."""
    return _encode(value)


def _digits(value: int | None) -> str | None:
    return None if value is None else str(value)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def plain(text: str | None) -> str | None:
    """Foreign text (an error somebody answered with) without what a database cannot hold: NUL and lone surrogates."""
    return None if text is None else text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


# --- blocks -----------------------------------------------------------------------------------------------------------


def block_row(block: Block) -> Row:
    return (
        block.number,
        block.hash,
        block.parent_hash,
        block.timestamp,
        _digits(block.base_fee_wei),
        str(block.gas_limit),
        str(block.gas_used),
        block.bloom,
    )


def to_block(row: Row) -> Block:
    number, block_hash, parent_hash, timestamp, base_fee, gas_limit, gas_used, bloom = row
    return Block(
        ref=BlockRef(number, block_hash),
        parent_hash=parent_hash,
        timestamp=timestamp,
        base_fee_wei=_number(base_fee),
        gas_limit=int(gas_limit),
        gas_used=int(gas_used),
        bloom=bloom,
    )


# --- notices ----------------------------------------------------------------------------------------------------------


def notice_row(notice: Notice) -> Row:
    return (
        notice.id,
        notice.position,
        notice.account,
        notice.protocol,
        notice.episode,
        notice.event.value,
        notice.band,
        notice.block_number,
        notice.block_hash,
        to_json(notice.body),
        plain(notice.text),
        plain(notice.markdown),
        plain(notice.title),
        plain(notice.html),
    )


def to_delivery(row: Row) -> Delivery:
    """A row of `notices` followed by channel, status, attempts, due_at, sent_at, error, created_at and carrier."""
    notice_id, position, account, protocol, episode, event, band, number, block_hash, body, text, markdown = row[:12]
    title, html = row[12:14]
    channel, status, attempts, due_at, sent_at, error, created_at, carrier = row[14:]
    notice = Notice(
        id=notice_id,
        position=position,
        account=account,
        protocol=protocol,
        episode=episode,
        event=NoticeEvent(event),
        band=band,
        block_number=number,
        block_hash=block_hash,
        body=json.loads(body),
        text=text,
        markdown=markdown,
        # Without them it was written before notices had these forms.
        title=title or text.partition("\n")[0],
        html=html or f"<pre>{escape(text)}</pre>",
    )
    return Delivery(notice, channel, DeliveryStatus(status), attempts, due_at, sent_at, error, created_at, carrier)


def to_told(row: Row) -> Told:
    position, episode, event, band, number, block_hash = row
    return Told(position, episode, NoticeEvent(event), band, number, block_hash)


# --- intents ----------------------------------------------------------------------------------------------------------


def intent_row(intent: Intent) -> Row:
    return (
        intent.id,
        intent.kind,
        intent.cause,
        intent.protocol,
        intent.position,
        intent.account,
        intent.status.value,
        intent.judged_number,
        intent.judged_hash,
        intent.created_at,
        intent.updated_at,
        to_json(intent.plan),
        intent.tx_hash,
        intent.included_number,
        intent.included_hash,
        intent.debt_asset,
        _digits(intent.repaid_assets),
        intent.collateral_asset,
        _digits(intent.seized_assets),
        _digits(intent.profit_expected),
        _digits(intent.profit_realized),
        _digits(intent.gas_used),
        _digits(intent.gas_cost_wei),
        plain(intent.reason),
        to_json(intent.realized) if intent.realized else None,
    )


def to_intent(row: Row, attempts: tuple[Attempt, ...]) -> Intent:
    intent_id, kind, cause, protocol, position, account, status, judged_number, judged_hash, created_at = row[:10]
    updated_at, plan, tx_hash, included_number, included_hash = row[10:15]
    debt_asset, repaid, collateral_asset, seized, expected, realized, gas_used, gas_cost, reason, outcome = row[15:]
    return Intent(
        id=intent_id,
        kind=kind,
        cause=cause,
        protocol=protocol,
        position=position,
        account=account,
        status=IntentStatus(status),
        judged_number=judged_number,
        judged_hash=judged_hash,
        created_at=created_at,
        updated_at=updated_at,
        plan=json.loads(plan),
        tx_hash=tx_hash,
        included_number=included_number,
        included_hash=included_hash,
        debt_asset=debt_asset,
        repaid_assets=_number(repaid),
        collateral_asset=collateral_asset,
        seized_assets=_number(seized),
        profit_expected=_number(expected),
        profit_realized=_number(realized),
        gas_used=_number(gas_used),
        gas_cost_wei=_number(gas_cost),
        reason=reason,
        realized={} if outcome is None else json.loads(outcome),
        attempts=attempts,
    )


def attempt_row(attempt: Attempt, ordinal: int) -> Row:
    return (
        attempt.tx_hash,
        attempt.intent_id,
        ordinal,
        attempt.nonce,
        attempt.raw,
        str(attempt.max_fee_wei),
        str(attempt.max_priority_fee_wei),
        attempt.gas_limit,
        attempt.purpose,
        attempt.status,
        attempt.created_at,
        attempt.broadcast_at,
        plain(attempt.error),
    )


def to_attempt(row: Row) -> Attempt:
    tx_hash, intent_id, _ordinal, nonce, raw, max_fee, priority_fee, gas_limit, purpose, status = row[:10]
    created_at, broadcast_at, error = row[10:]
    return Attempt(
        tx_hash=tx_hash,
        intent_id=intent_id,
        nonce=nonce,
        raw=raw,
        max_fee_wei=int(max_fee),
        max_priority_fee_wei=int(priority_fee),
        gas_limit=gas_limit,
        purpose=purpose,
        status=status,
        created_at=created_at,
        broadcast_at=broadcast_at,
        error=error,
    )


# --- audit ------------------------------------------------------------------------------------------------------------


def audit_row(entry: AuditEntry) -> Row:
    """Without `seq`, which the database counts."""
    return (entry.at, entry.subject, entry.before, entry.event, to_json(entry.evidence))


def to_audit(row: Row) -> AuditEntry:
    _seq, at, subject, before, event, evidence = row
    return AuditEntry(at, subject, before, event, json.loads(evidence))
