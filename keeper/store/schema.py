"""The tables, the same on SQLite and PostgreSQL.

Three kinds of memory live side by side and rewind differently:

    chain facts     blocks, facts                      versions by block number; a revert deletes above the ancestor
    progress        scans, touches                     what a backfill saw; a revert only pulls the mark back
    world facts     notices, deliveries,               never reverted, only reconciled
                    intents, attempts, audit

There is no cursor column: the cursor is the newest row of `blocks`, so that it cannot disagree with the facts.
Facts and touches are stored in their key's order, without a row number beside it (`sqlite_with_rowid=False`, a word to
SQLite that others ignore): a commit then dirties half as many pages.
Amounts and wei are decimal text, since they exceed 64 bits; JSON is text, since its order of keys is part of a notice.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

REVISION = "0005"
"""The newest migration; a test compares it, and these tables, with what the migrations build."""

SEQUENCE = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up by itself only where the type is called INTEGER."""

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# --- chain facts ------------------------------------------------------------------------------------------------------

blocks = Table(
    "blocks",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    Column("parent_hash", LargeBinary, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("base_fee_wei", Text),
    Column("gas_limit", Text, nullable=False),
    Column("gas_used", Text, nullable=False),
    Column("bloom", LargeBinary, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    Column("protocol", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("block_number", BigInteger, nullable=False),
    Column("payload", LargeBinary),
    PrimaryKeyConstraint("protocol", "kind", "key", "block_number"),
    Index("facts_by_block", "block_number"),
    sqlite_with_rowid=False,
)

# --- progress ---------------------------------------------------------------------------------------------------------

scans = Table(
    "scans",
    metadata,
    Column("protocol", Text, primary_key=True),
    Column("scanned_to", BigInteger, nullable=False),
)

touches = Table(
    "touches",
    metadata,
    Column("protocol", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    PrimaryKeyConstraint("protocol", "key"),
    sqlite_with_rowid=False,
)

# --- world facts ------------------------------------------------------------------------------------------------------

notices = Table(
    "notices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("position", Text, nullable=False),
    Column("account", LargeBinary, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("episode", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("band", Text, nullable=False),
    Column("block_number", BigInteger, nullable=False),
    Column("block_hash", LargeBinary, nullable=False),
    Column("body", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("markdown", Text, nullable=False),
    Column("title", Text, nullable=False, server_default=""),
    Column("html", Text, nullable=False, server_default=""),
    Index("notices_by_episode", "episode"),
    Index("notices_by_block", "block_number"),
)

IN_LINE = "status IN ('pending', 'held', 'sending') AND carrier IS NULL"
"""What waits of a channel, and goes by itself: few of all the deliveries that there ever were."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),  # the order of telling
    Column("notice_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("position", Text, nullable=False),  # the notice's, so that order and belief need no join
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("sent_at", Double),
    Column("error", Text),
    Column("created_at", Double, nullable=False, server_default="0"),
    Column("carrier", Text),  # the summary that tells it: its status is the summary's
    UniqueConstraint("notice_id", "channel"),
    Index("deliveries_by_status", "status"),
    Index("deliveries_by_position", "position", "seq"),
    Index("deliveries_by_carrier", "carrier"),
    Index("deliveries_by_sending", "status", "channel", "sent_at"),
    Index("deliveries_in_line", "channel", "seq", sqlite_where=text(IN_LINE), postgresql_where=text(IN_LINE)),
)

intents = Table(
    "intents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("position", Text, nullable=False),
    Column("account", LargeBinary, nullable=False),
    Column("status", Text, nullable=False),
    Column("judged_number", BigInteger, nullable=False),
    Column("judged_hash", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("plan", Text, nullable=False),
    Column("tx_hash", LargeBinary),
    Column("included_number", BigInteger),
    Column("included_hash", LargeBinary),
    Column("debt_asset", LargeBinary),
    Column("repaid_assets", Text),
    Column("collateral_asset", LargeBinary),
    Column("seized_assets", Text),
    Column("profit_expected", Text),
    Column("profit_realized", Text),
    Column("gas_used", Text),
    Column("gas_cost_wei", Text),
    Column("reason", Text),
    Column("realized", Text),
    Index("intents_by_status", "status"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("tx_hash", LargeBinary, primary_key=True),
    Column("intent_id", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),  # the order in which the intent's transactions were signed
    Column("nonce", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("max_fee_wei", Text, nullable=False),
    Column("max_priority_fee_wei", Text, nullable=False),
    Column("gas_limit", BigInteger, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("broadcast_at", Double),
    Column("error", Text),
    Index("attempts_by_intent", "intent_id"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", Text),
    Column("event", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Index("audit_by_subject", "subject"),
)
