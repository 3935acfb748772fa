"""What an interaction surely got of its audio; where a recording is heard again from when its times are in doubt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns: nothing is sure of an older interaction, and nothing in doubt of an older job."""
    op.add_column("interaction", sa.Column("told_ms", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("job", sa.Column("doubt_ms", sa.BigInteger))
