"""$export: files of one resource a line, for whoever asked."""

import json

import pytest
from conftest import example, media
from sqlalchemy import update
from test_api_async import HERE, LATER, After, left, place_of, row
from test_api_audio import blobs

from fhir_bridge import clock
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.store import tables
from fhir_bridge.verbs.retention import Keeper
from fhir_bridge.worker.errands import Errands
from fhir_bridge.worker.rooms import Rooms


def exported(ehr, errands, path: str, **headers: str) -> dict[str, list[dict]]:
    """Export and return the resources of each type."""
    place = place_of(ehr.get(path, **LATER | headers))
    errands.round()
    manifest = manifest_of(ehr, place)
    return {file["type"]: lines(ehr, file) for file in manifest["output"]}


def manifest_of(ehr, place: str) -> dict:
    answer = ehr.get(place)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json"), answer.raw
    return answer.json


def lines(ehr, file: dict) -> list[dict]:
    answer = ehr.get(file["url"].removeprefix(HERE), Accept="application/fhir+ndjson")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/fhir+ndjson")
    found = [json.loads(line) for line in answer.raw.decode().splitlines()]
    assert len(found) == file["count"]
    return found


def test_everything_is_exported_with_a_manifest(ehr, errands):
    patient = ehr.create(example("patient"))
    visit = ehr.encounter(subject={"reference": f"Patient/{patient}"})
    place = place_of(ehr.get("$export?_outputFormat=ndjson", **LATER))
    errands.round()
    later = ehr.encounter()

    answer = ehr.get(place)
    manifest = answer.json

    assert manifest["request"] == f"{HERE}$export?_outputFormat=ndjson"
    assert manifest["requiresAccessToken"] is True
    assert manifest["error"] == []
    assert "Expires" in answer.headers
    assert {file["type"] for file in manifest["output"]} == {"Patient", "Encounter", "Task"}
    found = {one["id"]: one for file in manifest["output"] for one in lines(ehr, file)}
    assert {patient, visit} < set(found)
    assert later not in found
    assert found[patient] == ehr.get(f"Patient/{patient}").json
    newer = exported(ehr, errands, f"$export?_type=Encounter&_since={manifest['transactionTime']}")
    assert [one["id"] for one in newer["Encounter"]] == [later]


def test_every_line_is_a_valid_resource(ehr, errands):
    ehr.create(media(ehr.encounter()))
    for found in exported(ehr, errands, "$export").values():
        for one in found:
            checked(read(json.dumps(one)), of=one["resourceType"])


def test_what_is_about_patients_is_exported_alone(ehr, errands):
    patient = ehr.create(example("patient"))
    of_patient = ehr.encounter(subject={"reference": f"Patient/{patient}"})
    of_nobody = ehr.encounter(subject=None)
    sent = example("provenance", target=[{"reference": f"Encounter/{of_patient}"}], entity=None)
    mine = ehr.create(sent)
    ehr.create(sent | {"target": [{"reference": f"Encounter/{of_nobody}"}]})
    ehr.create(example("organization"))

    found = exported(ehr, errands, "Patient/$export")

    assert [one["id"] for one in found["Encounter"]] == [of_patient]
    assert [one["id"] for one in found["Provenance"]] == [mine]
    assert set(found) == {"Patient", "Encounter", "Task", "Provenance"}


def test_an_export_is_narrowed_by_types_and_filters(ehr, errands):
    finished, cancelled, _ = (ehr.encounter(status=status) for status in ("finished", "cancelled", "in-progress"))
    ehr.create(example("organization"))
    filters = "_typeFilter=Encounter?status=finished,Encounter?status=cancelled&_typeFilter=Organization?name=x"

    found = exported(ehr, errands, f"$export?_type=Encounter,Organization&{filters}")

    assert {one["id"] for one in found["Encounter"]} == {finished, cancelled}
    assert set(found) == {"Encounter"}


def test_an_export_reads_page_by_page(ehr, errands, bridge):
    entries = [
        {"resource": example("organization"), "request": {"method": "POST", "url": "Organization"}} for _ in range(500)
    ]
    ehr.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    ehr.create(example("organization"))

    found = exported(ehr, errands, "$export?_type=Organization")

    assert len({one["id"] for one in found["Organization"]}) == 501
    assert row(bridge).progress == "Organization: 501"


def test_an_export_by_post_takes_parameters(ehr, errands):
    ehr.create(example("organization"))
    body = {"resourceType": "Parameters", "parameter": [{"name": "_type", "valueString": "Organization"}]}
    place = place_of(ehr.post("$export", body, **LATER))
    errands.round()
    assert [file["type"] for file in manifest_of(ehr, place)["output"]] == ["Organization"]


@pytest.mark.parametrize(
    "query",
    [
        "_outputFormat=csv",
        "_since=yesterday",
        "_type=Claim",
        "_type=Binary",
        "_type=AuditEvent",
        "_elements=id",
        "_typeFilter=Encounter",
        "_typeFilter=Claim?status=x",
        "_typeFilter=Encounter?colour=blue",
        "_typeFilter=Encounter?status=finished%26_count=5",
        "_type=Patient&_typeFilter=Encounter?status=finished",
    ],
)
def test_an_export_that_cannot_be_is_refused_at_once(ehr, query):
    answer = ehr.get(f"$export?{query}", **LATER)
    assert answer.status == 400, answer.raw
    assert answer.json["resourceType"] == "OperationOutcome"


