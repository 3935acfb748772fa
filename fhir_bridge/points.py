"""Named points on the way of a request or a run: where a test may kill, freeze or delay the process that reaches them.

Nobody watches in production: a point costs one comparison. tests/chaos/points.json lists
them all; `make chaos` kills a process at each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_watcher: Callable[[str], None] | None = None


def reached(point: str) -> None:
    """Tell whoever watches that the code stands here now."""
    if _watcher is not None:
        _watcher(point)


def watch(watcher: Callable[[str], None] | None) -> None:
    """Have `watcher` told of every point that is reached, in whichever thread; None ends it."""
    global _watcher  # noqa: PLW0603 - one watcher for the process, or none
    _watcher = watcher
