"""Bundles joined from stored text: no body is parsed or built anew.

Shapes and invariants (bdl-1 to bdl-8): http://hl7.org/fhir/R4/bundle.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from fhir_bridge.fhir.resource.writer import write, write_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fhir_bridge.fhir.resource.reader import Json, JsonValue


@dataclass(frozen=True)
class Entry:
    """One resource of a searchset or collection: where it lives and its stored text."""

    type: str
    id: str
    body: str
    mode: Literal["match", "include"] = "match"


@dataclass(frozen=True)
class Past:
    """One version of a history, a deletion when it has no body; `at` is its instant.

    `is_new`: there was nothing before it, or only a deletion.
    """

    type: str
    id: str
    vid: int
    at: str
    method: Literal["POST", "PUT", "PATCH", "DELETE"]
    body: str | None = None
    is_new: bool = False


@dataclass(frozen=True)
class Done:
    """What became of one entry of a transaction or batch. `location` is `Type/id/_history/vid`."""

    status: int
    location: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    body: str | None = None
    outcome: Json | None = None


def searchset(
    entries: Iterable[Entry],
    *,
    base: str,
    links: Mapping[str, str],
    total: int | None = None,
    outcome: Json | None = None,
) -> str:
    """Join the page of a search; `links` by relation, `outcome` holds warnings about the search itself."""
    root = _text(base)
    found = [_located(root, entry, f',"search":{{"mode":"{entry.mode}"}}') for entry in entries]
    if outcome is not None:
        found.append(f'{{"resource":{write(outcome)},"search":{{"mode":"outcome"}}}}')
    return _bundle("searchset", found, total=total, links=links)


def collection(entries: Iterable[Entry], *, base: str) -> str:
    """Join resources that belong together."""
    root = _text(base)
    return _bundle("collection", [_located(root, entry) for entry in entries])


def document(composition: tuple[str, str], entries: Iterable[Entry], *, base: str, id_: str, at: str) -> str:
    """Join a document: a Composition as (fullUrl, text) first (bdl-9 to bdl-11), then what it refers to.

    `id_` is a new UUID that identifies this document, `at` the instant it is put together.
    """
    root, (url, body) = _text(base), composition
    head: Json = {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{id_}"},
        "type": "document",
        "timestamp": at,
    }
    first = f'{{"fullUrl":{write_value(url)},"resource":{body}}}'
    return f'{write(head)[:-1]},"entry":[{",".join([first, *(_located(root, entry) for entry in entries)])}]}}'


def history(versions: Iterable[Past], *, base: str, links: Mapping[str, str], total: int | None = None) -> str:
    """Join versions, newest first as they come, each with the request that made it (http.html#history)."""
    root = _text(base)
    return _bundle("history", [_past(root, version) for version in versions], total=total, links=links)


def transaction_response(
    results: Iterable[Done], *, type_: Literal["transaction-response", "batch-response"] = "transaction-response"
) -> str:
    """Join the results of a transaction or batch in the order of its entries."""
    return _bundle(type_, [_done(result) for result in results])


def _bundle(type_: str, entries: list[str], *, total: int | None = None, links: Mapping[str, str] | None = None) -> str:
    head: Json = {"resourceType": "Bundle", "type": type_}
    if total is not None:
        head["total"] = total
    if links:
        head["link"] = [{"relation": relation, "url": url} for relation, url in links.items()]
    text = write(head)
    return f'{text[:-1]},"entry":[{",".join(entries)}]}}' if entries else text


def _located(root: str, entry: Entry, more: str = "") -> str:
    return f'{{"fullUrl":"{root}/{entry.type}/{entry.id}","resource":{entry.body}{more}}}'


def _past(root: str, version: Past) -> str:
    url = version.type if version.method == "POST" else f"{version.type}/{version.id}"
    if version.body is None:
        status, resource = HTTPStatus.NO_CONTENT, ""
    else:
        status = HTTPStatus.CREATED if version.is_new else HTTPStatus.OK
        resource = f'"resource":{version.body},'
    response = _response(status, etag=f'W/"{version.vid}"', last_modified=version.at)
    asked = write({"method": version.method, "url": url})
    full_url = f"{root}/{version.type}/{version.id}"
    return f'{{"fullUrl":"{full_url}",{resource}"request":{asked},"response":{write(response)}}}'


def _done(result: Done) -> str:
    response = _response(
        HTTPStatus(result.status), location=result.location, etag=result.etag, last_modified=result.last_modified
    )
    if result.outcome is not None:
        response["outcome"] = result.outcome
    resource = f'"resource":{result.body},' if result.body is not None else ""
    return f'{{{resource}"response":{write(response)}}}'


def _response(
    status: HTTPStatus, *, etag: str | None, last_modified: str | None, location: str | None = None
) -> dict[str, JsonValue]:
    members = {"location": location, "etag": etag, "lastModified": last_modified}
    given: dict[str, JsonValue] = {name: text for name, text in members.items() if text is not None}
    return {"status": f"{status.value} {status.phrase}", **given}


def _text(base: str) -> str:
    return write_value(base.rstrip("/"))[1:-1]
