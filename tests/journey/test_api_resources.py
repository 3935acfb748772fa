"""Creating, reading, updating and finding resources as an EHR does."""

import json

import pytest
from conftest import example, media, wav

from fhir_bridge.store import audit

PLAIN = ["patient", "practitioner", "organization", "encounter-ambulatory"]


@pytest.mark.parametrize("name", PLAIN)
def test_what_was_created_is_given_back_as_sent(ehr, name):
    sent = example(name)

    answer = ehr.post(sent["resourceType"], sent)

    got = answer.json
    assert answer.status == 201
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.headers["Location"].endswith(f"/fhir/{sent['resourceType']}/{got['id']}/_history/1")
    assert got.pop("id") != sent.pop("id")
    meta = got.pop("meta")
    assert meta.pop("versionId") == "1"
    assert meta.pop("lastUpdated")
    assert got | ({"meta": meta} if meta else {}) == sent


def test_decimals_and_times_keep_their_text(ehr):
    body = json.dumps(example("encounter-ambulatory", identifier=None))[:-1]
    body += ',"length":{"value":1.10,"code":"min","system":"http://unitsofmeasure.org"}}'

    id_ = ehr.post("Encounter", body.encode(), Content_Type="application/fhir+json").json["id"]

    assert b'"value":1.10' in ehr.get(f"Encounter/{id_}").raw


def test_the_ehrs_own_id_is_kept_by_put(ehr):
    sent = example("patient", id="mrn-1")

    made = ehr.put("Patient/mrn-1", sent)
    again = ehr.put("Patient/mrn-1", sent | {"gender": "other"})

    assert (made.status, again.status) == (201, 200)
    assert again.headers["ETag"] == 'W/"2"'
    assert ehr.get("Patient/mrn-1").json["gender"] == "other"


def test_an_update_with_another_id_than_its_url_is_refused(ehr):
    answer = ehr.put("Patient/a", example("patient", id="b"))

    assert answer.status == 400
    assert answer.issue["expression"] == ["Patient.id"]


def test_a_stale_if_match_is_refused(ehr):
    ehr.put("Patient/p", example("patient", id="p"))
    ehr.put("Patient/p", example("patient", id="p", active=True), If_Match='W/"1"')

    answer = ehr.put("Patient/p", example("patient", id="p", active=False), If_Match='W/"1"')

    assert (answer.status, answer.issue["code"]) == (412, "conflict")
    assert ehr.get("Patient/p").json["active"] is True


@pytest.mark.parametrize("tag", ["x", 'W/"x"', "*"])
def test_an_if_match_that_names_no_version_is_refused(ehr, tag):
    assert ehr.put("Patient/p", example("patient", id="p"), If_Match=tag).status == 400


def test_if_match_on_nothing_is_refused(ehr):
    assert ehr.put("Patient/none", example("patient", id="none"), If_Match='W/"1"').status == 412


def test_an_unchanged_resource_is_answered_with_304(ehr):
    id_ = ehr.create(example("patient"))

    answer = ehr.get(f"Patient/{id_}", If_None_Match='W/"1"')

    assert (answer.status, answer.raw) == (304, b"")


@pytest.mark.parametrize(
    ("preference", "kind"), [("minimal", None), ("representation", "Patient"), ("OperationOutcome", "OperationOutcome")]
)
def test_prefer_return_is_honoured(ehr, preference, kind):
    answer = ehr.post("Patient", example("patient"), Prefer=f"respond-sync, return={preference}")

    assert answer.status == 201
    assert answer.headers["Preference-Applied"] == f"return={preference}"
    assert (json.loads(answer.raw)["resourceType"] if answer.raw else None) == kind
    assert ("Content-Type" in answer.headers) == bool(answer.raw)


def test_every_unknown_id_is_answered_alike(ehr):
    answer = ehr.get("Patient/nobody")

    assert (answer.status, answer.issue["code"]) == (404, "not-found")


def test_the_same_encounter_identifier_with_the_same_content_is_one_encounter(ehr):
    sent = example("encounter-ambulatory")

    first, second = ehr.post("Encounter", sent), ehr.post("Encounter", sent)

    assert (first.status, second.status) == (201, 200)
    assert first.json == second.json
    assert second.headers["Location"] == first.headers["Location"]


