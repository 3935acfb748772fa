"""What all tables share: their metadata, and text as it is compared here."""

from __future__ import annotations

from typing import Final

from sqlalchemy import MetaData, Text

metadata: Final = MetaData()

# Everywhere in byte order: search keys are order-preserving text, and a database with a
# language's collation would sort and range over them in another order than SQLite does.
Bytewise: Final = Text().with_variant(Text(collation="C"), "postgresql")
