"""The recording in a Media as sent: inline, or a Binary that was uploaded before; and what it is by a first listen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock
from fhir_bridge.audio.sniff import HEAD, agrees, sniff
from fhir_bridge.audio.sound import Probe, claimed_seconds, probe
from fhir_bridge.errors import BusinessRule, Gone, NotFound, UnresolvedReference, UnusableAudio
from fhir_bridge.fhir.rest import encode
from fhir_bridge.store import binaries
from fhir_bridge.verbs.binary import readable, stored
from fhir_bridge.verbs.intake import tenant_key

if TYPE_CHECKING:
    from typing import BinaryIO

    from fhir_bridge.store.binaries import StoredBlob
    from fhir_bridge.verbs.case import Case

DATA: Final = "content.data"
_BYTES_A_SECOND: Final = 4_000  # of speech in a lossy codec, when the file does not say how long it is
URL: Final = "Media.content.url"


@dataclass(frozen=True)
class Recording:
    """The Binary that holds the audio, and what the audio is."""

    content: StoredBlob
    is_new: bool
    found: Probe
    seconds: float  # by what the file claims; nobody has listened to it yet

    @property
    def url(self) -> str:
        """What Media.content.url will say."""
        return f"Binary/{self.content.binary}"


def recording_of(case: Case) -> Recording:
    """Find and probe the recording of a Media.

    Raises:
        BusinessRule: there is none, or only at another host.
        UnresolvedReference: the Binary it names is not here.
        UnusableAudio: it cannot be read, or is not what it was declared to be.
    """
    sent = case.json.get("content")
    content = sent if isinstance(sent, dict) else {}
    blob, url = case.blobs.get(DATA), content.get("url")
    if blob is None and not isinstance(url, str):
        raise BusinessRule("Send the audio as content.data, or upload a Binary and name it in content.url", at=URL)
    held = _uploaded(case, str(url)) if blob is None else stored(clock.new_id(), blob)
    declared = content.get("contentType")
    try:
        found, seconds = _probed(case, held, declared if isinstance(declared, str) else None)
    except UnusableAudio as exc:
        raise UnusableAudio(exc.text, at=exc.at or (URL if blob is None else f"Media.{DATA}")) from exc
    return Recording(held, blob is not None, found, seconds)


def _uploaded(case: Case, url: str) -> StoredBlob:
    type_, _, id_ = (encode.reference(url, base=case.bridge.base) or "").partition("/")
    if type_ != "Binary":
        raise BusinessRule(
            "Upload the audio here as a Binary and name that; from another host it is fetched only if "
            "FHIR_BRIDGE_AUDIO_HOSTS names the host and it gives the recording",
            at=URL,
        )
    if (sent := case.uploads.get(f"Binary/{id_}")) is not None:
        return stored(id_, sent)
    absent = UnresolvedReference("There is no such Binary here: upload the audio first", at=URL)
    try:
        readable(case.bridge, case.grant, id_)
    except (NotFound, Gone) as exc:
        raise absent from exc
    found = case.bridge.store.read(lambda conn: binaries.of(conn, case.grant.tenant, id_))
    if found is None:
        raise absent
    return found


def _probed(case: Case, content: StoredBlob, declared: str | None) -> tuple[Probe, float]:
    key = tenant_key(case.bridge, case.grant.tenant)
    with case.bridge.blobs.reader(content.blob, content.wrapped_key, key, content.size) as file:
        _agree(file, declared)
        file.seek(0)
        found = probe(file)
        return found, claimed_seconds(file) or content.size / _BYTES_A_SECOND


def _agree(file: BinaryIO, declared: str | None) -> None:
    sniffed = sniff(file.read(HEAD))
    if not agrees(sniffed, declared):
        text = f"The recording is {sniffed.mime}, which is not what was declared: correct one of them"
        raise UnusableAudio(text, at="Media.content.contentType")
