"""Every statement the store runs, as SQLAlchemy Core. Names at the end give the order of the values it takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    ColumnClause,
    ColumnElement,
    Double,
    Integer,
    LargeBinary,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.functions import Function

from keeper.core.records import DeliveryStatus, IntentStatus
from keeper.store.database import Statement
from keeper.store.schema import (
    IN_LINE,
    attempts,
    audit,
    blocks,
    deliveries,
    facts,
    intents,
    meta,
    notices,
    scans,
    touches,
)

NO_BLOCK = 2**63 - 1
"""No version is of this block, or of a later one."""

PAGE = 20_000
"""Rows fetched at once where a table is read whole. Pages resume by key, so writing between two of them is harmless."""

CACHED = 4_096
"""The same for small payloads of which each is worked on: so many stay in the processor's cache meanwhile."""

FEW = 500
"""The same for rows with payloads of some kilobytes, such as episodes with their evidence."""


def _insert(table: Table, *, skip: tuple[str, ...] = ()) -> Statement:
    names = tuple(column.name for column in table.columns if column.name not in skip)
    return Statement(insert(table).values({name: bindparam(name) for name in names}).inline(), names)


def _constant(value: str) -> ColumnClause[str]:
    """One of our own words, written into the statement."""
    return literal_column(f"'{value}'", Text)


def _one_of(column: Column[str], statuses: Iterable[str]) -> ColumnElement[bool]:
    return or_(*(_is(column, status) for status in statuses))


def _is(column: Column[str], value: str) -> ColumnElement[bool]:
    return column == _constant(value)


def _at(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)


# --- meta -------------------------------------------------------------------------------------------------------------

GET_META = Statement(select(meta.c.value).where(meta.c.key == bindparam("key")), ("key",))
INSERT_META = _insert(meta)
UPDATE_META = Statement(
    update(meta).values(value=bindparam("new_value")).where(meta.c.key == bindparam("of_key")), ("new_value", "of_key")
)

# --- blocks -----------------------------------------------------------------------------------------------------------

INSERT_BLOCK = _insert(blocks)
ALL_BLOCKS = Statement(select(blocks).order_by(blocks.c.number))
CURSOR = Statement(select(blocks.c.number, blocks.c.hash).order_by(blocks.c.number.desc()).limit(1))
HEADER_RANGE = Statement(select(func.min(blocks.c.number), func.max(blocks.c.number)))
BLOCK_HASH = Statement(select(blocks.c.hash).where(blocks.c.number == _at("number")), ("number",))
DELETE_BLOCKS_ABOVE = Statement(delete(blocks).where(blocks.c.number > _at("number")), ("number",))
DELETE_BLOCKS_BELOW = Statement(delete(blocks).where(blocks.c.number < _at("number")), ("number",))

_of_an_owner = func.length(notices.c.account) > literal_column("0", Integer)
HOLDS_CHAIN = Statement(
    select(
        or_(
            *(exists().select_from(table) for table in (blocks, facts, scans, touches, intents)),
            exists().select_from(notices).where(_of_an_owner),
        )
    )
)
"""Whether anything is of a chain. What is said of the deployment itself is of none, and has no account."""

# --- facts ------------------------------------------------------------------------------------------------------------

