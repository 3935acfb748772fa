"""The bridge in one thread: web side and workers over a real store, in a world that a seed foretells.

At each named point chance may kill the worker that stands there, freeze it past its lease while others take its jobs
over, or take the database away. What is proved at the end is what `make chaos` proves with processes: every word and
every fact once, one interaction for each Encounter, nothing stuck.
"""

from __future__ import annotations

import base64
import json
import random
import sqlite3
import threading
from collections import Counter
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from world import SimClient, SimClock, SimStream, World, said

from fhir_bridge import clock, points
from fhir_bridge.blobs import open_blobs
from fhir_bridge.errors import BridgeError, StoreUnavailable
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.keyring import KeyRing
from fhir_bridge.sandbox.numbers import make_wav
from fhir_bridge.settings import Settings
from fhir_bridge.smart.grant import Grant
from fhir_bridge.store import Filter, Store, jobs, resources, verify
from fhir_bridge.store.dispatch import Ledger
from fhir_bridge.store.engine import FILE
from fhir_bridge.store.filter import OfType
from fhir_bridge.store.states import TERMINAL
from fhir_bridge.verbs.bridge import Bridge
from fhir_bridge.verbs.intake import Intake
from fhir_bridge.verbs.write import Writer, create
from fhir_bridge.worker.accounts import Accounts
from fhir_bridge.worker.leases import Leases
from fhir_bridge.worker.rooms import Rooms
from fhir_bridge.worker.run import run
from fhir_bridge.worker.sweep import sweep

if TYPE_CHECKING:
    from pathlib import Path

LEASE = 3.0
# Where the web side is killed: a simulated death unwinds, so not where that would tidy up what is stored by then.
BEFORE = {"intake.begun", "blob.written", "blob.synced", "accept.begun", "accept.versions", "accept.jobs"}
TENANT = "default"
FRAMES = 26
# The numbers that the recordings of a visit begin with: in the last kind, both say the same.
VISITS = ((20,), (20, 4_020), (20, 20))
SOUNDS = {first: base64.b64encode(make_wav(FRAMES, first=first, rate=8_000)).decode() for first in (20, 4_020)}
ROUNDS = 800
SWEEPS = 0.3  # of all rounds: each looks at all there is


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


class _Waits:
    """An event whose waiting costs simulated time only."""

    def __init__(self, time: SimClock) -> None:
        self._time = time

    def wait(self, seconds: float) -> bool:
        self._time.sleep(seconds)
        return False

    def is_set(self) -> bool:
        return False


class Ground:
    """The bridge's files, under one world after the other: opened once, and before each made as new."""

    def __init__(self, migrated: Path, folder: Path) -> None:
        given = {"corti_api_url": "http://corti.test", "corti_client_id": "c", "corti_client_secret": "s"}
        given |= {"corti_auth_url": "http://corti.test", "lease_seconds": LEASE, "stream_pace": 4.0}
        given |= {"public_url": "http://bridge.test", "min_free_bytes": 0, "secret_key": "a key for tests only"}
        self.settings = Settings.model_validate(given | {"data_dir": folder})
        self._migrated, self._file = migrated, folder / FILE
        self._refill()
        self.store = Store.open(self.settings)
        self.blobs = open_blobs(self.settings)
        self.keys = KeyRing.open(self.settings)
        self.bridge = Bridge(self.settings, self.store.of(TENANT), self.blobs, self.keys, "http://bridge.test")
        self.ledger = Ledger(self.store.url.render_as_string(hide_password=False))

    def renew(self) -> None:
        """Forget what the last world left."""
        self._refill()
        for audio in (self.settings.data_dir / "audio").glob("??/*"):
            audio.unlink()

    def close(self) -> None:
        self.ledger.close()
        self.store.close()

    def _refill(self) -> None:
        with closing(sqlite3.connect(self._migrated)) as source, closing(sqlite3.connect(self._file)) as here:
            source.backup(here)


