"""Every interaction with one resource, for every type: statuses, headers, versions, history, deletion, revival."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from conftest import example, media

from fhir_bridge.fhir.rest.served import SERVED, offers

NAMES = {
    "Encounter": "encounter-ambulatory",
    "Observation": "observation-blood-pressure",
    "DocumentReference": "documentreference-transcript",
}
WRITTEN = [row.type for row in SERVED if offers(row.type, "create")]
PATCHED = [type_ for type_ in WRITTEN if offers(type_, "patch")]
REVIVED = [type_ for type_ in WRITTEN if type_ != "Media"]
LANGUAGE = [{"op": "add", "path": "/language", "value": "da"}]


def sent(ehr, type_: str) -> dict:
    """A resource of a type as an EHR would send it."""
    if type_ == "Media":
        return media(ehr.encounter())
    found = example(NAMES.get(type_, type_.lower()))
    if type_ == "Binary":
        return found | {"data": base64.b64encode(b"some bytes").decode(), "securityContext": {"display": "x"}}
    return found


def replaced(current: dict) -> dict:
    """What an EHR sends back after it has changed something."""
    if current["resourceType"] == "Binary":
        return current | {"language": "da", "data": base64.b64encode(b"some bytes").decode()}
    return current | {"language": "da"}


def http_date(resource: dict) -> str:
    moment = datetime.fromisoformat(resource["meta"]["lastUpdated"])
    return format_datetime(moment.replace(microsecond=0), usegmt=True)


def entries(answer) -> list[tuple]:
    """What a history tells of each version, after checking its form (bdl-1 to bdl-8, http.html#history)."""
    bundle = answer.json
    assert (answer.status, bundle["type"]) == (200, "history")
    for entry in bundle.get("entry", []):
        assert entry.keys() >= {"fullUrl", "request", "response"}
        assert not entry.keys() & {"search"}
        assert "_history" not in entry["fullUrl"]
        is_gone = entry["request"]["method"] == "DELETE"
        assert ("resource" in entry) is not is_gone
        if not is_gone:
            meta = entry["resource"]["meta"]
            assert entry["response"]["etag"] == f'W/"{meta["versionId"]}"'
            assert entry["response"]["lastModified"] == meta["lastUpdated"]
    return [
        (each["request"]["method"], each["request"]["url"], each["response"]["status"].partition(" ")[0])
        for each in bundle.get("entry", [])
    ]


def links(answer) -> dict[str, str]:
    return {link["relation"]: link["url"].partition("/fhir/")[2] for link in answer.json["link"]}


@pytest.mark.parametrize("type_", WRITTEN)
def test_a_resource_lives_from_creation_to_deletion(ehr, type_):
    made = ehr.post(type_, sent(ehr, type_), Prefer="return=minimal")
    id_ = made.headers["Location"].split("/")[-3]
    place = f"{type_}/{id_}"
    read = ehr.get(place, Accept="application/fhir+json")
    updated = ehr.put(place, replaced(read.json))
    vread = ehr.get(f"{place}/_history/1", Accept="application/fhir+json")
    history = ehr.get(f"{place}/_history")
    deleted = ehr.call("DELETE", place)

    assert (made.status, made.raw, made.headers["ETag"]) == (201, b"", 'W/"1"')
    assert made.headers["Location"] == f"http://127.0.0.1:8080/fhir/{place}/_history/1"
    assert (read.status, read.headers["ETag"], read.json["meta"]["versionId"]) == (200, 'W/"1"', "1")
    assert read.headers["Last-Modified"] == made.headers["Last-Modified"] == http_date(read.json)
    assert (updated.status, updated.headers["ETag"], updated.json["language"]) == (200, 'W/"2"', "da")
    assert updated.headers["Location"].endswith(f"/fhir/{place}/_history/2")
    assert (vread.status, vread.raw) == (200, read.raw)
    assert {name: vread.headers[name] for name in ("ETag", "Last-Modified")} == {
        name: read.headers[name] for name in ("ETag", "Last-Modified")
    }
    assert entries(history) == [("PUT", place, "200"), ("POST", type_, "201")]
    assert (deleted.status, deleted.raw) == (204, b"")
    for answer in (made, read, updated, vread, history, deleted):
        assert "Content-Location" not in answer.headers
        assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize("type_", WRITTEN)
def test_what_is_deleted_is_gone_and_its_past_is_not(ehr, type_):
    id_ = ehr.create(sent(ehr, type_))
    place = f"{type_}/{id_}"
    ehr.call("DELETE", place)

    for path in (place, f"{place}/_history/2"):
        answer = ehr.get(path)
        assert (answer.status, answer.issue["code"]) == (410, "deleted")
    assert ehr.get(f"{place}/_history/1").status == 200
    assert ehr.get(f"{place}/_history/3").status == 404
    assert entries(ehr.get(f"{place}/_history"))[0] == ("DELETE", place, "204")
    assert ehr.call("DELETE", place).status == 204
    assert ehr.get(f"{place}/_history").json["total"] == 2
    if offers(type_, "patch"):
        assert ehr.call("PATCH", place, LANGUAGE, Content_Type="application/json-patch+json").status == 410


@pytest.mark.parametrize("type_", REVIVED)
def test_an_update_brings_back_what_was_deleted(ehr, type_):
    body = sent(ehr, type_)
    id_ = ehr.create(body)
    place = f"{type_}/{id_}"
    ehr.call("DELETE", place)

    answer = ehr.put(place, body | {"id": id_})

    assert (answer.status, answer.headers["ETag"]) == (201, 'W/"3"')
    assert answer.headers["Location"].endswith(f"{place}/_history/3")
    assert ehr.get(place).status == 200
    assert entries(ehr.get(f"{place}/_history")) == [
        ("PUT", place, "201"),
        ("DELETE", place, "204"),
        ("POST", type_, "201"),
    ]


def test_a_recording_that_was_taken_back_is_not_brought_back(ehr):
    body = media(ehr.encounter())
    id_ = ehr.create(body)
    ehr.call("DELETE", f"Media/{id_}")

    answer = ehr.put(f"Media/{id_}", body | {"id": id_})

    assert (answer.status, answer.issue["code"]) == (422, "business-rule")


@pytest.mark.parametrize("type_", WRITTEN)
def test_an_unknown_id_is_404_and_deleting_it_is_nothing(ehr, type_):
    for path in (f"{type_}/nobody", f"{type_}/nobody/_history/1", f"{type_}/nobody/_history"):
        answer = ehr.get(path)
        assert (answer.status, answer.issue["code"]) == (404, "not-found")
    assert ehr.call("DELETE", f"{type_}/nobody").status == 204


@pytest.mark.parametrize("vid", ["0", "x", "1.0", "99999999999999999999", "2"])
def test_a_version_that_never_was_is_404(ehr, vid):
    id_ = ehr.create(example("patient"))
    assert ehr.get(f"Patient/{id_}/_history/{vid}").status == 404


# --- conditional read -----------------------------------------------------------------------


@pytest.mark.parametrize("type_", WRITTEN)
def test_what_the_client_has_is_not_sent_again(ehr, type_):
    place = f"{type_}/{ehr.create(sent(ehr, type_))}"
    now = ehr.get(place).headers["Last-Modified"]

    for header in ({"If_None_Match": 'W/"1"'}, {"If_None_Match": "*"}, {"If_Modified_Since": now}):
        for path in (place, f"{place}/_history/1"):
            answer = ehr.get(path, **header)
            assert (answer.status, answer.raw, answer.headers["ETag"]) == (304, b"", 'W/"1"')


@pytest.mark.parametrize(
    "headers",
    [
        {"If_None_Match": 'W/"2"'},
        {"If_None_Match": 'W/"11", W/"12"'},
        {"If_None_Match": 'W/"2"', "If_Modified_Since": "Fri, 31 Dec 2100 23:59:59 GMT"},
        {"If_Modified_Since": "Fri, 31 Dec 1999 23:59:59 GMT"},
        {"If_Modified_Since": "yesterday"},
    ],
)
def test_what_the_client_has_not_is_sent(ehr, headers):
    id_ = ehr.create(example("patient"))
    assert ehr.get(f"Patient/{id_}", **headers).status == 200


def test_a_list_of_versions_and_a_strong_tag_are_understood(ehr):
    id_ = ehr.create(example("patient"))
    for tag in ('W/"7", W/"1"', '"1"'):
        assert ehr.get(f"Patient/{id_}", If_None_Match=tag).status == 304


# --- parts, and the same without a body -----------------------------------------------------


@pytest.mark.parametrize("query", ["_summary=true", "_summary=text", "_summary=data", "_elements=gender"])
def test_a_part_is_read_marked_and_never_taken_for_the_whole(ehr, query):
    id_ = ehr.create(example("patient"))

    part = ehr.get(f"Patient/{id_}?{query}")

    assert part.status == 200
    assert part.json["meta"]["tag"][-1]["code"] == "SUBSETTED"
    refused = ehr.put(f"Patient/{id_}", part.json)
    assert (refused.status, refused.issue["code"]) == (422, "business-rule")
    assert refused.issue["expression"] == ["Patient.meta.tag"]
    assert ehr.get(f"Patient/{id_}").headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize("query", ["", "?_summary=false", "?_summary=count", "?_elements="])
def test_the_whole_is_read_when_no_part_is_named(ehr, query):
    id_ = ehr.create(example("patient"))
    assert "tag" not in ehr.get(f"Patient/{id_}{query}").json["meta"]


def test_a_part_that_cannot_be_read_is_refused(ehr):
    id_ = ehr.create(example("patient"))
    assert ehr.get(f"Patient/{id_}?_summary=half").status == 400


@pytest.mark.parametrize("accept", ["application/fhir+json", "audio/wav"])
def test_head_has_the_headers_of_get_and_no_body(ehr, accept):
    visit = ehr.encounter()
    recording = ehr.post("Media", media(visit)).json
    binary = recording["content"]["url"]
    paths = [f"Encounter/{visit}", f"Encounter/{visit}/_history", f"Encounter/{visit}/_history/1", "Encounter"]
    paths += ["Encounter/_history", "_history", "metadata", f"Encounter/{visit}/$everything"]
    paths = [binary, f"{binary}/_history/1"] if accept == "audio/wav" else [*paths, binary]

    for path in paths:
        get, head = ehr.get(path, Accept=accept), ehr.call("HEAD", path, Accept=accept)
        differ = {"X-Request-Id", "Date"} | (set() if accept == "audio/wav" else {"Content-Length"})
        assert (head.status, head.raw) == (200, b""), path
        assert {name for name in get.headers if get.headers[name] != head.headers.get(name)} <= differ, path


def test_head_of_what_is_not_there_says_so(ehr):
    gone = ehr.create(example("patient"))
    ehr.call("DELETE", f"Patient/{gone}")

    assert [ehr.call("HEAD", f"Patient/{id_}").status for id_ in ("nobody", gone)] == [404, 410]


# --- what was written under which condition ---------------------------------------------------


@pytest.mark.parametrize(("method", "type_"), [("PUT", "Patient"), ("PATCH", "Patient"), ("DELETE", "Patient")])
@pytest.mark.parametrize("tag", ['W/"1"', 'W/"3"', 'W/"0"', 'W/"99999999999999999999"'])
def test_a_version_that_is_not_the_current_one_changes_nothing(ehr, method, type_, tag):
    id_ = ehr.create(example("patient"))
    current = ehr.put(f"{type_}/{id_}", ehr.get(f"{type_}/{id_}").json)
    body = {"PUT": current.json, "PATCH": LANGUAGE, "DELETE": None}[method]
    kind = {"Content_Type": "application/json-patch+json"} if method == "PATCH" else {}

    answer = ehr.call(method, f"{type_}/{id_}", body, If_Match=tag, **kind)

    assert (answer.status, answer.issue["code"]) == (412, "conflict")
    assert ehr.get(f"{type_}/{id_}").headers["ETag"] == 'W/"2"'
    assert ehr.call(method, f"{type_}/{id_}", body, If_Match='W/"2"', **kind).status in {200, 204}


def test_if_match_on_what_is_deleted_or_never_was_is_refused(ehr):
    id_ = ehr.create(example("patient"))
    ehr.call("DELETE", f"Patient/{id_}")

    for gone in (id_, "nobody"):
        assert ehr.call("DELETE", f"Patient/{gone}", If_Match='W/"1"').status == 412
        assert ehr.put(f"Patient/{gone}", example("patient", id=gone), If_Match='W/"1"').status == 412


@pytest.mark.parametrize(
    ("preference", "kind"), [("minimal", None), ("representation", "Patient"), ("OperationOutcome", "OperationOutcome")]
)
def test_prefer_return_is_honoured_for_each_write(ehr, preference, kind):
    prefer = f"return={preference}"
    id_ = ehr.create(example("patient"))
    answers = [
        ehr.put(f"Patient/{id_}", example("patient", id=id_), Prefer=prefer),
        ehr.put("Patient/new", example("patient", id="new"), Prefer=prefer),
        ehr.call("PATCH", f"Patient/{id_}", LANGUAGE, Content_Type="application/json-patch+json", Prefer=prefer),
    ]

    assert [answer.status for answer in answers] == [200, 201, 200]
    for answer in answers:
        assert answer.headers["Preference-Applied"] == prefer
        assert answer.headers["ETag"]
        assert (answer.json["resourceType"] if answer.raw else None) == kind


def test_prefer_return_is_honoured_for_a_deletion_as_far_as_it_can_be(ehr):
    minimal, outcome, whole = (
        ehr.call("DELETE", f"Patient/{ehr.create(example('patient'))}", Prefer=f"return={preference}")
        for preference in ("minimal", "OperationOutcome", "representation")
    )

    assert (minimal.status, minimal.raw, minimal.headers["Preference-Applied"]) == (204, b"", "return=minimal")
    assert (outcome.status, outcome.issue["severity"]) == (200, "information")
    assert outcome.headers["Preference-Applied"] == "return=OperationOutcome"
    assert (whole.status, "Preference-Applied" in whole.headers) == (204, False)


@pytest.mark.parametrize(("method", "path"), [("POST", "Patient"), ("PUT", "Patient/p"), ("DELETE", "Patient/p")])
def test_nothing_is_written_for_whom_no_answer_would_please(ehr, method, path):
    ehr.put("Patient/p", example("patient", id="p"))

    answer = ehr.call(method, path, example("patient", id="p", gender="other"), Accept="application/fhir+xml")

    assert answer.status == 406
    assert ehr.get("Patient").json["total"] == 1
    assert ehr.get("Patient/p").headers["ETag"] == 'W/"1"'


def test_a_pretty_answer_keeps_the_text_of_its_decimals(ehr):
    body = json.dumps(example("encounter-ambulatory"))[:-1]
    body += ',"length":{"value":1.10,"code":"min","system":"http://unitsofmeasure.org"}}'
    id_ = ehr.post("Encounter", body.encode(), Content_Type="application/fhir+json").json["id"]

    assert b'"value": 1.10' in ehr.get(f"Encounter/{id_}?_pretty=true").raw


# --- patch ------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", PATCHED)
def test_each_type_is_patched_in_both_forms(ehr, type_):
    place = f"{type_}/{ehr.create(sent(ehr, type_))}"
    parts = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": f"{type_}.language"}]
    parts += [{"name": "value", "valueCode": "sv"}]
    fhir = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}

    by_json = ehr.call("PATCH", place, LANGUAGE, Content_Type="application/json-patch+json")
    by_fhir = ehr.call("PATCH", place, fhir)

    assert (by_json.status, by_json.headers["ETag"], by_json.json["language"]) == (200, 'W/"2"', "da")
    assert (by_fhir.status, by_fhir.headers["ETag"], by_fhir.json["language"]) == (200, 'W/"3"', "sv")
    assert by_fhir.headers["Last-Modified"] == http_date(by_fhir.json)
    assert entries(ehr.get(f"{place}/_history"))[:2] == [("PUT", place, "200")] * 2


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"[]", "application/json-patch+json", 400, "structure"),
        (b"{", "application/json-patch+json", 400, "structure"),
        (b'[{"op":"remove","path":"/photo"}]', "application/json-patch+json", 422, "processing"),
        (b'[{"op":"test","path":"/gender","value":"male"}]', "application/json-patch+json", 422, "processing"),
        (b'[{"op":"add","path":"/gender","value":"blue"}]', "application/json-patch+json", 422, "code-invalid"),
        (b'[{"op":"add","path":"/colour","value":"blue"}]', "application/json-patch+json", 422, "structure"),
        (b'[{"op":"replace","path":"/id","value":"x"}]', "application/json-patch+json", 422, "processing"),
        (b'[{"op":"remove","path":"/id"}]', "application/json-patch+json", 422, "processing"),
        (b'[{"op":"remove","path":"/resourceType"}]', "application/json-patch+json", 422, "processing"),
        (b'{"resourceType":"Parameters"}', "application/fhir+json", 400, "structure"),
        (b'{"resourceType":"Patient"}', "application/fhir+json", 400, "structure"),
        (b"<diff/>", "application/xml-patch+xml", 415, "not-supported"),
        (b"{}", "application/merge-patch+json", 415, "not-supported"),
    ],
)
def test_a_patch_that_cannot_be_changes_nothing(ehr, body, kind, status, code):
    id_ = ehr.create(example("patient"))

    answer = ehr.call("PATCH", f"Patient/{id_}", body, Content_Type=kind)

    assert (answer.status, answer.issue["code"]) == (status, code)
    assert ehr.get(f"Patient/{id_}").headers["ETag"] == 'W/"1"'


