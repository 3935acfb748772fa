"""Rows that are there in two tenants under the same ids, and what a token reaches of them, read off them by hand.

This model knows nothing of the policy: it looks at the JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fhir_bridge.smart.grant import Grant
from fhir_bridge.smart.token import Place, issue
from fhir_bridge.store import oauth, resources
from fhir_bridge.verbs.record import new_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from fhir_bridge.verbs.bridge import Bridge

Row = dict[str, Any]
BASE = "http://127.0.0.1:8080"
OURS = "of the first tenant"
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
TEXT = {"attachment": {"contentType": "text/plain", "data": "aGVhcmQ="}}
NOTE = {"type": CODE, "title": "Note", "date": "2026-11-22", "author": [to("Practitioner/d1")]}
# Nothing refers to these, nor they to a visit: for tests that write.
DOCUMENTS: Final = (
    row("DocumentReference/r1", status="current", subject=to("Patient/p1"), content=[TEXT]),
    row("DocumentReference/r2", status="current", content=[TEXT]),
    row("Composition/k1", status="final", subject=to("Patient/p2"), **NOTE),
)
TYPES_WITH_DOCUMENTS: Final = (*TYPES, "DocumentReference", "Composition")


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
    "": (TYPES_WITH_DOCUMENTS, lambda _: True),
    "status=finished": (("Encounter",), lambda each: each["status"] == "finished"),
    "status=final": (("Observation", "Composition"), lambda each: each["status"] == "final"),
    "status=finished,in-progress": (("Encounter",), lambda each: each["status"] in {"finished", "in-progress"}),
    "status:not=final": (
        ("Encounter", "Media", "Observation", "Task", "DocumentReference", "Composition"),
        lambda each: each["status"] != "final",
    ),
    "status=final&category=urn:c%7Cvital": (
        ("Observation",),
        lambda each: each["status"] == "final" and each.get("category") == VITAL,
    ),
    # of a Provenance the targets that are Patients: http://hl7.org/fhir/R4/provenance.html#search
    "patient=Patient/p1": (
        ("Encounter", "Media", "Observation", "Task", "Provenance", "DocumentReference", "Composition"),
        lambda each: "Patient/p1" in patient_of(each),
    ),
    "patient=p2": (
        ("Encounter", "Media", "Observation", "Task", "Provenance", "DocumentReference", "Composition"),
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

    def __str__(self) -> str:
        context = "".join(f" {at}={id_}" for at, id_ in (("user", self.user), ("patient", self.patient)) if id_)
        return " ".join(map(str, self.scopes)) + context

    def has(self, type_: str, right: str) -> bool:
        return any(scope.type in {"*", type_} and right in scope.rights for scope in self.scopes)

    def reaches(self, right: str) -> set[str]:
        return {name(each) for each in ROWS if self.lets(each, right)}

    def lets(self, each: Row, right: str) -> bool:
        """Whether a row, or content that shall become one, is within reach."""
        return any(self._lets(scope, each, right) for scope in self.scopes)

    def _lets(self, scope: Given, each: Row, right: str) -> bool:
        types, holds = QUERIES[scope.query]
        context = {
            "system": True,
            "user": bool(self.user),
            "patient": self.patient is not None and f"Patient/{self.patient}" in patient_of(each),
        }[scope.level]
        type_ = each["resourceType"]
        return context and scope.type in {"*", type_} and right in scope.rights and type_ in types and holds(each)


def given(*scopes: str, user: str | None = None, patient: str | None = None) -> Bearer:
    """A bearer of scopes in v2's form."""
    read = []
    for scope in scopes:
        place, _, query = scope.partition("?")
        level, _, rest = place.partition("/")
        type_, _, rights = rest.partition(".")
        read.append(Given(level, type_, rights, query))
    return Bearer(tuple(read), user, patient)


BEARERS: Final = (
    given("system/*.cruds"),
    given("system/*.rs"),
    given("system/*.r"),
    given("system/*.s"),
    given("system/*.cud"),
    given("system/Observation.rs"),
    given("system/Observation.rs?status=final"),
    given("system/Observation.cruds?status=final&category=urn:c%7Cvital", "system/Encounter.s"),
    given("system/Patient.rs?gender=male", "system/Encounter.rs", "system/Binary.r"),
    given("system/*.rs?patient=p2", "system/Practitioner.r"),
    given("system/Encounter.r?status=finished", "system/Encounter.s?status=finished,in-progress", "system/Media.rs"),
    given("system/*.rs?colour=blue", "system/*.rs?_count=1"),
    given("patient/*.rs", patient="p1"),
    given("patient/*.cruds", patient="p2"),
    given("patient/*.cruds", "system/Practitioner.rs", patient="nobody"),
    given("patient/*.cruds"),
    given("patient/Observation.rs", "system/Encounter.r?status=finished", "system/Binary.r", patient="p1"),
    given("user/*.cruds", user="Practitioner/d1"),
    given("user/*.cruds"),
    given("user/Observation.rs", "patient/*.r", user="Practitioner/d1", patient="p2"),
)


@dataclass
class Door:
    """The application, and tokens for any Grant."""

    app: Flask

    def token(self, bearer: Bearer, *, tenant: str = "default", client: str = "ehr") -> str:
        grant = Grant(tenant, client, " ".join(map(str, bearer.scopes)), user=bearer.user, patient=bearer.patient)
        key = self.app.extensions["fhir-bridge-tokens"].keys()[0]
        return issue(grant, key, place=Place(BASE, f"{BASE}/fhir"), seconds=300)

    def get(self, token: str, path: str) -> tuple[int, Any]:
        path = path.removeprefix(f"{BASE}/fhir/")
        answer = self.app.test_client().get(f"/fhir/{path}", headers={"Authorization": f"Bearer {token}"})
        assert FOREIGN not in answer.text
        return answer.status_code, json.loads(answer.text)


def fill(bridge: Bridge, rows: tuple[Row, ...] = ROWS) -> None:
    """Store the rows in two tenants, each with a note of whose it is; a third has none. Each has a client."""

    def write(conn: Any) -> None:
        oauth.add_client(conn, oauth.Client("ehr", "default", "ehr", "", 0))
        for tenant in ("elsewhere", "empty"):
            oauth.add_tenant(conn, oauth.new_tenant(tenant, bridge.keyring))
            oauth.add_client(conn, oauth.Client(f"ehr-{tenant}", tenant, "ehr", "", 0))
        for tenant, note in (("default", OURS), ("elsewhere", FOREIGN)):
            resources.put(conn, tenant, tuple(new_version(noted(each, note), base=bridge.base) for each in rows))

    bridge.store.write(write)


def noted(each: Row, note: str) -> Row:
    """A row with a note of whose it is."""
    return each | {"meta": {"tag": [{"system": "urn:note", "code": "note", "display": note}]}}
