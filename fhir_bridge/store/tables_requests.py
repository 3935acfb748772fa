"""The tables of requests that go on for longer than one call: uploads in parts, and asynchronous requests."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table

from fhir_bridge.store.columns import Bytewise, metadata

# A Binary that arrives in parts. Its row goes when the Binary is there.
upload = Table(
    "upload",
    metadata,
    Column("tenant", Bytewise, ForeignKey("tenant.id"), primary_key=True),
    Column("id", Bytewise, primary_key=True),  # of the Binary to be
    Column("client", Bytewise, nullable=False),  # who began it, and alone may go on
    Column("size", BigInteger, nullable=False),  # of the whole
    Column("content_type", Bytewise, nullable=False),
    Column("context", Bytewise),  # Binary.securityContext
    Column("created_ms", BigInteger, nullable=False),
)

upload_part = Table(
    "upload_part",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("upload", Bytewise, primary_key=True),
    Column("start", BigInteger, primary_key=True),  # where in the whole it begins: each place is filled once
    Column("size", BigInteger, nullable=False),
    Column("blob", Bytewise, nullable=False),  # id in blobs/
    Column("wrapped_key", Bytewise, nullable=False),
)

# A request whose answer is fetched later. Those without `asked` were carried out when they were
# made and wait for jobs; the others are run by a worker, which owns one as it owns a job.
asynchronous = Table(
    "asynchronous",
    metadata,
    Column("id", Bytewise, primary_key=True),  # unguessable
    Column("tenant", Bytewise, ForeignKey("tenant.id"), nullable=False),
    Column("client", Bytewise, nullable=False),  # who asked, and alone may fetch the answer
    Column("kind", Bytewise, nullable=False),
    Column("asked", Bytewise),  # JSON: what to run, in whose name
    Column("waits", Bytewise, nullable=False, server_default="[]"),  # JSON: jobs that must have ended first
    Column("state", Bytewise, nullable=False),  # queued, running or done
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("owner", Bytewise),
    Column("lease_ms", BigInteger),
    Column("progress", Bytewise),
    Column("answer", Bytewise),  # JSON: what it came to
    Column("files", Bytewise, nullable=False, server_default="[]"),  # JSON: blobs that belong to the answer
    Column("created_ms", BigInteger, nullable=False),
    Column("polled_ms", BigInteger),
    Column("done_ms", BigInteger),
    Index("asynchronous_state", "state", "created_ms"),
    Index("asynchronous_client", "tenant", "client", "kind"),
)