class Simulator:
    """One world, from its first visit to its last result."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)  # noqa: S311 - to be foretold
        self.time = SimClock(self.chance)
        self.trouble = self.chance.choice((0.0, 0.02, 0.1))
        self.danger = self.chance.choice((0.0, 0.005, 0.02))
        self.world = World(self.chance, self.time, self.trouble)
        ground.renew()
        self.settings, self.store, self.blobs, self.keys = ground.settings, ground.store, ground.blobs, ground.keys
        self.bridge, self.ledger = ground.bridge, ground.ledger
        self.thread = threading.get_ident()
        self.happened: Counter[str] = Counter()
        self.workers = [self._worker(), self._worker()]
        self.running: list[Rooms] = []
        self.done: set[tuple[str, int]] = set()
        self.visits: list[tuple[str, str, int]] = []

    # --- the story ---

    def play(self) -> None:
        """Visits come, workers work, all ends; then the world is calm and everything is counted."""
        points.watch(self._watch)
        try:
            with clock.use(self.time):
                for _ in range(self.chance.randint(1, 2)):
                    self._visit()
                    self._rounds(self.chance.randint(0, 4))
                self._rounds(8)
                self.danger, self.world.trouble = 0.0, 0.0
                self._until_all_ended()
        finally:
            points.watch(None)

    def problems(self) -> list[str]:
        """What is lost, doubled or stuck."""
        everyone, unfinished = self.store.of_all(), self.ledger.unfinished()
        laws = (verify.findings, lambda conn: verify.stuck(conn, unfinished))
        found = [f"{one.law}: {one.row}" for law in laws for one in everyone.read(law)]
        for n, (encounter, media, first) in enumerate(self.visits):
            repeats = any(one == encounter and it == first for one, _, it in self.visits[:n])
            found += [f"{media}: {what}" for what in self._counted(media, first, repeats=repeats)]
        prefixes = Counter(one.identifier.rpartition("~")[0] for one in self.world.interactions.values())
        found += [f"{n} interactions for {name}" for name, n in prefixes.items() if n > 1]
        return found

    # --- what an EHR does ---

    def _visit(self) -> None:
        name = clock.new_id()
        encounter = self._posted(
            {
                "resourceType": "Encounter",
                "identifier": [{"system": "urn:simulated", "value": name}],
                "status": "in-progress",
                "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            }
        )
        for first in self.chance.choice(VISITS):
            media = {
                "resourceType": "Media",
                "identifier": [{"value": clock.new_id()}],
                "status": "completed",
                "encounter": {"reference": f"Encounter/{encounter}"},
                "content": {"contentType": "audio/wav", "data": SOUNDS[first]},
            }
            self.visits.append((encounter, self._posted(media), first))

    def _posted(self, resource) -> str:
        """Send until it is answered, the same each time."""
        grant = Grant(TENANT, "ehr", "system/*.cruds")
        body = json.dumps(resource).encode()
        while True:
            with suppress(Killed, StoreUnavailable), Intake(self.bridge, TENANT) as intake:
                kept = intake.json([body], limit=2**20, of=resource["resourceType"])
                written = create(Writer(self.bridge, grant, intake.blobs, clock.new_id()), kept)
                if written.keeps_audio:
                    intake.keep()
                return written.row.id
            self.time.sleep(1.0)

    # --- what workers do ---

    def _worker(self) -> Rooms:
        """A new boot of a worker."""
        accounts = _Accounts(self.settings, self.store, self.keys, self.world)
        leases = Leases(self.store, owner=self.chance.randbytes(8).hex(), seconds=LEASE)
        leases.stopping = _Waits(self.time)
        return Rooms(self.settings, self.store, self.blobs, accounts, leases)

    def _rounds(self, count: int) -> None:
        for _ in range(count):
            self._round()

    def _round(self) -> None:
        """Time passes, somebody sweeps, somebody takes what waits."""
        self.time.sleep(self.chance.random() * 3)
        if self.chance.random() < SWEEPS:
            with suppress(Killed, BridgeError):
                sweep(self.store, self.ledger, lease_seconds=LEASE)
        now = int(clock.now().timestamp() * 1000)
        for job in self._waiting(now):
            free = [one for one in self.workers if one not in self.running]
            if free:
                self._run(self.chance.choice(free), job)

    def _waiting(self, now: int):
        found = self.store.of_all().read(lambda conn: jobs.waiting(conn, seconds=0))
        due = [job for job in found if job.queued_ms <= now and (job.id, job.epoch) not in self.done]
        self.chance.shuffle(due)
        return due

    def _run(self, worker: Rooms, job) -> None:
        self.done.add((job.id, job.epoch))
        self.running.append(worker)
        try:
            run(worker, job.id, job.epoch)
        except Killed:
            self.happened["killed"] += 1
            self.workers[self.workers.index(worker)] = self._worker()
        except StoreUnavailable:
            self.happened["unclaimed"] += 1
        finally:
            self.running.remove(worker)
            self.ledger.cancel([job.ticket])  # as DBOS: nobody takes it a second time

    def _until_all_ended(self) -> None:
        for _ in range(ROUNDS):
            self._round()
            states = self.store.of_all().read(jobs.counts)
            if all(state in TERMINAL for state in states):
                return self._round()
        raise AssertionError(f"seed {self.seed}: stuck in {dict(self.store.of_all().read(jobs.counts))}")

    # --- what chance does ---

    def _watch(self, point: str) -> None:
        """Renew leases that are due; then perhaps something happens here."""
        inside = threading.get_ident() != self.thread
        if not inside and self.running and not point.startswith("lease"):
            self._renew(self.running[-1])
        if self.chance.random() >= self.danger:
            return
        what = self.chance.choice(("kill", "kill", "freeze", "database"))
        if what == "database" and point.startswith("write."):
            self.happened["database"] += 1
            raise StoreUnavailable("The database is away")
        if what == "freeze" and not inside and len(self.running) == 1:
            self.happened["frozen"] += 1
            self._frozen()
        elif what == "kill" and (self.running or point in BEFORE):
            raise Killed

    def _renew(self, worker: Rooms) -> None:
        if self.time.passed - getattr(worker, "renewed", 0.0) < LEASE / 3:
            return
        object.__setattr__(worker, "renewed", self.time.passed)
        with suppress(StoreUnavailable):
            worker.leases.renew()

    def _frozen(self) -> None:
        """The one that runs stands still past its lease: others take over and work, then it goes on."""
        self.time.sleep(LEASE * 1.5)
        self._rounds(self.chance.randint(1, 6))

    # --- what is counted ---

    def _all(self, type_: str):
        filter_ = Filter(TENANT).narrowed(OfType((type_,)))
        page = self.store.of_all().read(lambda conn: resources.search(conn, filter_, count=500))
        return [read(row.body) for row in page.rows]

    def _counted(self, media: str, first: int, *, repeats: bool):
        job = self.store.of_all().read(lambda conn: jobs.of_media(conn, TENANT, media))
        if job is None:
            yield "has no job"
            return
        if job.state != "published":
            yield f"ended as {job.state}: {job.error_text}"
            return
        name = f"Media/{media}"
        documents = [one for one in self._all("DocumentReference") if name in json.dumps(one)]
        if len(documents) != 1:
            yield f"{len(documents)} transcripts"
            return
        parts = [one["attachment"] for one in documents[0]["content"]]
        text = next(base64.b64decode(one["data"]) for one in parts if one["contentType"] == "application/json")
        words = [int(word) for segment in json.loads(text) for word in segment["text"].split()]
        if words != list(range(first, first + FRAMES)):
            yield f"heard {words}"
        told = [one for one in self._all("Observation") if name in json.dumps(one)]
        facts = [said(one["valueString"]) for one in told if one["status"] != "entered-in-error"]
        # Whether the same was said in another recording, too, only its evidence can tell.
        known = repeats and not (self.world.new_ids and self.world.evidence)
        if facts != [f"Number {first + 20}"] and not (known and not facts):
            yield f"facts {facts}"


class _Accounts(Accounts):
    """The real accounts, but that they lead to a simulated Corti."""

    def __init__(self, settings, store, keys, world: World) -> None:
        super().__init__(settings, store, keys)
        self._client = SimClient(world)
        self._stream = type("Stream", (SimStream,), {"world": world})

    def _account(self, row):
        return replace(super()._account(row), client=self._client, stream=self._stream, is_elsewhere=False)
