"""Two FHIR validators of other projects find no error in anything that the bridge answers on a whole journey."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from conftest import EXAMPLES, example, media, wav

from fhir_bridge.fhir.rest.operations import OPERATIONS
from fhir_bridge.fhir.rest.served import BY_TYPE, SYSTEM
from fhir_bridge.mapping.tables_results import FACT_GROUPS
from fhir_bridge.sandbox.script import Line, Script, ScriptEngine, Told
from fhir_bridge.sandbox.server import Sandbox
from fhir_bridge.store.states import STATES, State
from fhir_bridge.worker.main import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fhir_bridge.settings import Settings

pytestmark = pytest.mark.interop

SECONDS, PACE = 6.0, 2.0
GROUPS = [*FACT_GROUPS, "a-group-of-tomorrow"]
SCRIPT = Script(
    utterances=[Line(start=at, end=at + 1, text=f"Sentence {at}.", speaker=at % 2) for at in range(int(SECONDS))],
    facts=[Told(at=1 + n / 10, group=group, text=f"About {group}", quote="Sentence") for n, group in enumerate(GROUPS)],
)
SEEN = [STATES[state] for state in State if state is not State.ERASED]
BATCHES = {"transaction", "batch"}
TOLD = {"CapabilityStatement", "OperationDefinition", "OperationOutcome", "Parameters", "Bundle"}


@pytest.fixture
def received(received: Path, request: pytest.FixtureRequest) -> Path:
    """What this test alone receives, and in this run alone."""
    folder = received / request.node.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


@pytest.fixture
def corti() -> Iterator[Sandbox]:
    with Sandbox(ScriptEngine(SCRIPT), ("127.0.0.1", 0), ("client", "secret")) as running:
        yield running


@pytest.fixture
def web_settings(web_settings: Settings, corti: Sandbox) -> Settings:
    reached = {"corti_api_url": corti.url, "corti_auth_url": corti.url, "corti_client_id": "client"}
    reached |= {"corti_client_secret": "secret", "stream_pace": PACE, "lease_seconds": 3.0}
    return type(web_settings).model_validate(web_settings.model_dump() | reached)


@pytest.fixture
def start_worker(web_settings: Settings) -> Iterator[Callable[[], None]]:
    worker = Worker(web_settings)
    started = []

    def start() -> None:
        worker.start()
        started.append(worker)

    yield start
    for each in started:
        each.stop()


def test_the_validators_find_what_is_wrong(judged, tmp_path):
    wrong = {
        "unknown-element": {"resourceType": "Patient", "colour": "red"},
        "not-bound": {"resourceType": "Patient", "gender": "x"},
        "missing-inside": bundle("searchset", {"resource": example("task", status=None)}),
        "invariant": bundle("searchset", {"request": {"method": "GET", "url": "x"}}),
        "no-such-type": {"resourceType": "Patience"},
    }
    for name, resource in wrong.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(resource))

    found = judged(tmp_path)

    assert {finding["source"].rpartition("/")[2].removesuffix(".json") for finding in found} == set(wrong)
    assert {finding["judge"] for finding in found} == {"fhir", "@medplum/core"}


def test_the_examples_that_tests_are_built_from_are_valid(judged):
    assert judged(EXAMPLES) == []


@pytest.mark.timeout(300)
def test_every_kind_of_answer_of_a_whole_journey_is_valid(ehr, corti, start_worker, received, judged):
    tell_and_ask_all(ehr)
    visit = visit_of_people(ehr)
    first = ehr.create(media(visit, wav(SECONDS)))
    out_of_reach_and_cancelled(ehr, corti, start_worker, visit)
    until(lambda: ehr.get(f"Observation?encounter={visit}").found)
    discard(corti, ehr.get(f"Observation?encounter={visit}").found[0])
    until(lambda: look(ehr, visit) and status_of(ehr, first) == "completed")
    cut_short = ehr.create(media(visit, wav(1.0)[:-9000]))
    until(lambda: status_of(ehr, cut_short) == "completed")
    corti.switches.config_denied = "not this one"
    refused = ehr.create(media(visit, wav(0.7)))
    until(lambda: status_of(ehr, refused) == "failed")
    look(ehr, visit)
    look_back(ehr, visit, first)

    found = kinds_in(received)
    assert set(found) >= TOLD | set(BY_TYPE) - {"AuditEvent"}
    assert found["Task"] >= {phase.task for phase in SEEN}
    assert found["Media"] >= {phase.media for phase in SEEN}
    assert found["Observation"] >= {"preliminary", "entered-in-error"}
    assert found["Bundle"] == {"searchset", "history", "document"} | {
        f"{one}-response" for one in SYSTEM if one in BATCHES
    }
    assert judged(received) == []


# --- what an EHR does -------------------------------------------------------------------


def tell_and_ask_all(ehr: Any) -> None:
    """What needs no worker: statements, refusals, a dry run, a transaction, a search that is half understood."""
    ehr.get("metadata")
    ehr.get("nowhere")
    ehr.post("Encounter/$explain", example("encounter-ambulatory"))
    ehr.post("Encounter/$validate", example("encounter-ambulatory"))
    ehr.post("Encounter/$validate", example("encounter-ambulatory", status="x"))
    ehr.post("Organization", example("organization"), Prefer="return=OperationOutcome")
    ehr.post("Composition", example("composition"))
    assert ehr.post("", transaction()).status == 200
    ehr.post("", bundle("batch", {"request": {"method": "GET", "url": "Patient/nobody"}}))
    ehr.get("Organization?colour=blue")
    for operation in OPERATIONS:
        ehr.get(f"OperationDefinition/{operation.id}")
    for of in BY_TYPE:
        ehr.get(f"{of}?_summary=true")


def visit_of_people(ehr: Any) -> str:
    patient, practitioner = [ehr.create(example(of)) for of in ("patient", "practitioner")]
    people = [{"individual": {"reference": f"Practitioner/{practitioner}"}}]
    return ehr.encounter(subject={"reference": f"Patient/{patient}"}, participant=people)


def out_of_reach_and_cancelled(ehr: Any, corti: Sandbox, start_worker: Callable[[], None], visit: str) -> None:
    """Corti takes nothing for a while; one recording is not wanted any more meanwhile."""
    unwanted = ehr.create(media(ehr.encounter()))
    corti.switches.credit = False
    start_worker()
    until(lambda: status_of(ehr, visit) == "on-hold")
    [task] = ehr.get(f"Task?focus=Media/{unwanted}").found
    ehr.put(f"Task/{task['id']}", task | {"status": "cancelled"})
    until(lambda: status_of(ehr, unwanted) == "cancelled")
    ehr.get(f"Media/{unwanted}")
    corti.switches.credit = True


def look(ehr: Any, visit: str) -> bool:
    """Read all that there is of an Encounter, in each way."""
    everything = ehr.get(f"Encounter/{visit}/$everything").found
    for one in everything:
        ehr.get(f"{one['resourceType']}/{one['id']}")
    for of in ("Observation", "DocumentReference"):
        ehr.get(f"{of}?encounter={visit}&_revinclude=Provenance:target&_include=*")
    ehr.get("Device")
    for document in (one for one in everything if one["resourceType"] == "DocumentReference"):
        for url in (content["attachment"].get("url") for content in document["content"]):
            if url:
                ehr.get(url.rpartition("/fhir/")[2], Accept="application/fhir+json")
    return True


def look_back(ehr: Any, visit: str, recording: str) -> None:
    """What came to be: versions, all at once, as a document, and once more."""
    for path in ("", f"/{recording}"):
        ehr.get(f"Media{path}/_history")
    ehr.get("_history?_count=200")
    ehr.get(f"Encounter/{visit}/$document")
    ehr.call("DELETE", f"Encounter/{ehr.encounter()}")
    ehr.get("Encounter/_history")
    patch = [{"op": "replace", "path": "/status", "value": "finished"}]
    ehr.call("PATCH", f"Encounter/{visit}", json.dumps(patch).encode(), Content_Type="application/json-patch+json")
    ehr.post(f"Media/{recording}/$retry", None)


def status_of(ehr: Any, focus: str) -> str:
    """The status of the Task of an Encounter or a Media."""
    [task] = ehr.get(f"Task?focus=Encounter/{focus},Media/{focus}").found
    return task["status"]


def discard(corti: Sandbox, shown: dict[str, Any]) -> None:
    """As a clinician does in Corti's own console, once the EHR has seen it."""
    ids = {one["value"] for one in shown["identifier"]}
    for fact in (fact for each in corti.state.interactions.values() for fact in each.facts.values()):
        fact.discarded = fact.discarded or fact.id in ids


def until(happened: Callable[[], object], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


# --- bodies -----------------------------------------------------------------------------


def bundle(of: str, entry: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": of, "entry": [entry]}


def transaction() -> dict[str, Any]:
    """The example of tests/examples with its audio inline and without what stays to be looked up."""
    whole = example("bundle-transaction")
    patient, visit, recording = whole["entry"]
    patient["request"].pop("ifNoneExist")
    visit["resource"].pop("participant")
    recording["resource"]["content"] = media("")["content"]
    return whole


def kinds_in(folder: Path) -> dict[str, set[str]]:
    """The statuses of each type, or the types of Bundles, that were received: also inside Bundles."""
    wholes = [json.loads(path.read_text()) for path in folder.iterdir()]
    inside = [entry["resource"] for whole in wholes for entry in whole.get("entry", []) if "resource" in entry]
    found: dict[str, set[str]] = {}
    for one in (*wholes, *inside):
        type_ = one["resourceType"]
        found.setdefault(type_, set()).add(one["type"] if type_ == "Bundle" else one.get("status", ""))
    return found
