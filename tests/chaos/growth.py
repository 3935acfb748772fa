"""What the kernel tells of processes: whose they are, what they hold, whether that grew between two moments (L10)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DESCRIPTORS: Final = 12
"""How many more a process may have: pools that had not been full before."""
THREADS: Final = 6


@dataclass(frozen=True)
class Size:
    """Resident memory in kB, open descriptors, threads."""

    kb: int
    descriptors: int
    threads: int


def size_of(pid: int) -> Size:
    """Read what the kernel counts.

    Raises:
        OSError: there is no such process.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    known = dict(line.split(":", 1) for line in lines)
    descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Size(int(known["VmRSS"].split()[0]), descriptors, int(known["Threads"]))


def children(pid: int) -> list[int]:
    """Which processes this one has forked; none when it is gone."""
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def grown(before: dict[str, Size], after: dict[str, Size], *, most_kb: int, most_threads: int = THREADS) -> list[str]:
    """Say of each process what is more than it was. One that began or ended in between proves nothing, and is told."""
    told = [f"{name} was not there both times" for name in sorted(before.keys() ^ after.keys())]
    for name in sorted(before.keys() & after.keys()):
        was, now = before[name], after[name]
        told += _more(name, "kB", now.kb - was.kb, most_kb)
        told += _more(name, "descriptors", now.descriptors - was.descriptors, DESCRIPTORS)
        told += _more(name, "threads", now.threads - was.threads, most_threads)
    return told or ([] if before else ["nothing was measured"])


def _more(name: str, what: str, more: int, most: int) -> list[str]:
    return [f"{name}: {more} {what} more, {most} may be"] if more > most else []
