"""Writing a Binary, in FHIR's form or as raw bytes; its content is kept apart, encrypted (R4 binary.html)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import BusinessRule, Gone, Invalid, Issue, NotFound
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.reader import read as read_json
from fhir_bridge.fhir.resource.tree import only, text
from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.served import BY_TYPE
from fhir_bridge.store import binaries, resources
from fhir_bridge.store.binaries import StoredBlob
from fhir_bridge.store.filter import Filter
from fhir_bridge.verbs import audit
from fhir_bridge.verbs.history import vread
from fhir_bridge.verbs.intake import tenant_key
from fhir_bridge.verbs.plan import Plan
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import find, read

if TYPE_CHECKING:
    from typing import BinaryIO

    from fhir_bridge.blobs.sealing import Blob
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bridge import Bridge
    from fhir_bridge.verbs.case import Case

DATA: Final = "data"


def plan(case: Case) -> Plan:
    """Plan one Binary.

    Raises:
        Invalid: it has no content.
        BusinessRule: other content than before: a Media may be streaming it.
    """
    blob = case.blobs.get(DATA)
    if blob is None:
        missing = "A Binary has content: send it as data, or as the body with its own Content-Type"
        raise Invalid(missing, issues=(Issue("required", missing, "Binary.data"),))
    version = case.version(checked({name: value for name, value in case.json.items() if name != DATA}))
    known = case.bridge.store.read(lambda conn: binaries.of(conn, case.grant.tenant, case.id))
    if case.current is None and known is None:
        return Plan((version,), contents=(stored(case.id, blob),))
    if known is None or known.sha256 != blob.sha256:  # also beyond a deletion: past versions have it still
        raise BusinessRule("The content of a Binary does not change: send it as a new Binary", at="Binary.data")
    return Plan((version,))


def stored(binary: str, blob: Blob) -> StoredBlob:
    """Return the row that says where the content of a Binary is."""
    return StoredBlob(
        binary, blob.id, blob.size, blob.sha256, blob.sha1, blob.wrapped_key, created_ms=resources.now_ms()
    )


def raw_json(content_type: str, security_context: str | None) -> Json:
    """Return the resource of a raw upload: its Content-Type, and what X-Security-Context names."""
    json: Json = {"resourceType": "Binary", "contentType": content_type}
    return json | ({"securityContext": {"reference": security_context}} if security_context else {})


def opened(bridge: Bridge, grant: Grant, id_: str, *, vid: str | None = None) -> tuple[Row, StoredBlob, BinaryIO]:
    """Return a Binary that may be read, or one version of it, where its content is, and that as a seekable file.

    The content is that of every version: it does not change.

    Raises:
        Gone: its content was removed (retention).
    """
    row = readable(bridge, grant, id_, vid=vid)
    content = bridge.store.read(lambda conn: binaries.of(conn, grant.tenant, id_))
    if content is None:
        raise Gone("The content of this Binary was removed")
    key = tenant_key(bridge, grant.tenant)
    return row, content, bridge.blobs.reader(content.blob, content.wrapped_key, key, content.size)


def readable(bridge: Bridge, grant: Grant, id_: str, *, vid: str | None = None) -> Row:
    """Return a Binary whose bytes the Grant may have: they are for whoever may read their securityContext.

    http://hl7.org/fhir/R4/binary.html#security; fhir-smart-rules 4.5. What lives in the EHR
    alone cannot be judged by more than its type, and types that are not served not at all.
    A Binary is in no patient's compartment: at patient level it is reached by its context alone.

    Raises:
        NotFound, Gone: as for any resource. Forbidden: no right to read the type of its context.
    """
    reached = _of_patient(bridge, grant, id_) if vid is None else None
    if reached is not None:
        return reached
    row = read(bridge, grant, "Binary", id_) if vid is None else vread(bridge, grant, "Binary", id_, vid=vid)
    type_, _, context_id = (encode.reference(context_of(row) or "", base=bridge.base) or "").partition("/")
    audit.current().via = f"{type_}/{context_id}"
    if type_ not in BY_TYPE:
        return row
    filter_ = allowed(grant, (type_,), "r")
    if find(bridge, filter_, type_, context_id) is None and find(bridge, Filter(grant.tenant), type_, context_id):
        raise NotFound("There is no Binary with this id")
    return row


def _of_patient(bridge: Bridge, grant: Grant, id_: str) -> Row | None:
    """Return a Binary whose context is here and may be read, if the Grant is for one patient's Binaries."""
    if not any(scope.level == "patient" and not scope.query for scope in grant.scopes_for("Binary", "r")):
        return None
    row = find(bridge, Filter(grant.tenant), "Binary", id_)
    reference = None if row is None or row.deleted else context_of(row)
    type_, _, context_id = (encode.reference(reference or "", base=bridge.base) or "").partition("/")
    if type_ not in BY_TYPE or not grant.scopes_for(type_, "r"):
        return None
    audit.current().via = f"{type_}/{context_id}"
    context = find(bridge, allowed(grant, (type_,), "r"), type_, context_id)
    return None if context is None or context.deleted else row


def content_type_of(row: Row) -> str:
    """Return the stored Content-Type."""
    return str(read_json(row.body)["contentType"])


def context_of(row: Row) -> str | None:
    """Return the reference that says whose rights are those of a Binary."""
    return text(only(read_json(row.body), "securityContext"), "reference")
