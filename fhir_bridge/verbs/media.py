"""Writing a Media: its audio becomes a Binary, its Encounter gets a job (architecture, "POST Media, step by step")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from fhir_bridge.audio.sound import Sound
from fhir_bridge.errors import BusinessRule, UnresolvedReference
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.models import Encounter, Media, Model, model_of
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.resource.tree import only
from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.served import BY_TYPE
from fhir_bridge.mapping.accepted import accepted_media
from fhir_bridge.mapping.encounter import takes_recordings
from fhir_bridge.mapping.media import stream_config_from_media, transport_of
from fhir_bridge.mapping.origin import subject_of
from fhir_bridge.mapping.tables import ENCOUNTER_STATUS
from fhir_bridge.store import jobs, resources
from fhir_bridge.store.budgets import Audio
from fhir_bridge.store.filter import Filter, Ids, Keys, Not, OfType
from fhir_bridge.store.versions import Once
from fhir_bridge.verbs.admission import require_room
from fhir_bridge.verbs.case import digest_of
from fhir_bridge.verbs.plan import Condition, OnceKey, Plan, merged
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.record import new_version
from fhir_bridge.verbs.recording import DATA, recording_of
from fhir_bridge.verbs.retract import ERROR, media_in_error
from fhir_bridge.verbs.tasks import new_job

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.store.versions import NewVersion
    from fhir_bridge.verbs.case import Case
    from fhir_bridge.verbs.recording import Recording

ONCE: Final = "Media"
AT: Final = "Media.encounter"

M = TypeVar("M", bound=Model)


def plan(case: Case) -> Plan:
    """Plan one Media.

    Raises:
        BusinessRule: no audio, other audio than before, an Encounter that takes none, a deleted Media.
        UnresolvedReference: the Encounter or Binary it names is not here.
        UnusableAudio: not audio that can be read, or not what it was declared to be.
        NotMapped: Corti has no word for an element.
    """
    if case.current is not None:
        return _amended(case)
    if case.bridge.store.read(lambda conn: jobs.of_media(conn, case.grant.tenant, case.id)) is not None:
        raise BusinessRule("This Media was deleted and its results taken back: send it as a new Media", at="Media.id")
    require_room(case.bridge, case.grant.tenant)
    recording = recording_of(case)
    encounter = _encounter(case)
    json = _accepted(case, recording)
    media = _typed(Media, json)
    _ask_mapping(case, media, encounter, recording)
    of = {"encounter": str(encounter.id), "media": case.id, "binary": recording.content.binary}
    task, job = new_job(case, subject=subject_of(encounter, media), **of)
    return Plan(
        (case.version(json), task, *_binary(case, recording)),
        conditions=_still_taken(case, str(encounter.id)),
        once=(_once(case, str(encounter.id), recording.content.sha256),),
        contents=(recording.content,) if recording.is_new else (),
        jobs=(job,),
        audio=(Audio(case.grant.tenant, case.id, round(recording.seconds * 1000)),),
    )


def _amended(case: Case) -> Plan:
    """An EHR may amend what it said about a recording; audio, its type and status stay (ruling 7).

    But it may say that the recording is entered in error: that takes the results back.
    """
    assert case.current is not None  # noqa: S101 - the caller asked
    before = read(case.current.body)
    sent, kept = only(case.json, "content"), only(before, "content")
    if DATA in case.blobs or sent.get("url") != kept["url"]:
        raise BusinessRule("The recording of a Media does not change: send it as a new Media", at="Media.content")
    if case.json.get("encounter") != before.get("encounter"):
        raise BusinessRule("A recording stays with its Encounter: send it as a new Media", at=AT)
    owned = {name: kept[name] for name in ("contentType", "url", "size", "hash")}
    is_error = case.json.get("status") == ERROR
    status = ERROR if is_error else before["status"]
    plan = Plan((case.version(checked({**case.json, "status": status, "content": {**sent, **owned}})),))
    return merged([plan, media_in_error(case.bridge, case.grant, case.id)]) if is_error else plan


def _accepted(case: Case, recording: Recording) -> Json:
    """Return the Media as it is stored, after checking it as it was sent, but for its audio."""
    held = recording.content
    accepted = accepted_media(
        case.json, binary_url=recording.url, size=held.size, sha1=held.sha1, content_type=recording.found.mime
    )
    sent = {name: case.json.get(name) if name == "status" else value for name, value in accepted.items()}
    checked({name: value for name, value in sent.items() if value is not None})
    return accepted


def _ask_mapping(case: Case, media: Media, encounter: Encounter, recording: Recording) -> None:
    """Refuse at once what has no word in Corti; channels are taken as different until they were listened to."""
    found = recording.found
    sound = Sound(**vars(found), seconds=0.0, distinct_channels=found.channels > 1, truncated=False, way="decoded")
    transport_of(media)
    stream_config_from_media(media, encounter, sound=sound, language=case.bridge.settings.language, as_="pcm")


def _encounter(case: Case) -> Encounter:
    """Find the Encounter by literal reference or by identifier; only this one has to resolve (ruling 18)."""
    reference = case.json.get("encounter")
    if not isinstance(reference, dict):
        raise BusinessRule("A recording belongs to an Encounter: name it", at=AT)
    literal, identifier = reference.get("reference"), reference.get("identifier")
    filter_ = allowed(case.grant, ("Encounter",), "r")
    json = case.referenced(literal, filter_) if isinstance(literal, str) else _by_identifier(case, identifier)
    if json is None or json.get("resourceType") != "Encounter":
        raise UnresolvedReference("There is no such Encounter here: post it first", at=AT)
    encounter = _typed(Encounter, json)
    if not takes_recordings(encounter):
        raise BusinessRule("The Encounter is cancelled or entered in error: it takes no recordings", at=AT)
    return encounter


def _still_taken(case: Case, encounter: str) -> tuple[Condition, ...]:
    """Return the condition that nobody cancels the Encounter, or takes it back, before the recording is stored."""
    if f"Encounter/{encounter}" in case.within:
        return ()
    status = BY_TYPE["Encounter"].param("status")
    assert status is not None  # noqa: S101 - served.py lists it
    ended = Keys(status.number, tuple(encode.token(row.code) for row in ENCOUNTER_STATUS.values() if not row.records))
    filter_ = Filter(case.grant.tenant).narrowed(OfType(("Encounter",)), Ids((encounter,)), Not(ended))
    return (Condition(filter_, (encounter,)),)


def _by_identifier(case: Case, identifier: object) -> Json | None:
    """Find the one Encounter with an identifier; several are as good as none."""
    if not isinstance(identifier, dict) or not isinstance(identifier.get("value"), str):
        return None
    system, value = identifier.get("system"), str(identifier["value"])
    text = encode.token_in(system, value) if isinstance(system, str) else encode.token(value)
    param = BY_TYPE["Encounter"].param("identifier")
    assert param is not None  # noqa: S101 - served.py lists it
    filter_ = allowed(case.grant, ("Encounter",), "r").narrowed(Keys(param.number, (text,)))
    page = case.bridge.store.read(lambda conn: resources.search(conn, filter_, count=2))
    return read(page.rows[0].body) if len(page.rows) == 1 else None


def _once(case: Case, encounter: str, sha256: str) -> OnceKey:
    """The same audio for the same Encounter under the same identifier is one Media (ruling 3)."""
    val = digest_of({"identifier": case.json.get("identifier")}, encounter, sha256)
    described = {name: value for name, value in case.json.items() if name != "content"}
    return OnceKey(ONCE, val, Once(digest_of(described, sha256), case.type, case.id))


def _binary(case: Case, recording: Recording) -> tuple[NewVersion, ...]:
    if not recording.is_new:
        return ()
    json: Json = {
        "resourceType": "Binary",
        "id": recording.content.binary,
        "contentType": recording.found.mime,
        "securityContext": {"reference": f"Media/{case.id}"},
    }
    return (new_version(json, author=case.grant.client),)


def _typed(model: type[M], json: Json) -> M:
    found = model_of(json)
    assert isinstance(found, model)  # noqa: S101 - its type was asked for
    return found
