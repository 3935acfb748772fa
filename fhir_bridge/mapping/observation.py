"""A Corti fact as an Observation (issue section 3, rulings 11 and 14, decision 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.mapping import systems
from fhir_bridge.mapping.mapped import Mapped, Notes
from fhir_bridge.mapping.origin import reference, result_id
from fhir_bridge.mapping.tables_results import FACT_GROUPS, label
from fhir_bridge.mapping.times import later, rfc3339_of, text_of_time
from fhir_bridge.mapping.words import code_of, said

if TYPE_CHECKING:
    from fhir_bridge.corti.messages import Evidence, Fact
    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.mapping.origin import Origin


def observation_from_fact(
    fact: Fact, origin: Origin, *, at: str, offset: float | None = None, known_as: tuple[str, ...] = ()
) -> Mapped[Json]:
    """Map one fact; `offset` is its second in the recording, `known_as` its earlier ids, oldest first.

    A discarded fact is kept as `entered-in-error`: the EHR has already read it and must
    see it withdrawn, not vanish. A fact that Corti sent again under another id stays one
    Observation, named by its first id and identified by all of them.
    """
    notes = Notes()
    ids = tuple(dict.fromkeys((*known_as, fact.id)))
    observation: Json = {
        "resourceType": "Observation",
        "id": result_id(origin.media, ids[0]),
        "meta": {"security": [dict(label("AIAST"))]},
        "extension": _extensions(fact),
        "identifier": [{"system": systems.FACT_ID, "value": value} for one in ids if (value := said(one))],
        "status": "entered-in-error" if fact.discarded else "preliminary",
        "category": _categories(fact),
        "code": _code(fact, notes),
        "encounter": reference("Encounter", origin.encounter),
        "issued": at,
        "device": reference("Device", origin.device),
        "derivedFrom": [reference("Media", origin.media), reference("DocumentReference", origin.transcript)],
    }
    if origin.subject is not None:
        observation["subject"] = origin.subject
    if (effective := _effective(fact, origin, offset, notes)) is not None:
        observation["effectiveDateTime"] = effective
    observation |= _value(fact, notes)
    return notes.mapped({name: element for name, element in observation.items() if element != []})


def _code(fact: Fact, notes: Notes) -> JsonValue:
    key = code_of(fact.group) or "other"
    row = FACT_GROUPS.get(key)
    if row is None or fact.group != key:
        notes.warn("A fact group outside the table: it has no LOINC code", at="Observation.code", code="code-invalid")
    display = row.display if row else key.replace("-", " ").capitalize()
    own: Json = {"system": systems.FACT_GROUP, "code": key, "display": display}
    codings: list[JsonValue] = [own]
    if row is not None and row.loinc is not None:
        codings.insert(0, {"system": systems.LOINC, "code": row.loinc, "display": row.loinc_display})
    notes.rule("fact.group", f"table of fact groups: {key}", (row and row.loinc) or "own code only")
    return {"coding": codings, "text": display}


def _categories(fact: Fact) -> list[JsonValue]:
    row = FACT_GROUPS.get(code_of(fact.group) or "other")
    own: Json = {"coding": [{"system": systems.CATEGORY, "code": "ambient-fact", "display": "Ambient fact"}]}
    if row is None or row.category is None:
        return [own]
    return [{"coding": [{"system": systems.OBSERVATION_CATEGORY, "code": row.category}]}, own]


def _value(fact: Fact, notes: Notes) -> Json:
    if (text := said(fact.text)) is not None:
        return {"valueString": text}
    notes.warn("Corti sent this fact without words", at="Observation.value", code="incomplete")
    return {"dataAbsentReason": {"coding": [{"system": systems.DATA_ABSENT, "code": "unknown", "display": "Unknown"}]}}


def _effective(fact: Fact, origin: Origin, offset: float | None, notes: Notes) -> str | None:
    """Say when it was said: in the recording, else in the encounter, else when Corti wrote it (ruling 11)."""
    if origin.created is not None:
        text = later(origin.created, offset or 0.0) or text_of_time(origin.created)
        notes.rule("Media.created", "start of the recording, and the fact's place in it where known", text)
        return text
    if origin.started is not None:
        notes.rule("Encounter.period.start", "start of the encounter", text_of_time(origin.started))
        return text_of_time(origin.started)
    return _corti_time(fact, notes)


def _corti_time(fact: Fact, notes: Notes) -> str | None:
    moment = rfc3339_of(fact.created_at)
    if moment is None:
        notes.warn(
            "No time: neither Media, Encounter nor Corti names one", at="Observation.effective", code="incomplete"
        )
        return None
    notes.rule("fact.createdAt", "when Corti wrote it", moment)
    return moment


def _extensions(fact: Fact) -> list[JsonValue]:
    """Keep what R4 has no element for: each piece of evidence, and whether Corti or a person wrote the fact."""
    kept = [_evidence(one) for one in fact.evidence]
    if (source := code_of(fact.source)) is not None:
        kept.append({"url": systems.FACT_SOURCE, "valueCode": source})
    return [one for one in kept if one]


def _evidence(evidence: Evidence) -> Json:
    parts = (("type", evidence.type), ("reference", evidence.reference), ("quote", evidence.quote))
    known: list[JsonValue] = [{"url": url, "valueString": text} for url, part in parts if (text := said(part))]
    return {"url": systems.EVIDENCE, "extension": known} if known else {}
