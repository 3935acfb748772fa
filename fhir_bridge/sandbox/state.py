"""Everything this Corti remembers, in memory: clients, interactions and what hangs on them, and a journal for tests."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, UUID, uuid5

from fhir_bridge.sandbox.shapes import FACT_GROUPS, Json, now
from fhir_bridge.sandbox.switches import Switches

if TYPE_CHECKING:
    from fhir_bridge.sandbox.engine import Engine, Utterance
    from fhir_bridge.sandbox.faults import Fault
    from fhir_bridge.sandbox.session import Session


def group_id(group: str) -> str:
    """The stable id of a fact group."""
    return str(uuid5(NAMESPACE_URL, f"urn:sandbox:fact-group:{group}"))


@dataclass(frozen=True)
class Owner:
    """Who may see a thing: the realm of the token and its client."""

    realm: str
    client: str


@dataclass(frozen=True)
class Recording:
    """Audio kept for an interaction."""

    id: str
    content: bytes
    at: float


@dataclass
class Transcript:
    """A transcript of a recording: made by a job, asked for by polling."""

    id: str
    recording: str
    participants: list[Json]
    status: str = "processing"
    segments: list[Utterance] = field(default_factory=list)
    seconds: float = 0.0
    polls: int = 0
    done: threading.Event = field(default_factory=threading.Event)


@dataclass
class Fact:
    """One fact of an interaction."""

    id: str
    text: str
    group: str
    source: str
    quote: str | None = None
    reference: str | None = None
    discarded: bool = False
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)

    def json_of(self, *, evidence: bool = True) -> Json:
        """As `GET …/facts/` and the socket show it."""
        quoted: Json = {"type": "transcript", "reference": self.reference or "", "quote": self.quote or ""}
        return {
            "id": self.id,
            "text": self.text,
            "group": self.group,
            "groupId": group_id(self.group if self.group in FACT_GROUPS else "other"),
            "isDiscarded": self.discarded,
            "source": self.source,
            "createdAt": self.created,
            "updatedAt": self.updated,
            "evidence": [quoted] if self.quote and evidence else [],
        }


@dataclass
class Interaction:
    """One interaction and everything below it."""

    id: str
    owner: Owner
    assigned_user: str
    encounter: Json
    patient: Json | None
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)
    recordings: dict[str, Recording] = field(default_factory=dict)
    transcripts: dict[str, Transcript] = field(default_factory=dict)
    facts: dict[str, Fact] = field(default_factory=dict)
    segments: list[Utterance] = field(default_factory=list)
    received: float = 0.0
    told: set[int] = field(default_factory=set)
    sessions: list[Session] = field(default_factory=list)

    @property
    def ended(self) -> str | None:
        """`encounter.period.endedAt`, which Corti also shows on top."""
        period = self.encounter.get("period")
        ended = period.get("endedAt") if isinstance(period, dict) else None
        return ended if isinstance(ended, str) else None


class State:
    """The sandbox's memory. `lock` guards every change of a collection."""

    def __init__(self, engine: Engine, clients: dict[str, str]) -> None:
        self.engine = engine
        self.clients = clients
        self.lock = threading.RLock()
        self.url = ""
        self.reset(0)

    def reset(self, seed: int | None) -> None:
        """Forget everything; ids follow from the seed (none: unpredictable)."""
        with self.lock:
            self.random = random.Random(seed) if seed else random.SystemRandom()  # noqa: S311 - ids a test can foretell
            self.switches = Switches()
            self.faults: list[Fault] = []
            self.interactions: dict[str, Interaction] = {}
            self.identifiers: set[tuple[Owner, str]] = set()
            self.requests: deque[Json] = deque(maxlen=10_000)
            self.sessions: deque[Session] = deque(maxlen=1_000)
            self.broken = 0

    def new_id(self) -> str:
        """A UUID."""
        return str(UUID(int=self.random.getrandbits(128), version=4))

    def recording_ready(self, recording: Recording) -> bool:
        """Writes of Corti are seen late; here only when a switch says so."""
        return time.monotonic() - recording.at >= self.switches.visible_after
