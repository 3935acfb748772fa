"""The first schema."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
ROWID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create all tables."""
    _tenant()
    _version()
    _key()
    _once()
    _blob()
    _interaction()
    _job()
    _segment()
    _fact()
    _audit()
    _client()
    _local_user()
    _seen_jti()
    _signing_key()


def _tenant() -> None:
    op.create_table(
        "tenant",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("at_ms", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("keys_from", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("corti_environment", TEXT),
        sa.Column("corti_tenant", TEXT),
        sa.Column("corti_client_id", TEXT),
        sa.Column("corti_client_secret", TEXT),
        sa.Column("audio_key", TEXT, nullable=False),
    )


def _version() -> None:
    op.create_table(
        "version",
        sa.Column("tenant", TEXT, sa.ForeignKey("tenant.id"), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("vid", sa.Integer, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("method", TEXT, nullable=False),
        sa.Column("author", TEXT),
        sa.Column("body", TEXT, nullable=False),
    )
    op.create_index("version_at", "version", ["tenant", "at_ms", "seq"])
    op.create_index(
        "version_current",
        "version",
        ["tenant", "type", "id"],
        unique=True,
        postgresql_where=sa.text("until IS NULL"),
        sqlite_where=sa.text("until IS NULL"),
    )
    op.create_index("version_type", "version", ["tenant", "type", "seq"])
    op.create_index(
        "version_until",
        "version",
        ["tenant", "until"],
        postgresql_where=sa.text("until IS NOT NULL"),
        sqlite_where=sa.text("until IS NOT NULL"),
    )
    op.create_index("version_vid", "version", ["tenant", "type", "id", "vid"], unique=True)


def _key() -> None:
    op.create_table(
        "key",
        sa.Column("tenant", TEXT, primary_key=True),
        sa.Column("param", sa.SmallInteger, primary_key=True),
        sa.Column("val", TEXT, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True),
        sa.Column("high", TEXT),
        sqlite_with_rowid=False,
    )
    op.create_index("key_seq", "key", ["tenant", "seq"])


def _once() -> None:
    op.create_table(
        "once",
        sa.Column("tenant", TEXT, primary_key=True),
        sa.Column("kind", TEXT, primary_key=True),
        sa.Column("val", TEXT, primary_key=True),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
    )
    op.create_index("once_holder", "once", ["tenant", "type", "id"])


def _blob() -> None:
    op.create_table(
        "blob",
        sa.Column("tenant", TEXT, primary_key=True),
        sa.Column("binary", TEXT, primary_key=True),
        sa.Column("blob", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", TEXT, nullable=False),
        sa.Column("sha1", TEXT, nullable=False),
        sa.Column("wrapped_key", TEXT, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
    )


def _interaction() -> None:
    op.create_table(
        "interaction",
        sa.Column("tenant", TEXT, primary_key=True),
        sa.Column("encounter", TEXT, primary_key=True),
        sa.Column("identifier", TEXT, nullable=False),
        sa.Column("corti_id", TEXT),
        sa.Column("websocket_url", TEXT),
        sa.Column("intended_ms", sa.BigInteger, nullable=False),
        sa.Column("sent", sa.Boolean, nullable=False),
        sa.Column("synced_vid", sa.Integer, nullable=False, server_default="0"),
        sa.Column("received_ms", sa.BigInteger, nullable=False, server_default="0"),
    )


def _job() -> None:
    op.create_table(
        "job",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("tenant", TEXT, sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("encounter", TEXT, nullable=False),
        sa.Column("media", TEXT),
        sa.Column("task", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("transport", TEXT),
        sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),
        sa.Column("owner", TEXT),
        sa.Column("lease_ms", sa.BigInteger),
        sa.Column("queued_ms", sa.BigInteger, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("acked_ms", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("session", sa.Integer, nullable=False, server_default="0"),
        sa.Column("breaks", sa.Integer, nullable=False, server_default="0"),
        sa.Column("suspended_ms", sa.BigInteger),
        sa.Column("cancel", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("error_code", TEXT),
        sa.Column("error_text", TEXT),
    )
    op.create_index("job_encounter", "job", ["tenant", "encounter", "created_ms"])
    op.create_index("job_state", "job", ["state", "lease_ms"])


def _segment() -> None:
    op.create_table(
        "segment",
        sa.Column("tenant", TEXT, primary_key=True),
        sa.Column("media", TEXT, primary_key=True),
        sa.Column("session", sa.Integer, primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("start_ms", sa.BigInteger, nullable=False),
        sa.Column("end_ms", sa.BigInteger, nullable=False),
        sa.Column("speaker", sa.Integer),
        sa.Column("channel", sa.Integer, nullable=False),
        sa.Column("text", TEXT, nullable=False),
        sa.Column("superseded", sa.Boolean, nullable=False, server_default=sa.text("false")),
    )


def _fact() -> None:
    op.create_table(
        "fact",
        sa.Column("tenant", TEXT, primary_key=True),
        sa.Column("media", TEXT, primary_key=True),
        sa.Column("corti_id", TEXT, primary_key=True),
        sa.Column("observation", TEXT, nullable=False),
        sa.Column("likeness", TEXT, nullable=False),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("n", ROWID, primary_key=True, autoincrement=True),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("request", TEXT, nullable=False),
        sa.Column("address", TEXT),
        sa.Column("client", TEXT),
        sa.Column("user", TEXT),
        sa.Column("verb", TEXT, nullable=False),
        sa.Column("operation", TEXT),
        sa.Column("type", TEXT),
        sa.Column("id", TEXT),
        sa.Column("patient", TEXT),
        sa.Column("query", TEXT),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("issue", TEXT),
        sa.Column("hash", TEXT),
    )
    op.create_index("audit_at", "audit", ["tenant", "at_ms", "n"])
    for name, columns, given in (
        ("audit_patient", ["patient"], "patient IS NOT NULL"),
        ("audit_entity", ["type", "id"], "id IS NOT NULL"),
    ):
        where = sa.text(given)
        op.create_index(name, "audit", ["tenant", *columns, "at_ms", "n"], postgresql_where=where, sqlite_where=where)


def _client() -> None:
    op.create_table(
        "client",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("tenant", TEXT, sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("secret_hash", TEXT),
        sa.Column("jwks", TEXT),
        sa.Column("jwks_uri", TEXT),
        sa.Column("redirect_uris", TEXT, nullable=False, server_default="[]"),
        sa.Column("scope", TEXT, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
    )


def _local_user() -> None:
    op.create_table(
        "local_user",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("tenant", TEXT, sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("password_hash", TEXT, nullable=False),
        sa.Column("fhir_user", TEXT),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
    )


def _seen_jti() -> None:
    op.create_table(
        "seen_jti",
        sa.Column("iss", TEXT, primary_key=True),
        sa.Column("jti", TEXT, primary_key=True),
        sa.Column("exp", sa.BigInteger, nullable=False),
    )


def _signing_key() -> None:
    op.create_table(
        "signing_key",
        sa.Column("kid", TEXT, primary_key=True),
        sa.Column("alg", TEXT, nullable=False),
        sa.Column("wrapped", TEXT, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("retired_ms", sa.BigInteger),
    )
    op.create_index(
        "signing_key_live",
        "signing_key",
        ["alg"],
        unique=True,
        postgresql_where=sa.text("retired_ms IS NULL"),
        sqlite_where=sa.text("retired_ms IS NULL"),
    )
