"""Facts of a stream that its recording did not confirm stay known, so that nothing brings them back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the column: of older facts all that are known are shown."""
    op.add_column("fact", sa.Column("withdrawn", sa.Boolean, nullable=False, server_default=sa.text("false")))
