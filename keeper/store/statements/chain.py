"""Of the chain: meta, blocks, facts and their versions, and what a backfill notes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Integer,
    LargeBinary,
    Select,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql

from keeper.store.database import Statement
from keeper.store.schema import blocks, facts, intents, meta, notices, scans, touches
from keeper.store.statements.parts import PAGE, at, equals, inserting

# --- meta -------------------------------------------------------------------------------------------------------------

GET_META = Statement(select(meta.c.value).where(meta.c.key == bindparam("key")), ("key",))
INSERT_META = inserting(meta)
UPDATE_META = Statement(
    update(meta).values(value=bindparam("new_value")).where(meta.c.key == bindparam("of_key")), ("new_value", "of_key")
)


# --- blocks -----------------------------------------------------------------------------------------------------------

INSERT_BLOCK = inserting(blocks)
ALL_BLOCKS = Statement(select(blocks).order_by(blocks.c.number))
CURSOR = Statement(select(blocks.c.number, blocks.c.hash).order_by(blocks.c.number.desc()).limit(1))
HEADER_RANGE = Statement(select(func.min(blocks.c.number), func.max(blocks.c.number)))
BLOCK_HASH = Statement(select(blocks.c.hash).where(blocks.c.number == at("number")), ("number",))
DELETE_BLOCKS_ABOVE = Statement(delete(blocks).where(blocks.c.number > at("number")), ("number",))
DELETE_BLOCKS_BELOW = Statement(delete(blocks).where(blocks.c.number < at("number")), ("number",))

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

INSERT_FACT = inserting(facts)
DELETE_FACT_AT = Statement(
    delete(facts).where(
        facts.c.protocol == bindparam("protocol"),
        facts.c.kind == bindparam("kind"),
        facts.c.key == bindparam("key"),
        facts.c.block_number == at("number"),
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
        facts.c.block_number <= at("number"),
    )
    .order_by(facts.c.block_number.desc())
    .limit(1),
    ("protocol", "kind", "key", "number"),
)
EPISODES_SINCE = Statement(
    select(facts.c.key, facts.c.block_number, facts.c.payload)
    .where(
        equals(facts.c.kind, "episode"),
        facts.c.protocol == bindparam("protocol"),
        facts.c.block_number >= at("number"),
        facts.c.payload.is_not(None),
    )
    .order_by(facts.c.key, facts.c.block_number),
    ("protocol", "number"),
)
CHANGED_SINCE = Statement(
    select(facts.c.key, facts.c.block_number, facts.c.payload)
    .where(
        facts.c.block_number >= at("number"),
        facts.c.protocol == bindparam("protocol"),
        facts.c.kind == bindparam("kind"),
    )
    .order_by(facts.c.key, facts.c.block_number),
    ("number", "protocol", "kind"),
)
DELETE_EPISODE = Statement(
    delete(facts).where(
        facts.c.protocol == bindparam("protocol"), equals(facts.c.kind, "episode"), facts.c.key == bindparam("key")
    ),
    ("protocol", "key"),
)
FACTS_PAGE = Statement(
    select(facts.c.key, facts.c.block_number, facts.c.payload)
    .where(
        facts.c.protocol == bindparam("protocol"),
        facts.c.kind == bindparam("kind"),
        tuple_(facts.c.key, facts.c.block_number)
        > tuple_(bindparam("after_key", type_=LargeBinary), at("after_block")),
    )
    .order_by(facts.c.key, facts.c.block_number)
    .limit(bindparam("size", type_=BigInteger)),
    ("protocol", "kind", "after_key", "after_block", "size"),
)
PROTOCOLS_OF_KIND = Statement(
    select(facts.c.protocol).where(facts.c.kind == bindparam("kind")).distinct().order_by(facts.c.protocol), ("kind",)
)
FACTS_ABOVE = Statement(
    select(facts.c.protocol, facts.c.kind, facts.c.key).where(facts.c.block_number > at("number")).distinct(),
    ("number",),
)
DELETE_FACTS_ABOVE = Statement(delete(facts).where(facts.c.block_number > at("number")), ("number",))

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
                _newer.c.block_number > at("after"),
                _newer.c.block_number <= at("number"),
                or_(~equals(_newer.c.kind, "episode"), _newer.c.payload.is_not(None)),
            )
        )
    ),
    ("after", "number"),
)
"""Versions that one newly final made history. Looks only at what became final since `after`, whatever the table holds.
What an episode last said is kept though it was closed by a version without payload: it is the record of a call."""

DELETE_CLOSED = Statement(
    delete(facts).where(
        facts.c.block_number > at("after"),
        facts.c.block_number <= at("number"),
        facts.c.payload.is_(None),
        ~equals(facts.c.kind, "episode"),
    ),
    ("after", "number"),
)


# --- backfill ---------------------------------------------------------------------------------------------------------

GET_SCAN = Statement(select(scans.c.scanned_to).where(scans.c.protocol == bindparam("protocol")), ("protocol",))
INSERT_SCAN = inserting(scans)
UPDATE_SCAN = Statement(
    update(scans).values(scanned_to=at("mark")).where(scans.c.protocol == bindparam("of_protocol")),
    ("mark", "of_protocol"),
)
PULL_BACK_SCANS = Statement(
    update(scans).values(scanned_to=at("mark")).where(scans.c.scanned_to > at("above")), ("mark", "above")
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
