"""A ward: a store, a sandbox that hears numbers, and the runs of a worker, one at a time."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from fhir_bridge import clock
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.keyring import KeyRing
from fhir_bridge.mapping.accepted import accepted_media
from fhir_bridge.mapping.task import JobView, restated, task_from_job
from fhir_bridge.sandbox.numbers import NumbersEngine, make_wav
from fhir_bridge.sandbox.server import Sandbox
from fhir_bridge.store import Filter, Store, binaries, jobs, oauth, resources, results, tables
from fhir_bridge.store.binaries import StoredBlob
from fhir_bridge.store.dispatch import Ledger
from fhir_bridge.store.filter import OfType
from fhir_bridge.store.jobs import NewJob
from fhir_bridge.store.states import State
from fhir_bridge.verbs.record import new_version
from fhir_bridge.worker.rooms import Rooms
from fhir_bridge.worker.run import run

EXAMPLES = Path(__file__).parents[2] / "examples"
TENANT = "default"


@dataclass
class Ward:
    rooms: Rooms
    sandbox: Sandbox
    ledger: Ledger

    @property
    def store(self) -> Store:
        """The store of whoever looks at all tenants; the worker says for each of its steps whose it is."""
        return self.rooms.store.of_all()

    # --- what the web side does ---

    def admit(self, **changes) -> str:
        """Accept an Encounter; return its id."""
        encounter = json.loads((EXAMPLES / "encounter-ambulatory.json").read_text()) | changes
        id_ = clock.new_id()
        self.accept([encounter | {"id": id_}], self.new_task(id_))
        return id_

    def amend(self, encounter: str, **changes) -> None:
        """Accept another version of an Encounter."""
        version = new_version(self.resource("Encounter", encounter) | changes, method="PUT", author="ehr")
        job = self.job_of(encounter)

        def write(conn):
            resources.put(conn, TENANT, (version,))
            jobs.again(conn, job.id)

        self.store.write(write)

    def record(self, encounter: str, sound: bytes | int, mime: str = "audio/wav", **changes) -> str:
        """Accept a Media of these bytes, or of so many numbers; return its id."""
        sound = make_wav(sound) if isinstance(sound, int) else sound
        tenant = self.store.read(lambda conn: oauth.tenant(conn, TENANT))
        with self.rooms.blobs.create(tenant.open_audio_key(KeyRing.open(self.rooms.settings))) as writer:
            writer.write(sound)
            blob = writer.commit()
        media, binary = clock.new_id(), clock.new_id()
        sent = {"resourceType": "Media", "id": media, "status": "completed", "content": {}}
        sent |= {"encounter": {"reference": f"Encounter/{encounter}"}, "createdDateTime": "2026-11-22T08:15:00Z"}
        shown = accepted_media(
            sent | changes, binary_url=f"Binary/{binary}", size=blob.size, sha1=blob.sha1, content_type=mime
        )
        stored = StoredBlob(
            binary, blob.id, blob.size, blob.sha256, blob.sha1, blob.wrapped_key, created_ms=resources.now_ms()
        )
        content = {"resourceType": "Binary", "id": binary, "contentType": mime}
        self.accept([shown, content], self.new_task(encounter, media), stored)
        return media

    def new_task(self, encounter: str, media: str | None = None) -> JobView:
        now = clock.instant()
        return JobView(clock.new_id(), State.STORED, encounter, now, now, media)

    def accept(self, content: list, task: JobView, blob: StoredBlob | None = None) -> None:
        versions = [new_version(one, author="ehr") for one in content] + [new_version(task_from_job(task))]
        kind = "media" if task.media else "interaction"

        def write(conn):
            resources.put(conn, TENANT, versions)
            if blob is not None:
                binaries.add(conn, TENANT, blob)
            binary = None if blob is None else blob.binary
            jobs.create(conn, NewJob(kind, TENANT, task.encounter, task.task, task.media, binary))

        self.store.write(write)

    def accept_resource(self, json) -> None:
        """Store a resource that nothing follows from."""
        self.store.write(lambda conn: resources.put(conn, TENANT, (new_version(json),)))

    # --- what the worker does ---

    def work(self, rounds: int = 20) -> None:
        """Run whatever waits in the queues now, and what that queues, without waiting for delays."""
        for _ in range(rounds):
            waiting = [ticket for ticket, status in self.ledger.unfinished().items() if status == "ENQUEUED"]
            if not waiting:
                return
            for ticket in waiting:
                run(self.rooms, ticket.job, ticket.epoch)
            self.ledger.cancel(waiting)

    def hurry(self) -> None:
        """Run what is delayed as well."""
        waiting = self.ledger.unfinished()
        for ticket in waiting:
            run(self.rooms, ticket.job, ticket.epoch)
        self.ledger.cancel(waiting)

    def run(self, job: str, epoch: int) -> None:
        run(self.rooms, job, epoch)

    def claimed(self) -> jobs.Claim:
        """A job of this worker's that nothing runs."""
        ticket = self.job_of(self.admit()).ticket
        leases = self.rooms.leases
        held = {"owner": leases.owner, "lease_seconds": leases.seconds}
        self.store.write(lambda conn: jobs.claim(conn, ticket, **held))
        return jobs.Claim(ticket.job, ticket.epoch, leases.owner)

    def again(self, media: str, transport: str | None = None) -> None:
        """`$retry`, or a job lost after its end: from the first word."""
        job = self.job_of(media)
        task = new_version(restated(self.resource("Task", job.task), State.STORED, at=clock.instant()), method="PUT")
        shown = new_version(self.resource("Media", media) | {"status": "in-progress"}, method="PUT")

        def write(conn):
            resources.put(conn, TENANT, (task, shown))
            jobs.again(conn, job.id)
            change = {"acked_ms": 0} | ({"transport": transport} if transport else {})
            conn.execute(update(tables.job).where(tables.job.c.id == job.id).values(change))

        self.store.write(write)

    def mishear(self, observation) -> None:
        """Make a fact of the stream one that nobody said, here and at Corti."""
        fact_id = observation["identifier"][0]["value"]
        [interaction] = self.sandbox.state.interactions.values()
        del interaction.facts[fact_id]
        rows = update(tables.fact).where(tables.fact.c.corti_id == fact_id)
        self.store.write(lambda conn: conn.execute(rows.values(likeness="something else")))

    def forget_audio(self, media: str) -> None:
        binary = self.resource("Media", media)["content"]["url"].rpartition("/")[2]
        self.store.write(lambda conn: binaries.forget(conn, TENANT, binary))

    def break_results(self, media: str) -> None:
        """Leave a segment no code of ours would write."""
        row = {"tenant": TENANT, "media": media, "session": 0, "n": 0, "start_ms": "soon", "end_ms": "later"}
        row |= {"channel": 0, "text": "words", "superseded": False}
        columns = ", ".join(row)
        places = ", ".join(f":{name}" for name in row)
        insert = text(f"INSERT INTO segment ({columns}) VALUES ({places})")  # noqa: S608 - names of ours
        self.store.write(lambda conn: conn.execute(insert, row))

    def mend_results(self, media: str) -> None:
        self.store.write(lambda conn: results.forget(conn, results.MediaKey(TENANT, media)))

    def cancel(self, media: str) -> None:
        job = self.job_of(media)
        self.store.write(lambda conn: jobs.cancel(conn, job.id))

    def long_ago(self, job: jobs.Job, *, hours: int) -> None:
        since = job.suspended_ms - hours * 3_600_000
        change = update(tables.job).where(tables.job.c.id == job.id).values(suspended_ms=since)
        self.store.write(lambda conn: conn.execute(change))

    def meanwhile(self, do, *, after: float) -> None:
        threading.Timer(after, do).start()

    # --- what an EHR does and sees ---

    def edit(self, resource) -> None:
        version = new_version(resource, method="PUT", author="ehr")
        self.store.write(lambda conn: resources.put(conn, TENANT, (version,)))

    def delete(self, resource) -> None:
        type_, id_ = resource["resourceType"], resource["id"]
        self.store.write(lambda conn: resources.remove(conn, TENANT, type_, id_, author="ehr"))

    def resource(self, type_: str, id_: str):
        row = self.store.read(lambda conn: resources.read(conn, Filter(TENANT), type_, id_))
        return read(row.body)

    def versions(self, type_: str, id_: str):
        """Every version of a resource, the first one first."""
        v = tables.version.c
        rows = select(v.body).where(v.type == type_, v.id == id_).order_by(v.vid)
        return [read(body) for body in self.store.read(lambda conn: conn.execute(rows).scalars().all())]

    def all(self, type_: str):
        filter_ = Filter(TENANT).narrowed(OfType((type_,)))
        page = self.store.read(lambda conn: resources.search(conn, filter_, count=500))
        return [read(row.body) for row in page.rows]

    def vid(self, type_: str, id_: str) -> int:
        return self.store.read(lambda conn: resources.read(conn, Filter(TENANT), type_, id_)).vid

    def job_of(self, id_: str) -> jobs.Job:
        """The job of a Media, or of an Encounter's interaction."""
        found = self.store.read(lambda conn: jobs.of_media(conn, TENANT, id_))
        of_encounter = self.store.read(lambda conn: jobs.of_encounter(conn, TENANT, id_))
        return found or of_encounter[0]

    def task_of(self, id_: str):
        return self.resource("Task", self.job_of(id_).task)

    # --- what can be counted ---

    def numbers(self) -> list[int]:
        """What the complete transcript says, in its order."""
        [document] = self.all("DocumentReference")
        segments = json.loads(base64.b64decode(document["content"][2]["attachment"]["data"]))
        return [int(word) for segment in segments for word in segment["text"].split()]

    def facts(self) -> list[str]:
        return sorted(one["valueString"] for one in self.all("Observation") if one["status"] == "preliminary")


@pytest.fixture
def sandbox():
    with Sandbox(NumbersEngine(), ("127.0.0.1", 0), ("client", "secret")) as running:
        yield running


@pytest.fixture
def bridge_settings(sqlite_settings):
    """Where the ward's store is; a module may say otherwise."""
    return sqlite_settings


@pytest.fixture
def corti_settings(bridge_settings, sandbox):
    corti = {"corti_api_url": sandbox.url, "corti_auth_url": sandbox.url, "corti_client_id": "client"}
    corti |= {"corti_client_secret": "secret", "stream_pace": 1000.0, "lease_seconds": 3.0}
    return type(bridge_settings).model_validate(bridge_settings.model_dump() | corti)


@pytest.fixture
def ward(corti_settings, sandbox):
    rooms = Rooms.open(corti_settings, boot="boot-1")
    ledger = Ledger(rooms.store.url.render_as_string(hide_password=False))
    rooms.leases.start()
    yield Ward(rooms, sandbox, ledger)
    ledger.close()
    rooms.close()