INSERT_FACT = _insert(facts)
DELETE_FACT_AT = Statement(
    delete(facts).where(
        facts.c.protocol == bindparam("protocol"),
        facts.c.kind == bindparam("kind"),
        facts.c.key == bindparam("key"),
        facts.c.block_number == _at("number"),
    ),
    ("protocol", "kind", "key", "number"),
)
LATEST_FACT = Statement(
    select(facts.c.payload)
    .where(
        facts.c.protocol == bindparam("protocol"), facts.c.kind == bindparam("kind"), facts.c.key == bindparam("key")
    )
    .order_by(facts.c.block_number.desc())
    .limit(1),
    ("protocol", "kind", "key"),
)
FACT_AT = Statement(
    select(facts.c.payload)
    .where(
        facts.c.protocol == bindparam("protocol"),
        facts.c.kind == bindparam("kind"),
        facts.c.key == bindparam("key"),
        facts.c.block_number <= _at("number"),
    )
    .order_by(facts.c.block_number.desc())
    .limit(1),
    ("protocol", "kind", "key", "number"),
)
EPISODES_SINCE = Statement(
    select(facts.c.key, facts.c.block_number, facts.c.payload)
    .where(
        _is(facts.c.kind, "episode"),
        facts.c.protocol == bindparam("protocol"),
        facts.c.block_number >= _at("number"),
        facts.c.payload.is_not(None),
    )
    .order_by(facts.c.key, facts.c.block_number),
    ("protocol", "number"),
)
CHANGED_SINCE = Statement(
    select(facts.c.key, facts.c.block_number, facts.c.payload)
    .where(
        facts.c.block_number >= _at("number"),
        facts.c.protocol == bindparam("protocol"),
        facts.c.kind == bindparam("kind"),
    )
    .order_by(facts.c.key, facts.c.block_number),
    ("number", "protocol", "kind"),
)
DELETE_EPISODE = Statement(
    delete(facts).where(
        facts.c.protocol == bindparam("protocol"), _is(facts.c.kind, "episode"), facts.c.key == bindparam("key")
    ),
    ("protocol", "key"),
)
FACTS_PAGE = Statement(
    select(facts.c.key, facts.c.block_number, facts.c.payload)
    .where(
        facts.c.protocol == bindparam("protocol"),
        facts.c.kind == bindparam("kind"),
        tuple_(facts.c.key, facts.c.block_number)
        > tuple_(bindparam("after_key", type_=LargeBinary), _at("after_block")),
    )
    .order_by(facts.c.key, facts.c.block_number)
    .limit(bindparam("size", type_=BigInteger)),
    ("protocol", "kind", "after_key", "after_block", "size"),
)
PROTOCOLS_OF_KIND = Statement(
    select(facts.c.protocol).where(facts.c.kind == bindparam("kind")).distinct().order_by(facts.c.protocol), ("kind",)
)
FACTS_ABOVE = Statement(
    select(facts.c.protocol, facts.c.kind, facts.c.key).where(facts.c.block_number > _at("number")).distinct(),
    ("number",),
)
DELETE_FACTS_ABOVE = Statement(delete(facts).where(facts.c.block_number > _at("number")), ("number",))

_older = facts.alias("older")
_newer = facts.alias("newer")
_version = (facts.c.protocol, facts.c.kind, facts.c.key, facts.c.block_number)
DELETE_SUPERSEDED = Statement(
    delete(facts).where(
        tuple_(*_version).in_(
            select(_older.c.protocol, _older.c.kind, _older.c.key, _older.c.block_number)
            .join_from(
                _newer,
                _older,
                and_(
                    _older.c.protocol == _newer.c.protocol,
                    _older.c.kind == _newer.c.kind,
                    _older.c.key == _newer.c.key,
                    _older.c.block_number < _newer.c.block_number,
                ),
            )
            .where(
                _newer.c.block_number > _at("after"),
                _newer.c.block_number <= _at("number"),
                or_(~_is(_newer.c.kind, "episode"), _newer.c.payload.is_not(None)),
            )
        )
    ),
    ("after", "number"),
)
"""Versions that one newly final made history. Looks only at what became final since `after`, whatever the table holds.
What an episode last said is kept though it was closed by a version without payload: it is the record of a call."""

DELETE_CLOSED = Statement(
    delete(facts).where(
        facts.c.block_number > _at("after"),
        facts.c.block_number <= _at("number"),
        facts.c.payload.is_(None),
        ~_is(facts.c.kind, "episode"),
    ),
    ("after", "number"),
)

# --- backfill ---------------------------------------------------------------------------------------------------------

GET_SCAN = Statement(select(scans.c.scanned_to).where(scans.c.protocol == bindparam("protocol")), ("protocol",))
INSERT_SCAN = _insert(scans)
UPDATE_SCAN = Statement(
    update(scans).values(scanned_to=_at("mark")).where(scans.c.protocol == bindparam("of_protocol")),
    ("mark", "of_protocol"),
)
PULL_BACK_SCANS = Statement(
    update(scans).values(scanned_to=_at("mark")).where(scans.c.scanned_to > _at("above")), ("mark", "above")
)
DELETE_SCAN = Statement(delete(scans).where(scans.c.protocol == bindparam("protocol")), ("protocol",))


