"""The schema. `seq` is a tenant's commit order; every `*_ms` is milliseconds since 1970 UTC."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    text,
)

from fhir_bridge.store import tables_sign_in
from fhir_bridge.store.columns import Bytewise, metadata
from fhir_bridge.store.tables_audit import audit, audit_head, erasure
from fhir_bridge.store.tables_limits import audio_spent, circuit
from fhir_bridge.store.tables_requests import asynchronous, upload, upload_part

__all__ = [
    "asynchronous",
    "audio_spent",
    "audit",
    "audit_head",
    "blob",
    "circuit",
    "client",
    "erasure",
    "fact",
    "interaction",
    "job",
    "key",
    "metadata",
    "once",
    "seen_jti",
    "segment",
    "signing_key",
    "tables_sign_in",
    "tenant",
    "upload",
    "upload_part",
    "user",
    "version",
]

tenant = Table(
    "tenant",
    metadata,
    Column("id", Bytewise, primary_key=True),
    Column("seq", BigInteger, nullable=False, server_default="0"),  # last commit number given out
    Column("at_ms", BigInteger, nullable=False, server_default="0"),  # last meta.lastUpdated given out
    Column("keys_from", BigInteger, nullable=False, server_default="0"),  # older snapshots have lost search keys
    Column("corti_environment", Bytewise),
    Column("corti_tenant", Bytewise),
    Column("corti_client_id", Bytewise),
    Column("corti_client_secret", Bytewise),  # wrapped by the key ring
    Column("audio_key", Bytewise, nullable=False),  # wrapped by the key ring; wraps the tenant's blob keys
    Column("audio_retention_hours", Float),  # null: as the settings say
    Column("retention_days", Bytewise),  # JSON: days by type, null for ever; what is not named: as the settings say
)

version = Table(
    "version",
    metadata,
    Column("tenant", Bytewise, ForeignKey("tenant.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("type", Bytewise, nullable=False),
    Column("id", Bytewise, nullable=False),
    Column("vid", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("until", BigInteger),  # seq of the version that replaced this one
    Column("deleted", Boolean, nullable=False),
    Column("method", Bytewise, nullable=False),  # POST, PUT or DELETE: what history shows
    Column("author", Bytewise),  # client that wrote it; "bridge" for results: ruling 9 asks who touched a result
    Column("body", Bytewise, nullable=False),  # the FHIR JSON, complete with meta; empty when deleted
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
    Index("version_at", "tenant", "at_ms", "seq"),  # from a time to a seq: _lastUpdated, _since, _at
    Index(
        "version_until",
        "tenant",
        "until",
        postgresql_where=text("until IS NOT NULL"),
        sqlite_where=text("until IS NOT NULL"),
    ),
)

key = Table(
    "key",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("param", SmallInteger, primary_key=True),
    Column("val", Bytewise, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("high", Bytewise),  # end of the range, for dates and quantities
    Index("key_seq", "tenant", "seq"),
    sqlite_with_rowid=False,
)

# What must exist once: Encounter.identifier, Media by encounter + audio + identifier,
# normalised If-None-Exist criteria, Idempotency-Key. `digest` tells same from other content.
once = Table(
    "once",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("kind", Bytewise, primary_key=True),
    Column("val", Bytewise, primary_key=True),
    Column("digest", Bytewise, nullable=False),
    Column("type", Bytewise, nullable=False),
    Column("id", Bytewise, nullable=False),
    Index("once_holder", "tenant", "type", "id"),
)

blob = Table(
    "blob",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("binary", Bytewise, primary_key=True),  # id of the Binary whose content this is
    Column("blob", Bytewise, nullable=False),  # id in blobs/
    Column("size", BigInteger, nullable=False),
    Column("sha256", Bytewise, nullable=False),  # hex
    Column("sha1", Bytewise, nullable=False),  # base64, as Attachment.hash wants it
    Column("wrapped_key", Bytewise, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("blob_created", "tenant", "created_ms"),
)

interaction = Table(
    "interaction",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("encounter", Bytewise, primary_key=True),
    Column("identifier", Bytewise, nullable=False),  # as sent to Corti: readable value, ~, eight hex digits
    Column("corti_id", Bytewise),  # null while only intended
    Column("websocket_url", Bytewise),
    Column("intended_ms", BigInteger, nullable=False),
    Column("sent", Boolean, nullable=False),  # the POST may have reached Corti
    Column("synced_vid", Integer, nullable=False, server_default="0"),  # Encounter version Corti knows
    # Of all audio that was streamed to it: the most that it can have got, and what it surely has.
    Column("received_ms", BigInteger, nullable=False, server_default="0"),
    Column("told_ms", BigInteger, nullable=False, server_default="0"),
)

job = Table(
    "job",
    metadata,
    Column("id", Bytewise, primary_key=True),
    Column("tenant", Bytewise, ForeignKey("tenant.id"), nullable=False),
    Column("kind", Bytewise, nullable=False),  # interaction or media
    Column("encounter", Bytewise, nullable=False),
    Column("media", Bytewise),
    Column("task", Bytewise, nullable=False),  # id of the Task that shows this job
    Column("state", Bytewise, nullable=False),
    Column("transport", Bytewise),  # stream or recording, once decided
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("owner", Bytewise),
    Column("lease_ms", BigInteger),
    Column("queued_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("acked_ms", BigInteger, nullable=False, server_default="0"),  # audio position known to be transcribed
    Column("session", Integer, nullable=False, server_default="0"),  # stream connections opened so far
    Column("breaks", Integer, nullable=False, server_default="0"),  # breaks since the last progress
    Column("suspended_ms", BigInteger),  # since when Corti keeps it waiting; null while it gets on
    Column("cancel", Boolean, nullable=False, server_default=text("false")),  # asked to stop
    Column("error_code", Bytewise),
    Column("error_text", Bytewise),
    Column("binary", Bytewise),  # id of the Binary that holds the recording
    Column("ended_ms", BigInteger),  # null while it goes on
    Column("doubt_ms", BigInteger),  # where to go on from, when it is in doubt where the words since were said
    Index("job_state", "state", "lease_ms"),
    Index("job_encounter", "tenant", "encounter", "created_ms"),
    Index("job_media", "tenant", "media"),
    Index("job_binary", "tenant", "binary"),
)

segment = Table(
    "segment",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("media", Bytewise, primary_key=True),
    Column("session", Integer, primary_key=True),
    Column("n", Integer, primary_key=True),  # order of arrival in its session
    Column("start_ms", BigInteger, nullable=False),  # of the recording, not of the session
    Column("end_ms", BigInteger, nullable=False),
    Column("speaker", Integer),
    Column("channel", Integer, nullable=False),
    Column("text", Bytewise, nullable=False),
    Column("superseded", Boolean, nullable=False, server_default=text("false")),
)

fact = Table(
    "fact",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("media", Bytewise, primary_key=True),
    Column("corti_id", Bytewise, primary_key=True),
    Column("observation", Bytewise, nullable=False),  # a resent fact with a new id shares its Observation
    Column("likeness", Bytewise, nullable=False),  # digest of group and normalised text
    Column("withdrawn", Boolean, nullable=False, server_default=text("false")),  # not confirmed by the whole recording
)

client = Table(
    "client",
    metadata,
    Column("id", Bytewise, primary_key=True),
    Column("tenant", Bytewise, ForeignKey("tenant.id"), nullable=False),
    Column("name", Bytewise, nullable=False),
    Column("secret_hash", Bytewise),
    Column("jwks", Bytewise),
    Column("jwks_uri", Bytewise),
    Column("redirect_uris", Bytewise, nullable=False, server_default="[]"),
    Column("scope", Bytewise, nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=text("false")),
    Column("created_ms", BigInteger, nullable=False),
)

user = Table(
    "local_user",
    metadata,
    Column("name", Bytewise, primary_key=True),
    Column("tenant", Bytewise, ForeignKey("tenant.id"), nullable=False),
    Column("password_hash", Bytewise, nullable=False),
    Column("fhir_user", Bytewise),
    Column("created_ms", BigInteger, nullable=False),
)

seen_jti = Table(
    "seen_jti",
    metadata,
    Column("iss", Bytewise, primary_key=True),
    Column("jti", Bytewise, primary_key=True),
    Column("exp", BigInteger, nullable=False),  # seconds
)

signing_key = Table(
    "signing_key",
    metadata,
    Column("kid", Bytewise, primary_key=True),
    Column("alg", Bytewise, nullable=False),
    Column("wrapped", Bytewise, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("retired_ms", BigInteger),
    Index(
        "signing_key_live",
        "alg",
        unique=True,
        postgresql_where=text("retired_ms IS NULL"),
        sqlite_where=text("retired_ms IS NULL"),
    ),
)
