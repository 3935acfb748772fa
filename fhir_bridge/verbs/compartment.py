"""Compartments: what belongs to a Patient or an Encounter, also to one that lives only in the EHR (ruling 18).

http://hl7.org/fhir/R4/http.html#vsearch: GET /Patient/{id}/Observation, /Encounter/{id}/*
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fhir_bridge.errors import NoSuchRoute
from fhir_bridge.fhir.rest.served import ENCOUNTER_COMPARTMENT, PATIENT_COMPARTMENT, SERVED
from fhir_bridge.store.filter import Keys

ANY: Final = "*"
# A compartment holds its own resource too.
MEMBERS: Final = {
    "Patient": tuple(row.type for row in SERVED if row.patient or row.type == "Patient"),
    "Encounter": tuple(row.type for row in SERVED if row.encounter or row.type == "Encounter"),
}
_NUMBERS: Final = {"Patient": PATIENT_COMPARTMENT, "Encounter": ENCOUNTER_COMPARTMENT}


@dataclass(frozen=True)
class Reach:
    """Where a search looks: at one type, or among several (none: all), and within which compartment."""

    type: str | None
    among: tuple[str, ...] = ()
    within: tuple[Keys, ...] = ()


def reach_of(path: str) -> Reach:
    """Read the path of a search: empty, Type, Patient/id/Type or Patient/id/*.

    Raises:
        NoSuchRoute: there is no such compartment, or no such type in it.
    """
    if "/" not in path:
        return Reach(path or None)
    compartment, id_, member = path.split("/")
    among = MEMBERS.get(compartment, ())
    if not among or member not in {*among, ANY}:
        raise NoSuchRoute(f"Compartments are those of {' and '.join(MEMBERS)}, and of the types that belong to them")
    within = (Keys(_NUMBERS[compartment], (f"{compartment}/{id_}",)),)
    return Reach(None, among, within) if member == ANY else Reach(member, (), within)
