"""Every failure is an OperationOutcome with the right status; nobody sees what is not theirs."""

import json

import pytest
from conftest import example, media

from fhir_bridge import clock
from fhir_bridge.store import oauth

FHIR_ROUTES = [
    ("GET", "Encounter/x"),
    ("PUT", "Encounter/x"),
    ("GET", "Encounter"),
    ("POST", "Encounter"),
    ("POST", "Encounter/_search"),
    ("GET", "Encounter/x/$everything"),
    ("POST", "Encounter/$explain"),
    ("GET", "_page/x"),
    ("POST", ""),
    ("GET", "Binary/x"),
    ("POST", "Binary"),
    ("PUT", "Binary/x"),
]


@pytest.mark.parametrize(("method", "path"), FHIR_ROUTES)
def test_without_a_token_every_route_asks_for_one(ehr, method, path):
    answer = ehr.call(method, path, b"{}" if method != "GET" else None, Authorization="")

    assert (answer.status, answer.issue["code"]) == (401, "login")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="fhir"'


@pytest.mark.parametrize("header", ["Bearer x.y.z", "Bearer ", "Basic eDp5", "Bearer é"])
def test_a_token_that_does_not_hold_is_refused(ehr, header):
    answer = ehr.get("Encounter", Authorization=header)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_expired_token_says_so(ehr):
    token = ehr.token

    class Later(clock.Clock):
        def now(self):
            return super().now() + clock_jump

    from datetime import timedelta  # noqa: PLC0415 - only this test travels in time

    clock_jump = timedelta(seconds=301)
    with clock.use(Later()):
        answer = ehr.get("Encounter", Authorization=f"Bearer {token}")

    assert (answer.status, answer.issue["code"]) == (401, "expired")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_token_in_the_url_or_twice_is_refused(ehr):
    assert ehr.get(f"Encounter?access_token={ehr.token}").status == 400


def test_a_disabled_client_is_refused_at_once(ehr, bridge):
    assert ehr.get("Encounter").status == 200

    bridge.store.write(lambda conn: oauth.disable_client(conn, ehr.name))

    assert ehr.get("Encounter").status == 401
    assert ehr.token_answer().json["error"] == "invalid_client"


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("system/Encounter.r", "GET", "Encounter"),
        ("system/Encounter.s", "GET", "Encounter/x"),
        ("system/Encounter.rs", "POST", "Encounter"),
        ("system/Encounter.c", "PUT", "Encounter/x"),
        ("system/Media.cruds", "GET", "Encounter/x/$everything"),
        ("system/Media.read", "POST", "Encounter"),
        ("system/Media.cruds", "POST", "Encounter/$explain"),
    ],
)
def test_a_token_that_is_too_weak_is_told_what_would_do(new_ehr, scope, method, path):
    body = example("encounter-ambulatory", id="x") if method != "GET" else None

    answer = new_ehr(scope).call(method, path, body)

    assert (answer.status, answer.issue["code"]) == (403, "forbidden")
    assert 'error="insufficient_scope", scope="system/Encounter.' in answer.headers["WWW-Authenticate"]


def test_one_entry_beyond_the_scopes_refuses_a_transaction(new_ehr):
    entries = [
        {"resource": example("patient"), "request": {"method": "POST", "url": "Patient"}},
        {"resource": example("organization"), "request": {"method": "POST", "url": "Organization"}},
    ]
    limited = new_ehr("system/Patient.cruds")

    answer = limited.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})

    assert answer.status == 403
    assert limited.get("Patient").found == []


def test_a_scope_with_a_query_reaches_what_the_query_finds(new_ehr, ehr):
    finished, open_ = ehr.encounter(status="finished"), ehr.encounter()
    limited = new_ehr("system/Encounter.cruds?status=finished")

    assert limited.get("Encounter").ids == [finished]
    assert limited.get(f"Encounter/{finished}").status == 200
    assert limited.get(f"Encounter/{open_}").status == 404
    assert limited.post("Encounter", example("encounter-ambulatory")).status == 403
    assert limited.post("Encounter", example("encounter-ambulatory", status="finished")).status == 201
    assert limited.put(f"Encounter/{open_}", example("encounter-ambulatory", id=open_, status="finished")).status == 404


def test_a_scope_whose_query_cannot_be_read_reaches_nothing(new_ehr, ehr):
    id_ = ehr.encounter()
    assert new_ehr("system/Encounter.rs?colour=blue").get(f"Encounter/{id_}").status == 404