def test_an_export_is_only_fetched_later(ehr):
    answer = ehr.get("$export")
    assert (answer.status, answer.issue["code"]) == (400, "not-supported")


def test_an_export_takes_the_right_to_search_and_to_read(ehr, new_ehr, errands):
    ehr.create(example("patient"))
    ehr.encounter(status="finished")
    ehr.encounter()

    for weak in ("system/Patient.r", "system/Patient.s"):
        assert new_ehr(weak).get("$export", **LATER).status == 403
    limited = new_ehr("system/Patient.s system/Encounter.rs?status=finished")
    assert limited.get("$export?_type=Patient,Encounter", **LATER).status == 403
    assert {type_: len(found) for type_, found in exported(limited, errands, "$export").items()} == {"Encounter": 1}


def test_a_client_has_one_export_at_a_time(ehr, new_ehr, errands):
    place_of(ehr.get("$export", **LATER))

    again = ehr.get("$export", **LATER)

    assert (again.status, again.issue["code"], again.headers["Retry-After"]) == (429, "throttled", "5")
    place_of(new_ehr().get("$export", **LATER))
    errands.round()
    place_of(ehr.get("$export", **LATER))


def test_files_are_for_the_client_who_asked_and_encrypted(ehr, new_ehr, errands, web_settings):
    patient = example("patient")
    ehr.create(patient)
    place = place_of(ehr.get("$export?_type=Patient", **LATER))
    errands.round()
    file = manifest_of(ehr, place)["output"][0]["url"].removeprefix(HERE)

    assert new_ehr().get(file).status == 404
    assert ehr.get(file, Authorization="").status == 401
    assert ehr.get(f"{place}/1").status == 404
    [stored] = blobs(web_settings)
    kept = next(path for path in (web_settings.data_dir / "audio").rglob(stored))
    assert patient["name"][0]["family"].encode() not in kept.read_bytes()


def test_files_go_with_their_answer(ehr, bridge, errands, web_settings):
    ehr.create(example("patient"))
    first = place_of(ehr.get("$export", **LATER))
    errands.round()
    ehr.call("DELETE", first)
    assert blobs(web_settings) == []
    place_of(ehr.get("$export", **LATER))
    errands.round()
    assert len(blobs(web_settings)) == 1

    with clock.use(After(minutes=61)):
        Keeper(web_settings, bridge.store, bridge.blobs, bridge.keyring).apply()

    assert blobs(web_settings) == []


def test_an_export_that_its_worker_has_to_leave_is_run_again_and_leaves_nothing(ehr, bridge, errands, web_settings):
    ehr.create(example("patient"))
    ehr.create(example("organization"))
    place = place_of(ehr.get("$export", **LATER))
    looks = iter([False, False, True])
    rooms = Rooms.open(web_settings, boot="boot-2")

    Errands(rooms, stopping=lambda: next(looks, True)).round()

    assert (row(bridge).state, blobs(web_settings)) == ("queued", [])
    errands.round()
    assert len(manifest_of(ehr, place)["output"]) == 2
    rooms.close()


def test_an_export_that_was_taken_over_writes_nothing_more(ehr, bridge, web_settings):
    ehr.create(example("patient"))
    place_of(ehr.get("$export?_type=Patient", **LATER))
    rooms = Rooms.open(web_settings, boot="boot-2")
    seen = []

    def taken_over() -> bool:
        seen.append(1)
        if len(seen) == 2:
            left(bridge, epoch=7, owner="another")
        return False

    Errands(rooms, stopping=taken_over).round()

    assert (row(bridge).state, row(bridge).owner, blobs(web_settings)) == ("running", "another", [])
    rooms.close()


def test_an_answer_that_comes_too_late_leaves_no_files(ehr, bridge, web_settings):
    ehr.create(example("patient"))
    place_of(ehr.get("$export?_type=Patient", **LATER))
    rooms = Rooms.open(web_settings, boot="boot-2")
    made = []

    class Late(clock.Clock):
        """The export is dropped when its file is made and its answer is not."""

        def now(self):
            if blobs(web_settings) and not made:
                made.append(1)
                bridge.store.write(lambda conn: conn.execute(tables.asynchronous.delete()))
            return super().now()

    with clock.use(Late()):
        Errands(rooms, stopping=lambda: False).round()

    assert blobs(web_settings) == []
    rooms.close()


def test_an_export_that_takes_longer_than_its_snapshot_is_a_failure(ehr, bridge, errands):
    ehr.create(example("patient"))
    place = place_of(ehr.get("$export?_type=Patient", **LATER))
    bridge.store.write(lambda conn: conn.execute(update(tables.tenant).values(keys_from=10**9)))
    errands.round()

    [entry] = ehr.get(place).json["entry"]

    assert entry["response"]["status"] == "410 Gone"
