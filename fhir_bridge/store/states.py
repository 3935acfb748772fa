"""The one table of job states: what may follow what, and what the EHR sees of it (reliability.md, rule 4).

Documentation, `verify` and tests read this table; Task.status (ruling 5) and
Media.status (ruling 7) are never decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a job stands."""

    RECEIVED = "received"
    STORED = "stored"
    QUEUED = "queued"
    INTERACTION_PENDING = "interaction_pending"
    STREAMING = "streaming"
    SUSPENDED = "suspended"
    FINALISING = "finalising"
    RECONCILING = "reconciling"
    PUBLISHED = "published"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ERASED = "erased"


@dataclass(frozen=True)
class Phase:
    """One row: the meaning of a state, its FHIR statuses, and the states that may follow."""

    meaning: str
    task: str
    media: str
    follows: frozenset[State]

    @property
    def terminal(self) -> bool:
        """Nothing happens any more unless someone asks for it."""
        return self.task in {"completed", "failed", "cancelled", "entered-in-error"}


_S = State
_ENDS = frozenset({_S.FAILED, _S.CANCELLED, _S.ERASED})
# A run may begin anew from any of its states: its worker was killed and another took over.
_BEGINS = frozenset({_S.INTERACTION_PENDING, _S.STREAMING})
_WAITS = frozenset({_S.SUSPENDED})
_AGAIN = frozenset({_S.STORED, _S.QUEUED, _S.ERASED})

STATES: Final[dict[State, Phase]] = {
    _S.RECEIVED: Phase(
        "accepted, its audio is still arriving", "accepted", "in-progress", _ENDS | {_S.STORED, _S.QUEUED}
    ),
    _S.STORED: Phase(
        "durable, waits for an earlier job of its encounter",
        "accepted",
        "in-progress",
        _ENDS | {_S.QUEUED},
    ),
    _S.QUEUED: Phase("waits for a worker", "accepted", "in-progress", _ENDS | _BEGINS | _WAITS),
    _S.INTERACTION_PENDING: Phase(
        "its interaction is being made or brought up to date at Corti",
        "in-progress",
        "in-progress",
        _ENDS | _BEGINS | _WAITS | {_S.PUBLISHED},
    ),
    _S.STREAMING: Phase(
        "audio is on its way to Corti", "in-progress", "in-progress", _ENDS | _BEGINS | _WAITS | {_S.FINALISING}
    ),
    _S.SUSPENDED: Phase("waits until Corti can be reached again", "on-hold", "in-progress", _ENDS | _BEGINS),
    _S.FINALISING: Phase(
        "all audio is sent, the last results are awaited",
        "in-progress",
        "in-progress",
        _ENDS | _BEGINS | _WAITS | {_S.RECONCILING},
    ),
    _S.RECONCILING: Phase(
        "results are compared with what Corti keeps",
        "in-progress",
        "in-progress",
        _ENDS | _BEGINS | _WAITS | {_S.PUBLISHED},
    ),
    _S.PUBLISHED: Phase("results are complete", "completed", "completed", _AGAIN),
    _S.FAILED: Phase("given up; the Task says why and what to do", "failed", "stopped", _AGAIN),
    _S.CANCELLED: Phase("stopped on request", "cancelled", "stopped", _AGAIN),
    _S.ERASED: Phase("destroyed on request", "entered-in-error", "entered-in-error", frozenset()),
}

TERMINAL: Final = frozenset(state for state, phase in STATES.items() if phase.terminal)
# These have a worker or a queued run; RECEIVED and STORED wait for something else.
DISPATCHED: Final = frozenset(STATES) - TERMINAL - {State.RECEIVED, State.STORED}
