"""Erasures: what has to be destroyed, and what was."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "erasure",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("tenant", TEXT, sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("ids", TEXT),
        sa.Column("words", TEXT),
        sa.Column("corti", TEXT, nullable=False, server_default="[]"),
        sa.Column("blobs", TEXT, nullable=False, server_default="[]"),
        sa.Column("report", TEXT, nullable=False, server_default="{}"),
        sa.Column("settled_ms", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("done_ms", sa.BigInteger),
    )
    op.create_index("erasure_state", "erasure", ["state", "created_ms"])
    op.create_index("erasure_subject", "erasure", ["tenant", "subject"])