def test_a_patch_of_nothing_is_404(ehr):
    answer = ehr.call("PATCH", "Patient/nobody", LANGUAGE, Content_Type="application/json-patch+json")
    assert (answer.status, answer.issue["code"]) == (404, "not-found")


def test_a_patch_too_large_is_refused(ehr):
    id_ = ehr.create(example("patient"))
    body = b'[{"op":"add","path":"/language","value":"' + b"x" * 6_000_000 + b'"}]'
    assert ehr.call("PATCH", f"Patient/{id_}", body, Content_Type="application/json-patch+json").status == 413


def test_a_task_is_cancelled_by_a_patch(ehr):
    recording = ehr.create(media(ehr.encounter()))
    task = ehr.get(f"Task?focus=Media/{recording}").ids[0]
    change = [{"op": "replace", "path": "/status", "value": "cancelled"}]

    answer = ehr.call("PATCH", f"Task/{task}", change, Content_Type="application/json-patch+json")

    assert (answer.status, answer.json["status"]) == (200, "cancelled")


# --- history ----------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", WRITTEN)
def test_the_history_of_a_type_tells_of_it_alone(ehr, type_):
    first = ehr.create(sent(ehr, type_))
    other = "Patient" if type_ != "Patient" else "Organization"
    ehr.create(sent(ehr, other))
    ehr.call("DELETE", f"{type_}/{first}")

    told = entries(ehr.get(f"{type_}/_history"))

    assert told[0] == ("DELETE", f"{type_}/{first}", "204")
    assert told[-1] == ("POST", type_, "201")
    assert {url.partition("/")[0] for _, url, _ in told} == {type_}


