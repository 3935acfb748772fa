"""Several requests in one: batch, where each entry stands alone, and transaction, where all happen or none."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from conftest import example, media, wav

from fhir_bridge import clock
from fhir_bridge.store import audit, jobs

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Answer, Ehr

    from fhir_bridge.settings import Settings
    from fhir_bridge.store.audit import AuditRow
    from fhir_bridge.verbs.bridge import Bridge

URN = "urn:uuid:11111111-1111-4111-8111-111111111111"
URN_2 = "urn:uuid:22222222-2222-4222-8222-222222222222"
SYSTEM = "urn:mrn"


@pytest.fixture
def web_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"public_url": "http://127.0.0.1:8080"})


def transaction(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction"} | ({"entry": list(entries)} if entries else {}) | more


def batch(*entries: dict[str, Any]) -> dict[str, Any]:
    return transaction(*entries, type="batch")


def asks(method: str, url: str, resource: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"request": {"method": method, "url": url, **request}}
    return found if resource is None else {"resource": resource, **found}


def creates(resource: dict[str, Any], full_url: str | None = None, **request: Any) -> dict[str, Any]:
    named = {"fullUrl": full_url} if full_url else {}
    return named | asks("POST", resource["resourceType"], resource, **request)


def person(value: str | None = None, **elements: Any) -> dict[str, Any]:
    identified = {"identifier": [{"system": SYSTEM, "value": value}]} if value else {}
    return {"resourceType": "Patient", **identified, **elements}


def visit(**elements: Any) -> dict[str, Any]:
    identified = {"identifier": [{"system": "urn:test", "value": clock.new_id()}], "subject": None}
    return example("encounter-ambulatory", **(identified | elements))


def statuses(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.raw
    return [entry["response"]["status"][:3] for entry in answer.json["entry"]]


def located(answer: Answer, index: int) -> str:
    """Type/id of what became of an entry."""
    return answer.json["entry"][index]["response"]["location"].partition("/_history")[0]


def audio_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "audio").rglob("*") if path.is_file()]


def counted(ehr: Ehr, query: str) -> int:
    return ehr.get(f"{query}{'&' if '?' in query else '?'}_summary=count").json["total"]


# --- transaction: order and links ---------------------------------------------------------


def test_each_method_is_done_in_the_order_of_the_rules_and_answered_in_its_own_place(ehr):
    for id_ in ("gone", "changed", "patched"):
        assert ehr.put(f"Patient/{id_}", person(id=id_)).status == 201
    active = {"name": "operation", "part": [{"name": "type", "valueCode": "add"}]}
    active["part"] += [{"name": "path", "valueString": "Patient"}, {"name": "name", "valueString": "active"}]
    active["part"] += [{"name": "value", "valueBoolean": True}]

    answer = ehr.post(
        "",
        transaction(
            asks("GET", "Patient?_sort=_id"),
            asks("HEAD", "Patient/changed"),
            asks("PATCH", "Patient/patched", {"resourceType": "Parameters", "parameter": [active]}),
            asks("PUT", "Patient/changed", person(id="changed", gender="other")),
            creates(person("new")),
            asks("DELETE", "Patient/gone"),
            asks("GET", "Patient/patched"),
        ),
    )

    entries = answer.json["entry"]
    found = [each["resource"]["id"] for each in entries[0]["resource"]["entry"]]
    assert answer.json["type"] == "transaction-response"
    assert statuses(answer) == ["200", "200", "200", "200", "201", "204", "200"]
    assert sorted(found) == sorted(["changed", "patched", entries[4]["resource"]["id"]])
    assert "resource" not in entries[1]
    assert entries[1]["response"]["etag"] == 'W/"2"'
    assert entries[2]["resource"]["active"] is True
    assert entries[4]["response"]["location"].endswith("/_history/1")
    assert entries[5]["response"] == {"status": "204 No Content"}
    assert entries[6]["resource"] == ehr.get("Patient/patched").json
    assert ehr.get("Patient/gone").status == 410


def test_links_to_entries_are_replaced_wherever_the_rules_name_them(ehr):
    narrative = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{URN}">x</a><img src="{URN}" alt="x"/></div>'
    sent = visit(
        text={"status": "generated", "div": narrative},
        subject={"reference": URN},
        contained=[{"resourceType": "Location", "id": "l", "managingOrganization": {"reference": URN_2}}],
        location=[{"location": {"reference": "#l"}}],
        extension=[
            {"url": "urn:a", "valueReference": {"reference": f"{URN}/_history/1"}},
            {"url": "urn:b", "valueUri": URN},
            {"url": "urn:c", "valueCanonical": URN},
            {"url": "urn:d", "valueString": URN},
        ],
    )

    answer = ehr.post("", transaction(creates(sent), creates(person(), URN), creates(example("organization"), URN_2)))

    stored, patient, organization = ehr.get(located(answer, 0)).json, located(answer, 1), located(answer, 2)
    assert stored["subject"]["reference"] == patient
    assert stored["contained"][0]["managingOrganization"]["reference"] == organization
    assert stored["text"]["div"] == narrative.replace(URN, patient)
    assert [next(value for name, value in each.items() if name != "url") for each in stored["extension"]] == [
        {"reference": f"{patient}/_history/1"},
        patient,
        URN,
        URN,
    ]


def test_entries_may_refer_to_each_other_in_a_circle(ehr):
    one = person(link=[{"other": {"reference": URN_2}, "type": "seealso"}])
    two = person(link=[{"other": {"reference": URN}, "type": "seealso"}])

    answer = ehr.post("", transaction(creates(one, URN), creates(two, URN_2)))

    assert ehr.get(located(answer, 0)).json["link"][0]["other"]["reference"] == located(answer, 1)
    assert ehr.get(located(answer, 1)).json["link"][0]["other"]["reference"] == located(answer, 0)


def test_a_visit_its_patient_and_its_recording_come_at_once(ehr, bridge):
    sent = transaction(
        creates(media("x", encounter={"reference": URN})),
        creates(visit(subject={"reference": URN_2}), URN),
        creates(person("7"), URN_2, ifNoneExist=f"identifier={SYSTEM}|7"),
    )

    first, again = ehr.post("", sent), ehr.post("", sent)

    recording, encounter, _ = first.found
    assert (statuses(first), statuses(again)) == (["201"] * 3, ["200"] * 3)
    assert recording["encounter"]["reference"] == f"Encounter/{encounter['id']}"
    assert again.ids == first.ids
    found = bridge.store.read(lambda conn: jobs.of_encounter(conn, "default", encounter["id"]))
    assert [job.kind for job in found] == ["interaction", "media"]


def test_a_binary_and_the_recording_that_names_it_come_at_once(ehr):
    visit_id = ehr.encounter()
    sound = {"resourceType": "Binary", "contentType": "audio/wav", "data": base64.b64encode(wav()).decode()}
    recording = media(visit_id) | {"content": {"contentType": "audio/wav", "url": URN}}

    answer = ehr.post("", transaction(creates(recording), creates(sound, URN)))

    assert statuses(answer) == ["201", "201"]
    assert ehr.get(located(answer, 0)).json["content"]["url"] == located(answer, 1)
    assert ehr.get(located(answer, 1), Accept="*/*").raw == wav()


# --- transaction: conditions --------------------------------------------------------------


def test_a_conditional_reference_means_the_one_that_is_there_or_comes_along(ehr):
    there = ehr.create(person("there"))
    here = [visit(subject={"reference": f"Patient?identifier={SYSTEM}|{value}"}) for value in ("there", "new")]

    answer = ehr.post("", transaction(creates(here[0]), creates(here[1]), creates(person("new"))))

    assert ehr.get(located(answer, 0)).json["subject"]["reference"] == f"Patient/{there}"
    assert ehr.get(located(answer, 1)).json["subject"]["reference"] == located(answer, 2)


@pytest.mark.parametrize(
    ("criteria", "status", "code"),
    [
        (f"identifier={SYSTEM}|none", 404, "not-found"),
        (f"identifier={SYSTEM}|twice", 412, "multiple-matches"),
        (f"identifier={SYSTEM}|also", 412, "multiple-matches"),
        (f"identifier={SYSTEM}|leaves", 404, "not-found"),
        ("colour=blue", 400, "not-supported"),
    ],
)
def test_a_conditional_reference_that_means_none_or_several_fails_the_whole(ehr, criteria, status, code):
    for value in ("twice", "twice", "also"):
        ehr.create(person(value))
    ehr.put("Patient/leaves", person("leaves", id="leaves"))
    sent = transaction(
        creates(visit(subject={"reference": f"Patient?{criteria}"})),
        creates(person("also")),
        asks("PUT", "Patient/leaves", person("left", id="leaves")),
    )

    answer = ehr.post("", sent)

    assert (answer.status, answer.issue["code"]) == (status, code)
    assert answer.issue["expression"] == ["Bundle.entry[0].resource.subject"]
    assert counted(ehr, "Encounter") == 0
    assert counted(ehr, f"Patient?identifier={SYSTEM}|also") == 1


def test_criteria_in_urls_name_the_one_resource_that_meets_them(ehr):
    for value in ("put", "patch", "delete"):
        ehr.put(f"Patient/{value}", person(value, id=value))
    patch = [{"op": "add", "path": "/active", "value": True}]
    wrapped = {"resourceType": "Binary", "contentType": "application/json-patch+json"}
    wrapped |= {"data": base64.b64encode(json.dumps(patch).encode()).decode()}

    answer = ehr.post(
        "",
        transaction(
            asks("PUT", f"Patient?identifier={SYSTEM}|put", person("put", gender="male")),
            asks("PUT", f"Patient?identifier={SYSTEM}|new", person("new")),
            asks("PATCH", f"Patient?identifier={SYSTEM}|patch", wrapped),
            asks("DELETE", f"Patient?identifier={SYSTEM}|delete"),
            asks("DELETE", f"Patient?identifier={SYSTEM}|nobody"),
        ),
    )

    assert statuses(answer) == ["200", "201", "200", "204", "204"]
    assert ehr.get("Patient/put").json["gender"] == "male"
    assert ehr.get("Patient/patch").json["active"] is True
    assert ehr.get("Patient/delete").status == 410
    assert ehr.get("Binary/x").status == 404


def test_what_is_deleted_in_the_same_transaction_is_not_there_to_be_met(ehr):
    ehr.put("Patient/old", person("7", id="old"))

    answer = ehr.post(
        "", transaction(creates(person("7"), ifNoneExist=f"identifier={SYSTEM}|7"), asks("DELETE", "Patient/old"))
    )

    assert statuses(answer) == ["201", "204"]
    assert ehr.get(f"Patient?identifier={SYSTEM}|7").ids == [located(answer, 0).removeprefix("Patient/")]


def test_versions_that_were_expected_are_asked_for(ehr):
    ehr.put("Patient/p", person(id="p"))
    ehr.put("Patient/p", person(id="p", gender="male"))

    stale = ehr.post("", transaction(asks("PUT", "Patient/p", person(id="p"), ifMatch='W/"1"')))
    gone = ehr.post("", transaction(asks("DELETE", "Patient/p", ifMatch='W/"1"')))
    fresh = ehr.post("", transaction(asks("PUT", "Patient/p", person(id="p"), ifMatch='W/"2"')))

    assert [(each.status, each.issue["code"]) for each in (stale, gone)] == [(412, "conflict")] * 2
    assert stale.issue["expression"] == ["Bundle.entry[0].request.ifMatch"]
    assert fresh.json["entry"][0]["response"]["etag"] == 'W/"3"'


def test_what_the_client_has_is_not_read_again(ehr):
    ehr.put("Patient/p", person(id="p"))
    at = ehr.get("Patient/p").json["meta"]["lastUpdated"]

    answer = ehr.post(
        "",
        transaction(
            asks("GET", "Patient/p", ifNoneMatch='W/"1"'),
            asks("GET", "Patient/p", ifNoneMatch='W/"2"'),
            asks("GET", "Patient/p", ifModifiedSince=at),
            asks("GET", "Patient/p", ifModifiedSince="2020-01-01T00:00:00Z"),
        ),
    )

    assert statuses(answer) == ["304", "200", "304", "200"]
    assert ["resource" in each for each in answer.json["entry"]] == [False, True, False, True]


# --- transaction: all or nothing ----------------------------------------------------------

ABOUT = "Bundle.entry[0]"
REFUSED = {
    "another type of Bundle": ({"resourceType": "Bundle", "type": "collection"}, 400, "Bundle.type"),
    "no request": (transaction({"resource": person()}), 400, "Bundle.entry"),
    "no such method": (transaction(asks("SEND", "Patient", person())), 400, f"{ABOUT}.request.method"),
    "a type that is not served": (
        transaction(asks("POST", "Condition", {"resourceType": "Condition"})),
        404,
        f"{ABOUT}.request.url",
    ),
    "a method a type does not have": (
        transaction(asks("POST", "AuditEvent", example("auditevent"))),
        405,
        f"{ABOUT}.request.url",
    ),
    "a URL of another type": (transaction(asks("POST", "Encounter", person())), 400, f"{ABOUT}.request.url"),
    "a PUT without an id": (transaction(asks("PUT", "Patient", person())), 400, f"{ABOUT}.request.url"),
    "a PUT with another id": (
        transaction(asks("PUT", "Patient/a", person(id="b"))),
        400,
        f"{ABOUT}.resource.id",
    ),
    "a POST with an id": (transaction(asks("POST", "Patient/a", person())), 400, f"{ABOUT}.request.url"),
    "a DELETE of everything": (transaction(asks("DELETE", "Patient")), 400, f"{ABOUT}.request.url"),
    "a DELETE by nothing": (transaction(asks("DELETE", "Patient?_count=1")), 400, ABOUT),
    "a URL that leads nowhere": (transaction(asks("GET", "Patient/a/b/c/d")), 404, f"{ABOUT}.request.url"),
    "an unknown criterion": (transaction(creates(person(), ifNoneExist="a=b")), 400, ABOUT),
    "a condition of another method": (
        transaction(creates(person(), ifMatch='W/"1"')),
        400,
        f"{ABOUT}.request.ifMatch",
    ),
    "no version": (
        transaction(asks("PUT", "Patient/a", person(id="a"), ifMatch="x")),
        400,
        f"{ABOUT}.request.ifMatch",
    ),
    "an invalid resource": (transaction(creates(person(gender="x"))), 400, f"{ABOUT}.resource.gender"),
    "a link to no entry": (
        transaction(creates(visit(subject={"reference": URN}))),
        400,
        f"{ABOUT}.resource.subject",
    ),
    "a recording of no visit": (transaction(creates(media("nobody"))), 422, f"{ABOUT}.resource.encounter"),
    "the same twice": (
        transaction(asks("PUT", "Patient/a", person(id="a")), asks("PUT", "Patient/a", person(id="a"))),
        400,
        ABOUT,
    ),
    "the same fullUrl twice": (transaction(creates(person(), URN), creates(visit(), URN)), 400, "Bundle.entry"),
    "a read of nothing": (transaction(asks("GET", "Patient/nobody")), 404, f"{ABOUT}.request.url"),
    "a search that cannot be": (transaction(asks("GET", "Patient?birthdate=x")), 400, f"{ABOUT}.request.url"),
    "a patch of nothing": (
        transaction(asks("PATCH", "Patient/x", {"resourceType": "Parameters"})),
        404,
        ABOUT,
    ),
    "no patch": (transaction(asks("PATCH", "Patient/x", person())), 400, f"{ABOUT}.resource"),
}


def test_a_transaction_that_cannot_be_says_where_and_keeps_nothing(ehr, web_settings):
    for why, (bundle, status, at) in REFUSED.items():
        others = [creates(example("organization")), creates(visit(), URN_2)]
        others += [creates(media("x", encounter={"reference": URN_2}))]
        more = {"entry": [*bundle["entry"], *others]} if "entry" in bundle else {}

        answer = ehr.post("", bundle | more)

        assert (answer.status, answer.issue.get("expression")) == (status, [at]), why
    assert [counted(ehr, type_) for type_ in ("Organization", "Encounter", "Media", "Task", "Patient")] == [0] * 5
    assert audio_files(web_settings.data_dir) == []


def test_criteria_that_would_meet_what_another_entry_writes_fail_the_whole(ehr):
    ehr.put("Patient/p", person("old", id="p"))
    condition = f"identifier={SYSTEM}|7"
    for entries in (
        [creates(person("7"), ifNoneExist=condition), creates(person("7"), ifNoneExist=condition)],
        [creates(person("7")), asks("PUT", f"Patient?{condition}", person("7"))],
        [asks("PUT", "Patient/p", person("7", id="p")), asks("PUT", f"Patient?{condition}", person("7"))],
        [asks("DELETE", "Patient/p"), asks("DELETE", f"Patient?identifier={SYSTEM}|old")],
        [asks("PUT", "Patient/p", person(id="p")), asks("DELETE", f"Patient?identifier={SYSTEM}|old")],
    ):
        answer = ehr.post("", transaction(*entries))
        assert (answer.status, answer.issue["code"]) == (400, "invalid"), entries

    assert counted(ehr, "Patient") == 1


def test_what_the_transaction_deletes_cannot_be_read_in_it(ehr):
    ehr.put("Patient/p", person(id="p"))

    answer = ehr.post("", transaction(asks("GET", "Patient/p"), asks("DELETE", "Patient/p")))

    assert (answer.status, answer.issue["code"]) == (410, "deleted")
    assert ehr.get("Patient/p").status == 200


def test_a_patch_that_does_not_fit_fails_the_whole(ehr):
    ehr.put("Patient/p", person(id="p"))
    for patch in ([{"op": "test", "path": "/active", "value": True}], [{"op": "add", "path": "/gender", "value": "x"}]):
        data = base64.b64encode(json.dumps(patch).encode()).decode()
        wrapped = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}

        answer = ehr.post("", transaction(asks("PATCH", "Patient/p", wrapped), creates(person("new"))))

        assert answer.status == 422, patch
        assert counted(ehr, "Patient") == 1


def test_another_content_for_an_identifier_that_is_taken_fails_the_whole(ehr):
    ehr.create(example("encounter-ambulatory"))

    answer = ehr.post("", transaction(creates(example("encounter-ambulatory", status="finished"))))

    assert (answer.status, answer.issue["code"]) == (409, "duplicate")
    assert answer.issue["expression"] == ["Bundle.entry[0].resource.identifier"]


def test_one_entry_beyond_the_scopes_fails_the_whole(new_ehr, ehr):
    limited = new_ehr("system/Patient.crud")
    ehr.put("Organization/o", example("organization", id="o"))
    for forbidden in (
        creates(example("organization")),
        asks("GET", "Organization/o"),
        asks("GET", "Patient?gender=male"),
        asks("DELETE", f"Patient?identifier={SYSTEM}|x"),
        creates(person("y"), ifNoneExist=f"identifier={SYSTEM}|y"),
        creates(person(link=[{"other": {"reference": f"Patient?identifier={SYSTEM}|z"}, "type": "seealso"}])),
    ):
        assert limited.post("", transaction(creates(person("new")), forbidden)).status == 403, forbidden

    assert counted(ehr, "Patient") == 0


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_no_entries_are_few_enough_and_501_too_many(ehr, kind):
    assert ehr.post("", transaction(type=kind)).json == {"resourceType": "Bundle", "type": f"{kind}-response"}
    assert ehr.post("", transaction(*[creates(person())] * 501, type=kind)).status == 413


# --- batch --------------------------------------------------------------------------------


def test_in_a_batch_each_entry_has_an_answer_of_its_own(ehr, web_settings):
    ehr.put("Patient/p", person("p", id="p"))
    visit_id = ehr.encounter()
    wrapped = {"resourceType": "Binary", "contentType": "application/json-patch+json"}
    wrapped |= {"data": base64.b64encode(b'[{"op":"add","path":"/active","value":true}]').decode()}

    answer = ehr.post(
        "",
        batch(
            asks("GET", "Patient/p"),
            creates(person(gender="x")),
            creates(person("new"), ifNoneExist=f"identifier={SYSTEM}|p"),
            asks("PUT", "Patient/q", person(id="q")),
            asks("PUT", f"Patient?identifier={SYSTEM}|r", person("r")),
            asks("PATCH", "Patient/p", wrapped),
            asks("PATCH", f"Patient?identifier={SYSTEM}|p", wrapped | {"contentType": "text/plain"}),
            asks("DELETE", "Patient/q"),
            asks("DELETE", f"Patient?identifier={SYSTEM}|r"),
            creates(media(visit_id, wav(0.3))),
            creates(media("nobody", wav(0.4))),
            asks("GET", "Patient/nobody"),
            asks("POST", "Condition", {"resourceType": "Condition"}),
            asks("HEAD", "Patient/p"),
            asks("PUT", "Patient/p", person(id="p"), ifMatch='W/"1"'),
        ),
    )

    told = ["200", "400", "200", "201", "201", "200", "415", "204", "204", "201", "422", "404", "404", "200", "412"]
    failed = [each["response"]["outcome"] for each in answer.json["entry"] if each["response"]["status"] >= "4"]
    assert answer.json["type"] == "batch-response"
    assert statuses(answer) == told
    assert [each["resourceType"] for each in failed] == ["OperationOutcome"] * 6
    assert failed[0]["issue"][0]["expression"] == ["Patient.gender"]
    assert located(answer, 2) == "Patient/p"
    assert len(audio_files(web_settings.data_dir)) == 1
    assert ehr.get(f"{located(answer, 9)}").json["status"] == "in-progress"


def test_in_a_batch_no_entry_leans_on_another(ehr):
    answer = ehr.post(
        "",
        batch(
            creates(person("7"), URN),
            creates(visit(subject={"reference": URN})),
            creates(visit(subject={"reference": f"Patient?identifier={SYSTEM}|7"})),
            creates(visit(subject={"reference": "Patient/elsewhere"})),
        ),
    )

    assert statuses(answer) == ["201", "400", "400", "201"]
    outcome = answer.json["entry"][1]["response"]["outcome"]
    assert outcome["issue"][0]["expression"] == ["Encounter.subject"]


@pytest.mark.parametrize("url", ["metadata", "/metadata", "http://127.0.0.1:8080/fhir/metadata", "metadata?mode=full"])
@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_a_bundle_may_ask_for_the_capability_statement(ehr, bridge, url, kind):
    answer = ehr.post("", transaction(asks("GET", url), asks("HEAD", url), type=kind), X_Request_Id="r-1")

    assert statuses(answer) == ["200", "200"]
    first, second = answer.json["entry"]
    assert first["resource"] == ehr.get("metadata").json
    assert "resource" not in second
    told = bridge.store.read(lambda conn: audit.recorded(conn, "default", count=100))
    verbs = [row.verb for _, row in told if row.request == "r-1"]
    assert verbs[:2] == ["capabilities"] * 2


def test_in_a_batch_everything_that_can_be_read_is_read(ehr):
    visit_id = ehr.encounter(subject={"reference": "Patient/p"})
    ehr.put("Patient/p", person(id="p"))
    uploaded = ehr.post("Binary", b"words", Content_Type="text/plain").json["id"]

    answer = ehr.post(
        "",
        batch(
            asks("GET", "Patient/p/_history/1"),
            asks("GET", "Patient/p/_history"),
            asks("GET", "Patient/_history?_count=1"),
            asks("GET", "_history"),
            asks("GET", "?_type=Patient,Encounter"),
            asks("GET", f"/Encounter/{visit_id}/$everything"),
            asks("GET", "Patient/p/Encounter"),
            asks("GET", "http://127.0.0.1:8080/fhir/Patient/p?_elements=gender"),
            asks("GET", f"Binary/{uploaded}"),
            asks("GET", "Binary"),
            asks("GET", f"Encounter/{visit_id}/$nothing"),
            asks("GET", "Patient/p/_history/9"),
        ),
    )

    bodies = [each.get("resource", {}) for each in answer.json["entry"]]
    assert statuses(answer) == ["200"] * 9 + ["405", "404", "404"]
    assert [body.get("type") for body in bodies[1:7]] == ["history"] * 3 + ["searchset"] * 3
    assert bodies[6]["entry"][0]["resource"]["id"] == visit_id
    assert bodies[7]["meta"]["tag"][-1]["code"] == "SUBSETTED"
    assert base64.b64decode(bodies[8]["data"]) == b"words"


def test_in_a_batch_each_entry_is_judged_by_the_scopes(new_ehr):
    limited = new_ehr("system/Patient.cr")

    answer = limited.post("", batch(creates(person()), creates(example("organization")), asks("GET", "Patient")))

    assert statuses(answer) == ["201", "403", "403"]


# --- races and audit ----------------------------------------------------------------------


def test_of_many_transactions_with_one_condition_one_creates(new_ehr):
    clients = [new_ehr() for _ in range(6)]
    for value in ("first", "second"):
        condition = f"identifier={SYSTEM}|{value}"
        sent = transaction(
            creates(person(value), URN, ifNoneExist=condition),
            creates(visit(identifier=None, subject={"reference": URN})),
        )
        with ThreadPoolExecutor(len(clients)) as pool:
            answers = list(pool.map(lambda ehr, sent=sent: ehr.post("", sent), clients))

        assert sorted(statuses(each)[0] for each in answers) == ["200"] * 5 + ["201"]
        assert len({located(each, 0) for each in answers}) == 1
        assert counted(clients[0], f"Patient?{condition}") == 1
        assert counted(clients[0], f"Encounter?patient.{condition}") == len(clients)


def test_of_many_transactions_that_update_one_version_one_does(new_ehr):
    clients = [new_ehr() for _ in range(6)]
    clients[0].put("Patient/p", person(id="p"))
    sent = transaction(asks("PUT", "Patient/p", person(id="p", active=True), ifMatch='W/"1"'), creates(person("x")))

    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(lambda ehr: ehr.post("", sent), clients))

    assert sorted(each.status for each in answers) == [200] + [412] * 5
    assert counted(clients[0], f"Patient?identifier={SYSTEM}|x") == 1


def test_each_entry_has_its_own_line_in_the_audit(ehr, bridge):
    ehr.put("Patient/p", person(id="p"))
    before = len(recorded(bridge))

    ehr.post("", batch(asks("GET", "Patient/p"), creates(person()), asks("GET", "Patient?gender=male")))
    ehr.post("", batch(asks("DELETE", "Patient/none", ifMatch='W/"1"'), asks("GET", "Patient/nobody")))
    ehr.post("", transaction(asks("DELETE", "Patient/p"), creates(person()), asks("GET", "_history")))
    ehr.post("", transaction(asks("GET", "Patient/nobody"), creates(person())))

    told = [(row.verb, row.status, row.issue) for row in recorded(bridge)[before:]]
    assert sorted(told[:3]) == [("create", 201, None), ("read", 200, None), ("search-type", 200, None)]
    assert told[3:5] == [("delete", 412, "conflict"), ("read", 404, "not-found")]
    assert sorted(told[5:8]) == [("create", 201, None), ("delete", 204, None), ("history-system", 200, None)]
    assert told[8:] == [("transaction", 404, "not-found")]


def recorded(bridge: Bridge) -> list[AuditRow]:
    return [row for _, row in bridge.store.read(lambda conn: audit.recorded(conn, "default", count=1000))]


# --- Prefer -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_entries_are_answered_as_prefer_asks(ehr, kind):
    sent = transaction(creates(person()), asks("DELETE", "Patient/none"), type=kind)

    whole = ehr.post("", sent).json["entry"]
    minimal = ehr.post("", sent, Prefer="return=minimal").json["entry"]
    said = ehr.post("", sent, Prefer="return=OperationOutcome").json["entry"]

    assert [("resource" in each, "outcome" in each["response"]) for each in whole] == [(True, False), (False, False)]
    assert [("resource" in each, "outcome" in each["response"]) for each in minimal] == [(False, False)] * 2
    assert [("resource" in each, "outcome" in each["response"]) for each in said] == [(False, True)] * 2
