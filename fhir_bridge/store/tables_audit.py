"""The tables of the audit, and of erasures: what happened, how it is sealed, what of it has to be destroyed."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, text

from fhir_bridge.store.columns import Bytewise, metadata

# One row for each interaction, shown as an AuditEvent. Inserted and never changed, but for the seal.
audit = Table(
    "audit",
    metadata,
    Column("n", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("tenant", Bytewise, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("request", Bytewise, nullable=False),  # X-Request-Id
    Column("address", Bytewise),  # of whoever is at the other end of the connection
    Column("client", Bytewise),
    Column("user", Bytewise),
    Column("verb", Bytewise, nullable=False),  # code of http://hl7.org/fhir/restful-interaction
    Column("operation", Bytewise),  # its name, when the verb is operation
    Column("type", Bytewise),
    Column("id", Bytewise),
    Column("patient", Bytewise),  # whose compartment it is in, as Patient/id
    Column("query", Bytewise),  # as it was asked, without tokens
    Column("status", Integer, nullable=False),
    Column("issue", Bytewise),  # code of the first issue of a refusal
    Column("hash", Bytewise),  # binds the row to the one before it; sealed by the sweep
    Column("erased", Bytewise),  # seals what is left of a row after an erasure; `hash` stays that of the whole row
    Index("audit_at", "tenant", "at_ms", "n"),
    Index(
        "audit_patient",
        "tenant",
        "patient",
        "at_ms",
        "n",
        postgresql_where=text("patient IS NOT NULL"),
        sqlite_where=text("patient IS NOT NULL"),
    ),
    Index(
        "audit_entity",
        "tenant",
        "type",
        "id",
        "at_ms",
        "n",
        postgresql_where=text("id IS NOT NULL"),
        sqlite_where=text("id IS NOT NULL"),
    ),
    Index(
        "audit_unsealed",
        "tenant",
        "n",
        postgresql_where=text("hash IS NULL"),
        sqlite_where=text("hash IS NULL"),
    ),
)

# How far the audit of a tenant is sealed: the last link of its chain.
audit_head = Table(
    "audit_head",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("hash", Bytewise, nullable=False),
    Column("seal", Bytewise, nullable=False),  # of these two, so that nobody moves the end back
    Column("start_n", BigInteger, nullable=False, server_default="0"),  # the last row that retention took away
    Column(
        "start_hash", Bytewise, nullable=False, server_default=text("''")
    ),  # its link: the first row that stays follows it
    Column("start_seal", Bytewise),  # of these two, so that nobody else takes rows away
)

# What is being destroyed, or was: a row goes on until Corti and the disk have forgotten, too.
erasure = Table(
    "erasure",
    metadata,
    Column("id", Bytewise, primary_key=True),
    Column("tenant", Bytewise, ForeignKey("tenant.id"), nullable=False),
    Column("subject", Bytewise, nullable=False),  # Type/id; its pseudonym once all is done
    Column("state", Bytewise, nullable=False),  # intended, destroyed, erased
    Column("ids", Bytewise),  # JSON: what was destroyed, as Type/id; null once the audit has forgotten
    Column("words", Bytewise),  # JSON: names and numbers of the subject, to be found in the audit; null as well
    Column("corti", Bytewise, nullable=False, server_default="[]"),  # JSON: interactions still to be deleted there
    Column("blobs", Bytewise, nullable=False, server_default="[]"),  # JSON: files still to be shredded
    Column("report", Bytewise, nullable=False, server_default="{}"),  # JSON: counts and hashes
    Column("settled_ms", BigInteger, nullable=False, server_default="0"),  # no worker says anything about it then
    Column("created_ms", BigInteger, nullable=False),
    Column("done_ms", BigInteger),
    Column("audited", BigInteger, nullable=False, server_default="0"),  # no audit row up to this one tells of it
    Index("erasure_state", "state", "created_ms"),
    Index("erasure_subject", "tenant", "subject"),
)
