"""The tables of people who sign in and of what they approve. Cookies, codes and tokens are kept as SHA-256 alone."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table

from fhir_bridge.store.columns import Bytewise, metadata

# An app asked a person for access, and the person has not answered yet.
ask = Table(
    "ask",
    metadata,
    Column("digest", Bytewise, primary_key=True),
    Column("browser", Bytewise),  # digest of the cookie of the browser that took it up first
    Column("body", Bytewise, nullable=False),  # JSON: what was asked
    Column("until_ms", BigInteger, nullable=False),
)

# A person who signed in, in one browser.
session = Table(
    "session",
    metadata,
    Column("digest", Bytewise, primary_key=True),  # of the browser's cookie
    Column("tenant", Bytewise, ForeignKey("tenant.id"), nullable=False),
    Column("body", Bytewise, nullable=False),  # JSON: who it is
    Column("began_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
)

# Attempts to sign in since the last that succeeded, also in names that nobody has.
sign_in_failure = Table(
    "sign_in_failure",
    metadata,
    Column("name", Bytewise, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),  # of the last one that was judged
)

# What an EHR has open as it opens an app.
launch = Table(
    "launch",
    metadata,
    Column("digest", Bytewise, primary_key=True),
    Column("tenant", Bytewise, ForeignKey("tenant.id"), nullable=False),
    Column("client", Bytewise, nullable=False),  # the EHR
    Column("body", Bytewise, nullable=False),  # JSON: the context
    Column("until_ms", BigInteger, nullable=False),
)

# A person said yes to an app: one code, and every token that comes of it.
approval = Table(
    "approval",
    metadata,
    Column("id", Bytewise, primary_key=True),
    Column("tenant", Bytewise, ForeignKey("tenant.id"), nullable=False),
    Column("client", Bytewise, nullable=False),
    Column("person", Bytewise, nullable=False),  # name of who said yes
    Column("session", Bytewise),  # what ends with it; null: access goes on without the person
    Column("body", Bytewise, nullable=False),  # JSON: to what
    Column("code", Bytewise, nullable=False, unique=True),
    Column("code_until_ms", BigInteger, nullable=False),
    Column("code_used_ms", BigInteger),
    Column("until_ms", BigInteger, nullable=False),  # when the last of its tokens has ended
    Column("revoked_ms", BigInteger),
    Index("approval_person", "tenant", "person"),
)

refresh_token = Table(
    "refresh_token",
    metadata,
    Column("digest", Bytewise, primary_key=True),
    Column("approval", Bytewise, ForeignKey("approval.id", ondelete="CASCADE"), nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),
    Index("refresh_token_approval", "approval"),
)

# Access tokens that were taken back before their time.
revoked_token = Table(
    "revoked_token",
    metadata,
    Column("jti", Bytewise, primary_key=True),
    Column("until_ms", BigInteger, nullable=False),
)
