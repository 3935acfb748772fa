"""The one list of operations beyond the RESTful interactions, and the OperationDefinition of each.

http://hl7.org/fhir/R4/operations.html. Routes, scopes, statement and documents follow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_bridge.fhir.resource.reader import Json, JsonValue

Level = Literal["system", "type", "instance"]

EVERY: Final = ("*",)  # offered for each type that is served
LAST_CHANGED: Final = "2026-11-28"  # of any definition
_HL7: Final = "http://hl7.org/fhir/OperationDefinition/"
_BULK: Final = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/"
_PRIMITIVE: Final = frozenset({"boolean", "code", "instant", "integer", "string", "uri"})


@dataclass(frozen=True)
class Part:
    """One parameter of an operation, in or out."""

    name: str
    type: str
    doc: str
    least: int = 0
    most: str = "1"
    parts: tuple[Part, ...] = ()  # instead of a value: `type` is then no type of FHIR


@dataclass(frozen=True)
class Operation:
    """One operation. `right` is what it takes of a scope for its type; `base` the definition it narrows."""

    id: str
    name: str
    levels: tuple[Level, ...]
    types: tuple[str, ...]
    right: str
    doc: str
    takes: tuple[Part, ...] = ()
    gives: tuple[Part, ...] = ()
    changes: bool = False
    later: bool = False  # its answer can only be fetched later
    base: str | None = None

    @property
    def methods(self) -> tuple[Literal["GET", "POST"], ...]:
        """GET only for what changes nothing and takes nothing but primitives (operations.html#executing)."""
        simple = not self.changes and all(part.type in _PRIMITIVE for part in self.takes)
        return ("GET", "POST") if simple else ("POST",)

    def is_for(self, type_: str) -> bool:
        """Tell whether it is offered for a type."""
        return self.types == EVERY or type_ in self.types

    def url(self, base: str) -> str:
        """Return the canonical of its definition on the server at `base`."""
        return f"{base}/OperationDefinition/{self.id}"


_SINCE: Final = Part("_since", "instant", "Only what has changed after this instant")
_TYPES: Final = Part("_type", "code", "Only resources of these types, separated by commas", most="*")
_COUNT: Final = Part("_count", "integer", "Resources on one page, besides what they refer to")
_SEARCHSET: Final = Part("return", "Bundle", "A searchset", 1)
_DOCUMENT: Final = Part("return", "Bundle", "A document: the Composition, then what it refers to", 1)
_TASK: Final = Part("return", "Task", "The Task that shows what becomes of it", 1)
_RULE: Final = tuple(Part(name, "string", name, 1) for name in ("of", "element", "rule", "result"))
_COUNTED: Final = (Part("name", "string", "What was counted", 1), Part("count", "integer", "How many", 1))
_PROOF: Final = (
    Part("subject", "string", "The pseudonym that stands in the audit from now on", 1),
    Part("asked", "instant", "When it was asked for", 1),
    Part("done", "instant", "When all had forgotten", 1),
    Part("resources", "Counted", "How many resources of a type were destroyed", most="*", parts=_COUNTED),
    Part("counts", "Counted", "How many rows, keys, files and interactions at Corti were", most="*", parts=_COUNTED),
    Part("audio", "string", "SHA-256 of a recording that was destroyed, in hexadecimal", most="*"),
    Part("digest", "string", "SHA-256 over all versions that were destroyed, in hexadecimal", 1),
    Part("seal", "string", "What only the bridge can have made of all this", 1),
)
_ERASED: Final = (
    Part("erasure", "string", "The id of this erasure; the same each time", 1),
    Part("state", "code", "destroyed: nothing is left here. erased: and Corti has forgotten, too", 1),
    Part("proof", "Proof", "Once it is erased: what can be shown of it", parts=_PROOF),
)
_ERASE: Final = (
    "cannot be undone. Takes system/*.d without a query. Asked again, it tells what it has come to; with Prefer: "
    "respond-async the answer is there once Corti has forgotten, too."
)
_EXPORTED: Final = (
    Part("_outputFormat", "string", "application/fhir+ndjson, application/ndjson or ndjson"),
    _SINCE,
    Part("_type", "string", "Only resources of these types, separated by commas", most="*"),
    Part("_typeFilter", "string", "A search each, such as Observation?status=final", most="*"),
)

OPERATIONS: Final = (
    Operation(
        "Encounter-explain",
        "explain",
        ("type",),
        ("Encounter",),
        "c",
        "What Corti would be told about this Encounter, and by which rules. Stores and sends nothing.",
        takes=(Part("resource", "Encounter", "The Encounter as it would be created", 1),),
        gives=(
            Part("sent", "boolean", "Whether Corti would be told at all", 1),
            Part("interaction", "string", "The exact payload", 1),
            Part("rule", "Rule", "An element, the rule that applied and its result", most="*", parts=_RULE),
            Part("warnings", "OperationOutcome", "What of it Corti will not hear of"),
        ),
    ),
    Operation(
        "Encounter-everything",
        "everything",
        ("instance",),
        ("Encounter",),
        "r",
        "The Encounter with its Media, Tasks, results and their Provenance, in one Bundle unless _count is given.",
        takes=(_SINCE, _TYPES, _COUNT),
        gives=(_SEARCHSET,),
        base=f"{_HL7}Encounter-everything",
    ),
    Operation(
        "Patient-everything",
        "everything",
        ("instance",),
        ("Patient",),
        "r",
        "The Patient with all that is about them, page by page, each with what it refers to.",
        takes=(_SINCE, _TYPES, _COUNT),
        gives=(_SEARCHSET,),
        base=f"{_HL7}Patient-everything",
    ),
    Operation(
        "Encounter-document",
        "document",
        ("instance",),
        ("Encounter",),
        "r",
        "A document of the facts found in this Encounter: one section for each group of facts. Nothing is stored.",
        gives=(_DOCUMENT,),
    ),
    Operation(
        "Composition-document",
        "document",
        ("instance",),
        ("Composition",),
        "r",
        "A document of this Composition and the resources it refers to. Nothing is stored.",
        gives=(_DOCUMENT,),
        base=f"{_HL7}Composition-document",
    ),
    Operation(
        "Resource-validate",
        "validate",
        ("type", "instance"),
        EVERY,
        "r",
        (
            "Whether a resource is valid, and would be created, updated or deleted. Stores nothing. Takes the right "
            "to do what mode asks about: c for create and for a type without mode, u for update, d for delete."
        ),
        takes=(
            Part("resource", "Resource", "The resource; for an instance, absent: the one that is stored"),
            Part("mode", "code", "create, update, delete or profile"),
            Part("profile", "uri", "A profile of FHIR R4 itself: others are not known here"),
        ),
        gives=(Part("return", "OperationOutcome", "What was found; a single information when all is well", 1),),
        base=f"{_HL7}Resource-validate",
    ),
    Operation(
        "Media-retry",
        "retry",
        ("instance",),
        ("Media",),
        "u",
        "Transcribe a recording again, or at last: its job has ended. Takes the right to read Tasks as well.",
        gives=(_TASK,),
        changes=True,
    ),
    Operation(
        "Media-cancel",
        "cancel",
        ("instance",),
        ("Media",),
        "u",
        "Stop the transcription of a recording. Takes the right to read Tasks as well.",
        gives=(_TASK,),
        changes=True,
    ),
    Operation(
        "Encounter-erase",
        "erase",
        ("instance",),
        ("Encounter",),
        "d",
        f"Destroy a visit with its recordings, results and all that was said of it, here and at Corti; it {_ERASE}",
        gives=_ERASED,
        changes=True,
    ),
    Operation(
        "Patient-erase",
        "erase",
        ("instance",),
        ("Patient",),
        "d",
        f"Destroy a patient with all visits and all that is about them, here and at Corti; it {_ERASE}",
        gives=_ERASED,
        changes=True,
    ),
    Operation(
        "System-export",
        "export",
        ("system",),
        (),
        "rs",
        "All that may be searched and read, as files of one resource a line. Send Prefer: respond-async.",
        takes=_EXPORTED,
        later=True,
        base=f"{_BULK}export",
    ),
    Operation(
        "Patient-export",
        "export",
        ("type",),
        ("Patient",),
        "rs",
        "The same, of what is about patients. Send Prefer: respond-async.",
        takes=_EXPORTED,
        later=True,
        base=f"{_BULK}patient-export",
    ),
)


def operations_of(type_: str | None) -> tuple[Operation, ...]:
    """List what is offered for a type; None: for the whole system."""
    if type_ is None:
        return tuple(one for one in OPERATIONS if "system" in one.levels)
    return tuple(one for one in OPERATIONS if one.is_for(type_))


def operation(name: str, level: Level, type_: str | None) -> Operation | None:
    """Find the operation `$name` at a level of a type."""
    offered = (one for one in operations_of(type_) if level in one.levels)
    return next((one for one in offered if one.name == name), None)


def definition(found: Operation, *, base: str, types: Iterable[str]) -> Json:
    """Describe an operation of the server at `base` that serves `types` (operationdefinition.html)."""
    concerns: list[JsonValue] = [type_ for type_ in types if found.is_for(type_)]
    parts: list[JsonValue] = [
        *(_part("in", part) for part in found.takes),
        *(_part("out", part) for part in found.gives),
    ]
    return {
        "resourceType": "OperationDefinition",
        "id": found.id,
        "url": found.url(base),
        "name": found.id.replace("-", ""),
        "title": f"${found.name}",
        "status": "active",
        "kind": "operation" if found.changes else "query",
        "date": LAST_CHANGED,
        "publisher": "fhir_bridge",
        "description": found.doc,
        "affectsState": found.changes,
        "code": found.name,
        **({"base": found.base} if found.base else {}),
        **({"resource": concerns} if concerns else {}),
        **{level: level in found.levels for level in ("system", "type", "instance")},
        **({"parameter": parts} if parts else {}),
    }


def _part(use: str, part: Part) -> Json:
    shown: Json = {"name": part.name, "use": use, "min": part.least, "max": part.most, "documentation": part.doc}
    return shown | ({"part": [_part(use, each) for each in part.parts]} if part.parts else {"type": part.type})
