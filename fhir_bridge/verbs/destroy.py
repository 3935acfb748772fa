"""Encounter/$erase and Patient/$erase: destroyed here before it is answered, everywhere else as soon as it can be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from fhir_bridge.store import erasure
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.verbs import audit
from fhir_bridge.verbs.erase import ERASE, Eraser
from fhir_bridge.verbs.policy import require_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.erasure import Erasure
    from fhir_bridge.verbs.bridge import Bridge

_ABOUT: Final = {
    "subject": ("subject", "valueString"),
    "asked_at": ("asked", "valueInstant"),
    "done_at": ("done", "valueInstant"),
}
_SEALED: Final = {"digest": ("digest", "valueString"), "seal": ("seal", "valueString")}


def erase(bridge: Bridge, grant: Grant, reference: str, *, request: str) -> Erasure:
    """Destroy `Encounter/id` or `Patient/id` in the tables; workers see to the audit, the files and Corti.

    A process that dies on the way leaves the rest to them as well.

    Raises:
        Forbidden: what belongs to a visit is of any type, and the Grant may not delete all of each.
        NotFound: there is nothing of it here.
    """
    require_all(grant, "d")
    eraser = Eraser(bridge.settings, bridge.store, bridge.blobs, bridge.keyring)
    row = AuditRow(grant.tenant, request, ERASE, 200, client=grant.client, user=grant.user)
    this = eraser.begin(grant.tenant, reference, by=audit.current().completed(row))
    audit.current().written += 1
    return eraser.destroy(this)


def erased(bridge: Bridge, id_: str) -> Json:
    """Return an erasure as it stands."""
    return parameters(bridge.store.read(lambda conn: erasure.by_id(conn, id_)))


def parameters(this: Erasure) -> Json:
    """Show how far an erasure is, and its proof once all have forgotten."""
    parts: list[JsonValue] = [
        {"name": "erasure", "valueString": this.id},
        {"name": "state", "valueCode": this.state},
    ]
    if this.state == "erased":
        parts.append({"name": "proof", "part": _proof(json.loads(this.report))})
    return {"resourceType": "Parameters", "parameter": parts}


def _proof(report: dict[str, Any]) -> list[JsonValue]:
    sums = [_sum(name, *each) for name in ("resources", "counts") for each in sorted(report[name].items())]
    audio = [{"name": "audio", "valueString": each} for each in report["audio_sha256"]]
    return [*_named(report, _ABOUT), *sums, *audio, *_named(report, _SEALED)]


def _named(report: dict[str, Any], names: Mapping[str, tuple[str, str]]) -> list[JsonValue]:
    return [{"name": name, value: report[key]} for key, (name, value) in names.items()]


def _sum(of: str, name: str, count: int) -> Json:
    return {"name": of, "part": [{"name": "name", "valueString": name}, {"name": "count", "valueInteger": count}]}
