"""What all tables share: their metadata, and text as it is compared here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import MetaData, Text
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

metadata: Final = MetaData()

# Everywhere in byte order: search keys are order-preserving text, and a database with a
# language's collation would sort and range over them in another order than SQLite does.
Bytewise: Final = Text().with_variant(Text(collation="C"), "postgresql")


def insert_new(conn: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Begin an insert that knows what to do when the row is there already."""
    return postgresql.insert(table) if conn.dialect.name == "postgresql" else sqlite.insert(table)
