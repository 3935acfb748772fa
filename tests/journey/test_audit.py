"""Every interaction leaves an AuditEvent: in BALP's shape, exactly one, without tokens, never to be changed."""

from __future__ import annotations

import json
from base64 import b64decode

import pytest
from browser import begin
from conftest import example, media
from http_routes import GUARDED, ROUTES
from sqlalchemy import text

from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.rest.keys import keys_of
from fhir_bridge.fhir.rest.served import BY_TYPE, IDENTIFIER
from fhir_bridge.smart.grant import Grant
from fhir_bridge.smart.token import issue
from fhir_bridge.store import Filter, audit, oauth
from fhir_bridge.store.filter import Keys
from fhir_bridge.verbs.audit_events import AuditEvents

DCM = "http://dicom.nema.org/resources/ontology/DCM"
HL7 = "http://terminology.hl7.org/CodeSystem/"
USER = "Practitioner/holm"
PATIENT = {"reference": example("encounter-ambulatory")["subject"]["reference"]}
SOURCE, DESTINATION = (DCM, "110153"), (DCM, "110152")


def rows_of(bridge, request, *, tenant="default"):
    """The audit rows of one request."""
    told = bridge.store.read(lambda conn: audit.recorded(conn, tenant, count=10_000))
    return [row for _, row in told if row.request == request]


def event(ehr, request):
    """The one AuditEvent of a request, read as any other resource."""
    found = [
        one
        for one in ehr.get("AuditEvent?_count=200").found
        if one["entity"][-1]["what"]["identifier"]["value"] == request
    ]
    assert len(found) == 1
    checked(read(json.dumps(found[0])))
    return found[0]


def types_of(event):
    return [tuple(agent["type"]["coding"][0][name] for name in ("system", "code")) for agent in event["agent"]]


def entities(event):
    """Entities by type and role, without the request's."""
    return {(one["type"]["code"], one.get("role", {}).get("code")): one for one in event["entity"][:-1]}


@pytest.fixture
def visit(ehr):
    return ehr.encounter()


def test_a_create_tells_who_created_what_for_whom(ehr):
    id_ = ehr.post("Encounter", example("encounter-ambulatory"), X_Request_Id="r-1").json["id"]

    told = event(ehr, "r-1")

    assert told["type"] == {"system": f"{HL7}audit-event-type", "code": "rest", "display": "RESTful Operation"}
    assert told["subtype"] == [{"system": "http://hl7.org/fhir/restful-interaction", "code": "create"}]
    assert (told["action"], told["outcome"]) == ("C", "0")
    assert types_of(told) == [SOURCE, DESTINATION]
    client, server = told["agent"]
    assert client["who"]["identifier"]["value"] == ehr.name
    assert client["network"] == {"address": "127.0.0.1", "type": "2"}
    assert client["requestor"] is True
    assert server["who"] == {"reference": "Device/fhir-bridge"}
    assert server["network"]["address"] == "http://127.0.0.1:8080/fhir"
    assert told["source"]["observer"] == {"reference": "Device/fhir-bridge"}
    assert entities(told)["2", "4"]["what"] == {"reference": f"Encounter/{id_}"}
    assert entities(told)["1", "1"]["what"] == PATIENT
    assert told["entity"][-1]["type"]["code"] == "XrequestId"


@pytest.mark.parametrize(
    ("method", "path", "subtype", "action", "agents"),
    [
        ("GET", "Patient/p", "read", "R", [DESTINATION, SOURCE]),
        ("GET", "Patient/p/_history/1", "vread", "R", [DESTINATION, SOURCE]),
        ("GET", "Patient/p/_history", "history-instance", "E", [SOURCE, DESTINATION]),
        ("GET", "Patient/_history", "history-type", "E", [SOURCE, DESTINATION]),
        ("GET", "_history", "history-system", "E", [SOURCE, DESTINATION]),
        ("PUT", "Patient/p", "update", "U", [SOURCE, DESTINATION]),
        ("PATCH", "Patient/p", "patch", "U", [SOURCE, DESTINATION]),
        ("DELETE", "Patient/p", "delete", "D", [(DCM, "110150"), (f"{HL7}provenance-participant-type", "custodian")]),
        ("GET", "Patient?name=x", "search-type", "E", [SOURCE, DESTINATION]),
        ("POST", "Patient/_search", "search-type", "E", [SOURCE, DESTINATION]),
        ("GET", "Patient/p/$everything", "operation", "E", [SOURCE, DESTINATION]),
    ],
)
def test_each_interaction_has_the_action_and_agents_of_its_pattern(ehr, method, path, subtype, action, agents):
    ehr.put("Patient/p", example("patient", id="p"))
    body = example("patient", id="p", active=True) if method == "PUT" else None
    kind = {"Content_Type": "application/x-www-form-urlencoded"} if "_search" in path else {}
    if method == "PATCH":
        body, kind = [{"op": "add", "path": "/active", "value": True}], {"Content_Type": "application/json-patch+json"}

    answer = ehr.call(method, path, b"name=x" if "_search" in path else body, X_Request_Id="r-1", **kind)

    told = event(ehr, "r-1")
    assert answer.status < 300
    assert (told["subtype"][0]["code"], told["action"], told["outcome"]) == (subtype, action, "0")
    assert types_of(told) == agents


