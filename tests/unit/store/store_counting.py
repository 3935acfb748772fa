"""What a read costs, counted rather than timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection


def pages_read(conn: Connection, do: Callable[[Connection], object]) -> int:
    """Run `do` on PostgreSQL and count the pages that its statements look at."""
    asked = []

    def listen(_conn, _cursor, statement, parameters, *_) -> None:
        asked.append((statement, parameters))

    event.listen(conn, "before_cursor_execute", listen)
    do(conn)
    event.remove(conn, "before_cursor_execute", listen)
    told = [conn.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", of).scalar() for sql, of in asked]
    return sum(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"] for plan in told)
