"""Row-level security: whoever says whose rows are meant sees and writes no others (PostgreSQL)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alembic import op
from sqlalchemy.exc import OperationalError

from fhir_bridge import clock

if TYPE_CHECKING:
    from sqlalchemy import Connection

revision = "0012"
down_revision = "0011"

# Whose a row is. What is in no list belongs to nobody: keys of the bridge, what nobody has signed in to yet.
_COLUMN: Final = "tenant"
_TABLES: Final = (
    "version",
    "key",
    "once",
    "blob",
    "interaction",
    "job",
    "segment",
    "fact",
    "audit",
    "audit_head",
    "erasure",
    "upload",
    "upload_part",
    "asynchronous",
    "circuit",
    "audio_spent",
    "client",
    "local_user",
    "session",
    "launch",
    "approval",
)
_THEIRS: Final = {"tenant": "id", **dict.fromkeys(_TABLES, _COLUMN)}
# Asked once in a statement, not once for each row. Never set: a process of the release before, which goes on
# during an upgrade; every connection of this one and of later ones sets it as it begins, if to nobody's.
_WHOSE: Final = "(SELECT coalesce(current_setting('fhir_bridge.tenant', true), '*'))"
# As far as its approval can be seen, which has a wall of its own.
_BY_APPROVAL: Final = "EXISTS (SELECT FROM approval WHERE approval.id = refresh_token.approval)"
_TRIES: Final = 200
_PAUSE: Final = 0.1
_HELD: Final = ("55P03", "40P01")  # SQLSTATE of a lock that was not to be had in time, and of a deadlock


def upgrade() -> None:
    """Put a policy on each table that has tenants' rows; its owner is no exception."""
    if op.get_context().dialect.name != "postgresql":
        return
    policies = {table: f"{_WHOSE} IN ('*', {column})" for table, column in _THEIRS.items()}
    policies["refresh_token"] = _BY_APPROVAL
    _hold(op.get_bind(), list(policies))
    for table, theirs in policies.items():
        op.execute(f'CREATE POLICY theirs ON "{table}" USING ({theirs}) WITH CHECK ({theirs})')
        op.execute(f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY')


def downgrade() -> None:
    """Take them off again."""
    if op.get_context().dialect.name != "postgresql":
        return
    tables = [*_THEIRS, "refresh_token"]
    _hold(op.get_bind(), tables)
    for table in tables:
        op.execute(f'ALTER TABLE "{table}" NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY')
        op.execute(f'DROP POLICY theirs ON "{table}"')


def _hold(connection: Connection, tables: list[str]) -> None:
    """Lock all tables before the first is changed, and let go of them when one is in use.

    The release before goes on writing meanwhile. Whoever waits for a lock here holds up all that
    come behind: it waits shorter than PostgreSQL does before it looks for a deadlock and ends somebody.
    """
    locks = "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE".format(", ".join(f'"{table}"' for table in tables))
    connection.exec_driver_sql("SET LOCAL lock_timeout = '300ms'")
    for left in reversed(range(_TRIES)):
        try:
            with connection.begin_nested():
                connection.exec_driver_sql(locks)
        except OperationalError as exc:
            if not left or getattr(exc.orig, "sqlstate", None) not in _HELD:
                raise
            clock.sleep(_PAUSE)
        else:
            break
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
