"""The language of a recording: where it is found, its BCP-47 form, and Corti's name for it (ruling 16)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import NotMapped
from fhir_bridge.mapping.tables import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_bridge.fhir.resource.models import Encounter, Media, Patient
    from fhir_bridge.mapping.mapped import Notes

MEDIA: Final = "Media.content.language"
SETTING: Final = "FHIR_BRIDGE_LANGUAGE"
_BCP47: Final = "urn:ietf:bcp:47"
_TAG: Final = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*", re.IGNORECASE)
_SCRIPT, _REGION = 4, 2


def normalised(tag: str) -> str | None:
    """Write a tag in BCP-47's own case (RFC 5646 section 2.1.1), or None when it is none."""
    plain = tag.strip().replace("_", "-")
    if not _TAG.fullmatch(plain):
        return None
    first, *others = plain.lower().split("-")
    written = [first]
    for part in others:
        own = any(len(before) == 1 for before in written)  # after a singleton all is lower case
        by_length = {_SCRIPT: part.title(), _REGION: part.upper()}
        written.append(part if own else by_length.get(len(part), part))
    return "-".join(written)


def language_of(media: Media, encounter: Encounter, patient: Patient | None, *, default: str, notes: Notes) -> str:
    """Choose the language by ruling 16.

    Raises:
        NotMapped: the Media or the setting names something that is no language tag.
    """
    for element, tag in _named(media, encounter, patient):
        wanted = _tag(tag, element) if element == MEDIA else normalised(tag)
        if wanted is not None:
            return _corti_language(wanted, element, notes)
        notes.warn("Passed over: this is no BCP-47 language tag", at=element, code="code-invalid")
    return _corti_language(_tag(default, SETTING), SETTING, notes)


def _tag(tag: str, element: str) -> str:
    wanted = normalised(tag)
    if wanted is None:
        raise NotMapped("This is no BCP-47 language tag; write it like en or de-CH", at=element)
    return wanted


def _named(media: Media, encounter: Encounter, patient: Patient | None) -> Iterator[tuple[str, str]]:
    if media.content.language:
        yield MEDIA, media.content.language
    if encounter.language:
        yield "Encounter.language", encounter.language
    for one in (patient.communication if patient else None) or ():
        codes = (coding.code for coding in one.language.coding or () if coding.system in {None, _BCP47})
        if one.preferred and (code := next((code for code in codes if code), None)):
            yield "Patient.communication.language", code


def _corti_language(tag: str, element: str, notes: Notes) -> str:
    row = LANGUAGES.get(tag) or LANGUAGES.get(tag.split("-", maxsplit=1)[0])
    if row is None:
        notes.warn("Not among Corti's documented languages; sent as it is", at=element, code="code-invalid")
        notes.rule(element, "first of Media, Encounter, Patient, setting; sent as it is", tag)
        return tag
    if row.corti != tag:
        notes.warn("Corti has no such variety of the language; its nearest is used", at=element, code="informational")
    notes.rule(element, "first of Media, Encounter, Patient, setting; table of languages", row.corti)
    return row.corti