def test_the_same_encounter_identifier_with_other_content_is_refused(ehr):
    ehr.post("Encounter", example("encounter-ambulatory"))

    answer = ehr.post("Encounter", example("encounter-ambulatory", status="finished"))

    assert (answer.status, answer.issue["code"]) == (409, "duplicate")
    assert answer.issue["expression"] == ["Encounter.identifier"]


def test_an_update_moves_the_claim_to_the_identifiers_it_has_now(ehr):
    first = ehr.create(example("encounter-ambulatory"))
    ehr.put(f"Encounter/{first}", example("encounter-ambulatory", id=first, identifier=None))

    assert ehr.post("Encounter", example("encounter-ambulatory")).status == 201


def test_an_update_may_not_take_the_identifier_of_another_encounter(ehr):
    ehr.post("Encounter", example("encounter-ambulatory"))
    other = ehr.encounter()

    answer = ehr.put(f"Encounter/{other}", example("encounter-ambulatory", id=other))

    assert (answer.status, answer.issue["code"]) == (409, "duplicate")


def test_without_an_identifier_each_post_is_a_new_encounter(ehr):
    sent = example("encounter-ambulatory", identifier=None)
    assert ehr.create(sent) != ehr.create(sent)


def test_an_encounter_gets_a_task_that_tells_of_its_interaction(ehr):
    id_ = ehr.encounter()

    task = ehr.get(f"Task?focus=Encounter/{id_}").found[0]

    assert task["status"] == "accepted"
    assert task["intent"] == "order"


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_an_encounter_that_never_was_gets_no_interaction(ehr, status):
    id_ = ehr.encounter(status=status)
    assert ehr.get(f"Task?focus=Encounter/{id_}").found == []


def test_a_search_tells_what_it_ignored(ehr):
    ehr.encounter()

    answer = ehr.get("Encounter?colour=blue&status=in-progress&_sort=colour")

    entries = answer.json["entry"]
    assert [entry["search"]["mode"] for entry in entries] == ["match", "outcome"]
    assert len(entries[1]["resource"]["issue"]) == 2
    assert answer.json["link"][0]["url"].endswith("/fhir/Encounter?status=in-progress")


@pytest.mark.parametrize("query", ["colour=blue", "_sort=colour"])
def test_a_strict_search_refuses_what_it_does_not_know(ehr, query):
    answer = ehr.get(f"Encounter?{query}", Prefer="handling=strict")
    assert (answer.status, answer.issue["code"]) == (400, "not-supported")


@pytest.mark.parametrize("query", ["date=yesterday", "status:above=x", "_count=-1"])
def test_a_value_or_modifier_that_cannot_be_read_is_always_refused(ehr, query):
    assert ehr.get(f"Encounter?{query}").status == 400


def test_pages_show_one_snapshot_whatever_is_written_between_them(ehr):
    made = [ehr.create(example("patient")) for _ in range(5)]
    page = ehr.get("Patient?_count=2")
    seen = page.ids
    while "next" in (links := {link["relation"]: link["url"] for link in page.json["link"]}):
        ehr.create(example("patient"))
        page = ehr.get(links["next"].partition("/fhir/")[2])
        assert page.json["total"] == 5
        seen += page.ids

    assert seen == made[::-1]


def test_a_page_link_tells_nothing_and_cannot_be_made_up(ehr):
    for _ in range(2):
        ehr.encounter()
    link = next(
        link["url"]
        for link in ehr.get("Encounter?status=in-progress&_count=1").json["link"]
        if link["relation"] == "next"
    )

    assert "in-progress" not in link
    assert ehr.get("_page/" + "A" * 200).status == 404
    assert ehr.get(link.partition("/fhir/")[2][:-3]).status == 404


def test_a_page_is_found_by_the_query_of_its_link_and_whatever_a_client_adds(ehr):
    made = [ehr.create(example("patient")) for _ in range(3)]
    links = ehr.get("Patient?_count=2").json["link"]
    further = next(link["url"] for link in links if link["relation"] == "next")

    assert ehr.get(f"Patient?{further.partition('?')[2]}&_count=1000").ids == made[:1]


