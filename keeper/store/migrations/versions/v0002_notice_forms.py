"""Notices have a title and an HTML form."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for name in ("title", "html"):
        op.add_column("notices", sa.Column(name, sa.Text, nullable=False, server_default=""))
