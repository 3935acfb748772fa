"""Asynchronous requests in a worker that runs by itself, and what it does when it comes too late."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict

import pytest

from fhir_bridge.blobs import open_blobs
from fhir_bridge.errors import BlobDamaged, Fenced
from fhir_bridge.smart.grant import Grant
from fhir_bridge.store import Store, asynchronous
from fhir_bridge.store.asynchronous import Request, Turn
from fhir_bridge.store.versions import now_ms
from fhir_bridge.verbs.errand import Result
from fhir_bridge.worker.errands import Errands
from fhir_bridge.worker.main import Worker

KEY = bytes(32)


def kept(store: Store) -> Request:
    grant = asdict(Grant("default", "ehr", "system/*.cruds"))
    asked = {"grant": grant, "origin": "http://ehr.test", "path": "Patient", "pairs": [], "strict": False}
    new = Request("r", "default", "ehr", "search", now_ms(), asked=json.dumps(asked))
    store.write(lambda conn: asynchronous.add(conn, new))
    return new


@pytest.fixture
def events(caplog):
    caplog.set_level(logging.INFO, "fhir_bridge")

    def named(prefix: str) -> list[str]:
        told = (json.loads(record.getMessage()) for record in caplog.records if record.name == "fhir_bridge")
        return [one["event"] for one in told if one["event"].startswith(prefix)]

    return named


def test_a_worker_looks_for_requests_by_itself(corti_settings, events):
    store = Store.open(corti_settings).of_all()
    kept(store)
    worker = Worker(corti_settings)
    worker.start()
    end = time.monotonic() + 20
    while (found := store.read(lambda conn: asynchronous.of(conn, "r"))).state != "done":
        assert time.monotonic() < end
        time.sleep(0.05)
    worker.stop()
    store.close()

    body = json.loads(json.loads(found.answer)["body"])
    assert (body["type"], body["link"][0]["url"]) == ("searchset", "http://ehr.test/fhir/Patient")
    assert events("request.") == ["request.started", "request.finished"]


def test_an_answer_that_comes_too_late_leaves_no_files(ward):
    store, blobs = ward.store, open_blobs(ward.rooms.settings)
    with blobs.create(KEY) as writer:
        writer.write(b"{}\n")
        blob = writer.commit()
    late = Errands(ward.rooms, stopping=lambda: False)

    with pytest.raises(Fenced):
        late._answer(ward.rooms.of("default"), Turn("gone", 1, "boot-1"), Result("{}", json.dumps([{"blob": blob.id}])))

    with pytest.raises(BlobDamaged):
        blobs.reader(blob.id, blob.wrapped_key, KEY, blob.size)
    assert store.read(lambda conn: asynchronous.of(conn, "gone")) is None


def test_a_request_that_another_runs_is_left_to_it(ward, events):
    store = ward.store
    kept(store)

    class Overtaken(Errands):
        """Another worker takes the request over between its run and its answer."""

        def _answer(self, rooms, turn, result):
            store.write(lambda conn: asynchronous.release(conn, turn))
            store.write(lambda conn: asynchronous.claim(conn, "r", owner="another", lease_seconds=3))
            super()._answer(rooms, turn, result)

    Overtaken(ward.rooms, stopping=lambda: False).round()

    assert store.read(lambda conn: asynchronous.of(conn, "r")).owner == "another"
    assert events("request.") == ["request.started", "request.lost"]
