"""Conditional create, update, patch and delete: criteria in the place of an id."""

from __future__ import annotations

import pytest
from conftest import example, media

MRN = "urn:oid:1.2.3"
JSON_PATCH = "application/json-patch+json"
LANGUAGE = [{"op": "add", "path": "/language", "value": "da"}]


def patient(value: str = "1", **changes) -> dict:
    return example("patient", id=None, identifier=[{"system": MRN, "value": value}], **changes)


def known(value: str = "1") -> str:
    return f"identifier={MRN}|{value}"


@pytest.fixture
def one(ehr) -> str:
    return ehr.create(patient())


@pytest.fixture
def two(ehr) -> list[str]:
    return [ehr.create(patient()) for _ in range(2)]


# --- create -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("Patient", {"If_None_Exist": known()}),
        ("Patient", {"If_None_Exist": f"?{known()}"}),
        ("Patient", {"If_None_Exist": f"Patient?{known()}"}),
        ("Patient", {"If_None_Exist": f"http://127.0.0.1:8080/fhir/Patient?{known()}"}),
        ("Patient", {"If_None_Exist": "identifier=urn%3Aoid%3A1.2.3%7C1"}),
        (f"Patient?{known()}", {}),
        (f"Patient?{known()}&_format=json", {"If_None_Exist": "gender=female"}),
    ],
)
def test_a_create_makes_what_is_not_there_and_finds_what_is(ehr, path, headers):
    made = ehr.post(path, patient(), **headers)
    again = ehr.post(path, patient(active=False), **headers)

    assert (made.status, again.status) == (201, 200)
    assert again.json == made.json
    assert {name: again.headers[name] for name in ("Location", "ETag", "Last-Modified")} == {
        name: made.headers[name] for name in ("Location", "ETag", "Last-Modified")
    }
    assert ehr.get("Patient").json["total"] == 1


@pytest.mark.parametrize(("preference", "kind"), [("minimal", None), ("OperationOutcome", "OperationOutcome")])
def test_what_a_create_finds_is_answered_as_prefer_asks(ehr, one, preference, kind):
    answer = ehr.post("Patient", patient(), If_None_Exist=known(), Prefer=f"return={preference}")

    assert answer.status == 200
    assert answer.headers["Location"].endswith(f"Patient/{one}/_history/1")
    assert (answer.json["resourceType"] if answer.raw else None) == kind


def test_a_create_that_meets_several_is_refused(ehr, two):
    answer = ehr.post("Patient", patient(), If_None_Exist=known())

    assert (answer.status, answer.issue["code"]) == (412, "multiple-matches")
    assert ehr.get("Patient").json["total"] == len(two)


def test_what_is_deleted_meets_no_condition(ehr, one):
    ehr.call("DELETE", f"Patient/{one}")
    assert ehr.post("Patient", patient(), If_None_Exist=known()).status == 201


def test_a_recording_is_created_once_with_its_audio_or_not_at_all(ehr, bridge):
    visit = ehr.encounter()
    sent = media(visit, identifier=[{"system": "urn:rec", "value": "7"}])
    condition = {"If_None_Exist": "identifier=urn:rec|7"}

    made, again = ehr.post("Media", sent, **condition), ehr.post("Media", sent | {"note": [{"text": "x"}]}, **condition)

    assert (made.status, again.status) == (201, 200)
    assert len([path for path in (bridge.settings.data_dir / "audio").rglob("*") if path.is_file()]) == 1
    assert ehr.get(f"Task?focus=Media/{made.json['id']}").json["total"] == 1


# --- update -----------------------------------------------------------------------------------


def test_an_update_of_nothing_creates(ehr):
    without_id = ehr.put(f"Patient?{known()}", patient())
    with_id = ehr.put(f"Patient?{known('2')}", patient("2") | {"id": "mrn-2"})

    assert (without_id.status, without_id.headers["ETag"]) == (201, 'W/"1"')
    assert without_id.headers["Location"].endswith(f"Patient/{without_id.json['id']}/_history/1")
    assert (with_id.status, with_id.json["id"]) == (201, "mrn-2")


@pytest.mark.parametrize("names_id", [False, True])
def test_an_update_of_one_updates_it(ehr, one, names_id):
    body = patient(gender="other") | ({"id": one} if names_id else {})

    answer = ehr.put(f"Patient?{known()}", body)

    assert (answer.status, answer.json["id"], answer.headers["ETag"]) == (200, one, 'W/"2"')
    assert answer.headers["Location"].endswith(f"Patient/{one}/_history/2")
    history = ehr.get(f"Patient/{one}/_history").json["entry"]
    assert history[0]["request"] == {"method": "PUT", "url": f"Patient/{one}"}


