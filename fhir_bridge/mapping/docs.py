"""The page docs/mapping.md, written from the tables: what the EHR and Corti call the same thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.mapping import tables, tables_results
from fhir_bridge.store.states import STATES

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEAD = """# How FHIR and Corti are mapped

Generated from `fhir_bridge/mapping/tables.py` and `tables_results.py` by `make docs`; change the tables, not this page.
What has no word on the other side is refused with the element's path, or reported as a warning. `POST
/fhir/Encounter/$explain` shows for one Encounter what would be sent and by which rules.
"""

# What is a rule and no table, each as the mapping's docstrings have it.
_RULES = (
    (
        "Encounter.identifier",
        "official, else usual, else first with a value, else the id; `~` and eight hex digits make it unique at Corti",
    ),
    (
        "Encounter.period",
        (
            "the same instants in UTC. A date without time is its first second as start and its last as end, in "
            "the zone of the other end of the period, else in UTC, with a warning. The end is sent only when the "
            "Encounter is finished. A period without start, or an end before the start, is not sent, with a "
            "warning"
        ),
    ),
    (
        "Encounter.type, serviceType, reasonCode",
        "the first text or display is the title",
    ),
    (
        "Encounter.subject",
        (
            "Patient resource, contained Patient, or the reference with its identifier and display. Without any "
            "identifier the patient is not sent, with a warning. A Group is refused"
        ),
    ),
    (
        "Patient.birthDate",
        "sent only when year, month and day are known",
    ),
    (
        "Patient.extension individual-pronouns",
        "text, else the table, else the display. Never concluded from a gender",
    ),
    (
        "Encounter.participant",
        (
            "the practitioner becomes assignedUserId: a UUID made from the tenant and the identifier's "
            "system and value, else the reference; the same one every time"
        ),
    ),
    (
        "Media.content.language",
        (
            "else Encounter.language, else the Patient's preferred communication, else `FHIR_BRIDGE_LANGUAGE`; a "
            "tag outside the table is tried by its language alone, else sent as it is, with a warning"
        ),
    ),
    (
        "Media channels",
        (
            "channels that differ: one participant each, role `multiple` unless extension `urn:x-fhir-"
            "bridge:channel-role` (channel from 0 as valueInteger, role as valueCode doctor or patient) says "
            "more. One channel or equal channels: one participant, speakers told apart. At most eight"
        ),
    ),
    (
        "Media.extension `urn:x-fhir-bridge:transport`",
        "valueCode stream or recording decides for this Media",
    ),
    (
        "names",
        "each given name and family name is a keyterm, up to 50 characters and 1000 terms",
    ),
    (
        "fact time",
        "start of the recording and the fact's place in it, else start of the encounter, else Corti's createdAt",
    ),
    (
        "fact evidence",
        "extension `urn:x-fhir-bridge:evidence` of the Observation: type, reference, quote",
    ),
    (
        "result ids",
        "UUID version 5 of the Media id and Corti's id: a repeated run replaces its results",
    ),
)


def page() -> str:
    """Write the page; a test compares it with docs/mapping.md."""
    return "\n".join(
        (_HEAD, *_to_corti(), *_to_fhir(), _table("Rules that are no tables", ("element", "rule"), _RULES))
    )


def _to_corti() -> Iterable[str]:
    yield _table(
        "Encounter.status",
        ("FHIR R4", "Corti encounter.status", "recordings taken", "source"),
        ((r.code, r.corti, "yes" if r.records else "no", r.source) for r in tables.ENCOUNTER_STATUS.values()),
    )
    yield _table(
        "Encounter.class (v3-ActCode)",
        ("code", "meaning", "Corti encounter.type", "source"),
        (
            *((r.code, r.display, r.corti, r.source) for r in tables.ENCOUNTER_CLASS.values()),
            ("any other", "the binding is extensible", "consultation, with a warning", "ruling of this project"),
        ),
    )
    yield _codes("Encounter.type that means first_consultation", tables.FIRST_CONSULTATION)
    yield _codes("Encounter.participant.type, best first", tables.PARTICIPATION)
    yield _table(
        "Patient.gender",
        ("FHIR R4", "Corti patient.gender", "source"),
        ((r.code, r.corti, r.source) for r in tables.GENDERS.values()),
    )
    yield _codes("Pronouns", tables.PRONOUNS.values())
    yield _table(
        "Uses of identifiers and names, best first",
        ("of", "uses"),
        (("identifier", _uses(tables.IDENTIFIER_USES)), ("name", _uses(tables.NAME_USES))),
    )
    yield _table(
        "Languages",
        ("tag", "sent to Corti", "source"),
        ((r.tag, r.corti, r.source) for r in tables.LANGUAGES.values()),
    )


def _to_fhir() -> Iterable[str]:
    yield _table(
        "Fact groups",
        ("Corti group", "LOINC", "LOINC display", "Observation.category", "source"),
        (
            (r.key, r.loinc or "-", r.loinc_display or "-", r.category or "-", r.source)
            for r in tables_results.FACT_GROUPS.values()
        ),
    )
    yield _table(
        "Labels of results (meta.security, Provenance.reason)",
        ("code", "meaning", "on", "source"),
        ((r.code, r.display, r.on, r.source) for r in tables_results.LABELS.values()),
    )
    yield _table(
        "Renderings of a transcript",
        ("format", "content type", "title", "source"),
        ((r.code, r.content_type, r.title, r.source) for r in tables_results.FORMATS),
    )
    yield _table(
        "Jobs",
        ("state", "Task.status", "Media.status", "meaning"),
        ((state.value, phase.task, phase.media, phase.meaning) for state, phase in STATES.items()),
    )
    yield _table(
        "Task.output",
        ("resource", "code", "meaning", "source"),
        ((r.resource, r.code, r.display, r.source) for r in tables_results.OUTPUTS.values()),
    )


def _codes(title: str, rows: Iterable[tables.CodeRow]) -> str:
    return _table(
        title, ("system", "code", "meaning", "source"), ((r.system, r.code, r.display, r.source) for r in rows)
    )


def _uses(uses: Iterable[str | None]) -> str:
    return ", ".join(use or "none given" for use in uses)


def _table(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (_line(head), _line(tuple("---" for _ in head)), *map(_line, rows))
    return f"## {title}\n\n" + "\n".join(lines) + "\n"


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
