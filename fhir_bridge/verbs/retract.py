"""Taking back: what came of a wrong recording or a wrong visit is marked entered-in-error, and work on it stops."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import Busy
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.rest.served import BY_TYPE
from fhir_bridge.store import jobs, resources
from fhir_bridge.store.filter import NOTHING, Filter, Keys, OfType, Or
from fhir_bridge.verbs.plan import Condition, Plan, merged
from fhir_bridge.verbs.record import new_version
from fhir_bridge.verbs.under_way import again, stopped

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.jobs import Job
    from fhir_bridge.store.resources import Row
    from fhir_bridge.store.versions import NewVersion
    from fhir_bridge.verbs.bridge import Bridge

ERROR: Final = "entered-in-error"
_MOST: Final = 10_000
# Types of results, and the parameter that names the recordings they came of.
_RESULTS: Final = (("Observation", "derived-from"), ("DocumentReference", "related"))


def media_removed(bridge: Bridge, grant: Grant, row: Row) -> Plan:
    """Plan what the deletion of a Media brings along (ruling 10).

    Raises:
        Busy: a worker has the recording at Corti this moment.
    """
    found = _jobs_of(bridge, grant, row.id)
    if any(job.owner is not None for job in found):
        raise Busy("The recording is being transcribed: cancel its Task first, then delete it", retry_after=5)
    return merged([stopped(bridge, found), _withdrawn(bridge, grant, (row.id,))])


def media_in_error(bridge: Bridge, grant: Grant, media: str) -> Plan:
    """Plan what a Media entered in error brings along, be it running or not."""
    found = _jobs_of(bridge, grant, media)
    return merged([stopped(bridge, found), _withdrawn(bridge, grant, (media,))])


def encounter_in_error(bridge: Bridge, grant: Grant, encounter: str) -> Plan:
    """Plan what an Encounter entered in error brings along: its recordings and their results are, too."""
    found = bridge.store.read(lambda conn: jobs.of_encounter(conn, grant.tenant, encounter))
    filter_, recordings = _recordings(bridge, grant, encounter)
    withdrawn = tuple(_in_error(row, bridge, grant) for row in recordings if _stands(row))
    ids = tuple(row.id for row in recordings)
    return merged(
        [
            Plan(withdrawn, conditions=(Condition(filter_, ids),)),
            stopped(bridge, (job for job in found if job.kind == "media")),
            _withdrawn(bridge, grant, ids),
        ]
    )


def encounter_removed(bridge: Bridge, grant: Grant, row: Row) -> Plan:
    """Plan what the deletion of an Encounter brings along: Corti hears of it.

    Raises:
        Busy: recordings belong to it.
    """
    filter_, recordings = _recordings(bridge, grant, row.id)
    if any(_stands(each) for each in recordings):
        text = "Recordings belong to this Encounter: update it to entered-in-error, which takes them back"
        raise Busy(text, at="Encounter.status")
    found = bridge.store.read(lambda conn: jobs.of_encounter(conn, grant.tenant, row.id))
    told = [again(bridge, job) for job in found if job.kind == "interaction"]
    return merged([Plan(conditions=(Condition(filter_, tuple(each.id for each in recordings)),)), *told])


def _jobs_of(bridge: Bridge, grant: Grant, media: str) -> tuple[Job, ...]:
    found = bridge.store.read(lambda conn: jobs.of_media(conn, grant.tenant, media))
    return () if found is None else (found,)


def _recordings(bridge: Bridge, grant: Grant, encounter: str) -> tuple[Filter, tuple[Row, ...]]:
    inside = Keys(_number("Media", "encounter"), (f"Encounter/{encounter}",))
    filter_ = Filter(grant.tenant).narrowed(OfType(("Media",)), inside)
    return filter_, bridge.store.read(lambda conn: resources.search(conn, filter_, count=_MOST)).rows


def _withdrawn(bridge: Bridge, grant: Grant, media: tuple[str, ...]) -> Plan:
    """Withdraw the results of recordings: an EHR has read them and must see it.

    They count as written by this client: whatever else the bridge learns, it leaves them so (ruling 9).
    """
    places = tuple(f"Media/{id_}" for id_ in media)
    named = Or(tuple(Keys(_number(type_, name), places) for type_, name in _RESULTS)) if places else NOTHING
    filter_ = Filter(grant.tenant).narrowed(OfType(tuple(type_ for type_, _ in _RESULTS)), named)
    rows = bridge.store.read(lambda conn: resources.search(conn, filter_, count=_MOST)).rows
    versions = tuple(_in_error(row, bridge, grant) for row in rows if _stands(row))
    return Plan(versions, conditions=(Condition(filter_, tuple(row.id for row in rows)),))


def _stands(row: Row) -> bool:
    return read(row.body).get("status") != ERROR


def _in_error(row: Row, bridge: Bridge, grant: Grant) -> NewVersion:
    json = read(row.body)
    marked: Json = json | {"status": ERROR} | ({"docStatus": ERROR} if "docStatus" in json else {})
    return replace(new_version(marked, method="PUT", author=grant.client, base=bridge.base), expect=row.vid)


def _number(type_: str, name: str) -> int:
    param = BY_TYPE[type_].param(name)
    assert param is not None  # noqa: S101 - served.py lists it
    return param.number
