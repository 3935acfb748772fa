"""How far the audit is sealed, and what is left of a row after an erasure."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create what the chain needs."""
    op.create_table(
        "audit_head",
        sa.Column("tenant", TEXT, primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("hash", TEXT, nullable=False),
        sa.Column("seal", TEXT, nullable=False),
    )
    op.add_column("audit", sa.Column("erased", TEXT))
    unsealed = sa.text("hash IS NULL")
    op.create_index("audit_unsealed", "audit", ["tenant", "n"], postgresql_where=unsealed, sqlite_where=unsealed)
