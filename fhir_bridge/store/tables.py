"""The schema. `seq` is a tenant's commit order; every `*_ms` is milliseconds since 1970 UTC."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

metadata: Final = MetaData()

tenant = Table(
    "tenant",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False, server_default="0"),  # last commit number given out
    Column("at_ms", BigInteger, nullable=False, server_default="0"),  # last meta.lastUpdated given out
    Column("corti_environment", Text),
    Column("corti_tenant", Text),
    Column("corti_client_id", Text),
    Column("corti_client_secret", Text),  # wrapped by the key ring
    Column("audio_key", Text, nullable=False),  # wrapped by the key ring; wraps the tenant's blob keys
)

version = Table(
    "version",
    metadata,
    Column("tenant", Text, ForeignKey("tenant.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("type", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("vid", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("until", BigInteger),  # seq of the version that replaced this one
    Column("deleted", Boolean, nullable=False),
    Column("method", Text, nullable=False),  # POST, PUT or DELETE: what history shows
    Column("author", Text),  # client that wrote it; "bridge" for results: ruling 9 asks who touched a result
    Column("body", Text, nullable=False),  # the FHIR JSON, complete with meta; empty when deleted
    Index(
        "version_current",
        "tenant",
        "type",
        "id",
        unique=True,
        postgresql_where=text("until IS NULL"),
        sqlite_where=text("until IS NULL"),
    ),
    Index("version_vid", "tenant", "type", "id", "vid", unique=True),
    Index("version_type", "tenant", "type", "seq"),
)

key = Table(
    "key",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("param", SmallInteger, primary_key=True),
    Column("val", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("high", Text),  # end of the range, for dates and quantities
    Index("key_seq", "tenant", "seq"),
    sqlite_with_rowid=False,
)

# What must exist once: Encounter.identifier, Media by encounter + audio + identifier,
# normalised If-None-Exist criteria, Idempotency-Key. `digest` tells same from other content.
once = Table(
    "once",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("val", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("id", Text, nullable=False),
)

blob = Table(
    "blob",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("binary", Text, primary_key=True),  # id of the Binary whose content this is
    Column("blob", Text, nullable=False),  # id in blobs/
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),  # hex
    Column("sha1", Text, nullable=False),  # base64, as Attachment.hash wants it
    Column("wrapped_key", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

interaction = Table(
    "interaction",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("encounter", Text, primary_key=True),
    Column("identifier", Text, nullable=False),  # as sent to Corti: readable value, ~, eight hex digits
    Column("corti_id", Text),  # null while only intended
    Column("websocket_url", Text),
    Column("intended_ms", BigInteger, nullable=False),
    Column("sent", Boolean, nullable=False),  # the POST may have reached Corti
    Column("synced_vid", Integer, nullable=False, server_default="0"),  # Encounter version Corti knows
)

job = Table(
    "job",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, ForeignKey("tenant.id"), nullable=False),
    Column("kind", Text, nullable=False),  # interaction or media
    Column("encounter", Text, nullable=False),
    Column("media", Text),
    Column("task", Text, nullable=False),  # id of the Task that shows this job
    Column("state", Text, nullable=False),
    Column("transport", Text),  # stream or recording, once decided
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("owner", Text),
    Column("lease_ms", BigInteger),
    Column("queued_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("acked_ms", BigInteger, nullable=False, server_default="0"),  # audio position known to be transcribed
    Column("session", Integer, nullable=False, server_default="0"),  # stream connections opened so far
    Column("breaks", Integer, nullable=False, server_default="0"),  # breaks since the last progress
    Column("suspended_ms", BigInteger),  # since when Corti keeps it waiting; null while it gets on
    Column("cancel", Boolean, nullable=False, server_default=text("false")),  # asked to stop
    Column("error_code", Text),
    Column("error_text", Text),
    Index("job_state", "state", "lease_ms"),
    Index("job_encounter", "tenant", "encounter", "created_ms"),
)

segment = Table(
    "segment",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("media", Text, primary_key=True),
    Column("session", Integer, primary_key=True),
    Column("n", Integer, primary_key=True),  # order of arrival in its session
    Column("start_ms", BigInteger, nullable=False),  # of the recording, not of the session
    Column("end_ms", BigInteger, nullable=False),
    Column("speaker", Integer),
    Column("channel", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("superseded", Boolean, nullable=False, server_default=text("false")),
)

fact = Table(
    "fact",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("media", Text, primary_key=True),
    Column("corti_id", Text, primary_key=True),
    Column("observation", Text, nullable=False),  # a resent fact with a new id shares its Observation
    Column("likeness", Text, nullable=False),  # digest of group and normalised text
)

audit = Table(
    "audit",
    metadata,
    Column("n", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("request", Text, nullable=False),  # X-Request-Id
    Column("client", Text),
    Column("user", Text),
    Column("verb", Text, nullable=False),  # FHIR interaction name
    Column("type", Text),
    Column("id", Text),
    Column("status", Integer, nullable=False),
    Column("hash", Text),  # sealed by the sweep
)

client = Table(
    "client",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, ForeignKey("tenant.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("secret_hash", Text),
    Column("jwks", Text),
    Column("jwks_uri", Text),
    Column("redirect_uris", Text, nullable=False, server_default="[]"),
    Column("scope", Text, nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=text("false")),
    Column("created_ms", BigInteger, nullable=False),
)

user = Table(
    "local_user",
    metadata,
    Column("name", Text, primary_key=True),
    Column("tenant", Text, ForeignKey("tenant.id"), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("fhir_user", Text),
    Column("created_ms", BigInteger, nullable=False),
)

seen_jti = Table(
    "seen_jti",
    metadata,
    Column("iss", Text, primary_key=True),
    Column("jti", Text, primary_key=True),
    Column("exp", BigInteger, nullable=False),  # seconds
)

signing_key = Table(
    "signing_key",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("alg", Text, nullable=False),
    Column("wrapped", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("retired_ms", BigInteger),
)
