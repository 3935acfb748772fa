"""What a token reaches, by whatever way, is what its scopes say: compared with a reading of them row by row.

The rows are twice there, in two tenants, under the same ids.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fhir_bridge.smart.grant import Grant
from fhir_bridge.smart.token import Place, issue
from fhir_bridge.store import oauth, resources
from fhir_bridge.verbs.record import new_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

Row = dict[str, Any]
BASE = "http://127.0.0.1:8080"
FOREIGN = "of the other tenant"


def to(name: str) -> Row:
    return {"reference": name}


def row(name: str, **elements: Any) -> Row:
    type_, _, id_ = name.partition("/")
    return {"resourceType": type_, "id": id_} | elements


VITAL = [{"coding": [{"system": "urn:c", "code": "vital"}]}]
CODE = {"text": "a fact"}
VISIT = {"class": {"code": "AMB"}}
ROWS: Final = (
    row("Patient/p1", gender="male"),
    row("Patient/p2", gender="female"),
    row("Practitioner/d1", identifier=[{"system": "urn:d", "value": "1"}]),
    row("Encounter/e1", status="finished", subject=to("Patient/p1"), **VISIT),
    row("Encounter/e2", status="in-progress", subject=to(f"{BASE}/fhir/Patient/p2"), **VISIT),
    row("Encounter/e3", status="finished", **VISIT),
    row("Media/m1", status="completed", subject=to("Patient/p1"), encounter=to("Encounter/e1"), content={"url": "x"}),
    row("Task/t1", status="completed", intent="order", **{"for": to("Patient/p1")}, encounter=to("Encounter/e1")),
    row("Observation/o1", status="final", code=CODE, subject=to("Patient/p1"), encounter=to("Encounter/e1")),
    row(
        "Observation/o2",
        status="final",
        code=CODE,
        subject=to("Patient/p2"),
        encounter=to("Encounter/e2"),
        category=VITAL,
    ),
    row("Observation/o3", status="preliminary", code=CODE, encounter=to("Encounter/e1"), category=VITAL),
    row(
        "Provenance/v1", target=[to("Observation/o1")], recorded="2026-11-22T08:15:00Z", agent=[{"who": to("Device/x")}]
    ),
    row("Provenance/v2", target=[to("Patient/p2")], recorded="2026-11-22T08:15:00Z", agent=[{"who": to("Device/x")}]),
)
TYPES: Final = tuple(dict.fromkeys(each["resourceType"] for each in ROWS))


def name(each: Row) -> str:
    return f"{each['resourceType']}/{each['id']}"


def patient_of(each: Row) -> set[str]:
    """The patients in whose compartment a row is, read off its elements."""
    named = [each.get("subject", {}), each.get("for", {}), *each.get("target", [])]
    found = {reference.get("reference", "").removeprefix(f"{BASE}/fhir/") for reference in named}
    own = {name(each)} if each["resourceType"] == "Patient" else set()
    return {reference for reference in found | own if reference.startswith("Patient/")}


# A query of a scope, and whom it lets through; the types it means nothing for it lets through nowhere.
QUERIES: Final[dict[str, tuple[tuple[str, ...], Callable[[Row], bool]]]] = {
    "": (TYPES, lambda _: True),
    "status=finished": (("Encounter",), lambda each: each["status"] == "finished"),
    "status=final": (("Observation",), lambda each: each["status"] == "final"),
    "status=finished,in-progress": (("Encounter",), lambda each: each["status"] in {"finished", "in-progress"}),
    "status:not=final": (
        ("Encounter", "Media", "Observation", "Task"),
        lambda each: each["status"] != "final",
    ),
    "status=final&category=urn:c%7Cvital": (
        ("Observation",),
        lambda each: each["status"] == "final" and each.get("category") == VITAL,
    ),
    # of a Provenance the targets that are Patients: http://hl7.org/fhir/R4/provenance.html#search
    "patient=Patient/p1": (
        ("Encounter", "Media", "Observation", "Task", "Provenance"),
        lambda each: "Patient/p1" in patient_of(each),
    ),
    "patient=p2": (
        ("Encounter", "Media", "Observation", "Task", "Provenance"),
        lambda each: "Patient/p2" in patient_of(each),
    ),
    "_id=p1": (("Patient",), lambda each: each["id"] == "p1"),
    "gender=male": (("Patient",), lambda each: each["gender"] == "male"),
    "gender=female": (("Patient",), lambda each: each["gender"] == "female"),
    "identifier=urn:d%7C1": (("Practitioner",), lambda _: True),
    "target=Observation/o1": (("Provenance",), lambda each: each["id"] == "v1"),
    # what limits nothing, cannot be read or looks elsewhere gives nothing
    "colour=blue": ((), lambda _: False),
    "status=": ((), lambda _: False),
    "status=final&category=": ((), lambda _: False),
    "_count=1": ((), lambda _: False),
    "_include=Observation:encounter": ((), lambda _: False),
    "patient.gender=male": ((), lambda _: False),
    "_has:Observation:patient:status=final": ((), lambda _: False),
    "%00": ((), lambda _: False),
}


@dataclass(frozen=True)
class Given:
    """A scope as it was made, to be read again by hand."""

    level: str
    type: str
    rights: str
    query: str = ""

    def __str__(self) -> str:
        return f"{self.level}/{self.type}.{self.rights}" + (f"?{self.query}" if self.query else "")


@dataclass(frozen=True)
class Bearer:
    """A token's scopes and context."""

    scopes: tuple[Given, ...]
    user: str | None = None
    patient: str | None = None

    def has(self, type_: str, right: str) -> bool:
        return any(scope.type in {"*", type_} and right in scope.rights for scope in self.scopes)

    def reaches(self, right: str) -> set[str]:
        return {name(each) for each in ROWS if any(self._lets(scope, each, right) for scope in self.scopes)}

    def _lets(self, scope: Given, each: Row, right: str) -> bool:
        types, holds = QUERIES[scope.query]
        context = {
            "system": True,
            "user": bool(self.user),
            "patient": self.patient is not None and f"Patient/{self.patient}" in patient_of(each),
        }[scope.level]
        type_ = each["resourceType"]
        return context and scope.type in {"*", type_} and right in scope.rights and type_ in types and holds(each)