def test_another_tenants_resources_are_as_good_as_absent(ehr, other_ehr):
    mine = ehr.encounter()
    recording = ehr.post("Media", media(mine)).json

    for path in (
        f"Encounter/{mine}",
        f"Media/{recording['id']}",
        recording["content"]["url"],
        f"Encounter/{mine}/$everything",
    ):
        absent = other_ehr.get(path.replace(mine, "nobody").replace(recording["id"], "nobody"))
        answer = other_ehr.get(path)
        assert (
            (answer.status, answer.issue["details"]) == (404, absent.issue["details"]) if absent.status == 404 else True
        )
        assert answer.status == 404
    assert other_ehr.get("Encounter").json["total"] == 0
    link = ehr.get("Task?_count=1").json["link"][1]["url"].partition("/fhir/")[2]
    assert other_ehr.get(link).status == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "nothing/at/all", 404),
        ("GET", "Condition", 404),
        ("GET", "Condition/x", 404),
        ("POST", "Condition", 404),
        ("POST", "AuditEvent", 405),
        ("PATCH", "Binary/x", 405),
    ],
)
def test_what_is_not_served_says_so_in_fhir(ehr, method, path, status):
    answer = ehr.call(method, path, example("auditevent") if method == "POST" else None)
    assert (answer.status, answer.issue["code"]) == (status, "not-supported")


@pytest.mark.parametrize("kind", ["application/fhir+xml", "text/plain", "application/fhir+json; fhirVersion=5.0"])
def test_a_body_in_another_format_is_refused(ehr, kind):
    assert ehr.post("Patient", b"<Patient/>", Content_Type=kind).status == 415


def test_a_compressed_body_is_refused(ehr):
    answer = ehr.post("Patient", example("patient"), Content_Encoding="gzip")
    assert (answer.status, answer.issue["code"]) == (415, "not-supported")


@pytest.mark.parametrize("accept", ["application/fhir+xml", "text/html", "application/fhir+json; fhirVersion=5.0"])
def test_an_answer_in_another_format_is_refused(ehr, accept):
    assert ehr.get(f"Patient/{ehr.create(example('patient'))}", Accept=accept).status == 406


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"Accept": "application/json"}, "application/json"),
        ({"Accept": "application/fhir+xml;q=0.5, application/fhir+json;q=0.9"}, "application/fhir+json"),
        ({"Accept": "application/fhir+json; fhirVersion=4.0"}, "application/fhir+json"),
        ({"Accept": "*/*"}, "application/fhir+json"),
        ({}, "application/fhir+json"),
    ],
)
def test_the_answer_has_the_type_that_was_asked_for(ehr, asked, kind):
    answer = ehr.get(f"Patient/{ehr.create(example('patient'))}", **asked)
    assert answer.headers["Content-Type"].startswith(kind)


@pytest.mark.parametrize("format_", ["json", "application/fhir+json", "application/json"])
def test_a_format_parameter_wins_over_accept(ehr, format_):
    id_ = ehr.create(example("patient"))
    assert ehr.get(f"Patient/{id_}?_format={format_}", Accept="text/html").status == 200
    assert ehr.get(f"Patient/{id_}?_format=xml").status == 406


def test_a_pretty_answer_is_indented(ehr):
    id_ = ehr.create(example("patient"))
    assert b'\n  "id"' in ehr.get(f"Patient/{id_}?_pretty=true").raw


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "structure"),
        (b"[]", "structure"),
        (b'{"resourceType":"Patient","resourceType":"Patient"}', "structure"),
        (b'{"resourceType":"Patient","active":null}', "structure"),
        (b'{"resourceType":"Patient","name":[]}', "structure"),
        (b'{"resourceType":"Patient","x":NaN}', "structure"),
        (b'{"resourceType":"Patient","colour":"blue"}', "structure"),
        (b'{"resourceType":"Encounter"}', "structure"),
        (b'{"resourceType":"Patient","gender":"blue"}', "code-invalid"),
        (b'{"resourceType":"Patient","birthDate":"22.11.2026"}', "value"),
        (b"[" * 5000, "structure"),
        ('{"resourceType":"Patient","id":"\ud800"}'.encode("utf-8", "surrogatepass"), "structure"),
    ],
)
def test_bad_json_is_refused_without_an_echo(ehr, body, code):
    answer = ehr.post("Patient", body, Content_Type="application/fhir+json")
    assert (answer.status, answer.issue["code"]) == (400, code)
    assert b"blue" not in answer.raw or code == "structure"
    assert b"22.11" not in answer.raw


