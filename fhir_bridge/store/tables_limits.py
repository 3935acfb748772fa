"""The tables of what is held back: Corti while it does not answer, and audio over a tenant's budget."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table

from fhir_bridge.store.columns import Bytewise, metadata

# Failures in a row at one Corti; no row: the last thing that was asked there was answered.
circuit = Table(
    "circuit",
    metadata,
    Column("tenant", Bytewise, ForeignKey("tenant.id"), primary_key=True),
    Column("region", Bytewise, primary_key=True),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("pauses", Integer, nullable=False, server_default="0"),  # how often it was opened, one time after the other
    Column("until_ms", BigInteger),  # nothing is sent before; null: closed
)

# Audio that was accepted, for a day or two: what a tenant's budget is counted by.
audio_spent = Table(
    "audio_spent",
    metadata,
    Column("tenant", Bytewise, ForeignKey("tenant.id"), primary_key=True),
    Column("media", Bytewise, primary_key=True),
    Column("day", Integer, nullable=False),  # days since 1970, UTC
    Column("ms", BigInteger, nullable=False),
    Index("audio_spent_day", "tenant", "day"),
)
