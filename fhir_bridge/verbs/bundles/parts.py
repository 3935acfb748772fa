"""What belongs to one entry: its audio, and its line in the audit."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from fhir_bridge.fhir.resource.tree import each, text
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.verbs import audit
from fhir_bridge.verbs.bundles.asks import READING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.blobs.sealing import Blob
    from fhir_bridge.fhir.rest.bundle import Done
    from fhir_bridge.verbs.bundles.asks import Ask
    from fhir_bridge.verbs.write import Writer

_INTERACTIONS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def blobs_of(by: Writer, ask: Ask) -> Mapping[str, Blob]:
    """Return the audio of one entry, by element path in its resource."""
    prefix = f"entry[{ask.index}].resource."
    return {at.removeprefix(prefix): blob for at, blob in by.blobs.items() if at.startswith(prefix)}


def idle_row(by: Writer, ask: Ask | None, status: int, *, id_: str | None = None) -> AuditRow:
    """Return the audit row of an entry that writes nothing: it reads, finds what is there, or is refused.

    Of one that could not be read, nothing is known but that.
    """
    who = by.grant
    row = AuditRow(who.tenant, by.request, "batch", status, client=who.client, user=who.user)
    if ask is None:
        return row
    steps = ask.path.split("/")
    named = len(steps) == 2 and not steps[1].startswith("_")  # noqa: PLR2004 - Type and id
    return replace(
        row,
        verb=_INTERACTIONS.get(ask.method) or _reading(steps),
        type=None if steps == ["metadata"] else steps[0] or None,
        id=steps[1] if len(steps) > 1 and steps[1] != "_history" else id_,
        query=None if named or not (ask.query or ask.method in READING) else f"{ask.path}?{urlencode(ask.query)}",
    )


def idle_told(by: Writer, ask: Ask | None, done: Done) -> None:
    """Remember for the audit what became of an entry that wrote nothing."""
    trail = audit.current()
    id_ = done.location.split("/")[1] if done.location else None
    issues = each(done.outcome, "issue") if done.outcome and done.status >= HTTPStatus.BAD_REQUEST else []
    row = idle_row(by, ask, done.status, id_=id_)
    issue = text(issues[0], "code") if issues else None
    trail.entries.append(replace(row, patient=trail.patient, via=trail.via, issue=issue))
    trail.patient = trail.via = None


def _reading(steps: list[str]) -> str:
    if steps[-1].startswith("$"):
        return steps[-1]
    if steps[-1] == "_history":
        return ("history-system", "history-type", "history-instance")[min(len(steps), 3) - 1]
    if "_history" in steps:
        return "vread"
    if len(steps) == 2:  # noqa: PLR2004 - Type and id
        return "read"
    if steps == ["metadata"]:
        return "capabilities"
    return "search-type" if steps[0] else "search-system"