def test_a_missing_required_element_is_named(ehr):
    answer = ehr.post("Encounter", example("encounter-ambulatory", status=None))
    assert (answer.status, answer.issue["code"], answer.issue["expression"]) == (400, "required", ["Encounter.status"])


def test_an_encounter_corti_has_no_word_for_is_refused_with_its_element(ehr):
    sent = example("encounter-ambulatory", subject={"reference": "Group/g"})
    answer = ehr.post("Encounter", sent)
    assert (answer.status, answer.issue["code"]) == (422, "not-supported")
    assert answer.issue["expression"][0].startswith("Encounter.subject")


def test_what_corti_will_not_hear_is_a_warning(ehr):
    strange = {"system": "urn:local", "code": "drive-through"}
    answer = ehr.post(
        "Encounter", example("encounter-ambulatory", **{"class": strange}), Prefer="return=OperationOutcome"
    )
    assert answer.status == 201
    assert {issue["severity"] for issue in answer.json["issue"]} == {"warning"}
    assert "Encounter.class" in json.dumps(answer.json)


def test_each_answer_carries_the_request_id(ehr):
    assert ehr.get("Encounter", X_Request_Id="my-1").headers["X-Request-Id"] == "my-1"
    made = ehr.get("Encounter/none", X_Request_Id="not valid!")
    assert made.headers["X-Request-Id"] in made.issue["diagnostics"]
    assert made.headers["X-Correlation-Id"] == "not valid!"
    for unshowable in ("é", "x" * 201):
        assert "X-Correlation-Id" not in ehr.get("Encounter", X_Request_Id=unshowable).headers


def test_our_own_fault_tells_a_number_and_no_more(app, ehr, caplog):
    @app.get("/broken")
    def broken():
        raise RuntimeError("a patient's name")

    answer = ehr.http.get("/broken")

    assert answer.status_code == 500
    assert answer.json["issue"][0]["code"] == "exception"
    assert "patient's name" not in answer.text + caplog.text


def test_methods_a_path_does_not_have_are_listed(ehr):
    answer = ehr.http.post("/health/live")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]
    assert answer.json["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_capability_statement_is_only_read(ehr, method):
    answer = ehr.call(method, "metadata", {"resourceType": "CapabilityStatement"})

    assert answer.status == 405
    assert {each.strip() for each in answer.headers["Allow"].split(",")} >= {"GET", "HEAD"}
    assert answer.issue["code"] == "not-supported"


def test_an_unknown_path_is_answered_in_fhir_too(ehr):
    assert ehr.http.get("/nowhere").json["issue"][0]["code"] == "not-supported"


def test_methods_the_base_does_not_have_are_listed(ehr):
    answer = ehr.put("", {})
    assert (answer.status, answer.issue["code"]) == (405, "not-supported")
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))
    assert "POST" in ehr.call("OPTIONS", "").headers["Allow"]


def test_a_slash_at_the_end_means_nothing(ehr):
    made = ehr.post("Patient/", example("patient", id=None))
    assert made.status == 201, made.raw
    path = f"Patient/{made.json['id']}"
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    for asked in (path, f"{path}/_history", f"{path}/_history/1", "Patient", "metadata", "_history", f"{path}/*"):
        plain, slashed = ehr.get(asked), ehr.get(f"{asked}/")
        assert (slashed.status, slashed.raw) == (200, plain.raw), asked
    assert ehr.call("POST", "Patient/_search/", b"_count=0", **form).json["total"] == 1
    assert ehr.get("Patient/?_count=0").json == ehr.get("Patient?_count=0").json
    assert ehr.put(f"{path}/", made.json | {"active": False}).json["meta"]["versionId"] == "2"
    assert ehr.post("Binary/", b"words", Content_Type="text/plain").status == 201
    assert ehr.get("").json["resourceType"] == ehr.get("/").json["resourceType"] == "Bundle"
    assert ehr.call("DELETE", f"{path}/").status == 204
    assert ehr.get(f"{path}//").status == 404


def test_a_patch_in_a_form_that_is_not_read_is_told_those_that_are(ehr):
    path = f"Patient/{ehr.create(example('patient'))}"
    for kind in ("application/merge-patch+json", "application/xml-patch+xml"):
        answer = ehr.call("PATCH", path, b"{}", Content_Type=kind)
        assert (answer.status, answer.issue["code"]) == (415, "not-supported")
        for offered in ("application/json-patch+json", "application/fhir+json"):
            assert offered in answer.issue["details"]["text"]