SCOPES = st.builds(
    Given,
    st.sampled_from(["system", "system", "user", "patient"]),
    st.sampled_from(["*", *TYPES, "Encounter", "Observation"]),
    st.sampled_from(["r", "s", "rs", "cruds", "cud", "ds"]),
    st.just("") | st.sampled_from(sorted(QUERIES)),
)
BEARERS = st.builds(
    Bearer,
    st.lists(SCOPES, min_size=1, max_size=5).map(tuple),
    st.none() | st.just("Practitioner/d1"),
    st.sampled_from([None, "p1", "p2", "nobody"]),
)


@dataclass
class Door:
    """The application, and tokens for any Grant."""

    app: Flask

    def token(self, bearer: Bearer) -> str:
        grant = Grant("default", "ehr", " ".join(map(str, bearer.scopes)), user=bearer.user, patient=bearer.patient)
        key = self.app.extensions["fhir-bridge-tokens"].keys()[0]
        return issue(grant, key, place=Place(BASE, f"{BASE}/fhir"), seconds=300)

    def get(self, token: str, path: str) -> tuple[int, Any]:
        path = path.removeprefix(f"{BASE}/fhir/")
        answer = self.app.test_client().get(f"/fhir/{path}", headers={"Authorization": f"Bearer {token}"})
        assert FOREIGN not in answer.text
        return answer.status_code, json.loads(answer.text)


@pytest.fixture
def door(app, bridge) -> Door:
    def fill(conn: Any) -> None:
        oauth.add_tenant(conn, oauth.new_tenant("elsewhere", bridge.keyring))
        oauth.add_client(conn, oauth.Client("ehr", "default", "ehr", "", 0))
        for tenant, note in (("default", "ours"), ("elsewhere", FOREIGN)):
            noted = [
                each | {"meta": {"tag": [{"system": "urn:note", "code": "note", "display": note}]}} for each in ROWS
            ]
            versions = tuple(new_version(each, base=bridge.base) for each in noted)
            resources.put(conn, tenant, versions)

    bridge.store.write(fill)
    return Door(app)


def matches(bundle: Row, mode: str = "match") -> list[str]:
    return [name(each["resource"]) for each in bundle.get("entry", []) if each.get("search", {}).get("mode") == mode]


def of(type_: str, names: set[str]) -> set[str]:
    return {each for each in names if each.startswith(f"{type_}/")}


def check_reads(door: Door, bearer: Bearer, token: str) -> None:
    reached = bearer.reaches("r")
    for each in (*ROWS, row("Patient/nobody")):
        right = 200 if name(each) in reached else 404 if bearer.has(each["resourceType"], "r") else 403
        assert door.get(token, name(each))[0] == right, name(each)
        assert door.get(token, f"{name(each)}/_history/1")[0] == right, name(each)


def check_searches(door: Door, bearer: Bearer, token: str) -> None:
    reached = bearer.reaches("s")
    for type_ in TYPES:
        expected = of(type_, reached)
        status, bundle = door.get(token, type_)
        assert status == (200 if bearer.has(type_, "s") else 403), type_
        if status == 200:
            assert (sorted(matches(bundle)), bundle["total"]) == (sorted(expected), len(expected))
            assert door.get(token, f"{type_}?_summary=count")[1]["total"] == len(expected)
            assert paged(door, token, f"{type_}?_count=1") == sorted(expected)
            happened = door.get(token, f"{type_}/_history")[1]
            assert {name(each["resource"]) for each in happened.get("entry", [])} == expected


