"""The CapabilityStatement: everything in it works and nothing else does, since both follow served.py."""

from __future__ import annotations

from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.rest.operations import operations_of
from fhir_bridge.fhir.rest.served import COMMON, SERVED, SYSTEM, Param, Served, targets_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.fhir.rest.operations import Operation

VERSION: Final = version("fhir-bridge")
LAST_CHANGED: Final = "2026-11-22"  # of the statement: R4 wants its date
PATCH_FORMATS: Final = ("application/json-patch+json", "application/fhir+json")

_SERVICE: Final = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_DOCUMENTATION: Final = (
    "Post an Encounter, then its recording as Media; read what was said and found as it arrives. Prefer: respond-async "
    "is taken for recordings, Bundles, searches and operations: the answer, a batch-response Bundle, is fetched from "
    "Content-Location. Binary takes resumable uploads (tus 1.0)."
)
OAUTH: Final = ("authorize", "token", "introspect", "revoke")  # as the extension names them
_OAUTH_URIS: Final = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


def capability(base: str, *, oauth: Mapping[str, str], rows: tuple[Served, ...] = SERVED) -> Json:
    """Describe the server whose FHIR base URL is `base`. The same arguments give the same text.

    `oauth` are the URLs of the authorization server, by the names in `OAUTH`.
    """
    rest: Json = {
        "mode": "server",
        "documentation": _DOCUMENTATION,
        "security": _security(oauth),
        "resource": [*(_resource(row, rows, base) for row in rows), dict(_DEFINITIONS)],
        "interaction": _codes(SYSTEM),
        "compartment": [f"http://hl7.org/fhir/CompartmentDefinition/{name}" for name in ("patient", "encounter")],
        "operation": [_operation(operation, base) for operation in operations_of(None)],
    }
    patches = any("patch" in row.interactions for row in rows)
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": LAST_CHANGED,
        "kind": "instance",
        "software": {"name": "fhir_bridge", "version": VERSION},
        "implementation": {"description": "Corti's ambient speech AI for this EHR", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        **({"patchFormat": list(PATCH_FORMATS)} if patches else {}),
        "rest": [rest],
    }


def etag(text: str) -> str:
    """Make the ETag of a generated text: another one as soon as the text is another."""
    return f'W/"{sha256(text.encode()).hexdigest()[:32]}"'


def _security(oauth: Mapping[str, str]) -> Json:
    uris: list[JsonValue] = [{"url": name, "valueUri": oauth[name]} for name in OAUTH if name in oauth]
    return {
        "extension": [{"url": _OAUTH_URIS, "extension": uris}],
        "cors": True,
        "service": [{"coding": [{"system": _SERVICE, "code": "SMART-on-FHIR"}], "text": "SMART App Launch 2.2"}],
        "description": "A Bearer token with SMART scopes (v1 or v2) is needed for everything but this statement.",
    }


# The definitions of the operations in this statement are as open as the statement itself.
_DEFINITIONS: Final[Json] = {
    "type": "OperationDefinition",
    "profile": "http://hl7.org/fhir/StructureDefinition/OperationDefinition",
    "interaction": [{"code": "read"}],
}


def _resource(row: Served, rows: tuple[Served, ...], base: str) -> Json:
    searched = "search-type" in row.interactions
    parts: dict[str, list[JsonValue]] = {
        "searchInclude": [f"{row.type}:{param.name}" for param in row.params if _leads(param, rows) and not row.apart],
        "searchRevInclude": [*_pointing_at(row, rows)] if searched else [],
        "searchParam": [_search_param(param) for param in (*row.params, *COMMON)] if searched else [],
        "operation": [_operation(operation, base) for operation in row.operations],
    }
    return {
        "type": row.type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{row.type}",
        "interaction": _codes(row.interactions),
        "versioning": "versioned",
        "readHistory": "vread" in row.interactions,
        "updateCreate": {"create", "update"} <= {*row.interactions},
        **_conditions(row),
        "referencePolicy": ["literal", "logical"],
        **{name: found for name, found in parts.items() if found},
    }


def _conditions(row: Served) -> Json:
    """Tell which interactions are conditional: those by criteria need a type that is searched."""
    by_criteria = {one for one in row.interactions if "search-type" in row.interactions}
    return {
        "conditionalCreate": "create" in by_criteria,
        "conditionalRead": "full-support" if "read" in row.interactions else "not-supported",
        "conditionalUpdate": "update" in by_criteria,
        "conditionalDelete": "single" if "delete" in by_criteria else "not-supported",
    }


def _codes(interactions: Iterable[str]) -> list[JsonValue]:
    return [{"code": code} for code in interactions]


def _search_param(param: Param) -> Json:
    return {"name": param.name, "type": param.type}


def _operation(operation: Operation, base: str) -> Json:
    return {"name": operation.name, "definition": operation.url(base), "documentation": operation.doc}


def _leads(param: Param, rows: tuple[Served, ...]) -> bool:
    """Tell whether a parameter is a reference to anything served."""
    return param.type == "reference" and any(row.type in targets_of(param) for row in rows)


def _pointing_at(target: Served, rows: tuple[Served, ...]) -> list[str]:
    return [
        f"{row.type}:{param.name}"
        for row in rows
        for param in row.params
        if param.type == "reference" and not row.apart and target.type in targets_of(param)
    ]