def test_an_update_of_one_under_another_id_is_refused(ehr, one):
    answer = ehr.put(f"Patient?{known()}", patient() | {"id": "another"})

    assert (answer.status, answer.issue["code"], answer.issue["expression"]) == (400, "value", ["Patient.id"])
    assert ehr.get(f"Patient/{one}").headers["ETag"] == 'W/"1"'
    assert ehr.get("Patient/another").status == 404


def test_an_update_of_nothing_does_not_overwrite_what_has_its_id(ehr, one):
    answer = ehr.put(f"Patient?{known('2')}", patient("2") | {"id": one})

    assert (answer.status, answer.issue["code"]) == (409, "duplicate")
    assert ehr.get(f"Patient/{one}").headers["ETag"] == 'W/"1"'


def test_an_update_of_several_is_refused(ehr, two):
    answer = ehr.put(f"Patient?{known()}", patient(gender="other"))

    assert (answer.status, answer.issue["code"]) == (412, "multiple-matches")
    assert {ehr.get(f"Patient/{id_}").headers["ETag"] for id_ in two} == {'W/"1"'}


# --- patch ------------------------------------------------------------------------------------


def test_a_patch_of_one_changes_it(ehr, one):
    answer = ehr.call("PATCH", f"Patient?{known()}", LANGUAGE, Content_Type=JSON_PATCH)
    assert (answer.status, answer.json["id"], answer.json["language"]) == (200, one, "da")


def test_a_patch_of_nothing_is_404_and_of_several_is_refused(ehr, two):
    nothing = ehr.call("PATCH", f"Patient?{known('2')}", LANGUAGE, Content_Type=JSON_PATCH)
    several = ehr.call("PATCH", f"Patient?{known()}", LANGUAGE, Content_Type=JSON_PATCH)

    assert (nothing.status, nothing.issue["code"]) == (404, "not-found")
    assert (several.status, several.issue["code"]) == (412, "multiple-matches")
    assert {ehr.get(f"Patient/{id_}").headers["ETag"] for id_ in two} == {'W/"1"'}


# --- delete -----------------------------------------------------------------------------------


def test_a_deletion_takes_the_one_and_is_content_with_none(ehr, one):
    other = ehr.create(patient("2"))

    assert [ehr.call("DELETE", f"Patient?{known()}").status for _ in range(2)] == [204, 204]
    assert ehr.get(f"Patient/{one}").status == 410
    assert ehr.get(f"Patient/{other}").status == 200


def test_a_deletion_of_several_takes_none(ehr, two):
    answer = ehr.call("DELETE", f"Patient?{known()}")

    assert (answer.status, answer.issue["code"]) == (412, "multiple-matches")
    assert ehr.get("Patient").json["total"] == len(two)


