"""The facts of an Encounter as one note: a Composition with a section for each group of facts."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.resource.narrative import NAMESPACE
from fhir_bridge.fhir.resource.tree import each, only, text
from fhir_bridge.mapping import systems
from fhir_bridge.mapping.device import CORTI
from fhir_bridge.mapping.origin import reference, references
from fhir_bridge.mapping.systems import uuid5_of
from fhir_bridge.mapping.tables_results import FACT_GROUPS, label
from fhir_bridge.mapping.words import said

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fhir_bridge.fhir.resource.reader import Json, JsonValue

_OTHER: Final = "other"
_WITHDRAWN: Final = frozenset({"entered-in-error", "cancelled"})
_WORDLESS: Final = "Without words"
_TYPE: Final = {"system": systems.LOINC, "code": "67781-5", "display": "Summarization of encounter note Narrative"}


def composition_from_facts(facts: Iterable[Json], encounter: str, *, subject: Json | None, at: str) -> Json:
    """Write the Observations of an Encounter up as a note, by groups in the order of the table.

    What was withdrawn is left out. Nobody has reviewed the note: it is preliminary, and
    labelled as AI's (fhir-smart-rules 3.1).
    """
    sections = _by_group(fact for fact in facts if text(fact, "status") not in _WITHDRAWN)
    id_ = uuid5_of(encounter, "note")
    note: Json = {
        "resourceType": "Composition",
        "id": id_,
        "meta": {"security": [dict(label("AIAST"))]},
        "identifier": {"system": systems.URI, "value": f"urn:uuid:{id_}"},
        "status": "preliminary",
        "type": {"coding": [dict(_TYPE)]},
        "encounter": reference("Encounter", encounter),
        "date": at,
        "author": references("Device", CORTI),
        "title": "Facts of the encounter, as heard by ambient AI",
        "section": [_section(key, group) for key, group in sections.items()],
    }
    if subject is not None:
        note["subject"] = subject
    return {name: element for name, element in note.items() if element != []}


def _by_group(facts: Iterable[Json]) -> dict[str, list[Json]]:
    """Sort facts by their groups: those of the table in its order, then those Corti has invented since."""
    found: dict[str, list[Json]] = {key: [] for key in FACT_GROUPS}
    for fact in facts:
        found.setdefault(_group_of(fact), []).append(fact)
    return {key: group for key, group in found.items() if group}


def _group_of(fact: Json) -> str:
    codings = each(only(fact, "code"), "coding")
    return next((text(one, "code") or _OTHER for one in codings if one.get("system") == systems.FACT_GROUP), _OTHER)


def _section(key: str, facts: Sequence[Json]) -> JsonValue:
    row = FACT_GROUPS.get(key)
    title = row.display if row else key.replace("-", " ").capitalize()
    codings: list[JsonValue] = [{"system": systems.FACT_GROUP, "code": key, "display": title}]
    if row is not None and row.loinc is not None:
        codings.insert(0, {"system": systems.LOINC, "code": row.loinc, "display": row.loinc_display})
    return {
        "title": title,
        "code": {"coding": codings, "text": title},
        "text": {"status": "generated", "div": div_of(_shown(fact) for fact in facts)},
        "entry": [reference("Observation", str(fact["id"])) for fact in facts],
    }


def div_of(lines: Iterable[str]) -> str:
    """Write lines as a list in XHTML: they are words of people, so nothing in them is markup."""
    items = "".join(f"<li>{escape(said(line) or _WORDLESS)}</li>" for line in lines)
    return f'<div xmlns="{NAMESPACE}"><ul>{items}</ul></div>'


def _shown(fact: Json) -> str:
    """What an Observation says: as Corti put it, or as an EHR has amended it."""
    value = next((value for name, value in fact.items() if name.startswith("value")), None)
    if isinstance(value, dict):
        quantity = f"{value.get('value', '')} {value.get('unit', '')}".strip()
        displays = (text(coding, "display") for coding in each(value, "coding"))
        return text(value, "text") or next((one for one in displays if one), None) or quantity
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
