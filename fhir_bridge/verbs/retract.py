"""Taking back: what came of a wrong recording or a wrong visit is marked entered-in-error, and work on it stops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import Busy
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.rest.served import BY_TYPE, ENCOUNTER_COMPARTMENT
from fhir_bridge.store import jobs, resources
from fhir_bridge.store.filter import Filter, Keys, OfType, Or
from fhir_bridge.store.states import TERMINAL
from fhir_bridge.verbs.plan import Plan
from fhir_bridge.verbs.record import new_version

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.filter import Node
    from fhir_bridge.store.resources import Row
    from fhir_bridge.store.versions import NewVersion
    from fhir_bridge.verbs.bridge import Bridge

ERROR: Final = "entered-in-error"
_MOST: Final = 10_000
_RESULTS: Final = ("Observation", "DocumentReference", "Composition")


def media_removed(bridge: Bridge, grant: Grant, row: Row) -> Plan:
    """Plan what the deletion of a Media brings along (ruling 10).

    Raises:
        Busy: a worker has the recording at Corti this moment.
    """
    job = bridge.store.read(lambda conn: jobs.of_media(conn, grant.tenant, row.id))
    if job is not None and job.owner is not None:
        raise Busy("The recording is being transcribed: cancel its Task first, then delete it", retry_after=5)
    cancel = () if job is None or job.state in TERMINAL else (job.id,)
    place = f"Media/{row.id}"
    named = Or(
        (
            Keys(_number("Observation", "derived-from"), (place,)),
            Keys(_number("DocumentReference", "related"), (place,)),
        )
    )
    return Plan(_withdrawn(bridge, grant, named), cancel=cancel)


def encounter_in_error(bridge: Bridge, grant: Grant, encounter: str) -> Plan:
    """Plan what an Encounter entered in error brings along: its recordings and results are, too."""
    found = bridge.store.read(lambda conn: jobs.of_encounter(conn, grant.tenant, encounter))
    running = tuple(job.id for job in found if job.state not in TERMINAL and job.kind == "media")
    inside = Keys(ENCOUNTER_COMPARTMENT, (f"Encounter/{encounter}",))
    return Plan(_withdrawn(bridge, grant, inside, "Media"), cancel=running)


def _withdrawn(bridge: Bridge, grant: Grant, which: Node, *more: str) -> tuple[NewVersion, ...]:
    """Return the versions that withdraw results: an EHR has read them and must see it."""
    filter_ = Filter(grant.tenant).narrowed(OfType((*_RESULTS, *more)), which)
    rows = bridge.store.read(lambda conn: resources.search(conn, filter_, count=_MOST)).rows
    bodies = (read(row.body) for row in rows)
    return tuple(_in_error(json, bridge) for json in bodies if json.get("status") != ERROR)


def _in_error(json: Json, bridge: Bridge) -> NewVersion:
    withdrawn = json | {"status": ERROR} | ({"docStatus": ERROR} if "docStatus" in json else {})
    return new_version(withdrawn, method="PUT", base=bridge.base)


def _number(type_: str, name: str) -> int:
    param = BY_TYPE[type_].param(name)
    assert param is not None  # noqa: S101 - served.py lists it
    return param.number