def test_a_read_of_anything_of_a_patient_names_the_patient(ehr, visit):
    recording = ehr.post("Media", media(visit, subject=PATIENT)).json

    for number, path in enumerate((f"Encounter/{visit}", recording["content"]["url"], f"Encounter/{visit}/_history")):
        ehr.get(path, X_Request_Id=f"r-{number}")
        assert entities(event(ehr, f"r-{number}"))["1", "1"]["what"] == PATIENT


@pytest.mark.parametrize(
    "asked", ["Observation?patient=Patient/p1", "Observation?patient=p1", "Patient/p1/Observation"]
)
def test_a_search_for_a_patient_names_the_patient_and_what_was_asked(ehr, asked):
    ehr.get(asked, X_Request_Id="r-1")

    told = entities(event(ehr, "r-1"))

    assert told["1", "1"]["what"] == {"reference": "Patient/p1"}
    assert b64decode(told["2", "24"]["query"]).decode() == asked
    assert "what" not in told["2", "24"]


def test_what_a_person_looks_for_while_choosing_a_patient_is_told(browser, heart, holm, ehr):
    page = browser.sign_in(begin(browser, heart), holm)
    browser.submit(page, "/oauth/patient", search="yes", name="Berg")

    told = [one for one in ehr.get("AuditEvent?_count=200").found if one["agent"][-1]["who"].get("reference") == USER]
    looked = [one for one in told if one["subtype"][0]["code"] == "search-type"]

    asked = {b64decode(entities(one)["2", "24"]["query"]).decode() for one in looked}
    assert asked == {"Patient?_sort=-_lastUpdated", "Patient?name=Berg&_sort=-_lastUpdated"}
    assert {one["action"] for one in looked} == {"E"}


def test_a_search_by_form_tells_what_its_body_asked(ehr):
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    ehr.post("Patient/_search?_count=5", b"name=Berg&birthdate=1970", X_Request_Id="r-1", **form)

    query = entities(event(ehr, "r-1"))["2", "24"]["query"]

    assert b64decode(query).decode() == "Patient/_search?_count=5&name=Berg&birthdate=1970"


def test_a_further_page_tells_the_search_it_belongs_to(ehr):
    for _ in range(2):
        ehr.create(example("organization", identifier=None))
    link = next(one["url"] for one in ehr.get("Organization?_count=1").json["link"] if one["relation"] == "next")

    ehr.get(link.partition("/fhir/")[2], X_Request_Id="r-1")

    assert b64decode(entities(event(ehr, "r-1"))["2", "24"]["query"]).decode() == "Organization?_count=1"


def test_a_user_is_told_as_who_asks(bridge, ehr):
    tokens = ehr.http.application.extensions["fhir-bridge-tokens"]
    grant = Grant("default", ehr.name, "user/*.rs", user=f"{bridge.base}/Practitioner/dr-1")
    token = issue(grant, tokens.keys()[0], place=tokens._place, seconds=60)

    ehr.get("Patient", Authorization=f"Bearer {token}", X_Request_Id="r-1")

    told = event(ehr, "r-1")
    assert types_of(told)[2] == (f"{HL7}v3-ParticipationType", "IRCP")
    assert told["agent"][2]["who"] == {"reference": "Practitioner/dr-1"}
    assert [agent["requestor"] for agent in told["agent"]] == [False, False, True]
    assert len(ehr.get("AuditEvent?agent=Practitioner/dr-1").found) == 1


