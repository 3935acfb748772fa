"""What Alembic executes: revisions on the connection that `migrate` made and commits."""

from __future__ import annotations

from alembic import context

from fhir_bridge.store import tables

context.configure(connection=context.config.attributes["connection"], target_metadata=tables.metadata)
context.run_migrations()