def _packed_keys() -> Select[Any]:
    """Keys of the same size that come as one value, one behind the other: a row of each, cut out by the database. As
    parameters of a statement each, they take three times as long."""
    zero, one = literal_column("0", Integer), literal_column("1", Integer)
    first = select(zero.label("place")).cte("places", recursive=True)
    count = bindparam("count", type_=Integer)
    places = first.union_all(select(first.c.place + one).where(first.c.place + one < count))
    size, keys = bindparam("size", type_=Integer), bindparam("keys", type_=LargeBinary)
    key = func.substr(keys, places.c.place * size + one, size)
    # without a condition SQLite would take the ON of what follows for a join's
    return select(bindparam("protocol", type_=Text), key).select_from(places).where(places.c.place >= zero)


INSERT_TOUCHES = Statement(
    # the construct is of PostgreSQL, and the compiler for SQLite writes the same words for it
    postgresql.insert(touches).from_select(["protocol", "key"], _packed_keys()).on_conflict_do_nothing().inline(),
    ("count", "protocol", "keys", "size", "size"),
)
TOUCHES_PAGE = Statement(
    select(touches.c.key)
    .where(touches.c.protocol == bindparam("protocol"), touches.c.key > bindparam("after_key"))
    .order_by(touches.c.key)
    .limit(PAGE),
    ("protocol", "after_key"),
)
DELETE_TOUCHES = Statement(delete(touches).where(touches.c.protocol == bindparam("protocol")), ("protocol",))

# --- notices ----------------------------------------------------------------------------------------------------------

NO_CHANNEL = ""
"""Where a notice stands in line that no channel wants: what is believed of a position is one order for all."""

_SEEN = (DeliveryStatus.SENDING, DeliveryStatus.SENT)
_unseen = _one_of(deliveries.c.status, (DeliveryStatus.PENDING, DeliveryStatus.HELD))
_moving = _one_of(deliveries.c.status, (DeliveryStatus.PENDING, DeliveryStatus.SENDING))
_held = _is(deliveries.c.status, DeliveryStatus.HELD)
_unsettled = or_(_moving, _held)
_unwanted = _is(deliveries.c.status, DeliveryStatus.UNWANTED)
_believed = or_(_unsettled, _unwanted, _is(deliveries.c.status, DeliveryStatus.SENT))
_of_a_channel = deliveries.c.channel != _constant(NO_CHANNEL)
_itself = deliveries.c.carrier.is_(None)
ORPHANED = "its block was orphaned"
_went_with_its_block = and_(
    _is(deliveries.c.status, DeliveryStatus.DROPPED), func.coalesce(deliveries.c.error, "") == _constant(ORPHANED)
)
_oldest: Function[int] = func.min(deliveries.c.seq)
_newest: Function[int] = func.max(deliveries.c.seq)
_line = (deliveries.c.position, deliveries.c.channel)
_not_held = or_(_moving, and_(_held, deliveries.c.due_at <= bindparam("held_until", type_=Double)))
_next_in_line = select(_oldest).where(_not_held).group_by(*_line)
"""Per position and channel the oldest unsettled delivery: no later one may overtake it. One that is held steps aside:
whoever sends what is behind it looks at all that waits."""

_delivery = (
    deliveries.c.channel,
    deliveries.c.status,
    deliveries.c.attempts,
    deliveries.c.due_at,
    deliveries.c.sent_at,
    deliveries.c.error,
    deliveries.c.created_at,
    deliveries.c.carrier,
)
_with_notice = select(notices, *_delivery).join_from(deliveries, notices, deliveries.c.notice_id == notices.c.id)
_told = select(
    notices.c.position,
    notices.c.episode,
    notices.c.event,
    notices.c.band,
    notices.c.block_number,
    notices.c.block_hash,
).join_from(deliveries, notices, deliveries.c.notice_id == notices.c.id)

