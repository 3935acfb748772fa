"""Uploads in parts, and asynchronous requests."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    _upload()
    _upload_part()
    _asynchronous()


def _upload() -> None:
    op.create_table(
        "upload",
        sa.Column("tenant", TEXT, sa.ForeignKey("tenant.id"), primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("client", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("content_type", TEXT, nullable=False),
        sa.Column("context", TEXT),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
    )


def _upload_part() -> None:
    op.create_table(
        "upload_part",
        sa.Column("tenant", TEXT, primary_key=True),
        sa.Column("upload", TEXT, primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("blob", TEXT, nullable=False),
        sa.Column("wrapped_key", TEXT, nullable=False),
    )


def _asynchronous() -> None:
    op.create_table(
        "asynchronous",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("tenant", TEXT, sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("client", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("asked", TEXT),
        sa.Column("waits", TEXT, nullable=False, server_default="[]"),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),
        sa.Column("owner", TEXT),
        sa.Column("lease_ms", sa.BigInteger),
        sa.Column("progress", TEXT),
        sa.Column("answer", TEXT),
        sa.Column("files", TEXT, nullable=False, server_default="[]"),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("polled_ms", sa.BigInteger),
        sa.Column("done_ms", sa.BigInteger),
    )
    op.create_index("asynchronous_client", "asynchronous", ["tenant", "client", "kind"])
    op.create_index("asynchronous_state", "asynchronous", ["state", "created_ms"])
