"""FHIR clients of other projects, unmodified, on whole journeys against a bridge that listens on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest
from conftest import INTEROP, SECRET, example, wav
from fhirclient.client import FHIRClient
from fhirclient.models.encounter import Encounter
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRUnauthorizedException
from fhirpy import AsyncFHIRClient, SyncFHIRClient
from fhirpy.base.exceptions import AuthorizationError, ResourceNotFound
from joserfc.jwk import ECKey, RSAKey
from werkzeug.serving import make_server

from fhir_bridge.fhir.rest.served import offers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask

    from fhir_bridge.settings import Settings

INTERACTIONS = ("vread", "history-instance", "history-type", "patch", "delete")


@pytest.fixture
def door() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def web_settings(sqlite_settings: Settings, door: socket.socket) -> Settings:
    return sqlite_settings.model_copy(update={"public_url": f"http://127.0.0.1:{door.getsockname()[1]}"})


@pytest.fixture
def base(app: Flask, door: socket.socket, web_settings: Settings) -> Iterator[str]:
    """The base URL of a bridge that serves."""
    server = make_server("127.0.0.1", door.getsockname()[1], app, threaded=True, fd=door.fileno())
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    yield f"{web_settings.public_url}/fhir"
    server.shutdown()
    serving.join()


@pytest.fixture
def journey(node: str, base: str, ehr: Any, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Run a script of interop/ as an EHR; return what it saw."""
    audio = tmp_path / "recording.wav"
    audio.write_bytes(wav())
    told = {"FHIR_BASE": base, "ACCESS_TOKEN": ehr.token, "AUDIO": str(audio), "PATH": os.environ["PATH"]}

    def run(script: str) -> dict[str, Any]:
        called = [node, str(INTEROP / script)]
        done = subprocess.run(called, env=told, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603 - our own script
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.interop
def test_fhir_kit_client_finds_everything_that_is_declared_to_work(journey):
    seen = journey("fhir-kit-client.mjs")

    assert seen["everything"] == ["Encounter", "Task", "Media", "Task", "Patient"]
    assert sorted(seen["paged"]) == ["0", "1", "2", "3", "4"]
    assert {what for what in INTERACTIONS if offers("Patient", what)} <= set(seen["declared"])


@pytest.mark.interop
def test_medplum_s_client_finds_everything_that_is_declared_to_work(journey):
    seen = journey("medplum.mjs")

    assert seen["tasks"] == ["accepted"]
    assert sorted(seen["paged"]) == ["0", "1", "2", "3", "4"]


@pytest.mark.interop
@pytest.mark.parametrize("alg", ["RS384", "ES384"])
def test_smart_s_own_library_works_as_a_backend_service_with_a_key(node, base, new_ehr, alg):
    key = RSAKey.generate_key(2048) if alg == "RS384" else ECKey.generate_key("P-384")
    named = {"kid": "its key", "alg": alg}
    public = json.dumps({"keys": [key.as_dict(private=False) | named]})
    service = new_ehr("system/Patient.rs system/Encounter.c", secret_hash=None, jwks=public)
    new_ehr().create({"resourceType": "Patient"})
    private = json.dumps(key.as_dict(private=True) | named)
    told = {"FHIR_BASE": base, "CLIENT": service.name, "KEY": private, "PATH": os.environ["PATH"]}

    called = [node, str(INTEROP / "backend.mjs")]
    done = subprocess.run(called, env=told, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603 - our own script

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen == {"first": 200, "seconds": 300, "again": "invalid_client", "found": 1, "refused": 403}


def test_fhirclient_logs_in_by_what_the_statement_says_and_works(base, ehr):
    # The statement alone tells it where tokens are given: it knows no .well-known.
    asked = {"app_id": ehr.name, "app_secret": SECRET, "api_base": base, "scope": ehr.scope}
    smart = FHIRClient(settings=asked)
    assert not smart.prepare()
    with pytest.raises(FHIRUnauthorizedException):
        Patient.read("x", smart.server)
    smart.server.authorize()
    assert smart.ready

    made = Patient(Patient({"identifier": [{"system": "urn:test", "value": "0"}]}).create(smart.server))
    visit = Encounter(example("encounter-ambulatory", id=None, subject={"reference": f"Patient/{made.id}"}))
    visit.create(smart.server)
    for value in "1234":
        Patient({"identifier": [{"system": "urn:test", "value": value}]}).create(smart.server)
    made.active = True
    made.update(smart.server)

    assert Patient.read(made.id, smart.server).active
    found = Patient.where({"identifier": "urn:test|", "_count": "2"}).perform_resources_iter(smart.server)
    assert sorted(patient.identifier[0].value for patient in found) == list("01234")


def test_fhirpy_works(base, ehr):
    client = SyncFHIRClient(base, authorization=f"Bearer {ehr.token}")
    with pytest.raises(AuthorizationError):
        SyncFHIRClient(base).resources("Patient").fetch()
    with pytest.raises(ResourceNotFound):
        client.get("Patient", "nobody")

    for value in "01234":
        client.resource("Patient", identifier=[{"system": "urn:test", "value": value}]).save()
    patients = client.resources("Patient").search(identifier="urn:test|").limit(2)
    made = patients.search(identifier="urn:test|0").get()
    made["active"] = True
    made.save()
    visit = client.resource("Encounter", **example("encounter-ambulatory", id=None, subject=made.to_reference()))
    visit.save()

    assert sorted(patient["identifier"][0]["value"] for patient in patients.fetch_all()) == list("01234")
    assert patients.count() == len("01234")
    assert client.reference("Patient", made["id"]).to_resource()["active"] is True
    assert client.resources("Encounter").search(patient=made["id"]).first()["id"] == visit["id"]
    everything = visit.execute("$everything", method="get")
    assert {entry["resource"]["resourceType"] for entry in everything["entry"]} >= {"Encounter", "Task"}


def test_fhirpy_asynchronously_finds_what_it_would_create(base, ehr):
    async def journey() -> tuple[list[bool], list[str]]:
        client = AsyncFHIRClient(base, authorization=f"Bearer {ehr.token}")
        patients = client.resources("Patient").search(identifier="urn:test|0")
        wanted = client.resource("Patient", identifier=[{"system": "urn:test", "value": "0"}])
        made = [(await patients.get_or_create(wanted))[1] for _ in range(3)]
        return made, [patient["id"] for patient in await patients.fetch_all()]

    made, found = asyncio.run(journey())

    assert made == [True, False, False]
    assert len(found) == 1