# --- all of them ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "criteria",
    [
        "",
        "identifier=",
        "identifier=&gender=female",
        "colour=blue",
        f"{known()}&colour=blue",
        "gender:not-a-modifier=female",
        "birthdate=yesterday",
        "_count=1",
        "_sort=family",
        "&",
        "=",
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_criteria_that_say_nothing_or_cannot_be_read_meet_nothing_and_never_everything(ehr, one, method, criteria):
    headers = {"If_None_Exist": criteria} if method == "POST" else {}
    kind = {"Content_Type": JSON_PATCH} if method == "PATCH" else {}
    path = "Patient" if method == "POST" else f"Patient?{criteria}"
    body = {"POST": patient(), "PUT": patient(), "PATCH": LANGUAGE, "DELETE": None}[method]

    answer = ehr.call(method, path, body, **headers, **kind)

    assert answer.status == 400, answer.raw
    assert ehr.get("Patient/_history").json["total"] == 1
    assert ehr.get(f"Patient/{one}").status == 200


def test_a_condition_about_another_type_is_refused(ehr):
    assert ehr.post("Patient", patient(), If_None_Exist="Encounter?status=planned").status == 400
    assert ehr.get("Patient").json["total"] == 0


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_if_match_counts_beside_criteria(ehr, one, method):
    ehr.put(f"Patient/{one}", patient() | {"id": one})
    kind = {"Content_Type": JSON_PATCH} if method == "PATCH" else {}
    body = {"PUT": patient(), "PATCH": LANGUAGE, "DELETE": None}[method]

    stale = ehr.call(method, f"Patient?{known()}", body, If_Match='W/"1"', **kind)
    current = ehr.call(method, f"Patient?{known()}", body, If_Match='W/"2"', **kind)

    assert (stale.status, stale.issue["code"]) == (412, "conflict")
    assert current.status in {200, 204}


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_if_match_beside_criteria_that_nothing_meets_is_refused(ehr, method):
    body = patient() if method == "PUT" else None
    assert ehr.call(method, f"Patient?{known()}", body, If_Match='W/"1"').status == 412


@pytest.mark.parametrize(
    ("scope", "method"),
    [
        ("system/Patient.crud", "POST"),
        ("system/Patient.ruds", "POST"),
        ("system/Patient.crud", "PUT"),
        ("system/Patient.crds", "PUT"),
        ("system/Patient.crud", "PATCH"),
        ("system/Patient.crds", "PATCH"),
        ("system/Patient.crud", "DELETE"),
        ("system/Patient.crus", "DELETE"),
    ],
)
@pytest.mark.parametrize("value", ["1", "2"])
def test_a_condition_needs_the_right_to_search_beside_that_to_write(new_ehr, one, scope, method, value):
    headers = {"If_None_Exist": known(value)} if method == "POST" else {}
    kind = {"Content_Type": JSON_PATCH} if method == "PATCH" else {}
    path = "Patient" if method == "POST" else f"Patient?{known(value)}"
    body = {"POST": patient(), "PUT": patient(), "PATCH": LANGUAGE, "DELETE": None}[method]

    answer = new_ehr(scope).call(method, path, body, **headers, **kind)

    assert (answer.status, answer.issue["code"]) == (403, "forbidden")
    assert 'scope="system/Patient.' in answer.headers["WWW-Authenticate"]
    assert one


def test_what_a_scope_does_not_reach_meets_no_condition(new_ehr, ehr, other_ehr):
    beyond = ehr.create(patient(gender="female"))
    limited = new_ehr("system/Patient.cruds?gender=male")

    assert limited.call("DELETE", f"Patient?{known()}").status == 204
    assert other_ehr.call("DELETE", f"Patient?{known()}").status == 204
    assert limited.call("PATCH", f"Patient?{known()}", LANGUAGE, Content_Type=JSON_PATCH).status == 404
    assert limited.post("Patient", patient(gender="male"), If_None_Exist=known()).status == 201
    assert ehr.get(f"Patient/{beyond}").headers["ETag"] == 'W/"1"'


def test_what_may_be_found_but_not_written_stays_as_it_is(new_ehr, ehr):
    beyond = ehr.create(patient(gender="female"))
    limited = new_ehr("system/Patient.s system/Patient.ud?gender=male")

    assert limited.call("DELETE", f"Patient?{known()}").status == 204
    assert limited.call("PATCH", f"Patient?{known()}", LANGUAGE, Content_Type=JSON_PATCH).status == 404
    assert limited.put(f"Patient?{known()}", patient(gender="male")).status == 404
    assert ehr.get(f"Patient/{beyond}").headers["ETag"] == 'W/"1"'


def test_an_update_that_shall_only_create_overwrites_nothing(ehr):
    new = example("patient", id="p9")
    made = ehr.put("Patient/p9", new, If_None_Match="*")
    again = ehr.put("Patient/p9", new | {"active": False}, If_None_Match="*")

    assert made.status == 201
    assert (again.status, again.issue["code"]) == (412, "conflict")
    assert "If-None-Match" in again.issue["details"]["text"]
    assert ehr.get("Patient/p9").json["meta"]["versionId"] == "1"
    ehr.call("DELETE", "Patient/p9")
    assert ehr.put("Patient/p9", new, If_None_Match="*").status == 201
    one = f"Patient?identifier={new['identifier'][0]['system']}|{new['identifier'][0]['value']}"
    assert ehr.put(one, new, If_None_Match="*").status == 412
    assert ehr.put("Patient/p10", example("patient", id="p10"), If_Match='W/"0"').status == 412


def test_what_a_create_finds_is_not_said_to_be_stored(ehr):
    sent = example("patient", id=None, identifier=[{"system": "urn:test", "value": "there"}])
    header = {"If_None_Exist": "identifier=urn:test|there", "Prefer": "return=OperationOutcome"}
    entry = {
        "resource": sent,
        "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:test|there"},
    }
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}

    stored, found = ehr.post("Patient", sent, **header), ehr.post("Patient", sent, **header)
    within = ehr.post("", bundle, Prefer="return=OperationOutcome").json["entry"][0]["response"]["outcome"]

    assert stored.issue["details"]["text"] == "Stored as sent"
    for outcome in (found.json, within):
        assert outcome["issue"][0]["details"]["text"] == "Nothing was stored: this one is there already"
