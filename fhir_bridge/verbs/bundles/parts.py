"""What belongs to one entry: its audio, and its line in the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from fhir_bridge.store.audit import AuditRow
from fhir_bridge.verbs import audit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.blobs.sealing import Blob
    from fhir_bridge.verbs.bundles.asks import Ask
    from fhir_bridge.verbs.write import Writer

_INTERACTIONS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def blobs_of(by: Writer, ask: Ask) -> Mapping[str, Blob]:
    """Return the audio of one entry, by element path in its resource."""
    prefix = f"entry[{ask.index}].resource."
    return {at.removeprefix(prefix): blob for at, blob in by.blobs.items() if at.startswith(prefix)}


def read_told(by: Writer, ask: Ask, status: int) -> None:
    """Remember for the audit what an entry read, or that it was refused."""
    who, steps = by.grant, ask.path.split("/")
    named = len(steps) == 2 and not steps[1].startswith("_")  # noqa: PLR2004 - Type and id
    row = AuditRow(
        who.tenant,
        by.request,
        _INTERACTIONS.get(ask.method) or _reading(steps),
        status,
        client=who.client,
        user=who.user,
        type=steps[0] or None,
        id=steps[1] if len(steps) > 1 and steps[1] != "_history" else None,
        query=None if named else f"{ask.path}?{urlencode(ask.query)}",
    )
    audit.current().entries.append(row)


def _reading(steps: list[str]) -> str:
    if steps[-1].startswith("$"):
        return steps[-1]
    if steps[-1] == "_history":
        return ("history-system", "history-type", "history-instance")[min(len(steps), 3) - 1]
    if "_history" in steps:
        return "vread"
    if len(steps) == 2:  # noqa: PLR2004 - Type and id
        return "read"
    return "search-type" if steps[0] else "search-system"