def test_the_history_of_the_system_tells_of_all_types_or_of_those_named(ehr):
    patient, clinic = ehr.create(example("patient")), ehr.create(example("organization"))
    ehr.call("DELETE", f"Patient/{patient}")

    everything = ehr.get("_history")

    assert everything.json["total"] == 3
    assert entries(everything) == [
        ("DELETE", f"Patient/{patient}", "204"),
        ("POST", "Organization", "201"),
        ("POST", "Patient", "201"),
    ]
    named = ehr.get("_history?_type=Organization,Practitioner")
    assert [entry["resource"]["id"] for entry in named.json["entry"]] == [clinic]
    assert ehr.get("_history?_type=Colour").status == 400


def test_what_happened_since_a_moment_is_told(ehr):
    first = ehr.create(example("patient"))
    seen = ehr.get(f"Patient/{first}").json["meta"]["lastUpdated"]
    second = ehr.create(example("patient"))
    ehr.call("DELETE", f"Patient/{first}")
    after = (datetime.fromisoformat(seen) + timedelta(microseconds=500)).isoformat()
    zoned = datetime.fromisoformat(seen).astimezone().isoformat()

    assert [url for _, url, _ in entries(ehr.get(f"Patient/_history?_since={after.replace('+', '%2B')}"))] == [
        f"Patient/{first}",
        "Patient",
    ]
    assert len(entries(ehr.get(f"Patient/_history?_since={seen}"))) == 3
    assert len(entries(ehr.get(f"Patient/_history?_since={zoned}"))) == 3
    assert len(entries(ehr.get(f"Patient/{second}/_history?_since=2100"))) == 0
    assert ehr.get("Patient/_history?_since=2100").json["total"] == 0