HAS_NOTICE = Statement(select(notices.c.position).where(notices.c.id == bindparam("id")), ("id",))
INSERT_NOTICE = _insert(notices)
DELIVERY_STATUS = Statement(
    select(deliveries.c.status, deliveries.c.position).where(
        deliveries.c.notice_id == bindparam("notice_id"), deliveries.c.channel == bindparam("channel")
    ),
    ("notice_id", "channel"),
)
INSERT_DELIVERY = _insert(deliveries, skip=("seq",))
DELETE_DELIVERY = Statement(
    delete(deliveries).where(
        deliveries.c.notice_id == bindparam("notice_id"), deliveries.c.channel == bindparam("channel")
    ),
    ("notice_id", "channel"),
)
_this = and_(deliveries.c.notice_id == bindparam("of_notice"), deliveries.c.channel == bindparam("of_channel"))
_carried = and_(deliveries.c.carrier == bindparam("of_carrier"), deliveries.c.channel == bindparam("of_channel"))
_sending = update(deliveries).values(status=_constant(DeliveryStatus.SENDING))
CLAIM = Statement(_sending.where(_this, _itself, _unsettled), ("of_notice", "of_channel"))
CLAIM_CARRIED = Statement(_sending.where(_carried, _unsettled), ("of_carrier", "of_channel"))
HOLD = Statement(
    update(deliveries)
    .values(status=_constant(DeliveryStatus.HELD), due_at=bindparam("until"))
    .where(_this, _itself, _unseen),
    ("until", "of_notice", "of_channel"),
)
RELEASE = Statement(
    update(deliveries)
    .values(status=_constant(DeliveryStatus.PENDING), due_at=literal_column("0"))
    .where(_this, _itself, _held),
    ("of_notice", "of_channel"),
)
DROP = Statement(
    update(deliveries)
    .values(status=_constant(DeliveryStatus.DROPPED), error=bindparam("reason"))
    .where(_this, _itself, _unseen),
    ("reason", "of_notice", "of_channel"),
)
CARRY = Statement(
    update(deliveries)
    .values(status=_constant(DeliveryStatus.PENDING), carrier=bindparam("new_carrier"))
    .where(_this, _itself, _unseen),
    ("new_carrier", "of_notice", "of_channel"),
)
_revive = update(deliveries).values(
    status=_constant(DeliveryStatus.PENDING),
    attempts=literal_column("0"),
    due_at=bindparam("at"),
    created_at=bindparam("at_too"),
)
_dead = _is(deliveries.c.status, DeliveryStatus.DEAD)
_later = deliveries.alias("later")
SUPERSEDED = Statement(
    select(_later.c.seq)
    .join_from(deliveries, _later, and_(_later.c.position == deliveries.c.position, _later.c.seq > deliveries.c.seq))
    .where(_this, _later.c.channel == deliveries.c.channel, _one_of(_later.c.status, _SEEN))
    .limit(1),
    ("of_notice", "of_channel"),
)
"""Whether something later was told of the same position there, so that this would be told out of order."""
REVIVE = Statement(_revive.where(_this, _itself, _dead), ("at", "at_too", "of_notice", "of_channel"))
REVIVE_CARRIED = Statement(_revive.where(_carried, _dead), ("at", "at_too", "of_carrier", "of_channel"))
CARRIED_POSITIONS = Statement(select(deliveries.c.position).where(_carried).distinct(), ("of_carrier", "of_channel"))
SETTLE = Statement(
    update(deliveries)
    .values(
        status=bindparam("new_status"),
        attempts=deliveries.c.attempts + literal_column("1"),
        due_at=bindparam("new_due_at"),
        sent_at=bindparam("new_sent_at"),
        error=bindparam("new_error"),
    )
    .where(deliveries.c.notice_id == bindparam("of_notice"), deliveries.c.channel == bindparam("of_channel")),
    ("new_status", "new_due_at", "new_sent_at", "new_error", "of_notice", "of_channel"),
)
SETTLE_CARRIED = Statement(
    update(deliveries)
    .values(
        status=bindparam("new_status"),
        attempts=deliveries.c.attempts + literal_column("1"),
        sent_at=bindparam("new_sent_at"),
        error=bindparam("new_error"),
    )
    .where(_carried, _unsettled),
    ("new_status", "new_sent_at", "new_error", "of_carrier", "of_channel"),
)
LET_GO = Statement(
    update(deliveries)
    .values(status=_constant(DeliveryStatus.PENDING), carrier=null(), attempts=literal_column("0"))
    .where(_carried, _unsettled),
    ("of_carrier", "of_channel"),
)
_elsewhere = deliveries.alias("elsewhere")
_seen_elsewhere = (
    select(_elsewhere.c.seq)
    .where(
        _elsewhere.c.notice_id == deliveries.c.notice_id,
        or_(*(_elsewhere.c.status == _constant(seen) for seen in (DeliveryStatus.SENDING, DeliveryStatus.SENT))),
    )
    .exists()
)
_orphaned = and_(
    or_(_unseen, _unwanted),
    ~_seen_elsewhere,  # what somebody may have heard is believed, so everybody hears it, and of its end
    deliveries.c.notice_id.in_(select(notices.c.id).where(notices.c.block_number > _at("number"))),
)
ORPHANED_POSITIONS = Statement(select(deliveries.c.position).where(_orphaned).distinct(), ("number",))
DROP_ORPHANED = Statement(
    update(deliveries).values(status=_constant(DeliveryStatus.DROPPED), error=_constant(ORPHANED)).where(_orphaned),
    ("number",),
)
_dropped = deliveries.alias("dropped")
UNCARRY = Statement(
    update(deliveries)
    .values(carrier=null())
    .where(
        _unseen,
        deliveries.c.carrier.is_not(None),
        select(_dropped.c.seq)
        .where(
            _dropped.c.notice_id == deliveries.c.carrier,
            _dropped.c.channel == deliveries.c.channel,
            _dropped.c.status == _constant(DeliveryStatus.DROPPED),
        )
        .exists(),
    )
)
"""What a dropped summary carried goes by itself again."""
_due = or_(
    deliveries.c.due_at <= bindparam("now", type_=Double),
    and_(~_held, deliveries.c.due_at > bindparam("beyond", type_=Double)),
)
"""beyond: later than anything is made to wait that is not held. What is, was put off by a clock that was set back."""
OUTBOX = Statement(
    _with_notice.where(deliveries.c.seq.in_(_next_in_line), _itself, _due)
    .order_by(deliveries.c.seq)
    .limit(_at("most")),
    ("held_until", "now", "beyond", "most"),
)
_ahead = deliveries.alias("ahead")
_none_ahead = ~(
    select(_ahead.c.seq)
    .where(
        _ahead.c.position == deliveries.c.position,
        _ahead.c.channel == deliveries.c.channel,
        _ahead.c.seq < deliveries.c.seq,
        or_(
            _one_of(_ahead.c.status, (DeliveryStatus.PENDING, DeliveryStatus.SENDING)),
            and_(
                _is(_ahead.c.status, DeliveryStatus.HELD),
                _ahead.c.due_at <= bindparam("held_until", type_=Double),
            ),
        ),
    )
    .exists()
)
_on_channel = deliveries.c.channel == bindparam("channel")
_in_line = text(f"deliveries.{IN_LINE.replace(' AND ', ' AND deliveries.')}")
OUTBOX_OF = Statement(
    _with_notice.where(
        _on_channel,
        _in_line,
        _due,
        _none_ahead,
    )
    .order_by(deliveries.c.seq)
    .limit(_at("most")),
    ("channel", "now", "beyond", "held_until", "most"),
)
"""As OUTBOX, of one channel: asked for after each message, so it looks at no more rows than it returns, whatever waits
behind them. What is due is not held any longer, so only what is ahead of it needs to be asked about that."""

