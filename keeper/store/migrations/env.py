"""Alembic's entry point. The caller brings the open connection and holds the transaction around all revisions."""

from __future__ import annotations

from alembic import context

from keeper.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
