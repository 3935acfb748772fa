"""Patches inside a Bundle: FHIRPath Patch as Parameters, JSON Patch wrapped in a Binary."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import Invalid, Issue, Malformed, PatchFailed, TooLarge, UnsupportedMediaType
from fhir_bridge.fhir.resource.fhir_patch import fhir_patched
from fhir_bridge.fhir.resource.json_patch import json_patched
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.resource.tree import text
from fhir_bridge.verbs.intake import tenant_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fhir_bridge.blobs.sealing import Blob
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bundles.asks import Ask
    from fhir_bridge.verbs.write import Writer

JSON_PATCH: Final = "application/json-patch+json"
_DATA: Final = "data"


def change_of(by: Writer, ask: Ask) -> Callable[[Json], Json]:
    """Return the change that an entry asks for; `by` has the blobs of this entry alone.

    Raises:
        UnsupportedMediaType, TooLarge, Malformed: a Binary that holds no JSON Patch.
    """
    sent = ask.json or {}
    if sent.get("resourceType") == "Parameters":
        return lambda json: fhir_patched(json, sent)
    if text(sent, "contentType") != JSON_PATCH:
        raise UnsupportedMediaType(f"The contentType of a patch is {JSON_PATCH}", at="Binary.contentType")
    blob = by.blobs.get(_DATA)
    if blob is None:
        raise Malformed("The Binary has no patch", at="Binary.data")
    document = _content(by, blob)
    return lambda json: json_patched(json, document)


def patched(row: Row, change: Callable[[Json], Json]) -> Json:
    """Return what a patch makes of a resource.

    Raises:
        PatchFailed: it would become another resource.
    """
    json = change(read(row.body))
    if (json.get("resourceType"), json.get("id")) != (row.type, row.id):
        wrong = "A patch does not change the type or the id of a resource"
        raise PatchFailed(wrong, issues=(Issue("processing", wrong, f"{row.type}.id"),))
    return json


@contextmanager
def fitting() -> Iterator[None]:
    """Say of a resource that is not valid any more that the patch made it so."""
    try:
        yield
    except (Malformed, Invalid) as exc:
        raise PatchFailed(exc.text, issues=exc.issues) from exc


def _content(by: Writer, blob: Blob) -> bytes:
    """Read the document back from where all content of Binaries goes."""
    if blob.size > by.bridge.settings.max_json_bytes:
        raise TooLarge("The patch is too large", at="Binary.data")
    key = tenant_key(by.bridge, by.grant.tenant)
    with by.bridge.blobs.reader(blob.id, blob.wrapped_key, key, blob.size) as file:
        return file.read()
