"""Patients and encounters to choose from, as the person who chooses may see them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from fhir_bridge.api.guard import bridge
from fhir_bridge.api.oauth import door
from fhir_bridge.smart.grant import Grant
from fhir_bridge.verbs import audit
from fhir_bridge.verbs.search import search

if TYPE_CHECKING:
    from fhir_bridge.api.oauth.door import Visit

MOST: Final = 25
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_SCOPE: Final = "user/Patient.rs user/Encounter.rs"


@dataclass(frozen=True)
class Choice:
    """A resource to choose, and what a person knows it by."""

    id: str
    label: str
    patient: str | None = None


def patients(visit: Visit, name: str = "") -> tuple[Choice, ...]:
    """Find patients of the tenant, by the beginning of a name or all."""
    named = [("name", name)] if name else []
    return tuple(map(_patient, _found(visit, "Patient", [*named, ("_sort", "-_lastUpdated")])))


def patient(visit: Visit, id_: str) -> Choice | None:
    """Find one patient."""
    if not _ID.fullmatch(id_):
        return None
    return next(iter(map(_patient, _found(visit, "Patient", [("_id", id_)]))), None)


def encounters(visit: Visit) -> tuple[Choice, ...]:
    """Find encounters of the patient in context, or of all."""
    return tuple(map(_encounter, _found(visit, "Encounter", [*_within(visit), ("_sort", "-_lastUpdated")])))


def encounter(visit: Visit, id_: str) -> Choice | None:
    """Find one encounter, of the patient in context if there is one."""
    if not _ID.fullmatch(id_):
        return None
    return next(iter(map(_encounter, _found(visit, "Encounter", [*_within(visit), ("_id", id_)]))), None)


def _within(visit: Visit) -> list[tuple[str, str]]:
    return [("patient", visit.ask.context.patient)] if visit.ask.context.patient else []


def _found(visit: Visit, type_: str, asked: list[tuple[str, str]]) -> list[dict[str, Any]]:
    who = Grant(visit.ask.tenant, visit.ask.client, _SCOPE, user=visit.known.user)
    _tell(visit, type_, asked)
    escaped = [(name, value.replace("\\", r"\\").replace(",", r"\,").replace("$", r"\$")) for name, value in asked]
    bundle = json.loads(search(bridge().of(who.tenant), who, type_, [*escaped, ("_count", str(MOST))]))
    return [entry["resource"] for entry in bundle.get("entry", ()) if entry["resource"]["resourceType"] == type_]


def _tell(visit: Visit, type_: str, asked: list[tuple[str, str]]) -> None:
    """Let the audit keep what was looked for: what is shown here is shown of patients."""
    row = replace(door.told("search-type", visit, person=visit.known), type=type_, query=f"{type_}?{urlencode(asked)}")
    bridge().store.of(row.tenant).write(lambda conn: audit.record(conn, [row]))


def _patient(resource: dict[str, Any]) -> Choice:
    names = [_named(name) for name in resource.get("name", ())]
    numbers = [one["value"] for one in resource.get("identifier", ()) if one.get("value")]
    told = [*[name for name in names if name][:1], resource.get("birthDate"), *numbers[:1], f"Patient/{resource['id']}"]
    return Choice(resource["id"], ", ".join(str(each) for each in told if each), resource["id"])


def _named(name: dict[str, Any]) -> str:
    return name.get("text") or " ".join([*(name.get("given") or ()), name.get("family") or ""]).strip()


def _encounter(resource: dict[str, Any]) -> Choice:
    kind = resource.get("class") or {}
    told = [
        (resource.get("period") or {}).get("start"),
        kind.get("display") or kind.get("code"),
        resource.get("status"),
        f"Encounter/{resource['id']}",
    ]
    subject = (resource.get("subject") or {}).get("reference", "")
    patient_ = subject.rpartition("Patient/")[2] if "Patient/" in subject else None
    return Choice(resource["id"], ", ".join(str(each) for each in told if each), patient_)
