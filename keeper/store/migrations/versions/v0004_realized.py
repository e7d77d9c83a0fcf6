"""What a mined transaction cost and brought, and why that is not what was expected."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("intents", sa.Column("realized", sa.Text))
