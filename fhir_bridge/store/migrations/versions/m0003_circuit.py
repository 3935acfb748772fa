"""What is not sent to Corti while it does not answer."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "circuit",
        sa.Column("tenant", TEXT, sa.ForeignKey("tenant.id"), primary_key=True),
        sa.Column("region", TEXT, primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("pauses", sa.Integer, nullable=False, server_default="0"),
        sa.Column("until_ms", sa.BigInteger),
    )
