"""How much audio each tenant had accepted today."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "audio_spent",
        sa.Column("tenant", TEXT, sa.ForeignKey("tenant.id"), primary_key=True),
        sa.Column("media", TEXT, primary_key=True),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("ms", sa.BigInteger, nullable=False),
        sa.Index("audio_spent_day", "tenant", "day"),
    )