@pytest.mark.parametrize(
    ("path", "changes", "status", "code", "outcome"),
    [
        ("Encounter/none", {}, 404, "not-found", "4"),
        ("Condition", {}, 404, "not-supported", "4"),
        ("Encounter?date=x", {}, 400, "value", "4"),
        ("Encounter", {"Authorization": ""}, 401, "login", "4"),
        ("Encounter", {"Authorization": "Bearer a.b.c"}, 401, "login", "4"),
    ],
)
def test_a_refusal_is_told_with_its_reason(ehr, path, changes, status, code, outcome):
    assert ehr.get(path, X_Request_Id="r-1", **changes).status == status

    told = event(ehr, "r-1")

    assert told["outcome"] == outcome
    assert told["outcomeDesc"] == f"{status} {code}"
    assert told["contained"][0]["issue"] == [{"severity": "error", "code": code}]


def test_a_token_too_weak_is_told_with_its_client_and_what_it_wanted(ehr, new_ehr, visit):
    weak = new_ehr("system/Patient.rs")

    assert weak.get(f"Encounter/{visit}", X_Request_Id="r-1").status == 403

    told = event(ehr, "r-1")
    assert told["agent"][0]["who"]["identifier"]["value"] == weak.name
    assert entities(told)["2", "4"]["what"] == {"reference": f"Encounter/{visit}"}


def test_a_disabled_client_is_told_by_its_name(ehr, new_ehr, bridge):
    gone = new_ehr()
    assert gone.get("Patient").status == 200
    bridge.store.write(lambda conn: oauth.disable_client(conn, gone.name))

    assert gone.get("Patient", X_Request_Id="r-1").status == 401

    assert event(ehr, "r-1")["agent"][0]["who"]["identifier"]["value"] == gone.name


def test_no_token_is_ever_told(ehr, bridge):
    ehr.get(f"Patient?access_token={ehr.token}&name=x", X_Request_Id="r-1")
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    ehr.post("Patient/_search", f"access_token={ehr.token}&name=x".encode(), X_Request_Id="r-2", **form)
    ehr.get("Patient", Authorization=f"Bearer {ehr.token} x")
    kept = bridge.store.read(lambda conn: conn.execute(text("SELECT * FROM audit")).all())

    assert len(kept) == 3
    assert ehr.token not in str(kept)
    assert "access_token" not in str(kept)


def test_what_was_told_cannot_be_changed(ehr):
    ehr.get("Patient")
    told = ehr.get("AuditEvent").found[0]
    place = f"AuditEvent/{told['id']}"

    assert ehr.post("AuditEvent", example("auditevent")).status == 405
    assert ehr.put(place, told).status == 405
    assert ehr.call("PATCH", place, [], Content_Type="application/json-patch+json").status == 405
    assert ehr.call("DELETE", place).status == 405
    assert ehr.call("DELETE", "AuditEvent?action=R").status == 405
    assert ehr.get(place).json == told


def test_an_audit_event_is_for_its_tenant_and_for_who_may_read_it(ehr, other_ehr, new_ehr, visit):
    ehr.get(f"Encounter/{visit}", X_Request_Id="r-1")
    id_ = event(ehr, "r-1")["id"]

    assert other_ehr.get(f"AuditEvent/{id_}").status == 404
    own = {one["agent"][0]["who"]["identifier"]["value"] for one in other_ehr.get("AuditEvent").found}
    assert own == {other_ehr.name}
    assert new_ehr("system/Encounter.cruds").get(f"AuditEvent/{id_}").status == 403
    assert new_ehr("system/Encounter.cruds").get("AuditEvent").status == 403
    narrow = new_ehr("system/AuditEvent.rs?action=C")
    assert narrow.get(f"AuditEvent/{id_}").status == 404
    assert {one["action"] for one in narrow.get("AuditEvent").found} == {"C"}


def test_audit_events_are_left_out_unless_they_are_named(ehr, visit):
    ehr.get(f"Encounter/{visit}")

    everything = {one["resourceType"] for one in ehr.get("?_lastUpdated=ge2020&_count=100").found}
    named = {one["resourceType"] for one in ehr.get("?_type=AuditEvent").found}

    assert "AuditEvent" not in everything
    assert named == {"AuditEvent"}
    assert ehr.get("?_type=AuditEvent,Encounter").status == 400
    assert "AuditEvent" not in ehr.get("_history").raw.decode()
    assert "AuditEvent:entity" not in ehr.get("Encounter?_revinclude=AuditEvent:entity").json["link"][0]["url"]
    assert ehr.get("Encounter?_has:AuditEvent:entity:action=R", Prefer="handling=strict").status == 400


def test_audit_events_are_searched_page_by_page(ehr, visit):
    for _ in range(5):
        ehr.get(f"Encounter/{visit}")
    seen, path = [], "AuditEvent?action=R&_count=2"
    while path:
        page = ehr.get(path)
        seen += page.ids
        path = next((one["url"].partition("/fhir/")[2] for one in page.json["link"] if one["relation"] == "next"), None)

    assert page.json["total"] == 5
    assert seen == sorted(seen, key=int, reverse=True)
    assert len(seen) == 5