def test_what_was_current_at_a_moment_is_told(ehr):
    id_ = ehr.create(example("patient"))
    first = ehr.get(f"Patient/{id_}").json["meta"]["lastUpdated"]
    second = ehr.put(f"Patient/{id_}", example("patient", id=id_, gender="other")).json["meta"]["lastUpdated"]
    ehr.call("DELETE", f"Patient/{id_}")
    today = datetime.now(UTC).date()

    def at(moment: object) -> list[str]:
        found = ehr.get(f"Patient/{id_}/_history?_at={moment}").json
        assert found["total"] == len(found.get("entry", []))
        return [entry["resource"]["meta"]["versionId"] for entry in found.get("entry", [])]

    assert at(first) == ["1"]
    assert at(second) == ["2"]
    assert at("2100-01-01T00:00:00Z") == at("1999") == []
    assert at(today - timedelta(days=1)) + at(today) == ["2", "1"]


def test_history_comes_in_pages_that_show_one_snapshot_and_lead_both_ways(ehr):
    id_ = ehr.create(example("patient"))
    for n in range(4):
        ehr.put(f"Patient/{id_}", example("patient", id=id_, multipleBirthInteger=n))
    page = first = ehr.get(f"Patient/{id_}/_history?_count=2")
    seen = [versions(page)]
    while "next" in links(page):
        ehr.put(f"Patient/{id_}", example("patient", id=id_))
        page = ehr.get(links(page)["next"])
        assert page.json["total"] == 5
        seen.append(versions(page))
    back = ehr.get(links(page)["previous"])

    assert seen == [["5", "4"], ["3", "2"], ["1"]]
    assert versions(back) == ["3", "2"]
    assert versions(ehr.get(links(back)["previous"])) == versions(first)
    assert "previous" not in links(first)
    assert links(first)["self"] == f"Patient/{id_}/_history?_count=2"