def test_count_only_gives_the_number(ehr):
    ehr.encounter()

    answer = ehr.get("Encounter?_summary=count")

    assert answer.json["total"] == 1
    assert "entry" not in answer.json


@pytest.mark.parametrize("query", ["_summary=true", "_summary=data", "_summary=text", "_elements=status"])
def test_parts_are_marked_as_parts(ehr, query):
    ehr.encounter()
    tags = ehr.get(f"Encounter?{query}").found[0]["meta"]["tag"]
    assert tags[-1]["code"] == "SUBSETTED"


def test_a_search_by_post_keeps_what_it_asks_out_of_its_url(ehr):
    id_ = ehr.encounter()

    answer = ehr.post("Encounter/_search", b"status=in-progress", Content_Type="application/x-www-form-urlencoded")

    assert answer.ids == [id_]


def test_includes_bring_what_is_referred_to_and_what_refers(ehr):
    encounter = ehr.encounter()
    recording = ehr.create(media(encounter))

    forward = ehr.get("Media?_include=Media:encounter")
    back = ehr.get(f"Encounter?_id={encounter}&_revinclude=Media:encounter&_revinclude:iterate=Task:focus")

    assert set(forward.ids) == {recording, encounter}
    assert {resource["resourceType"] for resource in back.found} == {"Encounter", "Media", "Task"}
    assert back.json["total"] == 1


def test_everything_of_an_encounter_comes_in_one_bundle(ehr):
    encounter = ehr.encounter()
    ehr.create(media(encounter))
    ehr.encounter()

    found = ehr.get(f"Encounter/{encounter}/$everything").found

    assert [resource["resourceType"] for resource in found] == ["Encounter", "Task", "Media", "Task"]


def test_changes_since_a_moment_are_found(ehr):
    ehr.encounter()
    before = ehr.get("Encounter").found[0]["meta"]["lastUpdated"]
    later = ehr.encounter()

    assert ehr.get(f"Encounter?_lastUpdated=gt{before}").ids == [later]


def test_a_dry_run_tells_the_payload_and_stores_nothing(ehr):
    answer = ehr.post("Encounter/$explain", example("encounter-ambulatory"))

    payload = next(part["valueString"] for part in answer.json["parameter"] if part["name"] == "interaction")
    assert json.loads(payload)["encounter"]["type"] == "outpatient"
    assert ehr.get("Encounter").found == []


def test_a_dry_run_uses_the_patient_that_is_here(ehr):
    ehr.put("Patient/p1", example("patient", id="p1", gender="female"))

    answer = ehr.post("Encounter/$explain", example("encounter-ambulatory", subject={"reference": "Patient/p1"}))

    payload = next(part["valueString"] for part in answer.json["parameter"] if part["name"] == "interaction")
    assert json.loads(payload)["patient"]["gender"] == "female"


def test_each_write_leaves_one_audit_row(ehr, bridge):
    id_ = ehr.create(example("patient"))
    ehr.put(f"Patient/{id_}", example("patient", id=id_, active=True))

    rows = [row for _, row in bridge.store.read(lambda conn: audit.recorded(conn, "default", count=10))]

    assert [(row.verb, row.type, row.id, row.status, row.client) for row in rows] == [
        ("create", "Patient", id_, 201, ehr.name),
        ("update", "Patient", id_, 200, ehr.name),
    ]


def test_a_result_is_amended_by_the_ehr_which_may_keep_its_own_beside(ehr):
    made = ehr.put("Observation/own-1", example("observation-fact", id="own-1"))
    signed = ehr.put("Observation/own-1", example("observation-fact", id="own-1", status="final"))

    assert (made.status, signed.status) == (201, 200)
    assert signed.json["status"] == "final"


def test_a_task_is_cancelled_by_the_ehr_and_stays_so(ehr):
    encounter = ehr.encounter()
    recording = ehr.create(media(encounter, wav(0.2)))
    task = ehr.get(f"Task?focus=Media/{recording}").found[0]

    answer = ehr.put(f"Task/{task['id']}", task | {"status": "cancelled"})

    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    assert ehr.get(f"Media/{recording}").json["status"] == "stopped"
    assert ehr.put(f"Task/{task['id']}", task | {"status": "cancelled"}).status == 200
    assert ehr.put(f"Task/{task['id']}", task | {"status": "in-progress"}).status == 422