def test_what_is_searched_is_what_is_shown(ehr, new_ehr, bridge, visit):
    """Searches look at columns; served.py names elements. Both must find the same."""
    ehr.post("Media", media(visit))
    ehr.get("Encounter/none")
    ehr.get("Encounter?patient=Patient/p1")
    ehr.get(f"Encounter/{visit}/$everything")
    ehr.call("DELETE", f"Encounter/{visit}")
    new_ehr("system/Patient.rs").get(f"Encounter/{visit}")
    events, rows = ehr.get("AuditEvent?_count=200").found, AuditEvents(bridge.base).rows
    searched = {param.number: param.name for param in BY_TYPE["AuditEvent"].params if param.name != "date"}
    searched |= {number + IDENTIFIER: name for number, name in list(searched.items()) if name == "agent"}

    shown: dict[tuple[int, str], set[str]] = {}
    for one in events:
        for key in keys_of(one):
            shown.setdefault((key.param, key.val), set()).add(one["id"])
    for (param, value), ids in shown.items():
        if param in searched:
            filter_ = Filter("default", Keys(param, (value,)))
            page = bridge.store.read(lambda conn, f=filter_: rows.search(conn, f, after=None, count=500))
            assert {str(row.seq) for row in page.rows} & {one["id"] for one in events} == ids, (searched[param], value)
    never = {"agent-name", "agent-role", "entity-name", "policy", "site"}  # our AuditEvents have no such elements
    assert {searched[param] for param in searched.keys() - {param for param, _ in shown}} == never


@pytest.mark.parametrize("name", ["agent-name", "agent-role", "entity-name", "policy", "site"])
def test_what_no_audit_event_tells_finds_none_and_is_missing_in_all(ehr, name):
    assert ehr.get(f"AuditEvent?{name}=x", Prefer="handling=strict").found == []
    assert ehr.get(f"AuditEvent?{name}:missing=false").found == []
    assert ehr.get(f"AuditEvent?{name}:missing=true").json["total"] > 0


def test_audit_events_are_found_by_what_they_are_about(ehr, visit):
    ehr.get(f"Encounter/{visit}", X_Request_Id="r-1")
    ehr.get("Encounter?status=planned", X_Request_Id="r-2")
    ehr.get("Encounter/none", X_Request_Id="r-3")

    def found(asked):
        events = ehr.get(f"AuditEvent?{asked}&_count=200", Prefer="handling=strict").found
        return {one["entity"][-1]["what"]["identifier"]["value"] for one in events} & {"r-1", "r-2", "r-3"}

    assert found("entity-role=24") == {"r-2"}
    assert found("entity-role=4") == {"r-1", "r-3"}
    assert found(f"entity-role={HL7}object-role|1") == {"r-1"}
    assert found("entity-role:not=4") == {"r-2"}
    assert found("entity-type=4") == {"r-3"}
    assert found("entity-type=XrequestId") == {"r-1", "r-2", "r-3"}
    assert found(f"altid={ehr.name}") == {"r-1", "r-2", "r-3"}
    assert found("altid=nobody") == set()


def test_audit_events_are_found_by_time(ehr):
    ehr.get("Patient", X_Request_Id="r-1")
    at = event(ehr, "r-1")["recorded"]

    def requests(query):
        return [
            one["entity"][-1]["what"]["identifier"]["value"] for one in ehr.get(f"AuditEvent?_count=200&{query}").found
        ]

    for name in ("date", "_lastUpdated"):
        assert requests(f"{name}={at}").count("r-1") == 1
        assert "r-1" in requests(f"{name}=ge{at}")
        assert "r-1" in requests(f"{name}=le{at}")
        assert "r-1" not in requests(f"{name}=gt{at}") + requests(f"{name}=lt{at}") + requests(f"{name}=ne{at}")
    assert requests("_sort=date")[0] == requests("_sort=-date")[-1]