def versions(answer) -> list[str]:
    return [entry["resource"]["meta"]["versionId"] for entry in answer.json["entry"]]


@pytest.mark.parametrize(
    "query",
    [
        "_count=1&_count=2",
        "_since=2020&_since=2021",
        "_at=2020&_at=2021",
        "_count=-1",
        "_count=many",
        "_count=1.5",
        "_count=٣",
        "_count=" + "9" * 5000,
        "_since=yesterday",
        "_at=2020-13-01",
    ],
)
@pytest.mark.parametrize("path", ["_history", "Patient/_history", "Patient/p/_history"])
def test_a_parameter_of_a_history_twice_or_without_sense_is_refused(ehr, path, query):
    ehr.put("Patient/p", example("patient", id="p"))
    assert ehr.get(f"{path}?{query}").status == 400


def test_a_count_of_none_gives_the_total(ehr):
    ehr.put("Patient/p", example("patient", id="p"))

    answer = ehr.get("Patient/_history?_count=0&colour=blue")

    assert (answer.json["total"], "entry" in answer.json) == (1, False)
    assert links(answer)["self"] == "Patient/_history?_count=0"


# --- rights -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("system/Patient.cuds", "GET", "Patient/p/_history/1"),
        ("system/Patient.cuds", "GET", "Patient/p/_history"),
        ("system/Patient.crud", "GET", "Patient/_history"),
        ("system/Patient.crud", "GET", "_history"),
        ("system/Patient.crds", "PATCH", "Patient/p"),
        ("system/Patient.crus", "DELETE", "Patient/p"),
        ("system/Patient.crus", "DELETE", "Patient/nobody"),
    ],
)
def test_each_interaction_needs_its_right_whether_the_resource_is_there_or_not(new_ehr, ehr, scope, method, path):
    ehr.put("Patient/p", example("patient", id="p"))
    kind = {"Content_Type": "application/json-patch+json"} if method == "PATCH" else {}

    answer = new_ehr(scope).call(method, path, LANGUAGE if method == "PATCH" else None, **kind)

    assert (answer.status, answer.issue["code"]) == (403, "forbidden")


