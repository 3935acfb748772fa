"""Takes a database server the room for its files, and gives it back."""

from __future__ import annotations

import os
from contextlib import suppress
from resource import RLIM_INFINITY, RLIMIT_FSIZE, prlimit
from typing import TYPE_CHECKING

from growth import children

if TYPE_CHECKING:
    from pathlib import Path


def take_room(data: Path) -> None:
    """Let no file of the PostgreSQL in this folder grow; those of its processes that it starts from now on may."""
    _limit(data, 0)


def give_room(data: Path) -> None:
    """Let them all grow again."""
    _limit(data, RLIM_INFINITY)


def _limit(data: Path, most: int) -> None:
    """Nobody but the server's own user may do this, root no more than others: a child becomes that user."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    try:
        server = children(int((data / "postmaster.pid").read_text().split()[0]))
        os.setuid(data.stat().st_uid)
        for each in server:
            with suppress(ProcessLookupError):
                prlimit(each, RLIMIT_FSIZE, (most, RLIM_INFINITY))
    finally:
        os._exit(0)
