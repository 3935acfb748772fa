"""Encounter/$everything: the Encounter, its recordings, their Tasks, results and Provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.fhir.rest.bundle import Entry, searchset
from fhir_bridge.fhir.rest.served import BY_TYPE, ENCOUNTER_COMPARTMENT
from fhir_bridge.store import resources
from fhir_bridge.store.filter import Chain, Keys, Or
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import read

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bridge import Bridge

MOST = 10_000


def encounter_everything(bridge: Bridge, grant: Grant, id_: str) -> str:
    """Answer with one searchset Bundle of all that belongs to an Encounter and that the Grant may see."""
    encounter = read(bridge, grant, "Encounter", id_)
    place = f"Encounter/{id_}"
    belong = [type_ for type_, row in BY_TYPE.items() if row.encounter or type_ == "Provenance"]
    members = [type_ for type_ in belong if grant.scopes_for(type_, "r")]

    def collect(conn: Connection) -> tuple[Row, ...]:
        if not members:
            return ()
        inside = Keys(ENCOUNTER_COMPARTMENT, (place,))
        filter_ = allowed(grant, members, "r").narrowed(Or((inside, _of_a_result(place))))
        return resources.search(conn, filter_, count=MOST).rows

    rows = [encounter, *reversed(bridge.store.read(collect))]
    entries = [Entry(row.type, row.id, row.body) for row in rows]
    links = {"self": f"{bridge.base}/{place}/$everything"}
    return searchset(entries, base=bridge.base, links=links, total=len(entries))


def _of_a_result(place: str) -> Chain:
    """Provenance belongs to the Encounter by its target, which is one of the Encounter's resources."""
    target = BY_TYPE["Provenance"].param("target")
    assert target is not None  # noqa: S101 - served.py lists it
    types = tuple(type_ for type_, row in BY_TYPE.items() if row.encounter and type_ != "Provenance")
    return Chain(target.number, types, Keys(ENCOUNTER_COMPARTMENT, (place,)))