def paged(door: Door, token: str, path: str) -> list[str]:
    found = []
    while path:
        bundle = door.get(token, path)[1]
        found += matches(bundle)
        path = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
    return sorted(found)


def check_chains(door: Door, bearer: Bearer, token: str) -> None:
    """A criterion on another resource sees of it what a search for it would see."""
    reached = bearer.reaches("s")
    males = {"Patient/p1"} & reached
    of_males = {name(each) for each in ROWS if patient_of(each) & males}
    with_final = {
        patient
        for each in ROWS
        if each.get("status") == "final" and name(each) in reached
        for patient in patient_of(each)
    }
    for path, others, expected in (
        ("Observation?patient.gender=male", ["Patient"], of("Observation", reached) & of_males),
        ("Encounter?subject.gender=male", ["Patient"], of("Encounter", reached) & of_males),
        ("Patient?_has:Observation:patient:status=final", ["Observation"], of("Patient", reached) & with_final),
        (
            "Patient?_has:Encounter:patient:_has:Observation:encounter:status=preliminary",
            ["Encounter", "Observation"],
            {"Patient/p1"} & reached if {"Encounter/e1", "Observation/o3"} <= reached else set(),
        ),
    ):
        status, answer = door.get(token, path)
        types = [path.partition("?")[0], *others]
        if not all(bearer.has(type_, "s") for type_ in types):
            assert status in {400, 403}, path
        elif status == 200:  # 400: a depth that is not served
            assert set(matches(answer)) == expected, path


def check_includes(door: Door, bearer: Bearer, token: str) -> None:
    """Included is what may be read or searched; the rest is left out in silence."""
    reached, visible = bearer.reaches("s"), bearer.reaches("r") | bearer.reaches("s")
    path = "Observation?_include=Observation:encounter&_include:iterate=Encounter:patient&_revinclude=Provenance:target"
    status, bundle = door.get(token, path)
    if not bearer.has("Observation", "s"):
        assert status == 403
        return
    found = [each for each in ROWS if name(each) in of("Observation", reached)]
    visits = {each["encounter"]["reference"] for each in found} & visible
    expected = visits | {
        patient for each in ROWS if name(each) in visits for patient in patient_of(each) if patient in visible
    }
    if any(name(each) == "Observation/o1" for each in found):
        expected |= {"Provenance/v1"} & visible
    assert set(matches(bundle, "include")) == expected


def check_everything(door: Door, bearer: Bearer, token: str) -> None:
    readable, visible = bearer.reaches("r"), bearer.reaches("r") | bearer.reaches("s")
    status, bundle = door.get(token, "Encounter/e1/$everything")
    assert status == (200 if "Encounter/e1" in readable else 404 if bearer.has("Encounter", "r") else 403)
    if status == 200:
        found = {name(each["resource"]) for each in bundle["entry"]}
        inside = {"Encounter/e1", "Media/m1", "Task/t1", "Observation/o1", "Observation/o3"}
        assert inside & readable <= found <= visible


def check_links(door: Door, token: str) -> None:
    """A page link is of use to the token that it was given to."""
    other = door.token(Bearer((Given("system", "*", "cruds"), Given("system", "Encounter", "s"))))
    for type_ in TYPES:
        links = door.get(token, f"{type_}?_count=1")[1].get("link", [])
        for link in links:
            if link["relation"] == "next":
                assert door.get(other, link["url"])[0] == 404


ALL = Given("system", "*", "cruds")


def test_a_token_reaches_what_its_scopes_say_and_nothing_else(door):
    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @example(Bearer((ALL,)))
    @example(Bearer((Given("patient", "*", "rs"),), patient="p1"))
    @example(
        Bearer((Given("patient", "*", "cruds"), Given("patient", "Observation", "rs", "status=final")), patient="p2")
    )
    @example(Bearer((Given("patient", "*", "cruds"), Given("user", "*", "cruds"))))
    @example(Bearer((Given("system", "Observation", "s"), Given("system", "Encounter", "r", "status=finished"))))
    @given(BEARERS)
    def check(bearer: Bearer) -> None:
        token = door.token(bearer)
        check_reads(door, bearer, token)
        check_searches(door, bearer, token)
        check_chains(door, bearer, token)
        check_includes(door, bearer, token)
        check_everything(door, bearer, token)
        check_links(door, token)

    check()


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_of_a_scope_lets_through_what_it_says(door, query):
    bearer = Bearer((Given("system", "*", "rs", query),))
    token = door.token(bearer)
    assert {name(each) for each in ROWS if door.get(token, quote(name(each)))[0] == 200} == bearer.reaches("r")
