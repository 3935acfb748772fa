"""The CapabilityStatement of a running bridge, walked: what it declares works, what it does not declare does not."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qsl, urlsplit

import pytest
from conftest import example, media

from fhir_bridge import clock
from fhir_bridge.fhir.rest.capability import OAUTH, capability

URLS = {name: f"http://127.0.0.1:8080/oauth/{name}" for name in OAUTH}
STATEMENT = capability("http://127.0.0.1:8080/fhir", oauth=URLS)
TYPES = {row["type"]: row for row in STATEMENT["rest"][0]["resource"]}
SYSTEM = {row["code"] for row in STATEMENT["rest"][0]["interaction"]}
NAMES = {
    "Encounter": "encounter-ambulatory",
    "Observation": "observation-blood-pressure",
    "DocumentReference": "documentreference-transcript",
}
JSON_PATCH = "application/json-patch+json"
CHANGE = [{"op": "add", "path": "/language", "value": "da"}]
FHIR_CHANGE = {
    "resourceType": "Parameters",
    "parameter": [
        {
            "name": "operation",
            "part": [
                {"name": "type", "valueCode": "add"},
                {"name": "path", "valueString": "TYPE"},
                {"name": "name", "valueString": "language"},
                {"name": "value", "valueCode": "da"},
            ],
        }
    ],
}
SAMPLES = {"token": "x", "date": "2024-01", "string": "a", "quantity": "1", "uri": "urn:x", "reference": "Patient/1"}
SAMPLES |= {"composite": "a$2024"}
NOT_OFFERED = {400, 404, 405}


class Walk:
    """One type of a running bridge, with something of it there."""

    def __init__(self, ehr, type_: str) -> None:
        self.ehr = ehr
        self.type = type_
        self.id = self._some() if type_ in TYPES else "x"

    @property
    def place(self) -> str:
        return f"{self.type}/{self.id}"

    def body(self) -> dict:
        """A new one of the type, as an EHR would send it."""
        if self.type == "Media":
            return media(self.ehr.encounter())
        if self.type == "Binary":
            return example("binary", securityContext=None) | {"data": base64.b64encode(b"bytes").decode()}
        if self.type not in TYPES or self.type == "OperationDefinition":
            return {"resourceType": self.type}
        mine = [{"system": "urn:test", "value": clock.new_id()}] if self.type == "Encounter" else None
        return example(NAMES.get(self.type, self.type.lower()), **({"identifier": mine} if mine else {}))

    def _some(self) -> str:
        if self.type == "OperationDefinition":
            return TYPES["Encounter"]["operation"][0]["definition"].rpartition("/")[2]
        if self.type == "AuditEvent":
            self.ehr.encounter()
            return self.ehr.get("AuditEvent").ids[0]
        return self.ehr.create(self.body())

    # --- one of each interaction: the status of its answer ---

    def read(self) -> int:
        return self.ehr.get(self.place).status

    def vread(self) -> int:
        return self.ehr.get(f"{self.place}/_history/1").status

    def update(self) -> int:
        current = self.ehr.get(self.place, Accept="application/fhir+json").json
        return self.ehr.put(self.place, current if self.type != "Task" else current | {"status": "cancelled"}).status

    def patch(self) -> int:
        return self.ehr.call("PATCH", self.place, CHANGE, Content_Type=JSON_PATCH).status

    def delete(self) -> int:
        return self.ehr.call("DELETE", self.place).status

    def history_instance(self) -> int:
        return self.ehr.get(f"{self.place}/_history").status

    def history_type(self) -> int:
        return self.ehr.get(f"{self.type}/_history").status

    def create(self) -> int:
        return self.ehr.post(self.type, self.body()).status

    def search_type(self) -> int:
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        by_get, by_post = self.ehr.get(self.type), self.ehr.post(f"{self.type}/_search", b"", **form)
        assert by_get.status == by_post.status
        return by_get.status


SUCCESS = {"create": 201, "delete": 204}
INTERACTIONS = [
    "read",
    "vread",
    "history-instance",
    "history-type",
    "search-type",
    "create",
    "update",
    "patch",
    "delete",
]


@pytest.mark.parametrize("type_", [*TYPES, "Condition", "Subscription"])
def test_each_declared_interaction_works_and_no_other(ehr, type_):
    declared = [row["code"] for row in TYPES.get(type_, {}).get("interaction", [])]
    walk = Walk(ehr, type_)

    found = {code: getattr(walk, code.replace("-", "_"))() for code in INTERACTIONS}

    for code, status in found.items():
        if code in declared:
            assert status == SUCCESS.get(code, 200), code
        else:
            assert status in NOT_OFFERED, code
    assert set(declared) <= set(INTERACTIONS)


@pytest.mark.parametrize("type_", TYPES)
def test_each_flag_of_a_type_is_true_where_it_works_and_only_there(ehr, type_):
    flags, walk = TYPES[type_], Walk(ehr, type_)
    current = ehr.get(walk.place, Accept="application/fhir+json")
    known = {"If_None_Match": 'W/"1"'}, {"If_Modified_Since": current.headers.get("Last-Modified", "")}

    by_version, by_time = (ehr.get(walk.place, Accept="application/fhir+json", **each).status for each in known)
    created = ehr.post(type_, walk.body(), If_None_Exist=f"_id={walk.id}").status
    updated = ehr.put(f"{type_}?_id={walk.id}", current.json).status
    own_id = ehr.put(f"{type_}/own-id", walk.body() | {"id": "own-id"}).status
    deleted = ehr.call("DELETE", f"{type_}?_id={walk.id}").status

    assert (created == 200) is flags.get("conditionalCreate", False), created
    assert (updated == 200) is flags.get("conditionalUpdate", False), updated
    conditional_read = {(304, 304): "full-support", (304, 200): "not-match"}.get((by_version, by_time), "not-supported")
    assert conditional_read == flags.get("conditionalRead", "not-supported")
    assert (own_id == 201) is flags.get("updateCreate", False), own_id
    assert (deleted == 204) is (flags.get("conditionalDelete") == "single"), deleted
    assert flags.get("readHistory", False) is ("vread" in {row["code"] for row in flags["interaction"]})


def used(answer) -> set[str]:
    """Which parameters a search has used, by its self link."""
    assert answer.status == 200, answer.raw
    link = next(link["url"] for link in answer.json["link"] if link["relation"] == "self")
    return {name for name, _ in parse_qsl(urlsplit(link).query, keep_blank_values=True)}


SEARCHED = [type_ for type_, row in TYPES.items() if "searchParam" in row]


@pytest.mark.parametrize("type_", SEARCHED)
def test_each_declared_parameter_is_searched_by_and_no_other(ehr, type_):
    declared = {row["name"]: row["type"] for row in TYPES[type_]["searchParam"]}
    every = {row["name"] for other in TYPES.values() for row in other.get("searchParam", [])}
    strict = {"Prefer": "handling=strict"}

    for name, kind in declared.items():
        assert used(ehr.get(f"{type_}?{name}={SAMPLES[kind]}", **strict)) == {name}
    for name in sorted(every - set(declared)):
        answer = ehr.get(f"{type_}?{name}=x", **strict)
        assert (answer.status, answer.issue["code"]) == (400, "not-supported"), name


@pytest.mark.parametrize("type_", SEARCHED)
def test_each_declared_include_is_followed(ehr, type_):
    for way, declared in (("_include", "searchInclude"), ("_revinclude", "searchRevInclude")):
        for name in TYPES[type_].get(declared, []):
            assert used(ehr.get(f"{type_}?{way}={name}", Prefer="handling=strict")) == {way}, name


@pytest.mark.parametrize("type_", TYPES)
def test_each_declared_operation_has_a_definition_and_a_route(ehr, type_):
    for row in TYPES[type_].get("operation", []):
        definition = ehr.get(row["definition"].partition("/fhir/")[2])
        assert definition.json["code"] == row["name"]
        levels = {"type": type_, "instance": f"{type_}/nobody"}
        for level, path in levels.items():
            answer = ehr.post(f"{path}/${row['name']}", {"resourceType": "Parameters"})
            if definition.json[level]:
                assert (answer.status, answer.issue["code"]) != (404, "not-supported")
            else:
                assert answer.status in NOT_OFFERED
    assert ehr.post(f"{type_}/$no-such-operation", {"resourceType": "Parameters"}).status == 404


def test_each_declared_form_of_patch_works(ehr):
    id_ = ehr.create(example("patient"))
    bodies = {
        "application/json-patch+json": CHANGE,
        "application/fhir+json": json.loads(json.dumps(FHIR_CHANGE).replace("TYPE", "Patient")),
    }

    assert set(STATEMENT["patchFormat"]) == set(bodies)
    for kind, body in bodies.items():
        assert ehr.call("PATCH", f"Patient/{id_}", body, Content_Type=kind).status == 200


def test_each_declared_format_is_answered(ehr):
    id_ = ehr.create(example("patient"))
    for kind in STATEMENT["format"]:
        assert ehr.get(f"Patient/{id_}?_format={kind}").status == 200
    for kind in ("xml", "ttl", "application/fhir+xml"):
        assert ehr.get(f"Patient/{id_}?_format={kind}").status == 406


def test_each_declared_interaction_of_the_system_works(ehr):
    entry = {"resource": example("patient"), "request": {"method": "POST", "url": "Patient"}}
    answers = {
        "history-system": lambda: ehr.get("_history"),
        "search-system": lambda: ehr.get("?_type=Patient"),
        "transaction": lambda: ehr.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}),
        "batch": lambda: ehr.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]}),
    }

    for code, perform in answers.items():
        assert (perform().status == 200) is (code in SYSTEM), code
    assert set(answers) >= SYSTEM


def test_the_statement_that_was_walked_is_the_one_that_is_served(ehr):
    assert ehr.get("metadata", Authorization="").json == STATEMENT
