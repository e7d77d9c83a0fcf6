"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "meta",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "blocks",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("parent_hash", sa.LargeBinary, nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("base_fee_wei", sa.Text),
        sa.Column("gas_limit", sa.Text, nullable=False),
        sa.Column("gas_used", sa.Text, nullable=False),
        sa.Column("bloom", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "facts",
        sa.Column("protocol", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("block_number", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.LargeBinary),
        sa.PrimaryKeyConstraint("protocol", "kind", "key", "block_number"),
        sqlite_with_rowid=False,
    )
    op.create_index("facts_by_block", "facts", ["block_number"])
    op.create_table(
        "scans",
        sa.Column("protocol", sa.Text, primary_key=True),
        sa.Column("scanned_to", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "touches",
        sa.Column("protocol", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("protocol", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("position", sa.Text, nullable=False),
        sa.Column("account", sa.LargeBinary, nullable=False),
        sa.Column("protocol", sa.Text, nullable=False),
        sa.Column("episode", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("band", sa.Text, nullable=False),
        sa.Column("block_number", sa.BigInteger, nullable=False),
        sa.Column("block_hash", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("markdown", sa.Text, nullable=False),
    )
    op.create_index("notices_by_episode", "notices", ["episode"])
    op.create_index("notices_by_block", "notices", ["block_number"])
    op.create_table(
        "deliveries",
        sa.Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("notice_id", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("position", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("sent_at", sa.Double),
        sa.Column("error", sa.Text),
        sa.UniqueConstraint("notice_id", "channel"),
    )
    op.create_index("deliveries_by_status", "deliveries", ["status"])
    op.create_index("deliveries_by_position", "deliveries", ["position", "seq"])
    op.create_table(
        "intents",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("protocol", sa.Text, nullable=False),
        sa.Column("position", sa.Text, nullable=False),
        sa.Column("account", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("judged_number", sa.BigInteger, nullable=False),
        sa.Column("judged_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("tx_hash", sa.LargeBinary),
        sa.Column("included_number", sa.BigInteger),
        sa.Column("included_hash", sa.LargeBinary),
        sa.Column("debt_asset", sa.LargeBinary),
        sa.Column("repaid_assets", sa.Text),
        sa.Column("collateral_asset", sa.LargeBinary),
        sa.Column("seized_assets", sa.Text),
        sa.Column("profit_expected", sa.Text),
        sa.Column("profit_realized", sa.Text),
        sa.Column("gas_used", sa.Text),
        sa.Column("gas_cost_wei", sa.Text),
        sa.Column("reason", sa.Text),
    )
    op.create_index("intents_by_status", "intents", ["status"])
    op.create_table(
        "attempts",
        sa.Column("tx_hash", sa.LargeBinary, primary_key=True),
        sa.Column("intent_id", sa.Text, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("nonce", sa.BigInteger, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("max_fee_wei", sa.Text, nullable=False),
        sa.Column("max_priority_fee_wei", sa.Text, nullable=False),
        sa.Column("gas_limit", sa.BigInteger, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("broadcast_at", sa.Double),
        sa.Column("error", sa.Text),
    )
    op.create_index("attempts_by_intent", "attempts", ["intent_id"])
    op.create_table(
        "audit",
        sa.Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
    )
    op.create_index("audit_by_subject", "audit", ["subject"])