_unfinished = deliveries.alias("unfinished")
_again = deliveries.c.seq.in_(
    # two searches: as one condition the first would be answered by looking at all that no summary carries
    select(_unfinished.c.seq)
    .where(_is(_unfinished.c.status, DeliveryStatus.SENDING), _unfinished.c.channel == bindparam("channel"))
    .union_all(
        select(_unfinished.c.seq).where(
            _unfinished.c.position == bindparam("subject"),
            # an expression, so that not all is looked at that is pending
            _unfinished.c.status + literal_column("''") == _constant(DeliveryStatus.PENDING),
        )
    )
)
OUTBOX_AGAIN = Statement(
    _with_notice.where(_again, _itself, _due).order_by(deliveries.c.seq).limit(_at("most")),
    ("channel", "subject", "now", "beyond", "most"),
)
"""What was sent of a channel and may have to be sent again, and its summaries, whether they were seen or not. Each was
next of its position when it was claimed."""

_first_due = select(func.min(deliveries.c.due_at)).where(deliveries.c.seq.in_(_next_in_line), _itself)
_held_beyond = select(func.min(deliveries.c.due_at)).where(_held, deliveries.c.due_at > bindparam("now", type_=Double))
NEXT_DUE = Statement(_first_due, ("held_until",))
NEXT_DUE_OF = Statement(
    select(func.min(deliveries.c.due_at)).where(_on_channel, _in_line, _not_held, _none_ahead),
    ("channel", "held_until", "held_until"),
)
"""As NEXT_DUE, of one channel: asked for by each that has nothing to do, so what waits on others is not looked at."""
NEXT_HELD = Statement(_held_beyond, ("now",))
NEXT_HELD_OF = Statement(_held_beyond.where(_on_channel), ("now", "channel"))
WAITING = Statement(
    _with_notice.where(
        deliveries.c.position == bindparam("position"),
        deliveries.c.channel == bindparam("channel"),
        _itself,
        _unsettled,
    ).order_by(deliveries.c.seq),
    ("position", "channel"),
)
HEARD = Statement(
    select(notices.c.event)
    .join_from(deliveries, notices, deliveries.c.notice_id == notices.c.id)
    .where(
        deliveries.c.position == bindparam("position"),
        deliveries.c.channel == bindparam("channel"),
        _one_of(deliveries.c.status, _SEEN),
    )
    .order_by(deliveries.c.seq.desc())
    .limit(1),
    ("position", "channel"),
)
DELIVERY = Statement(
    _with_notice.where(deliveries.c.notice_id == bindparam("notice_id"), deliveries.c.channel == bindparam("channel")),
    ("notice_id", "channel"),
)
MESSAGES_SINCE = Statement(
    select(func.count(), func.min(deliveries.c.sent_at)).where(
        _is(deliveries.c.status, DeliveryStatus.SENT),
        deliveries.c.channel == bindparam("channel"),
        deliveries.c.sent_at > bindparam("since"),
        deliveries.c.sent_at <= bindparam("until"),
        _itself,
    ),
    ("channel", "since", "until"),
)
MESSAGES_IN_THE_AIR = Statement(
    select(deliveries.c.attempts, func.count()).where(_again, _itself).group_by(deliveries.c.attempts),
    ("channel", "subject"),
)
ALL_DELIVERIES = Statement(_with_notice.where(_of_a_channel).order_by(deliveries.c.seq))
EPISODE_DELIVERIES = Statement(
    _with_notice.where(notices.c.episode == bindparam("episode"), _of_a_channel).order_by(deliveries.c.seq),
    ("episode",),
)
_channels = (
    select(deliveries.c.channel)
    .join_from(notices, deliveries, deliveries.c.notice_id == notices.c.id)
    .where(notices.c.episode == bindparam("episode"), _of_a_channel)
    .distinct()
)
EPISODE_CHANNELS = Statement(_channels.where(~_went_with_its_block), ("episode",))
EPISODE_HEARERS = Statement(_channels.where(~_is(deliveries.c.status, DeliveryStatus.DROPPED)), ("episode",))
ALL_TOLD = Statement(
    _told.where(deliveries.c.seq.in_(select(_newest).where(_believed).group_by(deliveries.c.position)))
)
TOLD = Statement(
    _told.where(_believed, deliveries.c.position == bindparam("position")).order_by(deliveries.c.seq.desc()).limit(1),
    ("position",),
)