def test_what_a_scope_does_not_reach_has_no_history_and_cannot_be_deleted(new_ehr, ehr):
    reached = ehr.create(example("patient", gender="male"))
    beyond = ehr.create(example("patient", gender="female"))
    limited = new_ehr("system/Patient.cruds?gender=male")

    assert limited.get(f"Patient/{reached}/_history/1").status == 200
    for path in (f"Patient/{beyond}/_history/1", f"Patient/{beyond}/_history"):
        assert limited.get(path).status == 404
    assert [entry["resource"]["id"] for entry in limited.get("_history").json["entry"]] == [reached]
    assert limited.call("DELETE", f"Patient/{beyond}").status == 204
    assert ehr.get(f"Patient/{beyond}").status == 200
    patch = limited.call("PATCH", f"Patient/{beyond}", LANGUAGE, Content_Type="application/json-patch+json")
    assert patch.status == 404


def test_another_tenant_sees_no_history(ehr, other_ehr):
    id_ = ehr.create(example("patient"))

    assert other_ehr.get(f"Patient/{id_}/_history").status == 404
    assert other_ehr.get("_history").json["total"] == 0
    assert other_ehr.call("DELETE", f"Patient/{id_}").status == 204
    assert ehr.get(f"Patient/{id_}").status == 200


