"""People who sign in, what they approve, and the tokens that come of it."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    _ask()
    _session()
    _sign_in_failure()
    _launch()
    _approval()
    _refresh_token()
    _revoked_token()


def _ask() -> None:
    op.create_table(
        "ask",
        sa.Column("digest", TEXT, primary_key=True),
        sa.Column("browser", TEXT),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
    )


def _session() -> None:
    op.create_table(
        "session",
        sa.Column("digest", TEXT, primary_key=True),
        sa.Column("tenant", TEXT, sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("began_ms", sa.BigInteger, nullable=False),
        sa.Column("seen_ms", sa.BigInteger, nullable=False),
    )


def _sign_in_failure() -> None:
    op.create_table(
        "sign_in_failure",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )


def _launch() -> None:
    op.create_table(
        "launch",
        sa.Column("digest", TEXT, primary_key=True),
        sa.Column("tenant", TEXT, sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("client", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
    )


def _approval() -> None:
    op.create_table(
        "approval",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("tenant", TEXT, sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("client", TEXT, nullable=False),
        sa.Column("person", TEXT, nullable=False),
        sa.Column("session", TEXT),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("code", TEXT, nullable=False, unique=True),
        sa.Column("code_until_ms", sa.BigInteger, nullable=False),
        sa.Column("code_used_ms", sa.BigInteger),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
        sa.Column("revoked_ms", sa.BigInteger),
    )
    op.create_index("approval_person", "approval", ["tenant", "person"])


def _refresh_token() -> None:
    op.create_table(
        "refresh_token",
        sa.Column("digest", TEXT, primary_key=True),
        sa.Column("approval", TEXT, sa.ForeignKey("approval.id", ondelete="CASCADE"), nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
        sa.Column("used_ms", sa.BigInteger),
    )
    op.create_index("refresh_token_approval", "refresh_token", ["approval"])


def _revoked_token() -> None:
    op.create_table(
        "revoked_token",
        sa.Column("jti", TEXT, primary_key=True),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
    )