OLD_NOTICES = Statement(
    select(deliveries.c.seq, notices.c.id, notices.c.position, notices.c.episode)
    .join_from(deliveries, notices, deliveries.c.notice_id == notices.c.id)
    .where(deliveries.c.seq > _at("after"), deliveries.c.created_at < bindparam("before"))
    .order_by(deliveries.c.seq)
    .limit(_at("most")),
    ("after", "before", "most"),
)
UNSETTLED_NOTICES = Statement(select(deliveries.c.notice_id).where(_unsettled).distinct())
IS_UNSETTLED = Statement(
    select(deliveries.c.seq).where(deliveries.c.notice_id == bindparam("notice_id"), _unsettled).limit(1),
    ("notice_id",),
)
NOTICE_POSITION = Statement(select(notices.c.position).where(notices.c.id == bindparam("id")), ("id",))
DELETE_NOTICE = Statement(delete(notices).where(notices.c.id == bindparam("id")), ("id",))
DELETE_DELIVERIES = Statement(
    delete(deliveries).where(deliveries.c.notice_id == bindparam("notice_id")), ("notice_id",)
)
HAS_NOTICES_OF = Statement(select(notices.c.id).where(notices.c.episode == bindparam("episode")).limit(1), ("episode",))
_sent_since = select(func.coalesce(func.max(deliveries.c.seq), literal_column("0"))).where(
    deliveries.c.channel == bindparam("of_channel"), _is(deliveries.c.status, DeliveryStatus.SENT)
)
DEAD_SINCE_SENT = Statement(
    select(func.count(), func.max(deliveries.c.error)).where(
        deliveries.c.channel == bindparam("channel"),
        _is(deliveries.c.status, DeliveryStatus.DEAD),
        deliveries.c.seq > _sent_since.scalar_subquery(),
        func.substr(deliveries.c.position, literal_column("1"), literal_column("7")) != _constant("keeper:"),
    ),
    ("channel", "of_channel"),
)
"""What a channel refused since it last took anything; not what was said of such refusals."""