# --- Binary -----------------------------------------------------------------------------------


def test_the_bytes_of_each_version_of_a_binary_are_read_raw_or_in_ranges_or_in_fhirs_form(ehr):
    made = ehr.post("Binary", b"0123456789", Content_Type="text/plain", X_Security_Context="Patient/p").json
    place = f"Binary/{made['id']}/_history/1"
    ehr.call("DELETE", f"Binary/{made['id']}")

    raw, part = ehr.get(place), ehr.get(place, Range="bytes=2-4")
    fhir = ehr.get(place, Accept="application/fhir+json")

    assert (raw.status, raw.raw) == (200, b"0123456789")
    assert raw.headers["Content-Type"].startswith("text/plain")
    assert (part.status, part.raw, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert base64.b64decode(fhir.json["data"]) == b"0123456789"
    assert raw.headers["X-Security-Context"] == "Patient/p"
    for answer in (raw, part, fhir):
        assert answer.headers["ETag"] == 'W/"1"'
        assert parsedate_to_datetime(answer.headers["Last-Modified"])
    assert ehr.get(f"Binary/{made['id']}/_history/2").status == 410


def test_a_range_that_is_not_there_is_told_the_size_and_one_that_is_not_understood_is_none(ehr):
    place = f"Binary/{ehr.post('Binary', b'0123456789', Content_Type='text/plain').json['id']}"

    beyond = ehr.get(place, Range="bytes=10-")
    assert (beyond.status, beyond.issue["code"], beyond.headers["Content-Range"]) == (416, "value", "bytes */10")
    for strange in ("bytes=0-1,4-5", "bytes=x", "lines=0-1"):
        whole = ehr.get(place, Range=strange)
        assert (whole.status, whole.raw, whole.headers["Accept-Ranges"]) == (200, b"0123456789", "bytes"), strange
    assert (ehr.get(place, Range="bytes=-3").status, ehr.get(place, Range="bytes=-3").raw) == (206, b"789")


def test_a_part_of_a_binary_leaves_its_data_out(ehr):
    place = (
        f"Binary/{ehr.post('Binary', b'0123', Content_Type='text/plain', X_Security_Context='Patient/p').json['id']}"
    )
    fhir = {"Accept": "application/fhir+json"}
    for asked, there in {
        "_summary=true": {"securityContext"},
        "_summary=text": set(),
        "_elements=contentType": set(),
        "_elements=data": {"data"},
        "_summary=data": {"data", "securityContext"},
    }.items():
        found = ehr.get(f"{place}?{asked}", **fhir).json
        assert set(found) == {"resourceType", "id", "meta", "contentType", *there}, asked
        assert found["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert ehr.get(f"{place}?_summary=false", **fhir).json["data"] == "MDEyMw=="
    assert ehr.get(f"{place}?_summary=true").raw == b"0123"


def test_fhir_in_another_format_is_not_taken_for_bytes(ehr):
    place = f"Binary/{ehr.post('Binary', b'0123', Content_Type='application/pdf').json['id']}"
    assert ehr.get(place, Accept="application/fhir+xml").status == 406
    shown = ehr.get(place, Accept="text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
    assert (shown.raw, shown.headers["Content-Disposition"]) == (b"0123", "inline")


def test_a_binary_keeps_its_content_beyond_a_deletion(ehr):
    ehr.call("PUT", "Binary/b", b"first", Content_Type="text/plain")
    ehr.call("DELETE", "Binary/b")

    other = ehr.call("PUT", "Binary/b", b"second", Content_Type="text/plain")
    same = ehr.call("PUT", "Binary/b", b"first", Content_Type="text/plain")

    assert (other.status, other.issue["code"]) == (422, "business-rule")
    assert same.status == 201
    assert ehr.get("Binary/b").raw == b"first"


def test_nothing_raw_is_stored_under_a_condition_or_for_an_answer_nobody_can_read(ehr):
    conditional = ehr.post("Binary", b"x", Content_Type="text/plain", If_None_Exist="_id=x")
    unreadable = ehr.post("Binary", b"x", Content_Type="text/plain", Accept="audio/wav")

    assert (conditional.status, unreadable.status) == (400, 406)
    assert ehr.put("Binary?_id=x", {"resourceType": "Binary"}).status == 400
    assert ehr.call("DELETE", "Binary?_id=x").status == 400
    assert ehr.get("Binary/_history").json["total"] == 0
