"""What a read costs, counted rather than timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import event

STEP = 100  # instructions of SQLite's machine

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


def steps_taken(conn: Connection, do: Callable[[Connection], object]) -> int:
    """Run `do` on SQLite and count the instructions that its statements take, in hundreds."""
    taken = 0

    def step() -> int:
        nonlocal taken
        taken += 1
        return 0

    driver = conn.connection.driver_connection
    driver.set_progress_handler(step, STEP)
    do(conn)
    driver.set_progress_handler(None, 0)
    return taken
