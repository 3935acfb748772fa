"""Events: a dotted name and declared fields, one JSON line each on stderr.

An event carries ids, counts, durations and closed codes. Never a resource, a
transcript, a name, a token or a query string: `event` refuses a field that was not
declared, so what can be logged is what this table shows.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Final

from fhir_bridge import clock

Field = str | int | float | bool | None

EVENTS: Final[dict[str, frozenset[str]]] = {
    name: frozenset(fields.split())
    for name, fields in {
        "web.request": "method route status ms request",
        "web.failed": "request error",
        "web.server": "level message error",
        "job.accepted": "tenant kind job",
        "job.started": "job epoch",
        "job.suspended": "job epoch error seconds",
        "job.finished": "job epoch state",
        "job.failed": "job epoch error",
        "job.fenced": "job epoch",
        "job.fault": "job epoch error place",
        "job.taken_over": "job epoch",
        "corti.request": "method route status ms attempt",
        "corti.token": "status ms",
        "corti.stream": "job outcome",
        "corti.unknown_message": "job kind",
        "corti.circuit": "tenant region state seconds",
        "service.started": "part url",
        "service.stopped": "part",
        "service.child_died": "part status",
        "request.started": "kind epoch",
        "request.finished": "kind epoch",
        "request.lost": "kind epoch error",
        "sweep.done": "taken_over cancelled deleted",
        "sweep.failed": "round error",
        "audit.sealed": "tenant n rows link",
        "erasure.started": "tenant erasure",
        "erasure.waits": "tenant erasure error",
        "erasure.done": "tenant erasure",
        "upkeep.done": "commits audio resources audit strays assertions",
        "oauth.token": "client status error",
    }.items()
}

_logger = logging.getLogger("fhir_bridge")


def event(name: str, **fields: Field) -> None:
    """Log one declared event.

    Raises:
        ValueError: an event or a field that `EVENTS` does not declare.
    """
    undeclared = fields.keys() - EVENTS.get(name, frozenset()) if name in EVENTS else {name}
    if undeclared:
        raise ValueError(f"not declared in log.EVENTS: {', '.join(sorted(undeclared))}")
    _logger.info("%s", json.dumps({"at": clock.instant(), "event": name, **fields}))


def to_stderr(level: str = "INFO") -> None:
    """Send events to stderr from `level` up; called once by each process that serves."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _logger.handlers[:] = [handler]
    _logger.setLevel(level)
    _logger.propagate = False
