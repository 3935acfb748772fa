"""Documents: what was found in an Encounter, or a Composition of the EHR's own, with all it refers to."""

import json

import pytest
from conftest import example

from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.mapping import systems
from fhir_bridge.mapping.device import corti_device
from fhir_bridge.store import resources
from fhir_bridge.verbs.record import new_version


def fact(encounter: str, group: str, text: str, **changes):
    own = {"system": systems.FACT_GROUP, "code": group}
    ambient = {"system": systems.CATEGORY, "code": "ambient-fact"}
    made = example("observation-fact", id=f"{encounter}-{abs(hash((group, text)))}", valueString=text)
    made |= {"code": {"coding": [own]}, "category": [{"coding": [ambient]}], "encounter": at("Encounter", encounter)}
    return made | {"device": at("Device", "corti-ambient"), "subject": None, "derivedFrom": None} | changes


def at(type_: str, id_: str) -> dict[str, str]:
    return {"reference": f"{type_}/{id_}"}


@pytest.fixture
def publish(bridge):
    """Write results as the worker does."""

    def put(*results):
        bare = [{name: value for name, value in one.items() if value is not None} for one in results]
        versions = [new_version(one, base=bridge.base) for one in bare]
        bridge.store.write(lambda conn: resources.put(conn, "default", versions))

    return put


@pytest.fixture
def visit(ehr, publish):
    patient = ehr.create(example("patient"))
    encounter = ehr.encounter(subject=at("Patient", patient))
    publish(corti_device(environment="eu"))
    return encounter, patient


def opened(answer) -> dict:
    assert answer.status == 200, answer.raw
    return checked(read(json.dumps(answer.json)), of="Bundle")


def test_the_facts_of_an_encounter_are_a_document_with_a_section_for_each_group(ehr, publish, visit):
    encounter, patient = visit
    publish(
        fact(encounter, "plan", "rest <script>alert(1)</script>"),
        fact(encounter, "allergies", "penicillin"),
        fact(encounter, "plan", "drink"),
        fact(encounter, "plan", "withdrawn", status="entered-in-error"),
        fact(ehr.encounter(), "plan", "somebody else's"),
    )

    bundle = opened(ehr.get(f"Encounter/{encounter}/$document"))

    assert bundle["type"] == "document"
    note = bundle["entry"][0]["resource"]
    assert note["resourceType"] == "Composition"
    assert [one["title"] for one in note["section"]] == ["Allergies", "Plan"]
    assert note["section"][0]["code"]["coding"][0] == {
        "system": "http://loinc.org",
        "code": "48765-2",
        "display": "Allergies and adverse reactions Document",
    }
    assert "<li>rest &lt;script&gt;alert(1)&lt;/script&gt;</li><li>drink</li>" in note["section"][1]["text"]["div"]
    assert note["meta"]["security"][0]["code"] == "AIAST"
    assert note["subject"]["reference"].endswith(f"Patient/{patient}")


def test_all_that_the_note_refers_to_is_in_the_document_under_the_address_it_names(ehr, publish, visit):
    encounter, _ = visit
    publish(fact(encounter, "plan", "rest"))

    bundle = opened(ehr.get(f"Encounter/{encounter}/$document"))

    first, *others = bundle["entry"]
    note, addresses = first["resource"], {one["fullUrl"] for one in others}
    assert first["fullUrl"] == f"urn:uuid:{note['id']}"
    assert note["author"][0]["reference"] in addresses
    assert note["section"][0]["entry"][0]["reference"] in addresses
    assert {one["resource"]["resourceType"] for one in others} == {"Patient", "Encounter", "Device", "Observation"}


def test_each_document_has_an_identifier_of_its_own(ehr, visit):
    one, other = (opened(ehr.post(f"Encounter/{visit[0]}/$document", b"")) for _ in range(2))

    assert one["identifier"]["value"] != other["identifier"]["value"]
    assert one["entry"][0]["resource"]["id"] == other["entry"][0]["resource"]["id"]
    assert "section" not in one["entry"][0]["resource"]


def test_a_composition_of_the_ehr_is_a_document_with_what_is_here_of_it(ehr, publish, visit):
    encounter, patient = visit
    publish(fact(encounter, "plan", "rest", id="fact-cough"))
    sent = example(
        "composition", id="note", encounter=at("Encounter", encounter), subject=at("Patient", patient), attester=None
    )
    stored = ehr.put("Composition/note", sent).json

    bundle = opened(ehr.get("Composition/note/$document"))

    assert bundle["entry"][0]["resource"] == stored
    assert [one["fullUrl"].partition("/fhir/")[2] for one in bundle["entry"]] == [
        "Composition/note",
        f"Patient/{patient}",
        f"Encounter/{encounter}",
        "Observation/fact-cough",
    ]


def test_a_document_leaves_out_what_the_token_may_not_read(new_ehr, publish, visit):
    encounter, _ = visit
    publish(fact(encounter, "plan", "rest"))
    limited = new_ehr("system/Encounter.r system/Observation.r")

    bundle = opened(limited.get(f"Encounter/{encounter}/$document"))

    kinds = [one["resource"]["resourceType"] for one in bundle["entry"]]
    assert kinds == ["Composition", "Encounter", "Observation"]


def test_a_patient_who_is_contained_is_named_by_identifier(ehr):
    patient = {"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:mrn", "value": "7"}]}
    encounter = ehr.encounter(contained=[patient], subject={"reference": "#p"})

    bundle = opened(ehr.get(f"Encounter/{encounter}/$document"))

    assert bundle["entry"][0]["resource"]["subject"]["identifier"]["value"] == "7"
