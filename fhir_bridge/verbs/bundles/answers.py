"""What became of each entry, as the response Bundle shows it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge.errors import Issue
from fhir_bridge.fhir.rest.bundle import Done
from fhir_bridge.fhir.rest.outcome import from_error, outcome

if TYPE_CHECKING:
    from fhir_bridge.errors import BridgeError
    from fhir_bridge.store.resources import Row

Returns = Literal["minimal", "representation", "OperationOutcome"]

_ALL_WELL: Final = Issue("informational", "Stored as sent", severity="information")
_GONE: Final = Issue("informational", "Deleted, or not there before", severity="information")


def stored(row: Row, *, is_new: bool, hints: tuple[Issue, ...] = (), returns: Returns) -> Done:
    """Show a resource that was written, or that was there as it was sent."""
    said = outcome(hints or (_ALL_WELL,)) if returns == "OperationOutcome" else None
    return Done(
        int(HTTPStatus.CREATED if is_new else HTTPStatus.OK),
        location=f"{row.type}/{row.id}/_history/{row.vid}",
        etag=_etag(row),
        last_modified=row.at,
        body=row.body if returns == "representation" else None,
        outcome=said,
    )


def deleted(*, returns: Returns) -> Done:
    """Show that a resource is gone."""
    said = outcome((_GONE,)) if returns == "OperationOutcome" else None
    return Done(int(HTTPStatus.NO_CONTENT if said is None else HTTPStatus.OK), outcome=said)


def read(row: Row, body: str | None) -> Done:
    """Show a version that was read."""
    return Done(int(HTTPStatus.OK), etag=_etag(row), last_modified=row.at, body=body)


def unchanged(row: Row) -> Done:
    """Show that a version is the one the client has."""
    return Done(int(HTTPStatus.NOT_MODIFIED), etag=_etag(row), last_modified=row.at)


def found(bundle: str | None) -> Done:
    """Show the Bundle of a search or history, or the CapabilityStatement."""
    return Done(int(HTTPStatus.OK), body=bundle)


def failed(exc: BridgeError, *, request: str) -> Done:
    """Show why an entry was refused."""
    return Done(exc.status, outcome=from_error(exc, request_id=request))


def _etag(row: Row) -> str:
    return f'W/"{row.vid}"'
