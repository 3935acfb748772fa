"""Writing a Media: its audio becomes a Binary, its Encounter gets a job (architecture, "POST Media, step by step")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock
from fhir_bridge.audio.sniff import agrees, sniff
from fhir_bridge.audio.sound import Sound, probe
from fhir_bridge.errors import BusinessRule, UnresolvedReference, UnusableAudio
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.models import Encounter, Media, model_of
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.served import BY_TYPE
from fhir_bridge.mapping.accepted import accepted_media
from fhir_bridge.mapping.encounter import takes_recordings
from fhir_bridge.mapping.media import stream_config_from_media, transport_of
from fhir_bridge.store import binaries, resources
from fhir_bridge.store.filter import Keys
from fhir_bridge.store.versions import Once
from fhir_bridge.verbs.binary import stored
from fhir_bridge.verbs.case import digest_of
from fhir_bridge.verbs.intake import tenant_key
from fhir_bridge.verbs.plan import OnceKey, Plan
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.record import new_version
from fhir_bridge.verbs.tasks import new_job

if TYPE_CHECKING:
    from typing import BinaryIO

    from sqlalchemy import Connection

    from fhir_bridge.audio.sound import Probe
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.store.binaries import StoredBlob
    from fhir_bridge.store.versions import NewVersion
    from fhir_bridge.verbs.case import Case

AUDIO: Final = "content.data"
ONCE: Final = "Media"
HEAD: Final = 4096


@dataclass(frozen=True)
class _Audio:
    """The content of a Media: the Binary that holds it, new or uploaded before."""

    content: StoredBlob
    is_new: bool

    @property
    def url(self) -> str:
        return f"Binary/{self.content.binary}"


def plan(case: Case) -> Plan:
    """Plan one Media.

    Raises:
        BusinessRule: no audio, other audio than before, an Encounter that takes none.
        UnresolvedReference: the Encounter or Binary it names is not here.
        UnusableAudio: not audio that can be read, or not what it was declared to be.
        NotMapped: Corti has no word for an element.
    """
    if case.current is not None:
        return _amended(case)
    audio = _audio(case)
    found = _probed(case, audio.content)
    content = audio.content
    json = checked(
        accepted_media(case.json, binary_url=audio.url, size=content.size, sha1=content.sha1, content_type=found.mime)
    )
    encounter = _encounter(case)
    media = model_of(json)
    assert isinstance(media, Media)  # noqa: S101 - the case is a Media's
    _ask_mapping(case, media, encounter, found)
    task, job = new_job(case, encounter=str(encounter["id"]), subject=encounter.get("subject"), media=case.id)
    versions = [case.version(json), task]
    if audio.is_new:
        versions.append(_binary(case, audio, found.mime))
    return Plan(
        tuple(versions),
        once=(_once(case, str(encounter["id"]), content.sha256),),
        contents=(content,) if audio.is_new else (),
        jobs=(job,),
    )


def _amended(case: Case) -> Plan:
    """An EHR may amend what it said about a recording; audio, its type and status stay (ruling 7)."""
    assert case.current is not None  # noqa: S101 - the caller asked
    before = read(case.current.body)
    sent, kept = case.json.get("content"), before["content"]
    if case.blobs or not isinstance(sent, dict) or not isinstance(kept, dict) or sent.get("url") != kept.get("url"):
        raise BusinessRule("The recording of a Media does not change: send it as a new Media", at="Media.content")
    if case.json.get("encounter") != before.get("encounter"):
        raise BusinessRule("A recording stays with its Encounter: send it as a new Media", at="Media.encounter")
    owned = {name: kept[name] for name in ("contentType", "url", "size", "hash")}
    return Plan((case.version(checked({**case.json, "status": before["status"], "content": {**sent, **owned}})),))


def _ask_mapping(case: Case, media: Media, encounter: Json, found: Probe) -> None:
    """Refuse at once what has no word in Corti; channels are taken as different until they were listened to."""
    heard = Sound(**vars(found), seconds=0.0, distinct_channels=found.channels > 1, truncated=False, way="decoded")
    model = model_of(encounter)
    assert isinstance(model, Encounter)  # noqa: S101 - it was found as one
    transport_of(media)
    stream_config_from_media(media, model, sound=heard, language=case.bridge.settings.language, as_="pcm")


def _audio(case: Case) -> _Audio:
    content = case.json.get("content")
    blob = case.blobs.get(AUDIO)
    if blob is not None:
        return _Audio(stored(clock.new_id(), blob), is_new=True)
    url = content.get("url") if isinstance(content, dict) else None
    if not isinstance(url, str):
        raise BusinessRule(
            "Send the audio as content.data, or upload a Binary and name it in content.url", at="Media.content"
        )
    return _Audio(_uploaded(case, url), is_new=False)


def _uploaded(case: Case, url: str) -> StoredBlob:
    encoded = encode.reference(url, base=case.bridge.base) or ""
    type_, _, id_ = encoded.partition("/")
    if type_ != "Binary":
        raise BusinessRule(
            "Audio of other hosts is not fetched: upload it here as a Binary and name that", at="Media.content.url"
        )
    filter_ = allowed(case.grant, ("Binary",), "r")

    def read_content(conn: Connection) -> StoredBlob | None:
        row = resources.read(conn, filter_, "Binary", id_)
        return None if row is None or row.deleted else binaries.of(conn, case.grant.tenant, id_)

    found = case.bridge.store.read(read_content)
    if found is None:
        raise UnresolvedReference("There is no such Binary here: upload the audio first", at="Media.content.url")
    return found


def _probed(case: Case, content: StoredBlob) -> Probe:
    at = "Media.content.data" if AUDIO in case.blobs else "Media.content.url"
    sent = case.json.get("content")
    declared = sent.get("contentType") if isinstance(sent, dict) else None
    key = tenant_key(case.bridge, case.grant.tenant)
    with case.bridge.blobs.reader(content.blob, content.wrapped_key, key, content.size) as file:
        try:
            return _agreed(file, declared if isinstance(declared, str) else None)
        except UnusableAudio as exc:
            raise UnusableAudio(exc.text, at=exc.at or at) from exc


def _agreed(file: BinaryIO, declared: str | None) -> Probe:
    sniffed = sniff(file.read(HEAD))
    if not agrees(sniffed, declared):
        raise UnusableAudio(
            f"The recording is {sniffed.mime}, which is not what was declared: correct one of them",
            at="Media.content.contentType",
        )
    file.seek(0)
    return probe(file)


def _encounter(case: Case) -> Json:
    """Find the Encounter by literal reference or by identifier; only this one has to resolve (ruling 18)."""
    reference = case.json.get("encounter")
    if not isinstance(reference, dict):
        raise BusinessRule("A recording belongs to an Encounter: name it", at="Media.encounter")
    literal = reference.get("reference")
    json = (
        _by_reference(case, literal) if isinstance(literal, str) else _by_identifier(case, reference.get("identifier"))
    )
    if json is None or json.get("resourceType") != "Encounter":
        raise UnresolvedReference("There is no such Encounter here: post it first", at="Media.encounter")
    model = model_of(json)
    if not isinstance(model, Encounter) or not takes_recordings(model):
        raise BusinessRule(
            "The Encounter is cancelled or entered in error: it takes no recordings", at="Media.encounter"
        )
    return json


def _by_reference(case: Case, literal: str) -> Json | None:
    return case.referenced(literal, allowed(case.grant, ("Encounter",), "r"))


def _by_identifier(case: Case, identifier: object) -> Json | None:
    """Find the one Encounter with an identifier; several are as good as none."""
    if not isinstance(identifier, dict) or not isinstance(identifier.get("value"), str):
        return None
    system, value = identifier.get("system"), str(identifier["value"])
    key = encode.token_in(str(system), value) if isinstance(system, str) else encode.token(value)
    filter_ = allowed(case.grant, ("Encounter",), "r").narrowed(Keys(_identifier(), (key,)))
    page = case.bridge.store.read(lambda conn: resources.search(conn, filter_, count=2))
    return read(page.rows[0].body) if len(page.rows) == 1 else None


def _identifier() -> int:
    param = BY_TYPE["Encounter"].param("identifier")
    assert param is not None  # noqa: S101 - served.py lists it
    return param.number


def _once(case: Case, encounter: str, sha256: str) -> OnceKey:
    """The same audio for the same Encounter under the same identifier is one Media (ruling 3)."""
    val = digest_of({"identifier": case.json.get("identifier")}, encounter, sha256)
    described = {name: value for name, value in case.json.items() if name != "content"}
    return OnceKey(ONCE, val, Once(digest_of(described, sha256), case.type, case.id))


def _binary(case: Case, audio: _Audio, mime: str) -> NewVersion:
    json: Json = {
        "resourceType": "Binary",
        "id": audio.content.binary,
        "contentType": mime,
        "securityContext": {"reference": f"Media/{case.id}"},
    }
    return new_version(json, author=case.grant.client)
