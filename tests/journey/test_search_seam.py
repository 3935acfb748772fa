"""Grammar, keys and SQL together, on both databases: what a search string finds among real resources."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fhir_bridge.fhir.rest.search import parse
from fhir_bridge.store import Filter, resources
from fhir_bridge.store.filter import OfType
from fhir_bridge.verbs.criteria import nodes_of
from fhir_bridge.verbs.record import new_version

BASE = "https://bridge/fhir"


def visit(id_: str, **elements: object) -> dict:
    return {
        "resourceType": "Encounter",
        "id": id_,
        "status": "finished",
        "class": {"system": "urn:act", "code": "AMB"},
        **elements,
    }


RESOURCES = [
    {
        "resourceType": "Patient",
        "id": "p1",
        "name": [{"family": "Müller-Lüdenscheidt"}],
        "identifier": [{"value": "7"}],
    },
    {"resourceType": "Patient", "id": "p2", "name": [{"family": "Østby_100%"}]},
    visit("morning", period={"start": "2024-03-10T08:00:00Z", "end": "2024-03-10T09:00:00Z"}),
    visit("open", period={"start": "2024-03-11"}, subject={"reference": f"{BASE}/Patient/p1"}),
    visit("short", length={"value": Decimal("9.5"), "system": "urn:ucum", "code": "min"}, status="planned"),
    visit("long", length={"value": 2, "system": "urn:ucum", "code": "h"}, subject={"reference": "Patient/p2"}),
    {
        "resourceType": "Observation",
        "id": "o1",
        "status": "preliminary",
        "code": {"coding": [{"system": "urn:c", "code": "a|b", "display": "Sore Throat"}]},
        "encounter": {"reference": "Encounter/open"},
    },
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"date": "2024-03-10"}, {"morning"}),
        ({"date": "ge2024-03-10"}, {"morning", "open"}),
        ({"date": "gt2024-03-10"}, {"open"}),
        ({"date": "sa2024-03-10"}, {"open"}),
        ({"date": "eb2024-03-11"}, {"morning"}),
        ({"date": "le2024-03-10T08:30:00Z"}, {"morning"}),
        ({"date": "ne2024"}, {"open"}),
        ({"date": "ap2024-03-10"}, {"morning", "open"}),
        ({"date:missing": "true"}, {"short", "long"}),
        ({"length": "gt1"}, {"short", "long"}),
        ({"length": "gt1||min"}, {"short"}),
        ({"length": "lt9.5|urn:ucum|min"}, set()),
        ({"length": "le9.5|urn:ucum|min"}, {"short"}),
        ({"length": "9.5"}, {"short"}),
        ({"length": "ne9.5"}, {"long"}),
        ({"status:not": "finished"}, {"short"}),
        ({"class": "urn:act|", "status": "planned,cancelled"}, {"short"}),
        ({"status": "http://hl7.org/fhir/encounter-status|planned"}, {"short"}),
        ({"patient": f"{BASE}/Patient/p1"}, {"open"}),
        ({"patient": "p1,p2"}, {"open", "long"}),
        ({"patient.family": "mul"}, {"open"}),
        ({"patient.identifier": "7"}, {"open"}),
        ({"subject:Patient.family:contains": "_100%"}, {"long"}),
        ({"subject:Patient.family:exact": "Müller"}, set()),
        ({"_has:Observation:encounter:code": r"urn:c|a\|b"}, {"open"}),
        ({"_has:Observation:encounter:code:text": "SORE"}, {"open"}),
        ({"_id": "short,long"}, {"short", "long"}),
        ({"_lastUpdated": "gt2000"}, {"morning", "open", "short", "long"}),
        ({"_lastUpdated": "lt2000"}, set()),
    ],
    ids=lambda each: "+".join(sorted(each)) if isinstance(each, set) else str(each),
)
def test_a_search_string_finds_what_it_says(store, query: dict[str, str], found: set[str]):
    versions = tuple(new_version(json, base=BASE) for json in RESOURCES)
    store.write(lambda conn: resources.put(conn, "default", versions, expect=None))
    request = parse("Encounter", query.items(), strict=True, base=BASE)
    filter_ = Filter("default").narrowed(OfType(request.types), *nodes_of(request))

    page = store.read(lambda conn: resources.search(conn, filter_, count=10))

    assert {row.id for row in page.rows} == found
