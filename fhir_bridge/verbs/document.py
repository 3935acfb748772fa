"""$document: a Composition with what it refers to, of a stored one or of the facts of an Encounter.

http://hl7.org/fhir/R4/composition-operation-document.html, http://hl7.org/fhir/R4/documents.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge import clock
from fhir_bridge.fhir.resource.models import Encounter, model_of
from fhir_bridge.fhir.resource.reader import read as read_json
from fhir_bridge.fhir.resource.references import references, rewrite
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.bundle import Entry, document
from fhir_bridge.fhir.rest.served import BY_TYPE, ENCOUNTER_COMPARTMENT
from fhir_bridge.mapping import systems
from fhir_bridge.mapping.composition import composition_from_facts
from fhir_bridge.mapping.origin import subject_of
from fhir_bridge.store import resources
from fhir_bridge.store.filter import Keys
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import find, read

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bridge import Bridge

MOST: Final = 10_000


def composition_document(bridge: Bridge, grant: Grant, id_: str) -> str:
    """Answer with the document of a stored Composition; what the Grant may not read is left out."""
    row = read(bridge, grant, "Composition", id_)
    rows = _named(bridge, grant, read_json(row.body))
    return _document(bridge, (f"{bridge.base}/Composition/{id_}", row.body), rows)


def encounter_document(bridge: Bridge, grant: Grant, id_: str) -> str:
    """Answer with a document of the facts that are found in an Encounter so far.

    Its Composition is made here and stored nowhere, so it has a URN; by a URN no relative
    reference can be resolved, so its own are absolute (bundle.html#references).
    """
    row = read(bridge, grant, "Encounter", id_)
    facts = _facts(bridge, grant, id_)
    encounter = model_of(read_json(row.body))
    assert isinstance(encounter, Encounter)  # noqa: S101 - it was read as one
    bodies = [read_json(fact.body) for fact in facts]
    at = max(each.at for each in (row, *facts))
    note = composition_from_facts(bodies, id_, subject=subject_of(encounter), at=at)
    rows = _named(bridge, grant, note)
    absolute = {place: f"{bridge.base}/{place}" for place in _places(bridge, note)}
    return _document(bridge, (f"urn:uuid:{note['id']}", write(rewrite(note, absolute))), rows)


def _facts(bridge: Bridge, grant: Grant, encounter: str) -> tuple[Row, ...]:
    """Read Corti's facts, in the order they came."""
    category = BY_TYPE["Observation"].param("category")
    assert category is not None  # noqa: S101 - served.py lists it
    inside = Keys(ENCOUNTER_COMPARTMENT, (f"Encounter/{encounter}",))
    ambient = Keys(category.number, (encode.token_in(systems.CATEGORY, "ambient-fact"),))
    filter_ = allowed(grant, ("Observation",), "r").narrowed(inside, ambient)
    return bridge.store.read(lambda conn: resources.search(conn, filter_, count=MOST)).rows[::-1]


def _named(bridge: Bridge, grant: Grant, composition: Json) -> list[Row]:
    """Read what a Composition refers to, as far as it is here and the Grant may read it."""
    places = (place.split("/") for place in _places(bridge, composition))
    rows = (
        find(bridge, allowed(grant, (type_,), "r"), type_, id_)
        for type_, id_ in places
        if type_ in BY_TYPE and grant.scopes_for(type_, "r")
    )
    return [row for row in rows if row is not None and not row.deleted]


def _places(bridge: Bridge, json: Json) -> list[str]:
    """List what is referred to on this server as Type/id, each once, in its order."""
    literal = (reference.get("reference") for _, reference in references(json))
    found = (encode.reference(each, base=bridge.base) for each in literal if isinstance(each, str))
    return list(dict.fromkeys(place for place in found if place and place.count("/") == 1))


def _document(bridge: Bridge, composition: tuple[str, str], rows: list[Row]) -> str:
    entries = [Entry(row.type, row.id, row.body) for row in rows]
    return document(composition, entries, base=bridge.base, id_=clock.new_id(), at=clock.instant())