# --- intents ----------------------------------------------------------------------------------------------------------

_open = _one_of(intents.c.status, (status for status in IntentStatus if not status.settled))


def _replace(table: Table, key: str) -> Statement:
    """Takes a row as `_insert` does, its first column being the key, with the key once more at the end."""
    names = [column.name for column in table.columns]
    return Statement(
        update(table)
        .values({name: bindparam(f"new_{name}") for name in names})
        .where(table.c[key] == bindparam(f"of_{key}")),
        (*(f"new_{name}" for name in names), f"of_{key}"),
    )


INTENT_STATUS = Statement(select(intents.c.status).where(intents.c.id == bindparam("id")), ("id",))
INSERT_INTENT = _insert(intents)
REPLACE_INTENT = _replace(intents, "id")
ATTEMPT_HASHES = Statement(
    select(attempts.c.tx_hash).where(attempts.c.intent_id == bindparam("intent_id")), ("intent_id",)
)
INSERT_ATTEMPT = _insert(attempts)
REPLACE_ATTEMPT = _replace(attempts, "tx_hash")
INTENT = Statement(select(intents).where(intents.c.id == bindparam("id")), ("id",))
ALL_INTENTS = Statement(select(intents).order_by(intents.c.created_at, intents.c.id))
INTENTS_PAGE = Statement(
    select(intents).where(intents.c.id > bindparam("after")).order_by(intents.c.id).limit(FEW), ("after",)
)
OPEN_INTENTS = Statement(select(intents).where(_open).order_by(intents.c.created_at, intents.c.id))
_attempts = select(attempts).order_by(attempts.c.intent_id, attempts.c.ordinal)
ATTEMPTS = Statement(_attempts.where(attempts.c.intent_id == bindparam("intent_id")), ("intent_id",))
ATTEMPTS_BETWEEN = Statement(
    _attempts.where(attempts.c.intent_id >= bindparam("first"), attempts.c.intent_id <= bindparam("last")),
    ("first", "last"),
)
ALL_ATTEMPTS = Statement(_attempts)
OPEN_ATTEMPTS = Statement(_attempts.where(attempts.c.intent_id.in_(select(intents.c.id).where(_open))))

# --- audit ------------------------------------------------------------------------------------------------------------

INSERT_AUDIT = _insert(audit, skip=("seq",))
AUDIT_PAGE = Statement(
    select(audit).where(audit.c.seq > _at("after")).order_by(audit.c.seq).limit(PAGE),
    ("after",),
)
AUDIT_OF_SUBJECT = Statement(
    select(audit).where(audit.c.subject == bindparam("subject")).order_by(audit.c.seq), ("subject",)
)
DELETE_AUDIT = Statement(delete(audit).where(audit.c.subject == bindparam("subject")), ("subject",))
AUDIT_AFTER = Statement(
    select(audit).where(audit.c.seq > _at("after")).order_by(audit.c.seq).limit(bindparam("most", type_=BigInteger)),
    ("after", "most"),
)
LAST_AUDIT = Statement(select(func.max(audit.c.seq)))
LAST_DELIVERY = Statement(select(func.max(deliveries.c.seq)))
UNSETTLED_ATTEMPTS = Statement(
    select(func.count(), func.coalesce(func.sum(deliveries.c.attempts), 0)).where(_unsettled)
)
