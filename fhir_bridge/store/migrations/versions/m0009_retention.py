"""How long a tenant keeps what, where its audit begins, how far an erasure has read it; nothing said is sampled."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
# What patients or clients say. PostgreSQL's planner needs no samples of it, and would keep them past an erasure.
SAID: Final = (
    ("version", "body"),
    ("segment", "text"),
    ("once", "val"),
    ("audit", "query"),
    ("asynchronous", "asked"),
    ("asynchronous", "answer"),
    ("erasure", "ids"),
    ("erasure", "words"),
    ("upload", "context"),
    ("job", "error_text"),
)


def upgrade() -> None:
    """Add the columns; on PostgreSQL forget what was sampled (setting a type anew does), and sample no more."""
    op.add_column("tenant", sa.Column("retention_days", TEXT))
    op.add_column("audit_head", sa.Column("start_n", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("audit_head", sa.Column("start_hash", TEXT, nullable=False, server_default=sa.text("''")))
    op.add_column("audit_head", sa.Column("start_seal", TEXT))
    op.add_column("erasure", sa.Column("audited", sa.BigInteger, nullable=False, server_default="0"))
    if op.get_context().dialect.name == "postgresql":
        for table, column in SAID:
            op.execute(
                f'ALTER TABLE "{table}" ALTER "{column}" TYPE text COLLATE "C", ALTER "{column}" SET STATISTICS 0'
            )