@pytest.mark.parametrize("failing", ["none", "weak", "plain", "broken"])
def test_every_route_leaves_exactly_one_row_whatever_comes_of_it(ehr, new_ehr, bridge, failing):
    asks = new_ehr("system/Organization.d") if failing == "weak" else ehr
    ehr.put("Patient/nobody", example("patient", id="nobody"))
    wrong = {}
    for number, route in enumerate(GUARDED):
        body = b"{" if failing == "broken" and route.writes else route.body()
        headers = {"Authorization": ""} if failing == "none" else {}
        answer = asks.call(
            route.method, route.path, body, Content_Type=route.kind, X_Request_Id=f"r-{number}", **headers
        )
        rows = rows_of(bridge, f"r-{number}")
        if [row.status for row in rows] != [answer.status]:
            wrong[str(route)] = answer.status, [(row.verb, row.status) for row in rows]

    assert wrong == {}
    assert len(GUARDED) > 40


def test_what_everyone_may_ask_and_a_preflight_leave_none(ehr, bridge):
    for route in ROUTES:
        if route not in GUARDED:
            ehr.call(route.method, route.path, X_Request_Id="r-1")
        ehr.call("OPTIONS", route.path, X_Request_Id="r-1")

    assert rows_of(bridge, "r-1") == []


def test_a_transaction_leaves_one_row_for_each_entry(ehr, bridge):
    entries = [
        {"resource": example("patient", identifier=None), "request": {"method": "POST", "url": "Patient"}},
        {"resource": example("organization", id="o"), "request": {"method": "PUT", "url": "Organization/o"}},
    ]
    answer = ehr.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries}, X_Request_Id="r-1")

    assert answer.status == 200
    assert sorted((row.verb, row.type, row.status) for row in rows_of(bridge, "r-1")) == [
        ("create", "Organization", 201),
        ("create", "Patient", 201),
    ]


def test_entries_that_write_nothing_leave_a_row_each_too(ehr, bridge):
    visit = example("encounter-ambulatory")
    id_ = ehr.create(visit)
    asks = [("POST", "Encounter"), ("GET", f"Encounter/{id_}"), ("GET", "Encounter?patient=Patient/p1")]
    asks += [("GET", "Encounter/none"), ("DELETE", "Patient/none")]
    entries = [{"request": {"method": method, "url": url}} for method, url in asks]
    entries[0]["resource"] = visit
    expected = [("create", 200), ("delete", 204), ("read", 200), ("search-type", 200)]

    ehr.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries}, X_Request_Id="r-1")
    del entries[3]
    ehr.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries}, X_Request_Id="r-2")

    told = {request: rows_of(bridge, request) for request in ("r-1", "r-2")}
    assert sorted((row.verb, row.status) for row in told["r-1"]) == sorted([*expected, ("read", 404)])
    assert sorted((row.verb, row.status) for row in told["r-2"]) == expected
    for rows in told.values():
        assert {row.id for row in rows if row.type == "Encounter"} >= {id_}
        assert [row.patient for row in rows if row.query] == ["Patient/p1"]
    assert [row.issue for row in told["r-1"] if row.status == 404] == ["not-found"]


def test_an_entry_that_cannot_be_read_leaves_a_row(ehr, bridge):
    entries = [{"request": {"method": "POST", "url": "Zebra"}}, {"request": {"method": "GET", "url": "Patient"}}]
    ehr.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries}, X_Request_Id="r-1")

    assert len(rows_of(bridge, "r-1")) == 2


def test_a_transaction_that_fails_leaves_one_row(ehr, bridge):
    entries = [{"resource": example("patient", gender="blue"), "request": {"method": "POST", "url": "Patient"}}]
    answer = ehr.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries}, X_Request_Id="r-1")

    assert [(row.verb, row.status) for row in rows_of(bridge, "r-1")] == [("transaction", answer.status)]


@pytest.mark.parametrize("path", ["Patient/p", "Patient", "Patient/p/_history", "Binary/b"])
def test_what_cannot_be_told_is_not_answered(ehr, bridge, path):
    ehr.put("Patient/p", example("patient", id="p"))
    ehr.put("Binary/b", b"some text", Content_Type="text/plain")
    bridge.store.write(lambda conn: conn.execute(text("ALTER TABLE audit RENAME TO lost")))

    answer = ehr.get(path)

    assert (answer.status, answer.issue["code"]) == (503, "transient")
    assert answer.headers["Retry-After"] == "1"
    assert "ETag" not in answer.headers
    assert ehr.get("Patient/none").status == 404


def test_a_write_that_cannot_be_told_is_not_done(ehr, bridge):
    bridge.store.write(lambda conn: conn.execute(text("ALTER TABLE audit RENAME TO lost")))
    assert ehr.put("Patient/p", example("patient", id="p")).status == 503
    bridge.store.write(lambda conn: conn.execute(text("ALTER TABLE lost RENAME TO audit")))

    assert ehr.get("Patient/p").status == 404
