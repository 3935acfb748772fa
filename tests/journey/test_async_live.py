"""A client that waits as it is told to, a worker that works by itself, and Corti's sandbox."""

from __future__ import annotations

import time

import pytest
from conftest import media, wav

from fhir_bridge.sandbox.script import Line, Script, ScriptEngine, Told
from fhir_bridge.sandbox.server import Sandbox
from fhir_bridge.worker.main import Worker

HERE = "http://127.0.0.1:8080/fhir/"
LATER = {"Prefer": "respond-async"}
SCRIPT = Script(
    utterances=[Line(start=0.2, end=1.0, text="Rest for a week.")],
    facts=[Told(at=1.0, group="plan", text="Rest for a week")],
)


@pytest.fixture
def corti():
    with Sandbox(ScriptEngine(SCRIPT), ("127.0.0.1", 0), ("client", "secret")) as running:
        yield running


@pytest.fixture
def web_settings(web_settings, corti):
    account = {"corti_api_url": corti.url, "corti_auth_url": corti.url, "corti_client_id": "client"}
    account |= {"corti_client_secret": "secret", "stream_pace": 4.0, "lease_seconds": 3.0}
    return type(web_settings).model_validate(web_settings.model_dump() | account)


@pytest.fixture
def worker(bridge, web_settings):  # noqa: ARG001 - the web side is there first
    running = Worker(web_settings)
    running.start()
    yield running
    running.stop()


def fetched(ehr, answer, seconds: float = 60.0):
    """Ask as often as Retry-After allows, and return what the last answer was and how far it was before."""
    assert answer.status == 202, answer.raw
    place, seen, end = answer.headers["Content-Location"].removeprefix(HERE), [], time.monotonic() + seconds
    while (found := ehr.get(place)).status == 202:
        seen.append(found.headers["X-Progress"])
        assert time.monotonic() < end, seen
        time.sleep(float(found.headers["Retry-After"]))
    assert found.status == 200, found.raw
    return found.json, seen


@pytest.mark.usefixtures("worker")
def test_a_recording_is_waited_for_then_told_as_a_document_and_exported(ehr):
    visit = ehr.encounter()

    told, seen = fetched(ehr, ehr.post("Media", media(visit, wav(4.0)), **LATER))
    [made] = told["entry"]
    document, _ = fetched(ehr, ehr.get(f"Encounter/{visit}/$document", **LATER))
    manifest, _ = fetched(ehr, ehr.get("$export?_type=Observation,Media", **LATER))

    assert made["response"]["status"] == "201 Created"
    assert made["resource"]["status"] == "completed"
    assert seen
    note = document["entry"][0]["resource"]["entry"][0]["resource"]
    assert [section["title"] for section in note["section"]] == ["Plan"]
    assert "<li>Rest for a week</li>" in note["section"][0]["text"]["div"]
    kinds = [entry["resource"]["resourceType"] for entry in document["entry"][0]["resource"]["entry"]]
    assert set(kinds) == {"Composition", "Encounter", "Device", "Observation"}
    assert {file["type"]: file["count"] for file in manifest["output"]} == {"Observation": 1, "Media": 1}
