"""A visit that is taken back while its recording is at Corti: nothing may be published after that."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest
from conftest import media, wav

from fhir_bridge.sandbox.script import Line, Script, ScriptEngine, Told
from fhir_bridge.sandbox.server import Sandbox
from fhir_bridge.store import jobs, verify
from fhir_bridge.store.dispatch import Ledger
from fhir_bridge.worker.rooms import Rooms
from fhir_bridge.worker.run import run

pytestmark = pytest.mark.usefixtures("proved")
SECONDS = 80
SCRIPT = Script(
    utterances=[Line(start=at, end=at + 0.9, text=f"sentence number {at}") for at in range(SECONDS)],
    facts=[Told(at=at, group="plan", text=f"plan number {at}") for at in range(1, SECONDS, 2)],
)


@pytest.fixture
def corti():
    with Sandbox(ScriptEngine(SCRIPT), ("127.0.0.1", 0), ("client", "secret")) as running:
        yield running


@pytest.fixture
def web_settings(sqlite_settings, corti):
    account = {"corti_api_url": corti.url, "corti_auth_url": corti.url, "corti_client_id": "client"}
    account |= {"corti_client_secret": "secret", "stream_pace": 8.0, "public_url": "http://127.0.0.1:8080"}
    # Leases are not renewed during the test: what stops a run here is its own next write.
    account |= {"lease_seconds": 60.0}
    return type(sqlite_settings).model_validate(sqlite_settings.model_dump() | account)


@pytest.fixture
def rooms(bridge, web_settings):  # noqa: ARG001 - the web side makes the tenant
    """The bridge's worker, opened after the web side has made its tenant."""
    opened = Rooms.open(web_settings, boot="boot-1")
    yield opened
    opened.close()


@contextmanager
def working(rooms):
    """Run whatever is queued in a thread of its own; it has ended when the block ends."""
    ledger = Ledger(rooms.store.url.render_as_string(hide_password=False))

    def work():
        while waiting := [ticket for ticket, status in ledger.unfinished().items() if status == "ENQUEUED"]:
            for ticket in waiting:
                run(rooms, ticket.job, ticket.epoch)
            ledger.cancel(waiting)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        worker.join(60)
        ledger.close()
    assert not worker.is_alive()


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_nothing_of_a_stream_is_published_once_its_visit_was_entered_in_error(ehr, bridge, rooms):
    visit = ehr.encounter()
    recording = ehr.create(media(visit, wav(SECONDS)))
    with working(rooms):
        until(lambda: len(ehr.get("Observation").found) >= 3 and ehr.get("DocumentReference").found)
        current = ehr.get(f"Encounter/{visit}").json
        answer = ehr.put(f"Encounter/{visit}", current | {"status": "entered-in-error"})
        seen = ehr.get("Observation").ids
        assert answer.status == 200, answer.raw

    job = bridge.store.read(lambda conn: jobs.of_media(conn, "default", recording))
    results = [*ehr.get("Observation").found, *ehr.get("DocumentReference").found]
    assert sorted(ehr.get("Observation").ids) == sorted(seen)
    assert {one["status"] for one in results} == {"entered-in-error"}
    assert ehr.get(f"Media/{recording}").json["status"] == "entered-in-error"
    assert ehr.get(f"Task/{job.task}").json["status"] == "cancelled"
    assert bridge.store.read(verify.findings) == ()


def test_a_cancelled_stream_keeps_what_was_heard_and_says_nothing_more(ehr, bridge, rooms):
    recording = ehr.create(media(ehr.encounter(), wav(SECONDS)))
    with working(rooms):
        until(lambda: len(ehr.get("Observation").found) >= 3)
        assert ehr.post(f"Media/{recording}/$cancel", b"").status == 200
        seen = ehr.get("Observation").ids

    task = ehr.get(f"Task?focus=Media/{recording}").found[0]
    assert sorted(ehr.get("Observation").ids) == sorted(seen)
    assert len(seen) < len(SCRIPT.facts)
    assert (task["status"], ehr.get(f"Media/{recording}").json["status"]) == ("cancelled", "stopped")
    assert bridge.store.read(verify.findings) == ()
