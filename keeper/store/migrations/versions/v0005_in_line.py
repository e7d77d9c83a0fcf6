"""What waits of a channel is found in its order, however much waits and whatever was settled before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_IN_LINE = "status IN ('pending', 'held', 'sending') AND carrier IS NULL"


def upgrade() -> None:
    op.create_index(
        "deliveries_in_line",
        "deliveries",
        ["channel", "seq"],
        sqlite_where=sa.text(_IN_LINE),
        postgresql_where=sa.text(_IN_LINE),
    )
