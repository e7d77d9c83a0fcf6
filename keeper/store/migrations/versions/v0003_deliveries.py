"""Deliveries know when they were made, and which summary tells them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("created_at", sa.Double, nullable=False, server_default="0"))
    op.add_column("deliveries", sa.Column("carrier", sa.Text))
    op.create_index("deliveries_by_carrier", "deliveries", ["carrier"])
    op.create_index("deliveries_by_sending", "deliveries", ["status", "channel", "sent_at"])
    # What waits was made by now; when it was due first is no longer known.
    op.execute("UPDATE deliveries SET created_at = COALESCE(sent_at, due_at)")
